// server.mjs - a small Kubernetes API server for tests: HTTPS, tokens, apps/v1 and a little of v1, patches,
// watches, and controllers that move rollouts forward. See README.md for what it can be told to do wrong.
import https from 'node:https';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { parseArgs } from 'node:util';
import { KINDS, apiVersion, selects, sorted } from './kinds.mjs';
import { Store, ApiError } from './store.mjs';
import { Controllers } from './controllers.mjs';
import { mergePatch, jsonPatch, strategicMerge, PatchError, equal } from './patch.mjs';

const { values: arg } = parseArgs({ options: {
	port: { type: 'string', default: '0' }, dir: { type: 'string' }, 'step-ms': { type: 'string', default: '50' },
	'ready-ms': { type: 'string', default: '100' }, nodes: { type: 'string', default: '2' },
	seed: { type: 'string', multiple: true, default: [] },
	'never-ready': { type: 'string', multiple: true, default: [] }, 'exit-with-stdin': { type: 'boolean', default: false } } });

const dir = arg.dir ?? fs.mkdtempSync(path.join(os.tmpdir(), 'k8s-apiserver-'));
const store = new Store();
const controllers = new Controllers(store, { ready_ms: Number(arg['ready-ms']), nodes: Number(arg.nodes) });
controllers.neverReady.push(...arg['never-ready']);
const token = randomBytes(24).toString('base64url');
const started = new Map();	// what was written by clients, per verb
let faults = [];
let effects = 0;
const requests = [];

function certificates() {
	const at = (f) => path.join(dir, f);
	const ssl = (...a) => execFileSync('openssl', a, { stdio: ['ignore', 'ignore', 'pipe'] });
	const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

	fs.mkdirSync(dir, { recursive: true });
	ssl('req', '-x509', ...key, '-keyout', at('ca.key'), '-out', at('ca.pem'), '-days', '2', '-subj', '/CN=opscase test CA',
		'-addext', 'basicConstraints=critical,CA:TRUE', '-addext', 'keyUsage=critical,keyCertSign,cRLSign');
	ssl('req', ...key, '-keyout', at('server.key'), '-out', at('server.csr'), '-subj', '/CN=kube-apiserver');
	fs.writeFileSync(at('ext'), 'subjectAltName=DNS:localhost,DNS:kubernetes.default.svc,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n');
	ssl('x509', '-req', '-in', at('server.csr'), '-CA', at('ca.pem'), '-CAkey', at('ca.key'), '-CAcreateserial', '-days', '2',
		'-extfile', at('ext'), '-out', at('server.pem'));
	return { key: fs.readFileSync(at('server.key')), cert: fs.readFileSync(at('server.pem')), ca: fs.readFileSync(at('ca.pem'), 'utf8') };
}

// --- answers

function send(res, code, body, headers = {}) {
	const text = typeof body === 'string' ? body : JSON.stringify(body);
	res.writeHead(code, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text), ...headers });
	res.end(text);
}

function status(code, reason, message, details) {
	return { kind: 'Status', apiVersion: 'v1', metadata: {}, status: code < 400 ? 'Success' : 'Failure', message, reason, details, code };
}

function sendError(res, e) {
	if (e instanceof ApiError)
		return send(res, e.code, status(e.code, e.reason, e.message, e.details));
	if (e instanceof PatchError)
		return send(res, e.code, status(e.code, e.code === 422 ? 'Invalid' : 'BadRequest', e.message));
	process.stderr.write(`${e.stack}\n`);
	return send(res, 500, status(500, 'InternalError', `Internal error occurred: ${e.message}`));
}

function readBody(req) {
	return new Promise((resolve, reject) => {
		const parts = [];
		let size = 0;
		req.on('data', (c) => {
			size += c.length;
			if (size > 3 << 20)
				reject(new ApiError(413, 'RequestEntityTooLarge', 'the body is too large'));
			else
				parts.push(c);
		});
		req.on('end', () => resolve(Buffer.concat(parts).toString('utf8')));
		req.on('error', reject);
	});
}

function parse(text) {
	try {
		return JSON.parse(text);
	} catch (e) {
		throw new ApiError(400, 'BadRequest', `the body is not JSON: ${e.message}`);
	}
}

// --- discovery

