#include "base/settings.h"
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include "base/mem.h"
#include "base/nearest.h"

static const struct setting_row rows[] = {
#define SETTING(id, name, type, def, min, max, choices, flags, help) \
	{ name, SETTING_##type, def, min, max, choices, flags, help },
#include "base/settings.def"
#undef SETTING
};

static const char *const type_names[] = {
	[SETTING_INT] = "number",   [SETTING_BOOL] = "true or false", [SETTING_TEXT] = "text",
	[SETTING_PATH] = "path",    [SETTING_DURATION] = "duration",  [SETTING_CHOICE] = "one of",
	[SETTING_LIST] = "list of",
};

struct settings {
	struct {
		char *text, *source;
		long long number; /* int, bool; milliseconds of a duration */
	} v[SETTING_COUNT];
};

const struct setting_row *setting_row(enum setting_id id)
{
	assert(id < SETTING_COUNT);
	return &rows[id];
}

enum setting_id setting_find(const char *name)
{
	unsigned i;

	for (i = 0; i < SETTING_COUNT && !str_eq(rows[i].name, name); i++)
		;
	return (enum setting_id)i;
}

void setting_env_name(enum setting_id id, char *out, size_t size)
{
	snprintf(out, size, "OPSCASE_%s", setting_row(id)->name);
	for (char *c = out; *c; c++)
		*c = *c == '.' ? '_' : (char)toupper((unsigned char)*c);
}

/* --- one value */

static bool word_in(const char *words, const char *word, size_t n)
{
	for (const char *w = words; *w;) {
		size_t len = strcspn(w, "|");

		if (len == n && strncmp(w, word, n) == 0)
			return true;
		w += len + (w[len] == '|');
	}
	return false;
}

/* "300ms", "5s", "2m", "1h", "7d"; a bare number is seconds. */
static bool duration_parse(const char *text, long long *ret_ms)
{
	static const struct {
		const char *unit;
		long long ms;
	} units[] = {
		{ "ms", 1        },
                { "s",  1000     },
                { "m",  60000    },
                { "h",  3600000  },
                { "d",  86400000 },
                { "",   1000     }
	};
	size_t n = strspn(text, "0123456789");
	char digits[16];
	long long value;

	if (n == 0 || n >= sizeof(digits))
		return false;
	memcpy(digits, text, n);
	digits[n] = '\0';
	if (!str_to_long(digits, 0, 1000000000000, &value))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		if (str_eq(text + n, units[i].unit)) {
			*ret_ms = value * units[i].ms;
			return true;
		}
	return false;
}

static void duration_text(long long ms, char *out, size_t size)
{
	static const struct {
		const char *unit;
		long long ms;
	} units[] = {
		{ "d", 86400000 },
                { "h", 3600000  },
                { "m", 60000    },
                { "s", 1000     }
	};

	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		if (ms >= units[i].ms && ms % units[i].ms == 0) {
			snprintf(out, size, "%lld%s", ms / units[i].ms, units[i].unit);
			return;
		}
	snprintf(out, size, ms ? "%lldms" : "%llds", ms);
}

/* What fits, as people read it: "a number from 0 to 65535". */
static void row_range(const struct setting_row *row, struct text *out)
{
	char low[32], high[32];

	switch (row->type) {
	case SETTING_INT:
		text_addf(out, "a number from %lld to %lld", row->min, row->max);
		break;
	case SETTING_DURATION:
		duration_text(row->min, low, sizeof(low));
		duration_text(row->max, high, sizeof(high));
		text_addf(out, "a duration from %s to %s, like 300ms, 5s, 2m or 1h", low, high);
		break;
	case SETTING_BOOL:
		text_add(out, "true or false");
		break;
	case SETTING_TEXT:
	case SETTING_PATH:
		text_addf(out, "at most %lld bytes of text without control characters", row->max);
		break;
	case SETTING_CHOICE:
	case SETTING_LIST:
		text_add(out, row->type == SETTING_LIST ? "a list, separated by commas, of " : "one of ");
		for (const char *w = row->choices; *w;) {
			size_t n = strcspn(w, "|");

			text_add_n(out, w, n);
			w += n + (w[n] == '|');
			text_add(out, *w ? ", " : "");
		}
		break;
	}
}

static bool list_ok(const struct setting_row *row, const char *value)
{
	bool any = false;

	for (const char *w = value; *w;) {
		size_t n = strcspn(w, ", ");

		if (n > 0 && !word_in(row->choices, w, n))
			return false;
		any |= n > 0;
		w += n + (w[n] != '\0');
	}
	return any;
}

static bool value_ok(const struct setting_row *row, const char *value, long long *ret_number)
{
	switch (row->type) {
	case SETTING_INT:
		return str_to_long(value, row->min, row->max, ret_number);
	case SETTING_DURATION:
		return duration_parse(value, ret_number) && *ret_number >= row->min &&
		       *ret_number <= row->max;
	case SETTING_BOOL:
		*ret_number = word_in("true|yes|on|1", value, strlen(value));
		return *ret_number || word_in("false|no|off|0", value, strlen(value));
	case SETTING_CHOICE:
		return *value && word_in(row->choices, value, strlen(value));
	case SETTING_LIST:
		return list_ok(row, value);
	case SETTING_TEXT:
	case SETTING_PATH:
		for (const char *c = value; *c; c++)
			if (iscntrl((unsigned char)*c))
				return false;
		return strlen(value) <= (size_t)row->max;
	}
	return false;
}

enum oc_err settings_set(struct settings *s, const char *name, const char *value, const char *source,
			 struct oc_fail *reterr)
{
	enum setting_id id = setting_find(name);
	AUTO(text) struct text range = { 0 };
	const struct setting_row *row;
	long long number = 0;

	if (id == SETTING_COUNT) {
		struct nearest near = { .want = name };

		for (unsigned i = 0; i < SETTING_COUNT; i++)
			nearest_offer(&near, rows[i].name);
		return near.name
			       ? oc_fail_field(reterr, OC_INVALID, name,
					       "%s: there is no setting '%s'; did you mean '%s'?", source,
					       name, near.name)
			       : oc_fail_field(reterr, OC_INVALID, name,
					       "%s: there is no setting '%s'; `opscase settings` lists them",
					       source, name);
	}
	row = &rows[id];
	if (!value_ok(row, value, &number)) {
		row_range(row, &range);
		/* A secret that does not fit is still a secret. */
		return row->flags & SETTING_S
			       ? oc_fail_field(reterr, OC_INVALID, name,
					       "%s: the value of %s does not fit: %s", source, name,
					       text_str(&range))
			       : oc_fail_field(reterr, OC_INVALID, name, "%s: %s = '%s' does not fit: %s",
					       source, name, value, text_str(&range));
	}
	mem_set(&s->v[id].text, value);
	mem_set(&s->v[id].source, source);
	s->v[id].number = number;
	return OC_OK;
}

struct settings *settings_new(void)
{
	struct settings *s = mem_alloc(sizeof(*s));
	struct oc_fail fail;

	for (unsigned i = 0; i < SETTING_COUNT; i++)
		if (settings_set(s, rows[i].name, rows[i].def, "default", &fail) != OC_OK) {
			/* our own table is wrong: no test passes, no process starts */
			fprintf(stderr, "%s\n", fail.text);
			abort();
		}
	return s;
}

void settings_free(struct settings *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < SETTING_COUNT; i++) {
		if (rows[i].flags & SETTING_S)
			explicit_bzero(s->v[i].text, strlen(s->v[i].text));
		free(s->v[i].text);
		free(s->v[i].source);
	}
	free(s);
}

