/* budget.h - how much of the machine the sensor may take, and when it looks away.
 *
 * Above the budget the level rises by one for each second; at level n only one slice of time in 2^n is looked at,
 * and what is counted there stands for all. Well below the budget it falls again, slowly. Pure. */
#pragma once
#include <stdint.h>

#define BUDGET_LEVEL_MAX 7

struct budget {
	double share; /* allowed, of one CPU: 0.05 */
	unsigned level, calm;
	int64_t last_ns, last_cpu_ns;
	double used; /* of the last second */
};

/* Once a second or so: the CPU time that was used since the start, kernel's side included. Returns the level. */
unsigned budget_step(struct budget *b, int64_t now_ns, int64_t cpu_ns);
