/* service.h - the roles of this process, wired together. Wiring only: every decision is made elsewhere. */
#pragma once
#include "base/settings.h"

struct service;

MUST_CHECK enum oc_err service_start(const struct settings *settings, struct service **ret,
				     struct oc_fail *reterr);
/* SIGHUP: policies and runbooks are read again; what is wrong is said and the last good set stays in force. */
void service_reload(struct service *s);
/* Every few seconds: ends runners that were idle for long. */
void service_tidy(struct service *s);
unsigned service_port(const struct service *s); /* of the API; 0 when this process has none */
void service_stop(struct service *s);
