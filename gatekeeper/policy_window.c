/* Freeze windows and budgets: what bars a repair for a time. */
#include <stdlib.h>
#include "base/clock.h"
#include "base/mem.h"
#include "gatekeeper/policy_reader.h"

static const char *const months[] = { "jan", "feb", "mar", "apr", "may", "jun",
				      "jul", "aug", "sep", "oct", "nov", "dec" };
static const char *const days[] = { "mon", "tue", "wed", "thu", "fri", "sat", "sun" };

static bool cron_number(const char **s, const char *const *names, size_t names_count, int min, int max,
			int *ret)
{
	char *end;
	long n;

	for (size_t i = 0; i < names_count; i++) {
		if (strncasecmp(*s, names[i], 3) == 0) {
			*s += 3;
			*ret = (int)i + min;
			return true;
		}
	}
	if (**s < '0' || **s > '9')
		return false;
	n = strtol(*s, &end, 10);
	if (n < min || n > max)
		return false;
	*s = end;
	*ret = (int)n;
	return true;
}

static bool cron_field(const char *s, const char *const *names, size_t names_count, int min, int max,
		       uint64_t *ret)
{
	uint64_t bits = 0;

	for (;;) {
		int from = min, to = max, step = 1;

		if (*s == '*') {
			s++;
		} else {
			if (!cron_number(&s, names, names_count, min, max, &from))
				return false;
			to = from;
			if (*s == '-') {
				s++;
				if (!cron_number(&s, names, names_count, min, max, &to) || to < from)
					return false;
			}
		}
		if (*s == '/') {
			s++;
			if (!cron_number(&s, NULL, 0, 1, max, &step))
				return false;
		}
		for (int i = from; i <= to; i += step)
			bits |= UINT64_C(1) << i;
		if (*s == '\0')
			break;
		if (*s++ != ',')
			return false;
	}
	*ret = bits;
	return true;
}

bool cron_parse(const char *text, struct cron *ret)
{
	char field[5][128];
	uint64_t bits[5];
	struct cron c;

	if (strlen(text) > 500 || sscanf(text, "%127s %127s %127s %127s %127s", field[0], field[1], field[2],
					 field[3], field[4]) != 5)
		return false;
	/* nothing may come after the fifth */
	for (int i = 0; i < 5; i++) {
		text += strspn(text, " \t");
		if (strncmp(text, field[i], strlen(field[i])) != 0)
			return false;
		text += strlen(field[i]);
	}
	if (text[strspn(text, " \t")] != '\0')
		return false;
	if (!cron_field(field[0], NULL, 0, 0, 59, &bits[0]) ||
	    !cron_field(field[1], NULL, 0, 0, 23, &bits[1]) ||
	    !cron_field(field[2], NULL, 0, 1, 31, &bits[2]) ||
	    !cron_field(field[3], months, 12, 1, 12, &bits[3]))
		return false;
	/* cron counts from Sunday (0 and 7); we keep Monday first */
	if (strpbrk(field[4], "0123456789")) {
		uint64_t sunday_first;

		if (!cron_field(field[4], NULL, 0, 0, 7, &sunday_first))
			return false;
		sunday_first |= sunday_first >> 7;
		bits[4] = (sunday_first >> 1 & 0x3f) | (sunday_first & 1) << 6;
	} else if (!cron_field(field[4], days, 7, 0, 6, &bits[4])) {
		return false;
	}
	c.minute = bits[0];
	c.hour = (uint32_t)bits[1];
	c.dom = (uint32_t)bits[2];
	c.month = (uint32_t)bits[3];
	c.dow = (uint32_t)bits[4];
	*ret = c;
	return true;
}

static enum oc_err read_moment(struct loader *l, const json_t *obj, const char *key, int64_t *ret)
{
	const json_t *v = json_object_get(obj, key);
	size_t was = load_enter(l, key);

	if (v && (!json_is_string(v) || clock_parse(json_string_value(v), ret) != 0))
		return load_wrong(l, "must be a time like 2026-12-20T00:00:00Z");
	load_leave(l, was);
	return OC_OK;
}

