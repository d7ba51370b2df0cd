// controllers.mjs - moves the rollouts forward, one small step per tick, as kube-controller-manager and
// the kubelets would. Reads and writes only through the store.
import { createHash } from 'node:crypto';
import { sorted, selects } from './kinds.mjs';
import { strategicMerge } from './patch.mjs';

const REV = 'deployment.kubernetes.io/revision';
const REV_HISTORY = 'deployment.kubernetes.io/revision-history';
const OWN_ANNOTATIONS = new Set(['kubectl.kubernetes.io/last-applied-configuration', REV, REV_HISTORY,
	'deployment.kubernetes.io/desired-replicas', 'deployment.kubernetes.io/max-replicas',
	'deprecated.deployment.rollback.to']);
const ALPHA = 'bcdfghjklmnpqrstvwxz2456789';

function shortHash(v) {
	const d = createHash('sha256').update(JSON.stringify(sorted(v))).digest();
	return [...d.subarray(0, 10)].map((b) => ALPHA[b % ALPHA.length]).join('');
}

function bare(template) {
	const t = structuredClone(template);
	if (t.metadata?.labels) {
		delete t.metadata.labels['pod-template-hash'];
		delete t.metadata.labels['controller-revision-hash'];
	}
	return t;
}
const sameTemplate = (a, b) => JSON.stringify(sorted(bare(a))) === JSON.stringify(sorted(bare(b)));
const stamp = () => new Date().toISOString().replace(/\.\d+/, '');
const ref = (o) => ({ apiVersion: o.apiVersion, kind: o.kind, name: o.metadata.name, uid: o.metadata.uid,
	controller: true, blockOwnerDeletion: true });
const noZero = (s) => Object.fromEntries(Object.entries(s).filter(([, v]) => v !== 0 && v !== undefined));
function share(v, total, up) {
	if (typeof v === 'string' && v.endsWith('%'))
		return up ? Math.ceil(total * parseInt(v, 10) / 100) : Math.floor(total * parseInt(v, 10) / 100);
	return Number(v ?? 0);
}

export class Controllers {
	constructor(store, opt) {
		this.store = store;
		this.opt = opt;			// { ready_ms, nodes }
		this.neverReady = [];		// patterns of images whose pods never become ready
		this.born = new Map();		// pod uid -> when it was made (ms)
		this.progress = new Map();	// deployment uid -> { sign, at } of the last step forward
		this.paused = false;
	}

	tick() {
		if (this.paused)
			return;
		for (const res of ['deployments', 'statefulsets', 'daemonsets', 'replicasets'])
			for (const o of this.store.list(res))
				if (!o.metadata.deletionTimestamp)
					this[res](o);
		this.pods();
		this.collect();
	}

	// Objects whose owner is gone go too; foreground deletion waits for them.
	collect() {
		const s = this.store;
		const uids = new Map([...s.objects.values()].map((o) => [o.metadata.uid, o]));
		for (const res of ['pods', 'replicasets', 'controllerrevisions', 'deployments', 'statefulsets', 'daemonsets'])
			for (const o of s.list(res)) {
				const owner = (o.metadata.ownerReferences ?? []).find((r) => r.controller);
				if (owner && (!uids.has(owner.uid) || uids.get(owner.uid).metadata.deletionTimestamp))
					s.remove(res, o);
				else if (o.metadata.deletionTimestamp &&
					!['pods', 'replicasets', 'controllerrevisions'].some((r) => s.owned(r, o).length))
					s.remove(res, o);
			}
	}

	makePod(owner, template, extra) {
		const t = structuredClone(template);
		const pod = this.store.create('pods', owner.metadata.namespace, {
			metadata: { generateName: `${owner.metadata.name}-`, ...extra.metadata,
				labels: { ...t.metadata?.labels, ...extra.labels }, annotations: t.metadata?.annotations,
				ownerReferences: [ref(owner)] },
			spec: { ...t.spec, nodeName: extra.node ?? 'node-1' },
			status: { phase: 'Pending', conditions: [{ type: 'PodScheduled', status: 'True' }] },
		}, false);
		this.born.set(pod.metadata.uid, Date.now());
		return pod;
	}