const VERBS = ['create', 'delete', 'get', 'list', 'patch', 'update', 'watch'];
function resourceList(group, version) {
	const resources = [];
	for (const [name, k] of Object.entries(KINDS)) {
		if (k.group !== group)
			continue;
		const base = { singularName: k.singular, namespaced: !k.cluster, kind: k.kind };
		resources.push({ name, ...base, verbs: VERBS, shortNames: k.short.length ? k.short : undefined, categories: k.categories });
		if (k.check)
			resources.push({ name: `${name}/status`, ...base, singularName: '', verbs: ['get', 'patch', 'update'] });
		if (k.scale)
			resources.push({ name: `${name}/scale`, singularName: '', namespaced: true, group: 'autoscaling', version: 'v1',
				kind: 'Scale', verbs: ['get', 'patch', 'update'] });
	}
	return { kind: 'APIResourceList', apiVersion: 'v1', groupVersion: group ? `${group}/${version}` : version, resources };
}

const APPS = { name: 'apps', versions: [{ groupVersion: 'apps/v1', version: 'v1' }], preferredVersion: { groupVersion: 'apps/v1', version: 'v1' } };
const FIXED = {
	'/api': { kind: 'APIVersions', versions: ['v1'], serverAddressByClientCIDRs: [] },
	'/apis': { kind: 'APIGroupList', apiVersion: 'v1', groups: [APPS] },
	'/apis/apps': { kind: 'APIGroup', apiVersion: 'v1', ...APPS },
	'/apis/apps/v1': resourceList('apps', 'v1'),
	'/api/v1': resourceList('', 'v1'),
	'/version': { major: '1', minor: '32', gitVersion: 'v1.32.3', gitCommit: '', gitTreeState: 'clean',
		buildDate: '2025-03-11T19:52:21Z', goVersion: 'go1.23.6', compiler: 'gc', platform: 'linux/amd64' },
	'/openapi/v2': { swagger: '2.0', info: { title: 'Kubernetes', version: 'v1.32.3' }, paths: {} },
	'/openapi/v3': { paths: {} },
};

// --- reading

function table(res, items, listMeta) {
	const k = KINDS[res];
	const cols = [['Name', (o) => o.metadata.name, 'string'], ...k.columns];
	return { kind: 'Table', apiVersion: 'meta.k8s.io/v1', metadata: listMeta,
		columnDefinitions: cols.map(([name, , type], i) => ({ name, type, format: i === 0 ? 'name' : '', description: name, priority: 0 })),
		rows: items.map((o) => ({ cells: cols.map(([, f]) => f(o)),
			object: { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata: o.metadata } })) };
}

function labelSelector(text) {
	const matchLabels = {}, matchExpressions = [];
	for (const raw of (text ?? '').match(/[^,(]+(\([^)]*\))?[^,]*/g) ?? []) {
		const part = raw.trim();
		let m;
		if ((m = part.match(/^([^\s!=]+)\s+(in|notin)\s+\(([^)]*)\)$/)))
			matchExpressions.push({ key: m[1], operator: m[2] === 'in' ? 'In' : 'NotIn', values: m[3].split(',').map((s) => s.trim()) });
		else if ((m = part.match(/^([^\s!=]+)\s*!=\s*(.*)$/)))
			matchExpressions.push({ key: m[1], operator: 'NotIn', values: [m[2]] });
		else if ((m = part.match(/^([^\s!=]+)\s*==?\s*(.*)$/)))
			matchLabels[m[1]] = m[2];
		else if ((m = part.match(/^!\s*([^\s!=]+)$/)))
			matchExpressions.push({ key: m[1], operator: 'DoesNotExist' });
		else if ((m = part.match(/^([^\s!=]+)$/)))
			matchExpressions.push({ key: m[1], operator: 'Exists' });
		else
			throw new ApiError(400, 'BadRequest', `unable to parse requirement: '${part}'`);
	}
	return { matchLabels, matchExpressions };
}

function fieldSelector(text) {
	const want = [];
	for (const part of (text ?? '').split(',').filter(Boolean)) {
		const m = part.match(/^(metadata\.name|metadata\.namespace)(==|=|!=)(.*)$/);
		if (!m)
			throw new ApiError(400, 'BadRequest', `field label not supported: ${part.split(/[!=]/)[0]}`);
		want.push([m[1].split('.')[1], m[2] !== '!=', m[3]]);
	}
	return (o) => want.every(([f, eq, v]) => (o.metadata[f] === v) === eq);
}

