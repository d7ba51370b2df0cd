// kinds.mjs - the table of kinds: names, defaults, validation and the columns of `kubectl get`.

const TEMPLATE_SPEC = {
	restartPolicy: 'Always', terminationGracePeriodSeconds: 30, dnsPolicy: 'ClusterFirst', securityContext: {},
	schedulerName: 'default-scheduler',
};
const CONTAINER = {
	resources: {}, terminationMessagePath: '/dev/termination-log', terminationMessagePolicy: 'File',
};

function fill(at, defaults) {
	for (const [k, v] of Object.entries(defaults))
		if (at[k] === undefined || at[k] === null)
			at[k] = structuredClone(v);
}

function fillTemplate(t) {
	t.metadata ??= {};
	if (!('creationTimestamp' in t.metadata))
		t.metadata.creationTimestamp = null;
	t.spec ??= {};
	fill(t.spec, TEMPLATE_SPEC);
	for (const c of [...(t.spec.containers ?? []), ...(t.spec.initContainers ?? [])]) {
		fill(c, CONTAINER);
		c.imagePullPolicy ??= /:latest$|^[^:@]+$/.test(c.image ?? '') ? 'Always' : 'IfNotPresent';
		for (const p of c.ports ?? [])
			p.protocol ??= 'TCP';
	}
}

function fillWorkload(o, defaults) {
	o.spec ??= {};
	fill(o.spec, defaults);
	if (o.spec.template)
		fillTemplate(o.spec.template);
}

export function selects(selector, labels = {}) {
	if (!selector)
		return false;
	for (const [k, v] of Object.entries(selector.matchLabels ?? {}))
		if (labels[k] !== v)
			return false;
	for (const e of selector.matchExpressions ?? []) {
		const has = e.key in labels;
		const ok = e.operator === 'In' ? has && e.values.includes(labels[e.key])
			: e.operator === 'NotIn' ? !(has && e.values.includes(labels[e.key]))
			: e.operator === 'Exists' ? has : !has;
		if (!ok)
			return false;
	}
	return true;
}

function checkWorkload(o, old) {
	const causes = [];
	const bad = (field, reason, message) => causes.push({ reason, message, field });
	const s = o.spec ?? {};

	if (!s.selector || !(Object.keys(s.selector.matchLabels ?? {}).length + (s.selector.matchExpressions ?? []).length))
		bad('spec.selector', 'FieldValueRequired', 'Required value');
	else if (!selects(s.selector, s.template?.metadata?.labels))
		bad('spec.template.metadata.labels', 'FieldValueInvalid',
			`Invalid value: ${JSON.stringify(s.template?.metadata?.labels ?? {})}: \`selector\` does not match template \`labels\``);
	if (old && JSON.stringify(sorted(old.spec.selector)) !== JSON.stringify(sorted(s.selector)))
		bad('spec.selector', 'FieldValueInvalid', `Invalid value: ${JSON.stringify(s.selector)}: field is immutable`);
	if (s.replicas !== undefined && (!Number.isInteger(s.replicas) || s.replicas < 0))
		bad('spec.replicas', 'FieldValueInvalid', `Invalid value: ${s.replicas}: must be greater than or equal to 0`);
	const cs = s.template?.spec?.containers;
	if (!Array.isArray(cs) || cs.length === 0)
		bad('spec.template.spec.containers', 'FieldValueRequired', 'Required value');
	const seen = new Set();
	(cs ?? []).forEach((c, i) => {
		if (!c.name)
			bad(`spec.template.spec.containers[${i}].name`, 'FieldValueRequired', 'Required value');
		if (!c.image)
			bad(`spec.template.spec.containers[${i}].image`, 'FieldValueRequired', 'Required value');
		if (seen.has(c.name))
			bad(`spec.template.spec.containers[${i}].name`, 'FieldValueDuplicate', `Duplicate value: "${c.name}"`);
		seen.add(c.name);
	});
	return causes;
}

export function sorted(v) {
	if (Array.isArray(v))
		return v.map(sorted);
	if (v && typeof v === 'object')
		return Object.fromEntries(Object.keys(v).sort().filter((k) => v[k] !== undefined).map((k) => [k, sorted(v[k])]));
	return v;
}

export function age(o) {
	const s = Math.max(0, Math.floor((Date.now() - Date.parse(o.metadata.creationTimestamp)) / 1000));
	return s < 120 ? `${s}s` : s < 7200 ? `${Math.floor(s / 60)}m` : `${Math.floor(s / 3600)}h`;
}