	isReady(pod) {
		return (pod.status?.conditions ?? []).some((c) => c.type === 'Ready' && c.status === 'True');
	}

	pods() {
		for (const p of this.store.list('pods')) {
			if (this.isReady(p))
				continue;
			const images = p.spec.containers.map((c) => c.image);
			const stuck = images.some((i) => this.neverReady.some((n) => i.includes(n)));
			if (stuck && p.status.containerStatuses)
				continue;
			if (!stuck && Date.now() - (this.born.get(p.metadata.uid) ?? 0) < this.opt.ready_ms)
				continue;
			this.store.change('pods', p, 'status', (o) => {
				o.status = stuck ? { phase: 'Pending', conditions: [{ type: 'PodScheduled', status: 'True' },
					{ type: 'Ready', status: 'False', reason: 'ContainersNotReady' }],
				containerStatuses: p.spec.containers.map((c) => ({ name: c.name, image: c.image, imageID: '', ready: false,
					restartCount: 0, lastState: {}, started: false,
					state: { waiting: { reason: 'ImagePullBackOff', message: `Back-off pulling image "${c.image}"` } } })) }
				: { phase: 'Running', startTime: stamp(), podIP: '10.0.0.1', hostIP: '192.0.2.1',
					conditions: [{ type: 'PodScheduled', status: 'True' }, { type: 'Ready', status: 'True', lastTransitionTime: stamp() }],
					containerStatuses: p.spec.containers.map((c) => ({ name: c.name, image: c.image, imageID: c.image, ready: true,
						restartCount: 0, lastState: {}, started: true, state: { running: { startedAt: stamp() } } })) };
			});
		}
	}

	setStatus(res, o, status) {
		if (JSON.stringify(sorted(o.status ?? {})) !== JSON.stringify(sorted(status)))
			this.store.change(res, o, 'status', (n) => { n.status = status; });
	}

	replicasets(rs) {
		const pods = this.store.owned('pods', rs);
		const want = rs.spec.replicas;
		for (let i = pods.length; i < want; i++)
			this.makePod(rs, rs.spec.template, {});
		if (pods.length > want)
			pods.sort((a, b) => this.isReady(a) - this.isReady(b)).slice(0, pods.length - want)
				.forEach((p) => this.store.remove('pods', p));
		const now = this.store.owned('pods', rs);
		const ready = now.filter((p) => this.isReady(p)).length;
		this.setStatus('replicasets', rs, { replicas: now.length, ...noZero({ fullyLabeledReplicas: now.length,
			readyReplicas: ready, availableReplicas: ready }), observedGeneration: rs.metadata.generation });
	}

	deployments(d) {
		const s = this.store;
		const all = s.owned('replicasets', d);
		let mine = all.find((r) => sameTemplate(r.spec.template, d.spec.template));
		const top = Math.max(0, ...all.map((r) => Number(r.metadata.annotations?.[REV] ?? 0)));
		const carried = Object.fromEntries(Object.entries(d.metadata.annotations ?? {}).filter(([k]) => !OWN_ANNOTATIONS.has(k)));

		if (!d.spec.paused) {
			if (!mine) {
				const hash = shortHash(bare(d.spec.template));
				const t = structuredClone(d.spec.template);
				t.metadata.labels = { ...t.metadata.labels, 'pod-template-hash': hash };
				mine = s.create('replicasets', d.metadata.namespace, {
					metadata: { name: `${d.metadata.name}-${hash}`, labels: t.metadata.labels, ownerReferences: [ref(d)],
						annotations: { ...carried, [REV]: String(top + 1) } },
					spec: { replicas: 0, selector: { ...d.spec.selector,
						matchLabels: { ...d.spec.selector.matchLabels, 'pod-template-hash': hash } }, template: t },
				}, false);
			} else if (Number(mine.metadata.annotations?.[REV] ?? 0) < top) {
				mine = s.change('replicasets', mine, 'spec', (r) => {
					const old = r.metadata.annotations[REV];
					r.metadata.annotations[REV_HISTORY] = [r.metadata.annotations[REV_HISTORY], old].filter(Boolean).join(',');
					r.metadata.annotations[REV] = String(top + 1);
				});
			}
			const rev = mine.metadata.annotations[REV];
			if (d.metadata.annotations?.[REV] !== rev)
				d = s.change('deployments', d, 'spec', (n) => { (n.metadata.annotations ??= {})[REV] = rev; });
			if (Object.entries(carried).some(([k, v]) => mine.metadata.annotations[k] !== v))
				mine = s.change('replicasets', mine, 'spec', (r) => { Object.assign(r.metadata.annotations, carried); });
		}
		this.scale(d, mine);
		this.deploymentStatus(s.find('deployments', d.metadata.namespace, d.metadata.name), mine);
		this.prune(d, mine);
	}