/* --- the sources */

static char *trim(char *s)
{
	char *end;

	while (isspace((unsigned char)*s))
		s++;
	for (end = s + strlen(s); end > s && isspace((unsigned char)end[-1]); end--)
		;
	*end = '\0';
	return s;
}

static enum oc_err read_line(struct settings *s, const char *source, char *line, struct oc_fail *reterr)
{
	char *name = trim(line), *value = strchr(name, '=');
	size_t n;

	if (!*name || *name == '#')
		return OC_OK;
	if (!value)
		return oc_fail(reterr, OC_INVALID, "%s: a line is `name = value`, and this is none: '%.80s'",
			       source, name);
	*value++ = '\0';
	name = trim(name);
	value = trim(value);
	/* Quotes keep blanks at the ends and a # at the beginning. */
	n = strlen(value);
	if (n >= 2 && value[0] == '"' && value[n - 1] == '"') {
		value[n - 1] = '\0';
		value++;
	}
	return settings_set(s, name, value, source, reterr);
}

enum oc_err settings_read_text(struct settings *s, const char *name, const char *text, struct oc_fail *reterr)
{
	unsigned at = 0;

	while (*text) {
		size_t n = strcspn(text, "\n");
		AUTO(str) char *line = mem_strndup(text, n);
		AUTO(str) char *source = mem_printf("%s:%u", name, ++at);
		enum oc_err err = read_line(s, source, line, reterr);

		if (err != OC_OK)
			return err;
		text += n + (text[n] == '\n');
	}
	return OC_OK;
}

