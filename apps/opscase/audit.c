/* audit.c - the timeline's chain: taken out by `audit export`, proven by `audit verify` without any server.
 *
 * An export is JSON lines. {"type":"row"} has the canonical text that was hashed and the hash that was stored:
 * hash = SHA-256(hash before || canonical), one chain a case. {"type":"head"} is what the case itself says about
 * the length and end of its chain. The heads of an earlier export, kept where nobody of this installation can
 * write, are a checkpoint: without one a chain that was rewritten as a whole looks like a good one. */
#include <errno.h>
#include <string.h>
#include "apps/opscase/out.h"
#include "apps/opscase/remote.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"

#define LINE_MAX_BYTES ((size_t)1 << 20)

/* --- export */

static void put_line(FILE *to, const json_t *doc)
{
	AUTO(str) char *line = json_text(doc);

	fputs(line, to);
	fputc('\n', to);
}

/* The head first: rows that come while we read are behind it and are no harm. */
static enum oc_err export_case(struct remote *r, const char *id, bool heads_only, FILE *to,
			       struct oc_fail *reterr)
{
	AUTO(remote_answer) struct remote_answer c = { 0 };
	AUTO(json) json_t *head = NULL;
	AUTO(str) char *cursor = NULL;
	enum oc_err err = remote_get(r, &c, reterr, "/case/%s", id);

	if (err != OC_OK)
		return err;
	head = json_pack("{s:s,s:s,s:s,s:I,s:s}", "type", "head", "tenant", json_str_or(c.data, "tenant", ""),
			 "case", id, "seq", (json_int_t)json_int_or(c.data, "timeline_seq", 0), "hash",
			 json_str_or(c.data, "timeline_head", ""));
	put_line(to, head);
	if (heads_only)
		return OC_OK;
	do {
		AUTO(remote_answer) struct remote_answer page = { 0 };
		AUTO(text) struct text path = { 0 };
		const json_t *row;
		size_t i;

		text_addf(&path, "/case/%s/timeline?limit=500", id);
		if (cursor) {
			text_add(&path, "&cursor=");
			url_add(&path, cursor);
		}
		err = remote_get(r, &page, reterr, "%s", path.s);
		if (err != OC_OK)
			return err;
		json_array_foreach(page.data, i, row)
		{
			AUTO(json)
			json_t *line = json_pack("{s:s,s:s,s:I,s:s,s:s}", "type", "row", "case", id, "seq",
						 (json_int_t)json_int_or(row, "seq", 0), "hash",
						 json_str_or(row, "hash", ""), "canonical",
						 json_str_or(row, "canonical", ""));

			put_line(to, line);
		}
		mem_set(&cursor, json_str(page.doc, "next_cursor"));
	} while (cursor);
	return OC_OK;
}

static enum oc_err export_all(struct remote *r, bool heads_only, FILE *to, struct oc_fail *reterr)
{
	AUTO(str) char *cursor = NULL;

	do {
		AUTO(remote_answer) struct remote_answer page = { 0 };
		AUTO(text) struct text path = { 0 };
		const json_t *c;
		size_t i;
		enum oc_err err;

		text_add(&path, "/case?limit=200");
		if (cursor) {
			text_add(&path, "&cursor=");
			url_add(&path, cursor);
		}
		err = remote_get(r, &page, reterr, "%s", path.s);
		json_array_foreach(page.data, i, c) if (err == OC_OK)
			err = export_case(r, json_str_or(c, "id", ""), heads_only, to, reterr);
		if (err != OC_OK)
			return err;
		mem_set(&cursor, json_str(page.doc, "next_cursor"));
	} while (cursor);
	return OC_OK;
}

enum oc_err cli_audit_export(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(remote) struct remote *r = NULL;
	AUTO(json) json_t *first = NULL;
	const char *path = cli_option(cli, "output");
	AUTO(file) FILE *file = NULL;
	bool heads = cli_flag(cli, "heads");
	char id[40], at[40];
	enum oc_err err = remote_open(cli, &r, reterr);

	if (err != OC_OK)
		return err;
	if (path && !(file = fopen(path, "we")))
		return oc_fail(reterr, OC_UNAVAILABLE, "%s cannot be written: %s", path, strerror(errno));
	clock_format(clock_wall_us(), at, sizeof(at));
	first = json_pack("{s:s,s:i,s:s,s:s,s:s}", "type", "export", "format", 1, "at", at, "url",
			  remote_url(r), "tenant", remote_tenant(r));
	put_line(file ? file : stdout, first);
	if (cli->argc == 0)
		return export_all(r, heads, file ? file : stdout, reterr);
	for (int i = 0; i < cli->argc && err == OC_OK; i++) {
		err = remote_case_id(r, cli_arg(cli, i), id, reterr);
		if (err == OC_OK)
			err = export_case(r, id, heads, file ? file : stdout, reterr);
	}
	return err;
}

