/* policy_test.h - runs a file of cases against a policy: `opscase policy test FILE`.
 *
 *   defaults: {kill_switch: false, plan_kind: forward, budget_left: 2}     # facts of every case
 *   cases:
 *     - name: a restart in staging needs nobody
 *       at: 2026-03-02T10:00:00Z              # sets hour, weekday and frozen; left out: a Monday at noon
 *       facts: {action: k8s.rollout, tenant: t-001, environment: staging}
 *       steps: [{risk: 0.2}, {risk: 0.4}]     # optional: what differs from step to step
 *       expect: {answer: allow, rules: [low-risk], quorum: 0, roles: [admin], recurring: false}
 *
 * `rules` are the ids that must all be among those hit; `only_rules` are exactly those. */
#pragma once
#include "gatekeeper/policy.h"

struct policy_test_result {
	unsigned passed, failed;
};
/* One line per case into out. An error means that the file itself is wrong (file:line). */
MUST_CHECK enum oc_err policy_test_run(const struct policy *p, const char *path, struct text *out,
				       struct policy_test_result *ret, struct oc_fail *reterr);
MUST_CHECK enum oc_err policy_test_text(const struct policy *p, const char *name, const char *text,
					size_t len, struct text *out, struct policy_test_result *ret,
					struct oc_fail *reterr);
