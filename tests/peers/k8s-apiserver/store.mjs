// store.mjs - objects with the API server's bookkeeping: uid, resourceVersion, generation, and watch.
import { randomUUID } from 'node:crypto';
import { KINDS, apiVersion, sorted } from './kinds.mjs';
import { equal } from './patch.mjs';

export class ApiError extends Error {
	constructor(code, reason, message, details) {
		super(message);
		this.code = code;
		this.reason = reason;
		this.details = details;
	}
}

// Empty maps of metadata are left out, as Go's omitempty does.
function plain(o) {
	const out = JSON.parse(JSON.stringify(o));
	for (const m of [out.metadata, out.spec?.template?.metadata])
		for (const f of ['annotations', 'labels'])
			if (m?.[f] && Object.keys(m[f]).length === 0)
				delete m[f];
	return out;
}

export class Store {
	constructor() {
		this.rv = 1000;
		this.objects = new Map();	// "res/ns/name" -> object
		this.log = [];			// {rv, res, type, object} for watchers that come late
		this.watchers = new Set();
	}

	key(res, ns, name) {
		return `${res}/${KINDS[res].cluster ? '' : ns}/${name}`;
	}

	find(res, ns, name) {
		return this.objects.get(this.key(res, ns, name));
	}

	get(res, ns, name) {
		const o = this.find(res, ns, name);
		if (!o)
			throw this.notFound(res, name);
		return o;
	}

	notFound(res, name) {
		const group = KINDS[res].group;
		return new ApiError(404, 'NotFound', `${res}${group ? '.' + group : ''} "${name}" not found`,
			{ name, group: group || undefined, kind: res });
	}

	list(res, ns) {
		const out = [];
		for (const [k, o] of this.objects)
			if (k.startsWith(`${res}/`) && (!ns || KINDS[res].cluster || o.metadata.namespace === ns))
				out.push(o);
		return out.sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
	}

	owned(res, owner) {
		return this.list(res, owner.metadata.namespace)
			.filter((o) => (o.metadata.ownerReferences ?? []).some((r) => r.controller && r.uid === owner.metadata.uid));
	}

	tell(res, type, object) {
		const ev = { rv: Number(object.metadata.resourceVersion), res, type, object };
		this.log.push(ev);
		if (this.log.length > 5000)
			this.log.splice(0, 1000);
		for (const w of this.watchers)
			w(ev);
	}

	check(res, o, old) {
		const k = KINDS[res];
		const causes = k.check ? k.check(o, old) : [];
		if (causes.length) {
			const m = causes.map((c) => `${c.field}: ${c.message}`);
			throw new ApiError(422, 'Invalid', `${k.kind}${k.group ? '.' + k.group : ''} "${o.metadata.name}" is invalid: ` +
				(m.length > 1 ? `[${m.join(', ')}]` : m[0]), { name: o.metadata.name, group: k.group, kind: k.kind, causes });
		}
	}

	create(res, ns, body, dry) {
		const o = structuredClone(body);
		const k = KINDS[res];

		o.apiVersion = apiVersion(res);
		o.kind = k.kind;
		o.metadata ??= {};
		if (!o.metadata.name && o.metadata.generateName)
			o.metadata.name = o.metadata.generateName + randomUUID().slice(0, 5);
		if (!o.metadata.name)
			throw new ApiError(422, 'Invalid', `${k.kind} "" is invalid: metadata.name: Required value: name or generateName is required`);
		if (!k.cluster) {
			if (o.metadata.namespace && ns && o.metadata.namespace !== ns)
				throw new ApiError(400, 'BadRequest', 'the namespace of the provided object does not match the namespace sent on the request');
			o.metadata.namespace = ns;
			if (!this.find('namespaces', '', ns))
				throw this.notFound('namespaces', ns);
		}
		if (o.metadata.resourceVersion)
			throw new ApiError(400, 'BadRequest', 'resourceVersion should not be set on objects to be created');
		if (this.find(res, ns, o.metadata.name))
			throw new ApiError(409, 'AlreadyExists', `${res}${k.group ? '.' + k.group : ''} "${o.metadata.name}" already exists`,
				{ name: o.metadata.name, group: k.group, kind: res });
		k.defaults?.(o);
		this.check(res, o);
		o.metadata.uid = randomUUID();
		o.metadata.creationTimestamp = new Date().toISOString().replace(/\.\d+/, '');
		o.metadata.generation = o.spec ? 1 : undefined;
		if (KINDS[res].check)
			o.status = {};
		o.metadata.resourceVersion = String(dry ? this.rv : ++this.rv);
		const done = plain(o);
		if (!dry) {
			this.objects.set(this.key(res, ns, o.metadata.name), done);
			this.tell(res, 'ADDED', done);
		}
		return done;
	}

	// part: 'spec' (the object itself) or 'status' (the status subresource)
	update(res, old, next, part, dry) {
		const k = KINDS[res];
		const o = structuredClone(next);

		o.metadata ??= {};
		if (o.metadata.name !== undefined && o.metadata.name !== old.metadata.name)
			throw new ApiError(400, 'BadRequest', `the name of the object (${o.metadata.name}) does not match the name on the URL (${old.metadata.name})`);
		if ((o.metadata.resourceVersion && o.metadata.resourceVersion !== old.metadata.resourceVersion))
			throw new ApiError(409, 'Conflict', `Operation cannot be fulfilled on ${res}${k.group ? '.' + k.group : ''} "${old.metadata.name}": ` +
				'the object has been modified; please apply your changes to the latest version and try again',
				{ name: old.metadata.name, group: k.group, kind: res });
		if (o.metadata.uid && o.metadata.uid !== old.metadata.uid)
			throw new ApiError(409, 'Conflict', `Operation cannot be fulfilled on ${res} "${old.metadata.name}": ` +
				`Precondition failed: UID in precondition: ${o.metadata.uid}, UID in object meta: ${old.metadata.uid}`);
		for (const f of ['name', 'namespace', 'uid', 'creationTimestamp', 'generation', 'resourceVersion', 'deletionTimestamp', 'ownerReferences'])
			if (f !== 'ownerReferences' || o.metadata[f] === undefined)
				o.metadata[f] = old.metadata[f];
		o.apiVersion = old.apiVersion;
		o.kind = old.kind;
		if (part === 'status') {
			o.spec = old.spec;
		} else if (k.check) {
			o.status = old.status;
			k.defaults?.(o);
			this.check(res, o, old);
			if (!equal(o.spec, old.spec))
				o.metadata.generation = (old.metadata.generation ?? 0) + 1;
		}
		const done = plain(o);
		if (equal(sorted(done), sorted(old)))
			return old;	// as in the real server, an update that changes nothing keeps the version
		done.metadata.resourceVersion = String(dry ? this.rv : ++this.rv);
		if (!dry) {
			this.objects.set(this.key(res, done.metadata.namespace, done.metadata.name), done);
			this.tell(res, 'MODIFIED', done);
		}
		return done;
	}

	// The controllers' door: read, change, write, without a version check.
	change(res, o, part, fn) {
		const now = this.find(res, o.metadata.namespace, o.metadata.name);
		if (!now || now.metadata.uid !== o.metadata.uid)
			return undefined;
		const next = structuredClone(now);
		fn(next);
		delete next.metadata.resourceVersion;
		return this.update(res, now, next, part, false);
	}

	remove(res, o) {
		this.objects.delete(this.key(res, o.metadata.namespace, o.metadata.name));
		const gone = structuredClone(o);
		gone.metadata.resourceVersion = String(++this.rv);
		this.tell(res, 'DELETED', gone);
	}
}
