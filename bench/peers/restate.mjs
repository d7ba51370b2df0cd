// restate.mjs PORT [INGRESS IN_FLIGHT SECONDS] - a service with a handler of two ctx.run steps; with three more
// arguments, calls it through the ingress instead.
import http from 'node:http';

if (process.argv.length === 3) {
	const restate = await import('@restatedev/restate-sdk');
	const service = restate.service({ name: 'bench', handlers: {
		flow: async (ctx, n) => {
			const decided = await ctx.run('decide', async () => ({ to: 'act', n }));
			return await ctx.run('act', async () => ({ changed: 0, n: decided.n }));
		} } });
	const port = Number(process.argv[2]);
	if (restate.serve) await restate.serve({ services: [service], port });
	else await restate.endpoint().bind(service).listen(port);
} else {
	const [ingress, inFlight, secs] = [process.argv[3], Number(process.argv[4]), Number(process.argv[5])];
	const agent = new http.Agent({ keepAlive: true, maxSockets: inFlight });
	const call = (n) => new Promise((ok, bad) => {
		const r = http.request(ingress + '/bench/flow', { method: 'POST', agent, headers: { 'content-type': 'application/json' } }, (res) => {
			res.resume();
			res.on('end', () => res.statusCode === 200 ? ok() : bad(new Error('status ' + res.statusCode)));
		});
		r.on('error', bad);
		r.end(JSON.stringify(n));
	});
	const begin = performance.now(), until = begin + secs * 1000, ms = [];
	let n = 0;
	await Promise.all(Array.from({ length: inFlight }, async () => {
		while (performance.now() < until) {
			const t = performance.now();
			await call(n++);
			const end = performance.now();
			if (t > begin + 1000 && end <= until) ms.push(end - t);
		}
	}));
	ms.sort((a, b) => a - b);
	const at = (p) => ms[Math.floor((ms.length - 1) * p)];
	console.log(JSON.stringify({ rate: ms.length / (secs - 1), p50_ms: at(.5), p99_ms: at(.99), done: ms.length }));
	process.exit(0);
}