enum oc_err settings_read_file(struct settings *s, const char *path, struct oc_fail *reterr)
{
	AUTO(file) FILE *f = fopen(path, "re");
	AUTO(str) char *text = mem_alloc(1 << 20);
	size_t n;

	if (!f)
		return oc_fail_field(reterr, OC_NOT_FOUND, "config", "the config file %s cannot be read: %s",
				     path, strerror(errno));
	n = fread(text, 1, (1 << 20) - 1, f);
	if (ferror(f) || !feof(f))
		return oc_fail_field(reterr, OC_INVALID, "config", "%s is no config file: %s", path,
				     ferror(f) ? strerror(errno) : "longer than 1 MiB");
	if (strlen(text) != n)
		return oc_fail_field(reterr, OC_INVALID, "config", "%s is no config file: it has a NUL byte",
				     path);
	return settings_read_text(s, path, text, reterr);
}

/* Variables of ours that are no settings: the CLI's, the logger's, those of ./dev and of the tests. */
static const char not_settings[] =
	"OPSCASE_CONFIG|OPSCASE_URL|OPSCASE_TOKEN|OPSCASE_TENANT|OPSCASE_DATA|OPSCASE_LOG|"
	"OPSCASE_CA|OPSCASE_CACHE|OPSCASE_PLATFORM|OPSCASE_SOURCE_DIR|OPSCASE_BINARY_DIR";

static void env_odd(const char *entry, size_t n, struct text *odd)
{
	AUTO(str) char *name = mem_strndup(entry, n);
	struct nearest near = { .want = name };
	char names[SETTING_COUNT][64];

	if (!odd || word_in(not_settings, entry, n))
		return;
	for (unsigned i = 0; i < SETTING_COUNT; i++) {
		setting_env_name(i, names[i], sizeof(names[i]));
		nearest_offer(&near, names[i]);
	}
	text_addf(odd, "%s%s is no setting", odd->len ? "; " : "", name);
	if (near.name)
		text_addf(odd, ", did you mean %s?", near.name);
}

enum oc_err settings_read_env(struct settings *s, const char *const *env, struct text *ret_odd,
			      struct oc_fail *reterr)
{
	for (; *env; env++) {
		size_t n = strcspn(*env, "=");
		char name[64];
		unsigned i;

		if (!str_starts(*env, "OPSCASE_") || (*env)[n] != '=')
			continue;
		for (i = 0; i < SETTING_COUNT; i++) {
			setting_env_name(i, name, sizeof(name));
			if (strlen(name) == n && strncmp(name, *env, n) == 0)
				break;
		}
		if (i == SETTING_COUNT) {
			env_odd(*env, n, ret_odd);
			continue;
		}
		AUTO(str) char *source = mem_printf("environment (%s)", name);
		enum oc_err err = settings_set(s, rows[i].name, *env + n + 1, source, reterr);

		if (err != OC_OK)
			return err;
	}
	return OC_OK;
}

