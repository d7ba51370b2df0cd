// cedar.mjs DIR N - the same rules and requests for cedar-wasm: answers each request, then times N of them.
// DIR/cedar.json: {"policies": {id: text}, "requests": [{...context}], "sets": {"deny": [...ids], ...}}. The rules' three
// answers become annotations on permit policies: what cedar says to have determined the answer tells which rules hold.
import { readFileSync } from 'node:fs';
import * as cedar from '@cedar-policy/cedar-wasm/nodejs';

const [dir, n] = [process.argv[2], Number(process.argv[3])];
const { policies, requests, answers } = JSON.parse(readFileSync(dir + '/cedar.json'));
const authorize = cedar.isAuthorized ?? cedar.default.isAuthorized;
const preparse = cedar.preparsePolicySet ?? cedar.default?.preparsePolicySet;
const stateful = cedar.statefulIsAuthorized ?? cedar.default?.statefulIsAuthorized;
const set = { staticPolicies: policies };
let fast = false;
if (preparse && stateful) {
	const r = preparse('bench', set);
	fast = r.type === 'success';
}
const base = { principal: { type: 'User', id: 'bench' }, action: { type: 'Action', id: 'run' }, resource: { type: 'Plan', id: 'one' } };
function ask(context) {
	return fast ? stateful({ ...base, context, preparsedPolicySetId: 'bench', entities: [], validateRequest: false })
		: authorize({ ...base, context, policies: set, entities: [] });
}
let text = '';
for (const context of requests) {
	const r = ask(context);
	if (r.type !== 'success') throw new Error(JSON.stringify(r));
	const hit = new Set(r.response.diagnostics.reason.map((id) => answers[id]));
	text += hit.has('deny') ? 'd' : hit.has('ask') ? 'q' : hit.has('allow') ? 'a' : 'q';
}
const begin = process.hrtime.bigint();
for (let i = 0; i < n; i++) ask(requests[i % requests.length]);
const us = n ? Number(process.hrtime.bigint() - begin) / 1000 / n : 0;
console.log(JSON.stringify({ us, fast, answers: text }));
