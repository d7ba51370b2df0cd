#include <stdio.h>
#include <strings.h>
#include "api/call.h"
#include "base/mem.h"
#include "base/uuid.h"

#define REQUEST_OF(name)         REQUEST_##name
#define REQUEST_NONE             NULL
#define REQUEST_RAW              NULL
#define REQUEST_case_create      &fields_case_create
#define REQUEST_case_transition  &fields_case_transition
#define REQUEST_case_answer      &fields_case_answer
#define REQUEST_plan_generate    &fields_plan_generate
#define REQUEST_gate_eval        &fields_gate_eval
#define REQUEST_adapter_exec     &fields_adapter_exec
#define REQUEST_verify_run       &fields_verify_run
#define REQUEST_maintenance_post &fields_maintenance_post
#define REQUEST_tenant_create    &fields_tenant_create
#define REQUEST_token_create     &fields_token_create
#define REQUEST_dead_replay      &fields_dead_replay
#define REQUEST_kb_put           &fields_kb_put
#define REQUEST_kb_decide        &fields_kb_decide
#define REQUEST_kb_embed         &fields_kb_embed

const struct route routes[] = {
#define ROUTE(method, path, roles, tenant, key, max, handler, request, answer, summary, help)         \
	{ method, path,    roles, tenant, key, max, handler, REQUEST_OF(request), #request[0] == 'R', \
	  answer, summary, help },
#include "api/routes.def"
#undef ROUTE
};
const size_t route_count = ARRAY_LEN(routes);

const char *route_method_name(enum route_method m)
{
	static const char *const names[] = { "GET", "POST", "PATCH", "DELETE" };

	return m < METHOD_COUNT ? names[m] : "";
}

bool route_may(enum route_roles roles, enum token_role role)
{
	switch (roles) {
	case MAY_ALL:
		return true;
	case MAY_READ:
		return role < ROLE_COUNT;
	case MAY_OPERATE:
		return role == ROLE_OPERATOR || role == ROLE_ADMIN || role == ROLE_SERVICE;
	/* Which of these a decision really takes is in the decision itself. */
	case MAY_APPROVE:
		return role == ROLE_APPROVER || role == ROLE_OPERATOR || role == ROLE_ADMIN;
	case MAY_ADMIN:
		return role == ROLE_ADMIN;
	case MAY_SEND:
		return role == ROLE_SERVICE || role == ROLE_OPERATOR || role == ROLE_ADMIN;
	}
	return false;
}

static bool path_matches(const char *pattern, const char *path, char ret_id[64])
{
	while (*pattern && *path) {
		if (*pattern == '{') {
			size_t n = strcspn(path, "/");

			if (n == 0 || n > 63)
				return false;
			snprintf(ret_id, 64, "%.*s", (int)n, path);
			path += n;
			pattern += strcspn(pattern, "}") + 1;
		} else if (*pattern++ != *path++) {
			return false;
		}
	}
	return *pattern == '\0' && *path == '\0';
}

/* What stands for {id} is a word. */
bool route_worded(const struct route *r)
{
	return str_starts(r->path, "/api/v1/label/");
}

/* A fixed path wins over a pattern: /case/create is no case. */
bool route_numbered(const struct route *r)
{
	return str_starts(r->path, "/detail/") || str_starts(r->path, "/deadletter/");
}

const struct route *route_find(enum route_method m, const char *path, char ret_id[64])
{
	const struct route *found = NULL;
	char id[64];

	for (size_t i = 0; i < route_count; i++) {
		id[0] = '\0';
		if (routes[i].method != m || !path_matches(routes[i].path, path, id))
			continue;
		if (!id[0]) {
			ret_id[0] = '\0';
			return &routes[i];
		}
		if (!found) {
			found = &routes[i];
			snprintf(ret_id, 64, "%s", id);
		}
	}
	return found;
}

bool route_allow(const char *path, struct text *ret)
{
	bool any = false, fixed = false;
	char id[64];

	for (size_t i = 0; i < route_count; i++)
		fixed = fixed || strcmp(routes[i].path, path) == 0;
	for (size_t i = 0; i < route_count; i++) {
		if (fixed ? strcmp(routes[i].path, path) != 0 : !path_matches(routes[i].path, path, id))
			continue;
		text_addf(ret, "%s%s", any ? ", " : "", route_method_name(routes[i].method));
		if (routes[i].method == GET)
			text_add(ret, ", HEAD");
		any = true;
	}
	if (any)
		text_add(ret, ", OPTIONS");
	return any;
}