function filter(q) {
	const labels = labelSelector(q.get('labelSelector'));
	const fields = fieldSelector(q.get('fieldSelector'));
	return (o) => selects(labels, o.metadata.labels) && fields(o);
}

const wantsTable = (req) => /as=Table/.test(req.headers.accept ?? '');

function watch(req, res, kind, ns, q) {
	const match = filter(q);
	const asTable = wantsTable(req);
	const rv = q.get('resourceVersion');
	const write = (type, object) => {
		const o = asTable && type !== 'BOOKMARK' && type !== 'ERROR' ? table(kind, [object], { resourceVersion: object.metadata.resourceVersion }) : object;
		res.write(JSON.stringify({ type, object: o }) + '\n');
	};
	const seen = new Set();
	const pass = (ev) => {
		if (ev.res !== kind || (ns && ev.object.metadata.namespace !== ns))
			return;
		const uid = ev.object.metadata.uid;
		const in_ = match(ev.object);
		if (ev.type === 'DELETED' ? in_ || seen.has(uid) : in_)
			write(ev.type === 'MODIFIED' && !seen.has(uid) && !rv ? 'ADDED' : ev.type, ev.object);
		else if (seen.has(uid) && ev.type === 'MODIFIED')
			write('DELETED', ev.object);
		if (in_ && ev.type !== 'DELETED')
			seen.add(uid);
		else
			seen.delete(uid);
	};

	res.writeHead(200, { 'content-type': 'application/json', 'transfer-encoding': 'chunked' });
	res.flushHeaders();
	if (rv && rv !== '0') {
		if (store.log.length && Number(rv) < store.log[0].rv - 1 && store.log[0].rv > 1001) {
			write('ERROR', status(410, 'Expired', `too old resource version: ${rv}`));
			return res.end();
		}
		for (const o of store.list(kind, ns))
			if (Number(o.metadata.resourceVersion) <= Number(rv) && match(o))
				seen.add(o.metadata.uid);
		store.log.filter((ev) => ev.rv > Number(rv)).forEach(pass);
	} else {
		for (const o of store.list(kind, ns).filter(match)) {
			seen.add(o.metadata.uid);
			write('ADDED', o);
		}
		if (q.get('sendInitialEvents') === 'true')
			write('BOOKMARK', { kind: KINDS[kind].kind, apiVersion: apiVersion(kind), metadata: { resourceVersion: String(store.rv),
				annotations: { 'k8s.io/initial-events-end': 'true' } } });
	}
	store.watchers.add(pass);
	const end = setTimeout(() => res.end(), Math.min(Number(q.get('timeoutSeconds') ?? 1800), 3600) * 1000);
	res.on('close', () => {
		store.watchers.delete(pass);
		clearTimeout(end);
	});
}

function scaleOf(res, o) {
	return { kind: 'Scale', apiVersion: 'autoscaling/v1', metadata: { name: o.metadata.name, namespace: o.metadata.namespace,
		uid: o.metadata.uid, resourceVersion: o.metadata.resourceVersion, creationTimestamp: o.metadata.creationTimestamp },
	spec: o.spec.replicas ? { replicas: o.spec.replicas } : {},
	status: { replicas: o.status?.replicas ?? 0, selector: Object.entries(o.spec.selector.matchLabels ?? {}).map((e) => e.join('=')).join(',') } };
}

// --- writing

function applyPatch(type, now, text) {
	const body = parse(text);
	switch ((type ?? '').split(';')[0]) {
	case 'application/strategic-merge-patch+json':
		return strategicMerge(now, body);
	case 'application/merge-patch+json':
		return mergePatch(now, body);
	case 'application/json-patch+json':
		return jsonPatch(now, body);
	default:
		throw new ApiError(415, 'UnsupportedMediaType', `the body of the request was in an unknown format - accepted media types include: ` +
			'application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json');
	}
}