	scale(d, mine) {
		const s = this.store;
		const want = d.spec.replicas;
		const sets = s.owned('replicasets', d);
		const olds = sets.filter((r) => r.metadata.uid !== mine?.metadata.uid && r.spec.replicas > 0);
		const set = (r, n) => { if (r.spec.replicas !== n) s.change('replicasets', r, 'spec', (x) => { x.spec.replicas = n; }); };

		mine = mine && s.find('replicasets', mine.metadata.namespace, mine.metadata.name);
		if (!mine || d.spec.paused) {
			// a paused deployment is only scaled: the newest live set takes it
			const live = sets.filter((r) => r.spec.replicas > 0 || sets.length === 1);
			if (live.length === 1)
				set(live[0], want);
			return;
		}
		if (olds.length === 0)
			return set(mine, want);
		if (d.spec.strategy.type === 'Recreate') {
			olds.forEach((r) => set(r, 0));
			if (olds.every((r) => (r.status?.replicas ?? 0) === 0))
				set(mine, want);
			return;
		}
		const ru = d.spec.strategy.rollingUpdate ?? {};
		const surge = share(ru.maxSurge, want, true);
		let gone = share(ru.maxUnavailable, want, false);
		if (surge === 0 && gone === 0)
			gone = 1;
		const total = mine.spec.replicas + olds.reduce((n, r) => n + r.spec.replicas, 0);
		if (mine.spec.replicas > want)
			return set(mine, want);
		if (mine.spec.replicas < want && total < want + surge)
			return set(mine, Math.min(want, mine.spec.replicas + want + surge - total));
		const ready = (r) => r.status?.readyReplicas ?? 0;
		const available = ready(mine) + olds.reduce((n, r) => n + ready(r), 0);
		let spare = total - (want - gone) - (mine.spec.replicas - ready(mine));
		for (const r of olds) {			// first the pods that do no work
			const idle = Math.min(r.spec.replicas - Math.min(ready(r), r.spec.replicas), Math.max(spare, 0));
			if (idle > 0)
				return set(r, r.spec.replicas - idle);
		}
		spare = Math.min(spare, available - (want - gone));
		if (spare > 0)
			return set(olds[0], Math.max(0, olds[0].spec.replicas - spare));
	}