bool etag_matches(const char *header, int version)
{
	while (header && *header) {
		const char *start;
		long long seen;
		char number[16];
		size_t n;

		header += strspn(header, " \t,");
		if (*header == '*')
			return true;
		if (strncmp(header, "W/", 2) == 0)
			header += 2;
		start = *header == '"' ? header + 1 : header;
		n = strspn(start, "0123456789");
		if (n > 0 && n < sizeof(number)) {
			snprintf(number, sizeof(number), "%.*s", (int)n, start);
			/* curl users write If-Match: 3 */
			if ((start[n] == '"' ||
			     (start == header && (start[n] == '\0' || strchr(" \t,", start[n])))) &&
			    str_to_long(number, 0, 2147483647, &seen) && seen == version)
				return true;
		}
		header += strcspn(header, ",");
	}
	return false;
}

int prefer_wait(const char *header, int fallback_s)
{
	const char *at;
	long long wait;
	char number[8];

	if (!header)
		return fallback_s;
	for (at = header; *at;) {
		at += strspn(at, " \t,;");
		if (strncasecmp(at, "wait", 4) == 0) {
			const char *v = at + 4 + strspn(at + 4, " \t");

			if (*v == '=') {
				size_t n;

				v += 1 + strspn(v + 1, " \t\"");
				n = strspn(v, "0123456789");
				/* Whoever wants to wait longer than we let them gets the longest. */
				if (n >= sizeof(number))
					return 120;
				snprintf(number, sizeof(number), "%.*s", (int)n, v);
				if (str_to_long(number, 0, 9999999, &wait))
					return wait > 120 ? 120 : (int)wait;
			}
		} else if (strncasecmp(at, "respond-async", 13) == 0) {
			fallback_s = 0;
		}
		at += strcspn(at, ",;");
	}
	return fallback_s;
}

bool trace_parse(const char *s, char ret_trace_id[33])
{
	static const char hex[] = "0123456789abcdef";

	if (!s || strlen(s) < 55 || strspn(s, hex) < 2 || strncmp(s, "ff", 2) == 0 || s[2] != '-' ||
	    strspn(s + 3, hex) != 32 || s[35] != '-' || strspn(s + 36, hex) != 16 || s[52] != '-' ||
	    strspn(s + 53, hex) < 2)
		return false;
	if (strncmp(s, "00", 2) == 0 && strlen(s) != 55)
		return false;
	if (strspn(s + 3, "0") == 32 || strspn(s + 36, "0") == 16)
		return false;
	snprintf(ret_trace_id, 33, "%.32s", s + 3);
	return true;
}

bool idempotency_key_ok(const char *key)
{
	size_t n = strlen(key);

	if (n < 1 || n > 200)
		return false;
	for (; *key; key++)
		if (*key <= ' ' || *key == 0x7f)
			return false;
	return true;
}

bool idempotency_keeps(int status)
{
	return status < 500 && status != 412 && status != 429 && status != 401 && status != 403;
}

/* Opaque to clients: hex of "kind:number:id", so that nobody builds upon what is in it. */
char *cursor_make(const char *kind, long long number, const char *id)
{
	AUTO(str) char *plain = mem_printf("%s:%lld:%s", kind, number, id ? id : "");
	size_t n = strlen(plain);
	char *out = mem_alloc(2 * n + 1);

	str_hex((const unsigned char *)plain, n, out);
	return out;
}

enum oc_err cursor_read(const char *cursor, const char *kind, long long *ret_number, char ret_id[64],
			struct oc_fail *reterr)
{
	unsigned char plain[160] = "";
	size_t n = strlen(cursor);
	char *number, *id;

	if (n % 2 || n / 2 >= sizeof(plain) - 1 || !str_unhex(cursor, plain, n / 2) ||
	    strlen((char *)plain) != n / 2)
		return oc_fail_field(reterr, OC_BAD_REQUEST, "cursor", "this is no cursor of ours");
	number = strchr((char *)plain, ':');
	id = number ? strchr(number + 1, ':') : NULL;
	if (!number || !id)
		return oc_fail_field(reterr, OC_BAD_REQUEST, "cursor", "this is no cursor of ours");
	*number++ = '\0';
	*id++ = '\0';
	if (!str_eq((char *)plain, kind) || !str_to_long(number, 1, INT64_MAX, ret_number) ||
	    (*id && !uuid_ok(id)))
		return oc_fail_field(reterr, OC_BAD_REQUEST, "cursor", "this cursor belongs to another list");
	snprintf(ret_id, 64, "%s", id);
	return OC_OK;
}
