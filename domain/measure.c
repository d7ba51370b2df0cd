#include "domain/measure.h"
#include <math.h>
#include <string.h>
#include "base/mem.h"

void measure_done(struct measure *m)
{
	for (size_t i = 0; i < m->count; i++)
		sketch_free(m->bucket[i].sketch);
	free(m->bucket);
	memset(m, 0, sizeof(*m));
}

struct measure_bucket *measure_add(struct measure *m)
{
	struct measure_bucket *b;

	/* grows at powers of two */
	if ((m->count & (m->count - 1)) == 0)
		m->bucket = mem_grow(m->bucket, m->count ? m->count * 2 : 1, sizeof(*m->bucket));
	b = &m->bucket[m->count++];
	memset(b, 0, sizeof(*b));
	b->avg = b->max = b->min = b->p95 = b->sum = NAN;
	return b;
}
