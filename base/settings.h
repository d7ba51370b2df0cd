/* settings.h - what can be set: one table, read from a file, the environment and the command line.
 *
 * A later source wins: default < config file (`name = value` lines, # comments) < OPSCASE_<NAME> (dots become
 * underscores) < --name=value. A name that does not exist or a value that does not fit stops the start and says
 * what was probably meant. Filled once at start by one thread, read-only afterwards. */
#pragma once
#include <stdint.h>
#include "base/err.h"
#include "base/text.h"

enum setting_id {
#define SETTING(id, name, type, def, min, max, choices, flags, help) id,
#include "base/settings.def"
#undef SETTING
	SETTING_COUNT
};

enum setting_type {
	SETTING_INT,
	SETTING_BOOL,
	SETTING_TEXT,
	SETTING_PATH,
	SETTING_DURATION,
	SETTING_CHOICE,
	SETTING_LIST
};
enum setting_flag { SETTING_R = 1, SETTING_S = 2 };

struct setting_row {
	const char *name;
	enum setting_type type;
	const char *def;
	long long min, max;
	const char *choices;
	unsigned flags;
	const char *help;
};
const struct setting_row *setting_row(enum setting_id id);
enum setting_id setting_find(const char *name); /* SETTING_COUNT if there is none */
/* OPSCASE_HTTP_PORT */
void setting_env_name(enum setting_id id, char *out, size_t size);

struct settings;
struct settings *settings_new(void); /* the defaults */
void settings_free(struct settings *s);
DEFINE_AUTO(settings, struct settings *, settings_free);

/* One value; `source` is for messages and kept ("opscase.conf:3"). OC_INVALID, field is the name. */
MUST_CHECK enum oc_err settings_set(struct settings *s, const char *name, const char *value,
				    const char *source, struct oc_fail *reterr);
/* The text of a config file; `name` is for messages. */
MUST_CHECK enum oc_err settings_read_text(struct settings *s, const char *name, const char *text,
					  struct oc_fail *reterr);
MUST_CHECK enum oc_err settings_read_file(struct settings *s, const char *path, struct oc_fail *reterr);
/* The environment belongs to others, too (Kubernetes puts OPSCASE_SERVICE_HOST there when a service has our
 * name): a variable that is no setting is not refused but named in ret_odd, which may be NULL. */
MUST_CHECK enum oc_err settings_read_env(struct settings *s, const char *const *env, struct text *ret_odd,
					 struct oc_fail *reterr);
/* --name=value and --name value (a bool may stand alone). Stops at the first argument that does not begin with
 * --, or behind a lone --; ret_used is how many were taken. */
MUST_CHECK enum oc_err settings_read_args(struct settings *s, int argc, char *const *argv, int *ret_used,
					  struct oc_fail *reterr);
/* All of them in order. --config=FILE (else OPSCASE_CONFIG) names the file; without it there is none. */
MUST_CHECK enum oc_err settings_load(struct settings *s, int argc, char *const *argv, const char *const *env,
				     struct text *ret_odd, struct oc_fail *reterr);

/* Values; asking for another type than the row's is a bug and aborts. Lent. */
const char *setting_text(const struct settings *s, enum setting_id id); /* text, path, choice; never NULL */
bool setting_given(const struct settings *s, enum setting_id id);       /* not empty */
long long setting_int(const struct settings *s, enum setting_id id);
bool setting_bool(const struct settings *s, enum setting_id id);
int64_t setting_ms(const struct settings *s, enum setting_id id);
bool setting_has(const struct settings *s, enum setting_id id,
		 const char *word); /* list; "all" has every word */
const char *setting_source(const struct settings *s,
			   enum setting_id id); /* "default", "FILE:3", "environment", ... */
/* Whatever the type, as text that reads back as the same value. */
const char *setting_value(const struct settings *s, enum setting_id id);
/* A folder: what was given, else `below` in data.dir, else NULL. Yours. */
char *setting_dir(const struct settings *s, enum setting_id id, const char *below);

/* After SIGHUP: takes over what may change while running from `now`; names what would need a restart in
 * ret_restart ("http.port, roles"), which may be NULL. */
void settings_take_reloadable(struct settings *s, const struct settings *now, struct text *ret_restart);

void settings_print_reference(struct text *out); /* docs/settings.md */
void settings_print_sample(struct text *out);    /* a config file with every default commented out */
void settings_print(const struct settings *s, struct text *out); /* what holds and whence; secrets as *** */