/* --- verify */

struct chain {
	char *id;
	long long seq; /* of the last row */
	unsigned char hash[HASH_LEN];
	bool any;
	/* what the case said at the export */
	bool head_known;
	long long head_seq;
	char head[HASH_HEX];
	bool head_met;
};

struct audit {
	struct chain *chain;
	size_t count, cap;
	unsigned long long rows, broken, checked;
	json_t *checkpoint; /* "case" -> {"seq","hash"}; NULL: none */
	struct text trouble;
};

static struct chain *chain_of(struct audit *a, const char *id)
{
	/* exports come case by case */
	for (size_t i = a->count; i > 0; i--)
		if (str_eq(a->chain[i - 1].id, id))
			return &a->chain[i - 1];
	if (a->count == a->cap) {
		a->cap = a->cap ? a->cap * 2 : 64;
		a->chain = mem_grow(a->chain, a->cap, sizeof(*a->chain));
	}
	a->chain[a->count] = (struct chain){ .id = mem_strdup(id) };
	return &a->chain[a->count++];
}

static void broken(struct audit *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void broken(struct audit *a, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (a->broken++ < 50) {
		out_clean(&a->trouble, text, false);
		text_add(&a->trouble, "\n");
	}
}

static void meet_heads(struct audit *a, struct chain *c, const char *hash)
{
	const json_t *point = json_object_get(a->checkpoint, c->id);

	if (c->head_known && c->seq == c->head_seq) {
		c->head_met = true;
		if (!str_eq(c->head, hash))
			broken(a, "case %s: the chain ends in another hash at %lld than the case says", c->id,
			       c->seq);
	}
	if (point && json_int_or(point, "seq", 0) == c->seq) {
		a->checked++;
		if (!str_eq(json_str(point, "hash"), hash))
			broken(a, "case %s: row %lld or one before it was rewritten since the checkpoint",
			       c->id, c->seq);
	}
}

static void take_row(struct audit *a, const json_t *line)
{
	const char *id = json_str_or(line, "case", ""), *canonical = json_str_or(line, "canonical", "");
	const char *stored = json_str_or(line, "hash", "");
	long long seq = json_int_or(line, "seq", 0);
	struct chain *c = chain_of(a, id);
	AUTO(json) json_t *said = NULL;
	char hash[HASH_HEX];

	a->rows++;
	if (seq != c->seq + 1)
		broken(a, "case %s: after row %lld comes row %lld", id, c->seq, seq);
	c->seq = seq;
	hash_sha256_2(c->hash, c->any ? HASH_LEN : 0, canonical, strlen(canonical), c->hash);
	c->any = true;
	str_hex(c->hash, HASH_LEN, hash);
	if (!str_eq(hash, stored)) {
		broken(a,
		       "case %s: row %lld does not have the hash that was stored: it, or a row before it, was changed",
		       id, seq);
		/* go on from what was stored, so that one bad row is one line */
		if (!str_unhex(stored, c->hash, HASH_LEN))
			memset(c->hash, 0, HASH_LEN);
	}
	if (json_read(canonical, strlen(canonical), &(struct json_limits){ .bytes = LINE_MAX_BYTES }, &said,
		      NULL) != OC_OK ||
	    !str_eq(json_str(said, "case"), id) || json_int_or(said, "seq", 0) != seq)
		broken(a, "case %s: row %lld says of itself that it is another row", id, seq);
	meet_heads(a, c, hash);
}

static void take_head(struct audit *a, const json_t *line)
{
	struct chain *c = chain_of(a, json_str_or(line, "case", ""));

	c->head_known = true;
	c->head_seq = json_int_or(line, "seq", 0);
	snprintf(c->head, sizeof(c->head), "%s", json_str_or(line, "hash", ""));
}

/* Calls fn with each line; OC_INVALID names the line that is none of ours. */
static enum oc_err each_line(const char *path, void (*fn)(void *ctx, const json_t *line), void *ctx,
			     struct oc_fail *reterr)
{
	bool in = str_eq(path, "-");
	FILE *f = in ? stdin : fopen(path, "re");
	char *line = NULL;
	size_t cap = 0;
	unsigned at = 0;
	ssize_t n;
	enum oc_err err = OC_OK;

	if (!f)
		return oc_fail(reterr, OC_NOT_FOUND, "%s cannot be read: %s", path, strerror(errno));
	while (err == OC_OK && (n = getline(&line, &cap, f)) > 0) {
		AUTO(json) json_t *doc = NULL;
		struct oc_fail fail = { 0 };

		at++;
		if (n == 1)
			continue;
		if (json_read(line, (size_t)n - (line[n - 1] == '\n'),
			      &(struct json_limits){ .bytes = LINE_MAX_BYTES }, &doc, &fail) != OC_OK ||
		    !json_is_object(doc))
			err = oc_fail(reterr, OC_INVALID, "%s:%u: this is no line of an export: %s", path, at,
				      fail.text);
		else
			fn(ctx, doc);
	}
	free(line);
	if (!in)
		fclose(f);
	if (err == OC_OK && at == 0)
		err = oc_fail(reterr, OC_INVALID, "%s is empty", path);
	return err;
}

static void on_line(void *ctx, const json_t *line)
{
	const char *type = json_str_or(line, "type", "");

	if (str_eq(type, "row"))
		take_row(ctx, line);
	else if (str_eq(type, "head"))
		take_head(ctx, line);
}

static void on_checkpoint(void *ctx, const json_t *line)
{
	struct audit *a = ctx;

	if (str_eq(json_str(line, "type"), "head"))
		json_object_set(a->checkpoint, json_str_or(line, "case", ""), (json_t *)line);
}

static void look_at_ends(struct audit *a)
{
	const char *id;
	json_t *point;

	for (size_t i = 0; i < a->count; i++) {
		struct chain *c = &a->chain[i];

		if (!c->head_known)
			broken(a, "case %s: the export does not say where its chain ends", c->id);
		else if (!c->head_met && c->head_seq > 0)
			broken(a, "case %s: the case says %lld rows, the export has %lld", c->id, c->head_seq,
			       c->seq);
	}
	json_object_foreach(a->checkpoint, id, point)
	{
		size_t i;

		for (i = 0; i < a->count && !str_eq(a->chain[i].id, id); i++)
			;
		if (i == a->count)
			broken(a, "case %s: it was there at the checkpoint and is not in this export", id);
		else if (a->chain[i].seq < json_int_or(point, "seq", 0))
			broken(a, "case %s: it had %lld rows at the checkpoint and has %lld now", id,
			       json_int_or(point, "seq", 0), a->chain[i].seq);
	}
}

static void say(const struct cli *cli, const struct audit *a)
{
	AUTO(text) struct text out = { 0 };

	text_add(&out, text_str(&a->trouble));
	if (a->broken > 50)
		text_addf(&out, "... and %llu more\n", a->broken - 50);
	out_styled(&out, cli->colour, a->broken ? OUT_BAD : OUT_GOOD, a->broken ? "broken" : "holds");
	text_addf(&out, ": %zu case%s, %llu row%s, %llu finding%s\n", a->count, a->count == 1 ? "" : "s",
		  a->rows, a->rows == 1 ? "" : "s", a->broken, a->broken == 1 ? "" : "s");
	if (!a->broken) {
		text_add(&out,
			 "proven: within each case no row was changed, left out, put in or moved since it was written,\n"
			 "  as far as the heads in the export are those of the time\n");
		if (a->checkpoint)
			text_addf(
				&out,
				"proven by the checkpoint: nothing up to its heads was rewritten or cut, in %llu case%s\n",
				a->checked, a->checked == 1 ? "" : "s");
		else
			text_add(
				&out,
				"not proven without a checkpoint: that no chain was rewritten as a whole, cut at its end together with\n"
				"  its head, or taken away. Keep `opscase audit export --heads` somewhere else, and give it here\n"
				"  next time: --checkpoint FILE\n");
	}
	fputs(out.s, stdout);
}

enum oc_err cli_audit_verify(struct cli *cli, struct oc_fail *reterr)
{
	const char *checkpoint = cli_option(cli, "checkpoint");
	struct audit a = { .checkpoint = checkpoint ? json_object() : NULL };
	enum oc_err err = OC_OK;

	if (checkpoint)
		err = each_line(checkpoint, on_checkpoint, &a, reterr);
	if (err == OC_OK && checkpoint && json_object_size(a.checkpoint) == 0)
		err = oc_fail(reterr, OC_INVALID, "%s has no heads in it", checkpoint);
	if (err == OC_OK)
		err = each_line(cli_arg(cli, 0), on_line, &a, reterr);
	if (err == OC_OK && a.rows == 0)
		err = oc_fail(reterr, OC_INVALID, "%s has no rows in it%s", cli_arg(cli, 0),
			      a.count ? ": it is a checkpoint; verify a whole export against it" : "");
	if (err == OC_OK) {
		look_at_ends(&a);
		if (cli->json)
			printf("{\"ok\":%s,\"cases\":%zu,\"rows\":%llu,\"findings\":%llu,\"checkpoint\":%s,\"checked\":%llu}\n",
			       a.broken ? "false" : "true", a.count, a.rows, a.broken,
			       checkpoint ? "true" : "false", a.checked);
		else
			say(cli, &a);
		if (a.broken)
			err = oc_fail(reterr, OC_INVALID, "the timeline is not what was written");
	}
	for (size_t i = 0; i < a.count; i++)
		free(a.chain[i].id);
	free(a.chain);
	text_done(&a.trouble);
	json_decref(a.checkpoint);
	return err;
}