	deploymentStatus(d, mine) {
		const sets = this.store.owned('replicasets', d);
		mine = mine && sets.find((r) => r.metadata.uid === mine.metadata.uid);
		const sum = (f) => sets.reduce((n, r) => n + (r.status?.[f] ?? 0), 0);
		const want = d.spec.replicas;
		const replicas = sum('replicas'), ready = sum('readyReplicas'), available = sum('availableReplicas');
		const updated = mine?.status?.replicas ?? 0;
		const complete = updated === want && replicas === want && available === want;
		const old = Object.fromEntries((d.status?.conditions ?? []).map((c) => [c.type, c]));
		const gone = d.spec.strategy.type === 'Recreate' ? want : share(d.spec.strategy.rollingUpdate?.maxUnavailable, want, false);
		const conditions = [];
		const cond = (type, status, reason, message, touch) => {
			const was = old[type];
			const same = was && was.status === status;
			if (was && same && was.reason === reason && was.message === message && !touch)
				return conditions.push(was);
			conditions.push({ type, status, lastUpdateTime: stamp(),
				lastTransitionTime: same ? was.lastTransitionTime : stamp(), reason, message });
		};

		if (available >= want - gone)
			cond('Available', 'True', 'MinimumReplicasAvailable', 'Deployment has minimum availability.');
		else
			cond('Available', 'False', 'MinimumReplicasUnavailable', 'Deployment does not have minimum availability.');

		const sign = `${d.metadata.generation}/${updated}/${replicas - updated}/${ready}/${mine?.metadata.name}`;
		const last = this.progress.get(d.metadata.uid);
		const moved = !last || last.sign !== sign;
		if (moved)
			this.progress.set(d.metadata.uid, { sign, at: Date.now() });
		const name = mine ? `ReplicaSet "${mine.metadata.name}"` : `Deployment "${d.metadata.name}"`;
		if (d.spec.paused) {
			cond('Progressing', 'Unknown', 'DeploymentPaused', 'Deployment is paused');
		} else if (complete) {
			cond('Progressing', 'True', 'NewReplicaSetAvailable', `${name} has successfully progressed.`);
		} else if (!moved && (old.Progressing?.reason === 'ProgressDeadlineExceeded' ||
			Date.now() - last.at > d.spec.progressDeadlineSeconds * 1000)) {
			// a finished rollout that lost a pod is not a rollout under way
			if (old.Progressing?.reason === 'NewReplicaSetAvailable' && d.status?.observedGeneration === d.metadata.generation)
				cond('Progressing', old.Progressing.status, old.Progressing.reason, old.Progressing.message);
			else
				cond('Progressing', 'False', 'ProgressDeadlineExceeded', `${name} has timed out progressing.`);
		} else if (!old.Progressing || (updated === 0 && want > 0)) {
			cond('Progressing', 'True', 'NewReplicaSetCreated', `Created new replica set "${mine?.metadata.name}"`);
		} else {
			cond('Progressing', 'True', 'ReplicaSetUpdated', `${name} is progressing.`, moved);
		}
		this.setStatus('deployments', d, { observedGeneration: d.metadata.generation,
			...noZero({ replicas, updatedReplicas: updated, readyReplicas: ready, availableReplicas: available,
				unavailableReplicas: Math.max(0, want - available) }), conditions });
	}

	prune(d, mine) {
		const dead = this.store.owned('replicasets', d)
			.filter((r) => r.metadata.uid !== mine?.metadata.uid && r.spec.replicas === 0 && !(r.status?.replicas))
			.sort((a, b) => Number(a.metadata.annotations?.[REV] ?? 0) - Number(b.metadata.annotations?.[REV] ?? 0));
		dead.slice(0, Math.max(0, dead.length - d.spec.revisionHistoryLimit)).forEach((r) => this.store.remove('replicasets', r));
	}

	// The ControllerRevision of the present template, made or moved to the top when needed.
	revision(o, hashLabel) {
		const s = this.store;
		const all = s.owned('controllerrevisions', o).sort((a, b) => a.revision - b.revision);
		const data = { spec: { template: { ...structuredClone(bare(o.spec.template)), $patch: 'replace' } } };
		let mine = all.find((r) => JSON.stringify(sorted(r.data)) === JSON.stringify(sorted(data)));
		const top = Math.max(0, ...all.map((r) => r.revision));
		const carried = Object.fromEntries(Object.entries(o.metadata.annotations ?? {}).filter(([k]) => !OWN_ANNOTATIONS.has(k)));

		if (!mine) {
			const hash = shortHash(data);
			mine = s.create('controllerrevisions', o.metadata.namespace, {
				metadata: { name: `${o.metadata.name}-${hash}`, labels: { ...o.spec.template.metadata.labels, [hashLabel]: hash },
					annotations: carried, ownerReferences: [ref(o)] }, data, revision: top + 1 }, false);
		} else if (mine.revision < top) {
			mine = s.change('controllerrevisions', mine, 'spec', (r) => { r.revision = top + 1; });
		}
		all.slice(0, Math.max(0, all.length - o.spec.revisionHistoryLimit)).filter((r) => r.metadata.uid !== mine.metadata.uid)
			.forEach((r) => s.remove('controllerrevisions', r));
		return mine;
	}