enum oc_err settings_read_args(struct settings *s, int argc, char *const *argv, int *ret_used,
			       struct oc_fail *reterr)
{
	int at = 0;

	for (; at < argc && str_starts(argv[at], "--"); at++) {
		const char *arg = argv[at] + 2, *value = strchr(arg, '=');
		AUTO(str) char *name = value ? mem_strndup(arg, (size_t)(value - arg)) : mem_strdup(arg);
		enum setting_id id = setting_find(name);
		enum oc_err err;

		if (!*arg) {
			at++;
			break;
		}
		if (value)
			value++;
		else if (str_eq(name, "config") || (id < SETTING_COUNT && rows[id].type != SETTING_BOOL)) {
			if (at + 1 >= argc)
				return oc_fail_field(reterr, OC_INVALID, name, "--%s needs a value: --%s=...",
						     name, name);
			value = argv[++at];
		} else {
			value = "true";
		}
		if (str_eq(name, "config")) /* read before, by settings_load */
			continue;
		err = settings_set(s, name, value, "command line", reterr);
		if (err != OC_OK)
			return err;
	}
	if (ret_used)
		*ret_used = at;
	return OC_OK;
}

static const char *config_file(int argc, char *const *argv, const char *const *env)
{
	for (int i = 0; i < argc && str_starts(argv[i], "--") && argv[i][2]; i++) {
		if (str_starts(argv[i], "--config="))
			return argv[i] + strlen("--config=");
		if (str_eq(argv[i], "--config") && i + 1 < argc)
			return argv[i + 1];
		/* `--name value`: the value is none of ours, even if it is called --config */
		enum setting_id id = setting_find(argv[i] + 2);
		if (id < SETTING_COUNT && rows[id].type != SETTING_BOOL)
			i++;
	}
	for (; *env; env++)
		if (str_starts(*env, "OPSCASE_CONFIG="))
			return *env + strlen("OPSCASE_CONFIG=");
	return NULL;
}

enum oc_err settings_load(struct settings *s, int argc, char *const *argv, const char *const *env,
			  struct text *ret_odd, struct oc_fail *reterr)
{
	const char *file = config_file(argc, argv, env);
	enum oc_err err = OC_OK;
	int used = 0;

	if (!str_empty(file))
		err = settings_read_file(s, file, reterr);
	if (err == OC_OK)
		err = settings_read_env(s, env, ret_odd, reterr);
	if (err == OC_OK)
		err = settings_read_args(s, argc, argv, &used, reterr);
	if (err == OC_OK && used < argc)
		err = oc_fail(reterr, OC_INVALID,
			      "'%s' is not understood; settings are given as --name=value", argv[used]);
	return err;
}

/* --- reading them */

const char *setting_text(const struct settings *s, enum setting_id id)
{
	enum setting_type type = setting_row(id)->type;

	assert(type == SETTING_TEXT || type == SETTING_PATH || type == SETTING_CHOICE ||
	       type == SETTING_LIST);
	return s->v[id].text;
}

const char *setting_value(const struct settings *s, enum setting_id id)
{
	return s->v[id].text;
}

bool setting_given(const struct settings *s, enum setting_id id)
{
	return *s->v[id].text != '\0';
}

long long setting_int(const struct settings *s, enum setting_id id)
{
	assert(setting_row(id)->type == SETTING_INT);
	return s->v[id].number;
}

bool setting_bool(const struct settings *s, enum setting_id id)
{
	assert(setting_row(id)->type == SETTING_BOOL);
	return s->v[id].number != 0;
}

int64_t setting_ms(const struct settings *s, enum setting_id id)
{
	assert(setting_row(id)->type == SETTING_DURATION);
	return s->v[id].number;
}

