/* alert.h - other people's alerts, whatever their sender calls things. Reading is pure; alert_receive() raises and clears signals.
 *
 * Every sender's body becomes a list of alerts. What a sender calls the same trouble becomes the fingerprint, with the sender before it.
 * Bounded: ALERTS_MAX a body, ALERT_LABELS_MAX labels of ALERT_TEXT_MAX bytes each; the rest of a label list is left out. */
#pragma once
#include "api/call.h"

#define ALERTS_MAX       1000
#define ALERT_LABELS_MAX 64
#define ALERT_TEXT_MAX   4096

struct alert {
	char fingerprint[129];
	char *title, *summary, *resource; /* summary, resource: or NULL */
	const char *severity;             /* a word of the type */
	json_t *labels;
	bool firing;
	int64_t at_us; /* when it began, or ended; 0: not said */
};

struct alert_list {
	struct alert *item;
	size_t count;
	char delivery[HASH_HEX]; /* what tells this delivery from every other one; "" if the sender says nothing of the kind */
};
void alert_list_done(struct alert_list *l);
static inline void oc_auto_alert_list(struct alert_list *l)
{
	alert_list_done(l);
}

/* What is not in the body: a header or query parameter by name, or NULL. */
struct alert_around {
	const char *(*header)(const void *ctx, const char *name);
	const char *(*query)(const void *ctx, const char *name);
	const void *ctx;
};

/* OC_INVALID with the field at fault. On failure the list is empty. */
typedef enum oc_err alert_reader(const json_t *body, const struct alert_around *around,
				 struct alert_list *ret, struct oc_fail *reterr);
alert_reader alert_read_alertmanager, alert_read_grafana, alert_read_cloudevents, alert_read_pagerduty,
	alert_read_generic;

/* For readers: a new item, or NULL when there are too many (then reterr says so). */
struct alert *alert_add(struct alert_list *l, struct oc_fail *reterr);
void alert_text(char **dst, const char *text); /* cut to ALERT_TEXT_MAX; NULL stays NULL */
void alert_label(struct alert *a, const char *name, const char *value);
void alert_labels(struct alert *a, const json_t *object); /* the texts and numbers in it */
void alert_fingerprint(struct alert *a, const char *sender, const char *key);
const char *alert_severity(const char *word); /* NULL or unknown: ERROR */
/* The label `resource` if it is a URN, else what namespace and service or instance say. */
void alert_find_resource(struct alert *a);

/* Checks signature and replay, reads, writes, answers. */
void alert_receive(struct api_call *c, const char *sender, alert_reader *read);
/* Of "timestamp:body" where there is one, else of the body. */
bool alert_signature_ok(const char *secret, const char *timestamp, const char *body, size_t len,
			const char *signature, int64_t now_us);