	statefulsets(o) {
		const s = this.store;
		const rev = this.revision(o, 'controller.kubernetes.io/hash').metadata.name;
		const want = o.spec.replicas;
		const cur = o.status?.currentRevision ?? rev;
		const partition = o.spec.updateStrategy.rollingUpdate?.partition ?? 0;
		const ordinal = (p) => Number(p.metadata.name.slice(o.metadata.name.length + 1));
		let pods = s.owned('pods', o).sort((a, b) => ordinal(a) - ordinal(b));
		const revOf = (p) => p.metadata.labels['controller-revision-hash'];
		const templateOf = (name) => {
			const r = s.find('controllerrevisions', o.metadata.namespace, name);
			return r ? strategicMerge({ spec: o.spec }, r.data).spec.template : o.spec.template;
		};
		const step = () => {
			for (let i = 0; i < want; i++) {
				const p = pods.find((x) => ordinal(x) === i);
				if (!p) {
					const r = i < partition && s.find('controllerrevisions', o.metadata.namespace, cur) ? cur : rev;
					this.makePod(o, templateOf(r), { metadata: { name: `${o.metadata.name}-${i}`, generateName: undefined },
						labels: { 'controller-revision-hash': r, 'statefulset.kubernetes.io/pod-name': `${o.metadata.name}-${i}` } });
					return;
				}
				if (!this.isReady(p) && o.spec.podManagementPolicy === 'OrderedReady' && revOf(p) === rev)
					return;
			}
			const over = pods.filter((p) => ordinal(p) >= want).pop();
			if (over)
				return s.remove('pods', over);
			if (o.spec.updateStrategy.type !== 'RollingUpdate')
				return;
			for (let i = want - 1; i >= partition; i--) {
				const p = pods.find((x) => ordinal(x) === i);
				if (p && revOf(p) !== rev)
					return s.remove('pods', p);
				if (p && !this.isReady(p))
					return;
			}
		};
		step();
		pods = s.owned('pods', o);
		const ready = pods.filter((p) => this.isReady(p)).length;
		const updated = pods.filter((p) => revOf(p) === rev).length;
		const done = o.spec.updateStrategy.type === 'RollingUpdate' && partition === 0 && updated === want && pods.length === want && ready === want;
		this.setStatus('statefulsets', s.find('statefulsets', o.metadata.namespace, o.metadata.name), { observedGeneration: o.metadata.generation,
			replicas: pods.length, availableReplicas: ready, ...noZero({ readyReplicas: ready, updatedReplicas: updated,
				currentReplicas: done ? updated : pods.filter((p) => revOf(p) === cur).length }),
			currentRevision: done ? rev : cur, updateRevision: rev, collisionCount: 0 });
	}

	daemonsets(o) {
		const s = this.store;
		const rev = this.revision(o, 'controller-revision-hash');
		const hash = rev.metadata.labels['controller-revision-hash'];
		const revOf = (p) => p.metadata.labels['controller-revision-hash'];
		let pods = s.owned('pods', o);
		const nodes = Array.from({ length: this.opt.nodes }, (_, i) => `node-${i + 1}`);
		const missing = nodes.filter((n) => !pods.some((p) => p.spec.nodeName === n));

		if (missing.length)
			missing.forEach((node) => this.makePod(o, o.spec.template, { node, labels: { 'controller-revision-hash': hash } }));
		else if (o.spec.updateStrategy.type === 'RollingUpdate' && pods.every((p) => this.isReady(p) || revOf(p) !== hash)) {
			const p = pods.find((x) => revOf(x) !== hash);
			if (p)
				s.remove('pods', p);
		}
		pods = s.owned('pods', o);
		const ready = pods.filter((p) => this.isReady(p)).length;
		this.setStatus('daemonsets', s.find('daemonsets', o.metadata.namespace, o.metadata.name), { observedGeneration: o.metadata.generation,
			currentNumberScheduled: pods.length, numberMisscheduled: 0, desiredNumberScheduled: nodes.length, numberReady: ready,
			...noZero({ updatedNumberScheduled: pods.filter((p) => revOf(p) === hash).length, numberAvailable: ready,
				numberUnavailable: nodes.length - ready }) });
	}
}

export { selects };
