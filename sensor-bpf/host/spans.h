/* spans.h - slow and failed requests, as OTLP spans. Bounded: each export has room for so many; of what comes beyond a fair
 * sample stays (reservoir), and the rest is counted. */
#pragma once
#include <stdint.h>
#include "sensor-bpf/parse/flow.h"

struct spans;
struct spans *spans_new(const char *host_name, unsigned room);
void spans_free(struct spans *s);
void spans_offer(struct spans *s, const char *service, const char *peer, const struct call *call,
		 int64_t start_wall_ns);
uint64_t spans_left_out(const struct spans *s);
/* ExportTraceServiceRequest; NULL if there is nothing. Yours. Empties it. */
char *spans_export(struct spans *s);
