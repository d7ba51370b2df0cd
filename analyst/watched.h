/* watched.h - what is remembered of one series that is looked at; shared by watch, silence and saturation. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "analyst/detect.h"

/* Who fell silent with the series; what was said about it. */
enum silence { SILENCE_NONE, SILENCE_SERIES, SILENCE_RESOURCE, SILENCE_TENANT, SILENCE_USUAL };

/* What is stored of a series. */
struct kept {
	struct detector d;
	float before, away; /* of the open episode: the level before, how far it went */
	int64_t since_s;
	uint16_t odd, calm;
	uint8_t open, silent /* enum silence */;
	uint8_t filling; /* see saturation.h */
};

struct watched {
	long long tenant_id, series_id;
	struct kept kept;
	int64_t upto_us;
	uint64_t where; /* hash of the resource that fell silent, or 0 */
	bool used, dirty;
};
