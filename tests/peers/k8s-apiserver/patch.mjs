// patch.mjs - the three patch formats of the Kubernetes API, as pure functions.
// Every function returns a new value and leaves its arguments alone.

export class PatchError extends Error {
	constructor(code, message) {
		super(message);
		this.code = code;
	}
}

const isMap = (v) => v !== null && typeof v === 'object' && !Array.isArray(v);
const copy = (v) => (v === undefined ? undefined : structuredClone(v));

export function equal(a, b) {
	if (a === b)
		return true;
	if (Array.isArray(a) && Array.isArray(b))
		return a.length === b.length && a.every((x, i) => equal(x, b[i]));
	if (isMap(a) && isMap(b)) {
		const ka = Object.keys(a).filter((k) => a[k] !== undefined);
		const kb = Object.keys(b).filter((k) => b[k] !== undefined);

		return ka.length === kb.length && ka.every((k) => equal(a[k], b[k]));
	}
	return false;
}

// RFC 7386
export function mergePatch(target, patch) {
	if (!isMap(patch))
		return copy(patch);
	const out = isMap(target) ? copy(target) : {};
	for (const [k, v] of Object.entries(patch)) {
		if (v === null)
			delete out[k];
		else
			out[k] = mergePatch(out[k], v);
	}
	return out;
}

// RFC 6902
export function jsonPatch(target, ops) {
	if (!Array.isArray(ops))
		throw new PatchError(400, 'a JSON patch is an array of operations');
	let root = copy(target);
	const parts = (p) => {
		if (typeof p !== 'string' || (p !== '' && p[0] !== '/'))
			throw new PatchError(422, `bad JSON pointer '${p}'`);
		return p === '' ? [] : p.slice(1).split('/').map((s) => s.replace(/~1/g, '/').replace(/~0/g, '~'));
	};
	const get = (path) => {
		let at = root;
		for (const p of parts(path)) {
			if (at === null || typeof at !== 'object' || !(p in at))
				throw new PatchError(422, `the path '${path}' is not there`);
			at = at[p];
		}
		return at;
	};
	const put = (path, value, mustExist) => {
		const ps = parts(path);
		if (ps.length === 0) {
			root = copy(value);
			return;
		}
		const last = ps.pop();
		const at = get(ps.length ? '/' + ps.map((s) => s.replace(/~/g, '~0').replace(/\//g, '~1')).join('/') : '');
		if (at === null || typeof at !== 'object')
			throw new PatchError(422, `the parent of '${path}' is not there`);
		if (Array.isArray(at)) {
			const i = last === '-' ? at.length : Number(last);
			if (!Number.isInteger(i) || i < 0 || i > at.length || (mustExist && i >= at.length))
				throw new PatchError(422, `the path '${path}' is not there`);
			at.splice(i, mustExist ? 1 : 0, copy(value));
		} else {
			if (mustExist && !(last in at))
				throw new PatchError(422, `the path '${path}' is not there`);
			at[last] = copy(value);
		}
	};
	const remove = (path) => {
		const ps = parts(path);
		const last = ps.pop();
		get(path);
		const at = get(ps.length ? '/' + ps.map((s) => s.replace(/~/g, '~0').replace(/\//g, '~1')).join('/') : '');
		if (Array.isArray(at))
			at.splice(Number(last), 1);
		else
			delete at[last];
	};
	for (const op of ops) {
		switch (op?.op) {
		case 'test':
			if (!equal(get(op.path), op.value))
				throw new PatchError(422, `test of '${op.path}' failed`);
			break;
		case 'add':
			put(op.path, op.value, false);
			break;
		case 'replace':
			put(op.path, op.value, true);
			break;
		case 'remove':
			remove(op.path);
			break;
		case 'move': {
			const v = get(op.from);
			remove(op.from);
			put(op.path, v, false);
			break;
		}
		case 'copy':
			put(op.path, get(op.from), false);
			break;
		default:
			throw new PatchError(400, `unknown JSON patch operation '${op?.op}'`);
		}
	}
	return root;
}

// The lists that strategic merge joins by key; every other list is replaced.
const MERGE_KEYS = {
	containers: 'name', initContainers: 'name', ephemeralContainers: 'name', env: 'name', volumes: 'name',
	volumeMounts: 'mountPath', volumeDevices: 'devicePath', imagePullSecrets: 'name', hostAliases: 'ip',
	ownerReferences: 'uid', conditions: 'type', topologySpreadConstraints: 'topologyKey',
};
const SET_LISTS = new Set(['finalizers']);

function mergeKey(field, list) {
	if (field === 'ports')
		return list.some((x) => isMap(x) && 'containerPort' in x) ? 'containerPort' : 'port';
	return MERGE_KEYS[field];
}

export function strategicMerge(target, patch) {
	if (!isMap(patch))
		throw new PatchError(400, 'a strategic merge patch is an object');
	return mergeMap(target, patch);
}

function mergeMap(target, patch) {
	if (patch.$patch === 'replace') {
		const out = copy(patch);
		delete out.$patch;
		return out;
	}
	if (patch.$patch === 'delete')
		return {};
	const out = isMap(target) ? copy(target) : {};

	if (Array.isArray(patch.$retainKeys))
		for (const k of Object.keys(out))
			if (!patch.$retainKeys.includes(k))
				delete out[k];
	for (const [k, v] of Object.entries(patch)) {
		if (k === '$patch' || k === '$retainKeys' || k.startsWith('$setElementOrder/'))
			continue;
		if (k.startsWith('$deleteFromPrimitiveList/')) {
			const name = k.slice(k.indexOf('/') + 1);
			out[name] = (out[name] ?? []).filter((x) => !v.includes(x));
		} else if (v === null) {
			delete out[k];
		} else if (isMap(v)) {
			out[k] = mergeMap(out[k], v);
		} else if (Array.isArray(v)) {
			out[k] = mergeList(k, out[k], v, patch[`$setElementOrder/${k}`]);
		} else {
			out[k] = v;
		}
	}
	for (const [k, order] of Object.entries(patch)) {
		if (!k.startsWith('$setElementOrder/'))
			continue;
		const name = k.slice(k.indexOf('/') + 1);
		const key = Array.isArray(out[name]) ? mergeKey(name, out[name]) : undefined;
		if (!key)
			continue;
		const rank = new Map(order.map((o, i) => [o[key], i]));
		out[name] = out[name].map((x, i) => [rank.get(x[key]) ?? order.length + i, x])
			.sort((a, b) => a[0] - b[0]).map((p) => p[1]);
	}
	return out;
}

function mergeList(field, target, patch) {
	const clean = patch.filter((x) => !(isMap(x) && x.$patch === 'replace' && Object.keys(x).length === 1));

	if (clean.length !== patch.length)
		return copy(clean);
	if (SET_LISTS.has(field))
		return [...new Set([...(target ?? []), ...patch])];
	const key = mergeKey(field, patch.concat(target ?? []));
	if (!key)
		return copy(patch);
	const out = Array.isArray(target) ? copy(target) : [];
	for (const item of patch) {
		if (!isMap(item) || item[key] === undefined)
			throw new PatchError(400, `map: ${JSON.stringify(item)} does not contain declared merge key: ${key}`);
		const at = out.findIndex((x) => x[key] === item[key]);
		if (item.$patch === 'delete') {
			if (at >= 0)
				out.splice(at, 1);
		} else if (at >= 0) {
			out[at] = mergeMap(out[at], item);
		} else {
			out.push(mergeMap({}, item));
		}
	}
	return out;
}