enum oc_err load_freeze(struct loader *l, const json_t *v)
{
	static const char *const lists[] = { "tenants", "environments", "except" };
	struct freeze w = { .from_us = INT64_MIN, .to_us = INT64_MAX };
	const json_t **where[] = { &w.tenants, &w.environments, &w.except };
	struct policy *p = l->p;
	enum oc_err err;
	size_t was;

	err = ONLY_KEYS(l, v, "a freeze window", "name", "from", "to", "cron", "tenants", "environments",
			"except");
	if (err != OC_OK)
		return err;
	was = load_enter(l, "name");
	err = load_text(l, json_object_get(v, "name"), 64, &w.name);
	if (err != OC_OK)
		return err;
	load_leave(l, was);
	err = read_moment(l, v, "from", &w.from_us);
	if (err == OC_OK)
		err = read_moment(l, v, "to", &w.to_us);
	if (err != OC_OK)
		return err;
	if (json_object_get(v, "cron")) {
		was = load_enter(l, "cron");
		if (!json_is_string(json_object_get(v, "cron")) || !cron_parse(json_str(v, "cron"), &w.cron))
			return load_wrong(
				l,
				"must be five fields, minute hour day month weekday; the window is open in every "
				"minute that fits all of them, for example \"* 18-23 * * fri\"");
		w.has_cron = true;
		load_leave(l, was);
	}
	if (!w.has_cron && (!json_object_get(v, "from") || !json_object_get(v, "to")))
		return load_wrong(l, "a freeze window needs from and to, or cron");
	if (w.from_us >= w.to_us)
		return load_wrong(l, "the window ends before it begins");
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		if (!json_object_get(v, lists[i]))
			continue;
		was = load_enter(l, lists[i]);
		err = load_globs(l, json_object_get(v, lists[i]), where[i]);
		if (err != OC_OK)
			return err;
		load_leave(l, was);
	}
	p->freezes = mem_grow(p->freezes, p->freezes_count + 1, sizeof(*p->freezes));
	p->freezes[p->freezes_count++] = w;
	return OC_OK;
}

enum oc_err load_budget(struct loader *l, const json_t *v)
{
	struct budget_row row = {
		.tenant = "*", .operation = "*", .budget = { .limit = 2, .window_s = DAY_S }
	};
	struct policy *p = l->p;
	const json_t *item;
	enum oc_err err;
	size_t was;

	err = ONLY_KEYS(l, v, "a budget", "tenant", "operation", "limit", "window");
	if (err != OC_OK)
		return err;
	if (json_object_get(v, "tenant")) {
		was = load_enter(l, "tenant");
		err = load_text(l, json_object_get(v, "tenant"), 256, &row.tenant);
		if (err != OC_OK)
			return err;
		load_leave(l, was);
	}
	if (json_object_get(v, "operation")) {
		was = load_enter(l, "operation");
		err = load_text(l, json_object_get(v, "operation"), 256, &row.operation);
		if (err != OC_OK)
			return err;
		load_leave(l, was);
	}
	was = load_enter(l, "limit");
	item = json_object_get(v, "limit");
	if (str_eq(json_string_value(item), "none"))
		row.budget.limit = -1;
	else if (json_is_integer(item) && json_integer_value(item) >= 0 &&
		 json_integer_value(item) <= 1000000)
		row.budget.limit = (int)json_integer_value(item);
	else
		return load_wrong(l, "must be a whole number of forward runs, or the word none");
	load_leave(l, was);
	if (json_object_get(v, "window")) {
		was = load_enter(l, "window");
		err = load_seconds(l, json_object_get(v, "window"), 90 * DAY_S, &row.budget.window_s);
		if (err != OC_OK)
			return err;
		load_leave(l, was);
	}
	p->budgets = mem_grow(p->budgets, p->budgets_count + 1, sizeof(*p->budgets));
	p->budgets[p->budgets_count++] = row;
	return OC_OK;
}
