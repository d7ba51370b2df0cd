/* bench_gate DIR N - decisions of a policy set in process.
 *
 * DIR/policy/ holds the set, DIR/facts.json a JSON array of requests. Answers each request once (printed as a string
 * of a, q, d: allow, ask, deny), then asks N times round robin and says how long one decision takes. */
#include <string.h>
#include "base/mem.h"
#include "base/text.h"
#include "bench/src/bench.h"
#include "gatekeeper/policy.h"

static char *file(const char *dir, const char *name)
{
	AUTO(str) char *path = mem_printf("%s/%s", dir, name);
	AUTO(file) FILE *f = fopen(path, "re");
	struct text t = { 0 };
	char buf[65536];
	size_t n;

	if (!f) {
		perror(path);
		exit(1);
	}
	while ((n = fread(buf, 1, sizeof(buf), f)) > 0)
		text_add_n(&t, buf, n);
	return text_take(&t);
}

int main(int argc, char **argv)
{
	AUTO(str) char *rules = NULL;
	AUTO(str) char *requests = NULL;
	AUTO(json) json_t *list = NULL;
	AUTO(policy) struct policy *policy = NULL;
	struct policy_decision d;
	struct oc_fail fail;
	struct facts *facts;
	struct text answers = { 0 };
	size_t count;
	unsigned sum = 0;
	long n;
	double t;

	if (argc != 3)
		return 64;
	n = atol(argv[2]);
	rules = mem_printf("%s/policy", argv[1]);
	requests = file(argv[1], "facts.json");
	if (policy_load(rules, &policy, &fail) != OC_OK || json_read_own(requests, &list, &fail) != OC_OK) {
		fprintf(stderr, "%s\n", fail.text);
		return 1;
	}
	count = json_array_size(list);
	facts = mem_array(count, sizeof(*facts));
	for (size_t i = 0; i < count; i++) {
		if (facts_read(json_array_get(list, i), &facts[i], &fail) != OC_OK) {
			fprintf(stderr, "%s\n", fail.text);
			return 1;
		}
		policy_ask(policy, &facts[i], &d);
		text_add(&answers, d.answer == POLICY_ALLOW ? "a" : d.answer == POLICY_ASK ? "q" : "d");
	}
	t = bench_now();
	for (long i = 0; i < n; i++) {
		policy_ask(policy, &facts[(size_t)i % count], &d);
		sum += (unsigned)d.answer;
	}
	t = bench_now() - t;
	printf("{\"rules\":%zu,\"us\":%.5f,\"sum\":%u,\"answers\":\"%s\"}\n", policy_rule_count(policy),
	       n ? t / (double)n * 1e6 : 0, sum, text_str(&answers));
	text_done(&answers);
	free(facts);
	return 0;
}
