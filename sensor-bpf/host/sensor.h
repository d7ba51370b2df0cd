/* sensor.h - the sensor as a whole: loads the probes, reads them, exports, until it is told to stop. */
#pragma once
#include "base/err.h"
#include "base/text.h"

struct settings;

/* Runs until `stop_fd` (a signalfd) can be read. Returns OC_OK after an orderly end. */
MUST_CHECK enum oc_err sensor_run(const struct settings *settings, int stop_fd, struct oc_fail *reterr);
/* Loads each probe, says how that went, unloads. Returns false if a wanted probe was refused or degraded. */
bool sensor_doctor(const struct settings *settings, struct text *out);
/* The table of probes, for --help and the manual. */
void sensor_probes_print(struct text *out);