bool setting_has(const struct settings *s, enum setting_id id, const char *word)
{
	size_t want = strlen(word);

	assert(setting_row(id)->type == SETTING_LIST);
	for (const char *w = s->v[id].text; *w;) {
		size_t n = strcspn(w, ", ");

		if ((n == want && strncmp(w, word, n) == 0) || (n == 3 && strncmp(w, "all", 3) == 0))
			return true;
		w += n + (w[n] != '\0');
	}
	return false;
}

const char *setting_source(const struct settings *s, enum setting_id id)
{
	return s->v[id].source;
}

char *setting_dir(const struct settings *s, enum setting_id id, const char *below)
{
	if (setting_given(s, id))
		return mem_strdup(setting_text(s, id));
	if (setting_given(s, SET_DATA_DIR))
		return mem_printf("%s/%s", setting_text(s, SET_DATA_DIR), below);
	return NULL;
}

void settings_take_reloadable(struct settings *s, const struct settings *now, struct text *ret_restart)
{
	for (unsigned i = 0; i < SETTING_COUNT; i++) {
		if (str_eq(s->v[i].text, now->v[i].text))
			continue;
		if (rows[i].flags & SETTING_R) {
			mem_set(&s->v[i].text, now->v[i].text);
			mem_set(&s->v[i].source, now->v[i].source);
			s->v[i].number = now->v[i].number;
		} else if (ret_restart) {
			text_addf(ret_restart, "%s%s", ret_restart->len ? ", " : "", rows[i].name);
		}
	}
}

/* --- printing */

void settings_print_reference(struct text *out)
{
	text_add(
		out,
		"# Settings\n\n"
		"Printed from `base/settings.def` by `opscase settings --format markdown`.\n\n"
		"A later source wins: the default, the config file (`--config FILE` or `OPSCASE_CONFIG`; lines of\n"
		"`name = value`, `#` begins a comment line), the environment (`http.port` is `OPSCASE_HTTP_PORT`), the\n"
		"command line (`--http.port=8081`). A name that does not exist, or a value that does not fit, stops the\n"
		"start; in the environment, where others put things too, an unknown name is only said.\n"
		"Settings marked *live* are read again on SIGHUP; the others need a restart.\n\n"
		"| name | what fits | default | |\n|---|---|---|---|\n");
	for (unsigned i = 0; i < SETTING_COUNT; i++) {
		const struct setting_row *row = &rows[i];
		AUTO(text) struct text range = { 0 };

		text_addf(out, "| `%s` | ", row->name);
		if (row->type == SETTING_TEXT || row->type == SETTING_PATH)
			text_add(&range, type_names[row->type]);
		else
			row_range(row, &range);
		text_addf(out, "%s | ", text_str(&range));
		if (*row->def)
			text_addf(out, "`%s`", row->def);
		text_addf(out, " | %s%s%s |\n", row->help, row->flags & SETTING_R ? " *Live.*" : "",
			  row->flags & SETTING_S ? " *Secret.*" : "");
	}
}

void settings_print_sample(struct text *out)
{
	text_add(out, "# opscase.conf - every setting with its default. Take the # away to change one.\n");
	for (unsigned i = 0; i < SETTING_COUNT; i++) {
		AUTO(text) struct text range = { 0 };

		row_range(&rows[i], &range);
		text_addf(out, "\n# %s\n# (%s%s)\n#%s = %s\n", rows[i].help, text_str(&range),
			  rows[i].flags & SETTING_R ? "; read again on SIGHUP" : "", rows[i].name,
			  rows[i].def);
	}
}

void settings_print(const struct settings *s, struct text *out)
{
	for (unsigned i = 0; i < SETTING_COUNT; i++) {
		bool hide = rows[i].flags & SETTING_S && *s->v[i].text;

		text_addf(out, "%s = %s  # %s\n", rows[i].name, hide ? "***" : s->v[i].text, s->v[i].source);
	}
}