function write(req, kind, ns, name, sub, text, q) {
	const dryRun = q.getAll('dryRun');
	if (dryRun.some((d) => d !== 'All' && d !== ''))
		throw new ApiError(422, 'Invalid', `dryRun: Unsupported value: "${dryRun[0]}": supported values: "All"`);
	const dry = dryRun.includes('All');
	let out, code = 200, changed = true;

	if (req.method === 'POST') {
		if (name)
			throw new ApiError(405, 'MethodNotAllowed', 'the server does not allow this method on the requested resource');
		out = store.create(kind, ns, parse(text), dry);
		code = 201;
	} else {
		const old = store.get(kind, ns, name);
		if (req.method === 'DELETE') {
			const opt = text ? parse(text) : {};
			const pre = opt.preconditions ?? {};
			if ((pre.uid && pre.uid !== old.metadata.uid) || (pre.resourceVersion && pre.resourceVersion !== old.metadata.resourceVersion))
				throw new ApiError(409, 'Conflict', `Operation cannot be fulfilled on ${kind} "${name}": Precondition failed`);
			const policy = opt.propagationPolicy ?? q.get('propagationPolicy') ?? 'Background';
			if (!dry && policy === 'Foreground' && KINDS[kind].check) {
				store.change(kind, old, 'spec', (o) => {
					o.metadata.finalizers = [...(o.metadata.finalizers ?? []), 'foregroundDeletion'];
				});
				store.find(kind, ns, name).metadata.deletionTimestamp = new Date().toISOString().replace(/\.\d+/, '');
			} else if (!dry) {
				if (policy === 'Orphan')
					for (const r of ['replicasets', 'pods', 'controllerrevisions'])
						for (const o of store.owned(r, old))
							store.change(r, o, 'spec', (n) => { n.metadata.ownerReferences = []; });
				store.remove(kind, old);
			}
			out = { ...status(200, undefined, undefined, { name, group: KINDS[kind].group, kind, uid: old.metadata.uid }), code: undefined };
		} else if (sub === 'scale') {
			const now = scaleOf(kind, old);
			const next = req.method === 'PUT' ? parse(text) : applyPatch(req.headers['content-type'], now, text);
			const o = structuredClone(old);
			o.metadata.resourceVersion = next.metadata?.resourceVersion && next.metadata.resourceVersion !== now.metadata.resourceVersion
				? next.metadata.resourceVersion : old.metadata.resourceVersion;
			o.spec.replicas = next.spec?.replicas ?? 0;
			const done = store.update(kind, old, o, 'spec', dry);
			changed = done !== old;
			out = scaleOf(kind, done);
		} else {
			const next = req.method === 'PUT' ? parse(text) : applyPatch(req.headers['content-type'], old, text);
			if (req.method === 'PUT' && !next.metadata?.name)
				throw new ApiError(400, 'BadRequest', 'the name of the object is required in the body');
			out = store.update(kind, old, next, sub === 'status' ? 'status' : 'spec', dry);
			changed = !equal(sorted(out), sorted(old));
		}
	}
	if (!dry && changed) {
		effects++;
		started.set(req.method, (started.get(req.method) ?? 0) + 1);
	}
	return { code, out };
}

// --- faults: POST /__fault {"kind":..., "times":n, "verbs":["PATCH"], "path":"regexp", "image":"part of an image"}

function takeFault(method, url, dry) {
	for (const f of faults) {
		if (f.kind === 'never_available' || f.times <= 0 || (dry && !f.dry) || (f.verbs && !f.verbs.includes(method)) ||
			(f.path && !new RegExp(f.path).test(url)))
			continue;
		f.times--;
		return f;
	}
	return undefined;
}

async function admin(req, res, url) {
	const text = await readBody(req);
	if (url.pathname === '/__fault' && req.method === 'POST') {
		const f = { times: 1e9, ...parse(text) };
		if (f.kind === 'clear') {
			faults = [];
			controllers.neverReady = [];
			controllers.paused = false;
		} else if (f.kind === 'never_available') {
			controllers.neverReady.push(f.image ?? '');
		} else if (f.kind === 'freeze') {
			controllers.paused = true;
		} else if (['refuse', 'conflict', 'hang', 'error', 'unavailable', 'throttle', 'close_before', 'close_after_apply', 'hang_after_apply', 'garbage', 'interfere'].includes(f.kind)) {
			faults.push(f);
		} else {
			return send(res, 400, { error: `unknown fault '${f.kind}'` });
		}
		return send(res, 200, { faults });
	}
	if (url.pathname === '/__change' && req.method === 'POST') {
		// somebody else changes an object: {"kind":"deployments","namespace":..,"name":..,"patch":{merge patch}}
		const c = parse(text);
		const o = store.get(c.kind, c.namespace, c.name);
		return send(res, 200, store.change(c.kind, o, 'spec', (n) => Object.assign(n, mergePatch(n, c.patch))));
	}
	if (url.pathname === '/__effects')
		return send(res, 200, { effects, verbs: Object.fromEntries(started) });
	if (url.pathname === '/__requests')
		return send(res, 200, { requests });
	if (url.pathname === '/__state')
		return send(res, 200, worldText(), { 'content-type': 'text/plain' });
	return send(res, 404, { error: 'no such admin path' });
}