const N = (v) => v ?? 0;
export const KINDS = {
	deployments: {
		group: 'apps', version: 'v1', kind: 'Deployment', singular: 'deployment', short: ['deploy'], scale: true, categories: ['all'],
		defaults: (o) => {
			fillWorkload(o, { replicas: 1, progressDeadlineSeconds: 600, revisionHistoryLimit: 10,
				strategy: { type: 'RollingUpdate' } });
			if (o.spec.strategy.type === 'RollingUpdate') {
				o.spec.strategy.rollingUpdate ??= {};
				fill(o.spec.strategy.rollingUpdate, { maxSurge: '25%', maxUnavailable: '25%' });
			}
		},
		check: checkWorkload,
		columns: [['Ready', (o) => `${N(o.status?.readyReplicas)}/${N(o.spec.replicas)}`, 'string'],
			['Up-to-date', (o) => N(o.status?.updatedReplicas), 'integer'],
			['Available', (o) => N(o.status?.availableReplicas), 'integer'], ['Age', age, 'string']],
	},
	replicasets: {
		group: 'apps', version: 'v1', kind: 'ReplicaSet', singular: 'replicaset', short: ['rs'], scale: true, categories: ['all'],
		defaults: (o) => fillWorkload(o, { replicas: 1 }), check: checkWorkload,
		columns: [['Desired', (o) => N(o.spec.replicas), 'integer'], ['Current', (o) => N(o.status?.replicas), 'integer'],
			['Ready', (o) => N(o.status?.readyReplicas), 'integer'], ['Age', age, 'string']],
	},
	statefulsets: {
		group: 'apps', version: 'v1', kind: 'StatefulSet', singular: 'statefulset', short: ['sts'], scale: true, categories: ['all'],
		defaults: (o) => {
			fillWorkload(o, { replicas: 1, revisionHistoryLimit: 10, podManagementPolicy: 'OrderedReady',
				updateStrategy: { type: 'RollingUpdate' } });
			if (o.spec.updateStrategy.type === 'RollingUpdate') {
				o.spec.updateStrategy.rollingUpdate ??= {};
				fill(o.spec.updateStrategy.rollingUpdate, { partition: 0 });
			}
		},
		check: checkWorkload,
		columns: [['Ready', (o) => `${N(o.status?.readyReplicas)}/${N(o.spec.replicas)}`, 'string'], ['Age', age, 'string']],
	},
	daemonsets: {
		group: 'apps', version: 'v1', kind: 'DaemonSet', singular: 'daemonset', short: ['ds'], categories: ['all'],
		defaults: (o) => {
			fillWorkload(o, { revisionHistoryLimit: 10, updateStrategy: { type: 'RollingUpdate' } });
			if (o.spec.updateStrategy.type === 'RollingUpdate') {
				o.spec.updateStrategy.rollingUpdate ??= {};
				fill(o.spec.updateStrategy.rollingUpdate, { maxSurge: 0, maxUnavailable: 1 });
			}
		},
		check: checkWorkload,
		columns: [['Desired', (o) => N(o.status?.desiredNumberScheduled), 'integer'],
			['Ready', (o) => N(o.status?.numberReady), 'integer'],
			['Up-to-date', (o) => N(o.status?.updatedNumberScheduled), 'integer'],
			['Available', (o) => N(o.status?.numberAvailable), 'integer'], ['Age', age, 'string']],
	},
	controllerrevisions: {
		group: 'apps', version: 'v1', kind: 'ControllerRevision', singular: 'controllerrevision', short: [],
		columns: [['Revision', (o) => o.revision, 'integer'], ['Age', age, 'string']],
	},
	pods: {
		group: '', version: 'v1', kind: 'Pod', singular: 'pod', short: ['po'], categories: ['all'],
		columns: [['Ready', (o) => `${(o.status?.containerStatuses ?? []).filter((c) => c.ready).length}/${o.spec.containers.length}`, 'string'],
			['Status', (o) => o.status?.containerStatuses?.[0]?.state?.waiting?.reason ?? o.status?.phase, 'string'],
			['Restarts', () => 0, 'integer'], ['Age', age, 'string']],
	},
	namespaces: {
		group: '', version: 'v1', kind: 'Namespace', singular: 'namespace', short: ['ns'], cluster: true,
		columns: [['Status', (o) => o.status?.phase ?? 'Active', 'string'], ['Age', age, 'string']],
	},
};

export function apiVersion(res) {
	const k = KINDS[res];
	return k.group ? `${k.group}/${k.version}` : k.version;
}
