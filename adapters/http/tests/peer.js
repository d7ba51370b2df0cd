// A small HTTP service to call: things that can be made, looked up and removed, and ways to misbehave.
// Listens on two free loopback ports (the second one stands for "another host") and prints them.
const http = require('http');
const things = new Map();
const keys = new Map(); // idempotency key -> status of the first answer
let effects = 0;

function answer(req, res, body) {
	const url = new URL(req.url, 'http://peer');
	const [, what, name] = url.pathname.split('/');
	const key = req.headers['idempotency-key'];
	const say = (status, text, headers = {}) => {
		res.writeHead(status, headers);
		res.end(req.method === 'HEAD' ? '' : text);
	};

	switch (what) {
	case 'things':
		if (req.method === 'GET' || req.method === 'HEAD')
			return things.has(name) ? say(200, things.get(name), { ETag: `"${things.get(name).length}"` })
				: say(404, 'no such thing');
		if (!key)
			return say(428, 'key missing');
		if (keys.has(key))
			return say(keys.get(key), 'replayed', { 'Idempotency-Replayed': 'true' });
		if (req.method === 'DELETE')
			things.delete(name);
		else
			things.set(name, body);
		effects++;
		keys.set(key, 201);
		return say(201, 'done');
	case 'state': return say(200, JSON.stringify([...things]));
	case 'effects': return say(200, String(effects));
	case 'status': return say(Number(name), `status ${name}`, { 'Retry-After': '7' });
	case 'echo': return say(200, JSON.stringify({ method: req.method, headers: req.headers, body }));
	case 'redirect':
		return say(Number(name), '', { Location: url.searchParams.get('to') });
	case 'big': return say(200, 'x'.repeat(1 << 20));
	case 'endless': {
		res.writeHead(200);
		const t = setInterval(() => res.write('y'.repeat(1000)), 1);
		return res.on('close', () => clearInterval(t));
	}
	case 'stall': res.writeHead(200, { 'Content-Length': '100' }); return res.write('half');
	case 'slow': effects++; return undefined; // never answers
	case 'drop': effects++; return req.socket.destroy();
	case 'binary': return say(200, Buffer.from([0x61, 0xff, 0x00, 0x62, 0xc3]));
	default: return say(404, 'not here');
	}
}

const ports = [];
for (let i = 0; i < 2; i++) {
	const server = http.createServer((req, res) => {
		let body = '';
		req.on('data', (d) => { body += d; });
		req.on('end', () => answer(req, res, body));
	});
	server.listen(0, '127.0.0.1', () => {
		ports[i] = server.address().port;
		if (ports[0] && ports[1])
			console.log(`${ports[0]} ${ports[1]}`);
	});
}