// What a dry run may not change: the specs, without the controllers' bookkeeping.
function worldText() {
	let out = '';
	for (const kind of ['deployments', 'statefulsets', 'daemonsets'])
		for (const o of store.list(kind)) {
			const notes = Object.entries(o.metadata.annotations ?? {}).filter(([k]) => k !== 'deployment.kubernetes.io/revision');
			out += `${kind} ${o.metadata.namespace}/${o.metadata.name} replicas=${o.spec.replicas ?? '-'} ` +
				`template=${JSON.stringify(sorted(o.spec.template))} annotations=${JSON.stringify(sorted(Object.fromEntries(notes)))}\n`;
		}
	return out;
}

// --- the door

async function handle(req, res) {
	const url = new URL(req.url, 'https://x');
	const q = url.searchParams;

	if (url.pathname.startsWith('/__'))
		return admin(req, res, url);
	requests.push({ method: req.method, url: req.url, agent: req.headers['user-agent'] });
	if (requests.length > 2000)
		requests.shift();
	if (req.headers.authorization !== `Bearer ${token}`) {
		req.resume();
		return send(res, 401, status(401, 'Unauthorized', 'Unauthorized'));
	}
	const text = await readBody(req);
	const type = (req.headers['content-type'] ?? 'application/json').split(';')[0];
	if (text && !/^application\/([a-z-]+\+)?json$/.test(type))
		throw new ApiError(415, 'UnsupportedMediaType', `the body of the request was in an unknown format - this test server speaks JSON, not ${type}`);
	const dry = q.getAll('dryRun').includes('All');
	const f = takeFault(req.method, req.url, dry);
	const m = url.pathname.match(/^\/(?:api\/(v1)|apis\/(apps)\/(v1))\/(?:namespaces\/([^/]+)\/)?([a-z]+)(?:\/([^/]+))?(?:\/(status|scale))?$/) ??
		url.pathname.match(/^\/(?:api\/(v1)|apis\/(apps)\/(v1))\/()(namespaces)(?:\/([^/]+))?$/);

	switch (f?.kind) {
	case 'refuse':
		return send(res, 403, status(403, 'Forbidden', `${m?.[5] ?? 'the request'}${m?.[2] ? '.' + m[2] : ''} "${m?.[6] ?? ''}" is forbidden: User ` +
			`"system:serviceaccount:ops:opscase" cannot ${req.method.toLowerCase()} resource "${m?.[5] ?? ''}" in API group "${m?.[2] ?? ''}" in the namespace "${m?.[4] ?? ''}"`,
		{ name: m?.[6], group: m?.[2], kind: m?.[5] }));
	case 'conflict':
		if (f.touch && m?.[6])	// as if the status had moved in between
			store.change(m[5], store.get(m[5], m[4], m[6]), 'spec', (o) => {
				o.metadata.annotations = { ...o.metadata.annotations, 'test/touched': String(Date.now()) + Math.random() };
			});
		return send(res, 409, status(409, 'Conflict', `Operation cannot be fulfilled on ${m?.[5]} "${m?.[6]}": the object has been modified; ` +
			'please apply your changes to the latest version and try again', { name: m?.[6], kind: m?.[5] }));
	case 'interfere':	// somebody else is quicker; the request then goes its usual way
		if (m?.[6])
			store.change(m[5], store.get(m[5], m[4], m[6]), 'spec', (o) => Object.assign(o, mergePatch(o, f.patch)));
		break;
	case 'error':
		return send(res, 500, status(500, 'InternalError', f.message ?? 'Internal error occurred: etcdserver: request timed out'));
	case 'unavailable':
		return send(res, 503, status(503, 'ServiceUnavailable', 'apiserver is shutting down'));
	case 'throttle':
		return send(res, 429, status(429, 'TooManyRequests', 'too many requests, please try again later'), { 'retry-after': String(f.retry_after ?? 1) });
	case 'garbage':
		return send(res, 200, f.body ?? '<html>a proxy answers</html>', { 'content-type': 'text/html' });
	case 'hang':
		return undefined;	// never answers; the socket stays open until the client leaves
	case 'close_before':
		return req.socket.destroy();
	}
	if (FIXED[url.pathname] && req.method === 'GET')
		return send(res, 200, FIXED[url.pathname]);
	if (['/healthz', '/livez', '/readyz'].includes(url.pathname))
		return send(res, 200, 'ok', { 'content-type': 'text/plain' });

	const kind = m?.[5], ns = m?.[4] || '', name = m?.[6] && decodeURIComponent(m[6]), sub = m?.[7];
	if (!kind || !KINDS[kind] || KINDS[kind].group !== (m[2] ?? '') || (sub === 'scale' && !KINDS[kind].scale) ||
		(!KINDS[kind].cluster && !ns && (name || req.method !== 'GET')))
		return send(res, 404, status(404, 'NotFound', 'the server could not find the requested resource', {}));
	if (req.method === 'GET' || req.method === 'HEAD') {
		if (name) {
			const o = store.get(kind, ns, name);
			return send(res, 200, sub === 'scale' ? scaleOf(kind, o) : wantsTable(req) ? table(kind, [o], { resourceVersion: o.metadata.resourceVersion }) : o);
		}
		if (['true', '1'].includes(q.get('watch')))
			return watch(req, res, kind, ns, q);
		const items = store.list(kind, ns).filter(filter(q));
		const meta = { resourceVersion: String(store.rv) };
		return send(res, 200, wantsTable(req) ? table(kind, items, meta)
			: { kind: `${KINDS[kind].kind}List`, apiVersion: apiVersion(kind), metadata: meta, items });
	}
	if (!['POST', 'PUT', 'PATCH', 'DELETE'].includes(req.method))
		throw new ApiError(405, 'MethodNotAllowed', 'the server does not allow this method on the requested resource');
	const { code, out } = write(req, kind, ns, name, sub, text, q);
	if (f?.kind === 'close_after_apply')
		return req.socket.destroy();
	if (f?.kind === 'hang_after_apply')
		return undefined;
	return send(res, code, out);
}

