#include "sensor-bpf/host/budget.h"

#define CALM_STEPS 10 /* steps below a third of the budget, until it looks at more again */

unsigned budget_step(struct budget *b, int64_t now_ns, int64_t cpu_ns)
{
	if (b->last_ns && now_ns > b->last_ns) {
		b->used = (double)(cpu_ns - b->last_cpu_ns) / (double)(now_ns - b->last_ns);
		if (b->used > b->share) {
			b->calm = 0;
			if (b->level < BUDGET_LEVEL_MAX)
				b->level++;
		} else if (b->level && b->used < b->share / 3 && ++b->calm >= CALM_STEPS) {
			b->calm = 0;
			b->level--;
		}
	}
	b->last_ns = now_ns;
	b->last_cpu_ns = cpu_ns;
	return b->level;
}