const tls = certificates();
store.objects.set('namespaces//default', { kind: 'Namespace', apiVersion: 'v1', metadata: { name: 'default', uid: 'ns-default', resourceVersion: '1',
	creationTimestamp: new Date().toISOString().replace(/\.\d+/, '') }, status: { phase: 'Active' } });
for (const file of arg.seed) {
	const doc = JSON.parse(fs.readFileSync(file, 'utf8'));
	for (const o of doc.items ?? [doc]) {
		const res = Object.keys(KINDS).find((r) => KINDS[r].kind === o.kind);
		const ns = o.metadata.namespace ?? 'default';
		if (!KINDS[res].cluster && !store.find('namespaces', '', ns))
			store.create('namespaces', '', { metadata: { name: ns } }, false);
		store.create(res, ns, o, false);
	}
}

const server = https.createServer({ key: tls.key, cert: tls.cert, minVersion: 'TLSv1.2' }, (req, res) => {
	handle(req, res).catch((e) => sendError(res, e));
});
server.keepAliveTimeout = 60000;
setInterval(() => {
	try {
		controllers.tick();
	} catch (e) {
		process.stderr.write(`controller: ${e.stack}\n`);
	}
}, Number(arg['step-ms']));
server.listen(Number(arg.port), '127.0.0.1', () => {
	const { port } = server.address();
	const url = `https://127.0.0.1:${port}`;
	const kubeconfig = path.join(dir, 'kubeconfig');
	fs.writeFileSync(kubeconfig, JSON.stringify({ apiVersion: 'v1', kind: 'Config', 'current-context': 'test',
		clusters: [{ name: 'test', cluster: { server: url, 'certificate-authority': path.join(dir, 'ca.pem') } }],
		users: [{ name: 'test', user: { token } }],
		contexts: [{ name: 'test', context: { cluster: 'test', user: 'test', namespace: 'default' } }] }), { mode: 0o600 });
	process.stdout.write(JSON.stringify({ port, server: url, ca_file: path.join(dir, 'ca.pem'), ca: tls.ca, token, kubeconfig, pid: process.pid }) + '\n');
});
if (arg['exit-with-stdin']) {
	process.stdin.on('end', () => process.exit(0));
	process.stdin.on('error', () => process.exit(0));
	process.stdin.resume();
}
for (const s of ['SIGTERM', 'SIGINT'])
	process.on(s, () => process.exit(0));
