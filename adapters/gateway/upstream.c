#include "upstream.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum token_kind { TOKEN_END, TOKEN_WORD, TOKEN_OPEN, TOKEN_CLOSE, TOKEN_SEMICOLON, TOKEN_COMMENT };

struct token {
	enum token_kind kind;
	size_t at, end;
};

static struct token token_next(const char *text, size_t len, size_t pos)
{
	struct token t = { .kind = TOKEN_END };
	char quote = 0;

	while (pos < len && isspace((unsigned char)text[pos]))
		pos++;
	t.at = t.end = pos;
	if (pos >= len)
		return t;
	if (text[pos] == '#') {
		while (pos < len && text[pos] != '\n')
			pos++;
		t.kind = TOKEN_COMMENT;
		t.end = pos;
		return t;
	}
	if (strchr("{};", text[pos]) && text[pos]) {
		t.kind = text[pos] == '{' ? TOKEN_OPEN : text[pos] == '}' ? TOKEN_CLOSE : TOKEN_SEMICOLON;
		t.end = pos + 1;
		return t;
	}
	t.kind = TOKEN_WORD;
	if (text[pos] == '"' || text[pos] == '\'')
		quote = text[pos++];
	for (; pos < len; pos++) {
		char c = text[pos];

		if (c == '\\' && pos + 1 < len) {
			pos++;
		} else if (quote) {
			if (c == quote) {
				pos++;
				break;
			}
		} else if (c == '$' && pos + 1 < len && text[pos + 1] == '{') {
			pos++; /* ${name} is part of the word */
			while (pos < len && text[pos] != '}')
				pos++;
		} else if (isspace((unsigned char)c) || c == ';' || c == '{') {
			break;
		}
	}
	t.end = pos < len ? pos : len;
	return t;
}

static bool token_is(const char *text, struct token t, const char *word)
{
	size_t n = t.end - t.at;

	if (n >= 2 && (text[t.at] == '"' || text[t.at] == '\''))
		t.at++, n -= 2;
	return strlen(word) == n && memcmp(text + t.at, word, n) == 0;
}

/* One directive, or one comment, of a body. */
struct statement {
	struct token words[32];
	size_t word_count;
	bool cut; /* it has more words */
	bool comment;
	size_t at, end;
};

static bool statement_next(const char *text, size_t len, size_t *pos, struct statement *st)
{
	int depth = 0;

	*st = (struct statement){ 0 };
	for (;;) {
		struct token t = token_next(text, len, *pos);

		*pos = t.end;
		if (t.kind == TOKEN_END)
			return false;
		if (st->word_count == 0 && depth == 0)
			st->at = t.at;
		st->end = t.end;
		if (t.kind == TOKEN_COMMENT) {
			if (st->word_count > 0 || depth > 0)
				continue;
			st->comment = true;
			st->words[0] = t;
			return true;
		}
		if (t.kind == TOKEN_OPEN)
			depth++;
		if (t.kind == TOKEN_CLOSE && --depth <= 0)
			return true;
		if (t.kind == TOKEN_SEMICOLON && depth == 0)
			return true;
		if (t.kind == TOKEN_WORD && depth == 0 && st->word_count < 32)
			st->words[st->word_count++] = t;
		else if (t.kind == TOKEN_WORD || t.kind == TOKEN_OPEN)
			st->cut = true;
	}
}

/* NULL if it cannot be written back as it is: what is taken down for undo must be all of it. */
static json_t *server_from(const char *text, const struct statement *st)
{
	const char *address = text + st->words[1].at;
	size_t n = st->words[1].end - st->words[1].at;
	json_t *server = json_object();
	char options[1024] = "";
	bool whole = !st->cut;
	size_t used = 0;

	if (n >= 2 && (*address == '"' || *address == '\'')) {
		address++, n -= 2;
		for (size_t i = 0; i < n; i++)
			whole = whole && !isspace((unsigned char)address[i]) &&
				!strchr("{};#\"'\\$", address[i]);
	}
	whole = whole && n > 0;
	whole = json_object_set_new(server, "server", json_stringn(address, n)) == 0 && whole;
	json_object_set_new(server, "weight", json_integer(1));
	for (size_t i = 2; i < st->word_count; i++) {
		const char *word = text + st->words[i].at;

		n = st->words[i].end - st->words[i].at;
		if (n > 7 && memcmp(word, "weight=", 7) == 0) {
			whole = whole && n < 17 && word[7] != '0' && strspn(word + 7, "0123456789") == n - 7;
			json_object_set_new(server, "weight", json_integer(strtol(word + 7, NULL, 10)));
		} else if (token_is(text, st->words[i], "backup")) {
			json_object_set_new(server, "backup", json_true());
		} else if (token_is(text, st->words[i], "down")) {
			json_object_set_new(server, "down", json_true());
		} else if (used + n + 2 < sizeof options) {
			used += (size_t)snprintf(options + used, sizeof options - used, "%s%.*s",
						 used ? " " : "", (int)n, word);
		} else {
			whole = false;
		}
	}
	if (used)
		whole = json_object_set_new(server, "options", json_string(options)) == 0 && whole;
	if (whole)
		return server;
	json_decref(server);
	return NULL;
}

static bool is_server(const char *text, const struct statement *st)
{
	return !st->comment && st->word_count >= 2 && token_is(text, st->words[0], "server");
}

static bool is_mark(const char *text, const struct statement *st)
{
	return st->comment && st->end - st->at >= strlen(UPSTREAM_MARK) &&
	       memcmp(text + st->at, UPSTREAM_MARK, strlen(UPSTREAM_MARK)) == 0;
}

static bool read_body(struct upstream *up)
{
	struct statement st;
	size_t pos = up->body;

	up->servers = json_array();
	while (statement_next(up->text_ref, up->body_end, &pos, &st)) {
		if (is_server(up->text_ref, &st)) {
			if (json_array_append_new(up->servers, server_from(up->text_ref, &st)) != 0)
				return false;
		} else if (is_mark(up->text_ref, &st)) {
			size_t n = st.end - st.at - strlen(UPSTREAM_MARK);

			if (n < sizeof up->mark) {
				memcpy(up->mark, up->text_ref + st.at + strlen(UPSTREAM_MARK), n);
				up->mark[n] = '\0';
			}
		}
	}
	return true;
}

bool upstream_parse(const char *text, size_t len, const char *name, struct upstream *ret)
{
	struct upstream up = { .text_ref = text, .len = len };
	struct token words[2] = { 0 };
	size_t count = 0, pos = 0;
	bool found = false;
	int depth = 0;

	if (memchr(text, '\0', len))
		return false;
	for (;;) {
		struct token t = token_next(text, len, pos);

		pos = t.end;
		if (t.kind == TOKEN_END)
			return false;
		if (t.kind == TOKEN_WORD && depth == 0) {
			if (count < 2)
				words[count] = t;
			count++;
		} else if (t.kind == TOKEN_SEMICOLON && depth == 0) {
			count = 0;
		} else if (t.kind == TOKEN_OPEN) {
			if (depth == 0 && count == 2 && token_is(text, words[0], "upstream") &&
			    token_is(text, words[1], name)) {
				found = true;
				up.body = t.end;
			}
			depth++;
		} else if (t.kind == TOKEN_CLOSE) {
			if (--depth < 0)
				return false;
			if (depth == 0 && found) {
				up.body_end = t.at;
				if (!read_body(&up)) {
					upstream_done(&up);
					return false;
				}
				*ret = up;
				return true;
			}
			count = 0;
		}
	}
}

void upstream_done(struct upstream *up)
{
	json_decref(up->servers);
	up->servers = NULL;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

json_t *upstream_sorted(const json_t *servers)
{
	size_t n = json_array_size(servers);
	char **texts = calloc(n + 1, sizeof *texts);
	json_t *sorted = json_array();

	for (size_t i = 0; texts && i < n; i++) {
		texts[i] = json_dumps(json_array_get(servers, i), JSON_SORT_KEYS | JSON_ENCODE_ANY);
		if (!texts[i])
			texts[i] = strdup("{}");
	}
	if (texts)
		qsort(texts, n, sizeof *texts, by_text);
	for (size_t i = 0; texts && i < n; i++) {
		json_array_append_new(sorted, json_loads(texts[i], JSON_DECODE_ANY, NULL));
		free(texts[i]);
	}
	free(texts);
	return sorted;
}

/* The options as they were, with max_fails and fail_timeout replaced where the step names them. */
static json_t *options_for(const json_t *want, const char *was)
{
	const json_t *fails = json_object_get(want, "max_fails"),
		     *timeout = json_object_get(want, "fail_timeout_s");
	char options[1200] = "";
	size_t used = 0;

	while (was && *was) {
		size_t n = strcspn(was, " ");

		if (n > 0 && !(json_is_integer(fails) && strncmp(was, "max_fails=", 10) == 0) &&
		    !(json_is_integer(timeout) && strncmp(was, "fail_timeout=", 13) == 0))
			used += (size_t)snprintf(options + used, sizeof options - used, "%s%.*s",
						 used ? " " : "", (int)n, was);
		was += n + (was[n] == ' ');
	}
	if (json_is_integer(fails))
		used += (size_t)snprintf(options + used, sizeof options - used, "%smax_fails=%lld",
					 used ? " " : "", (long long)json_integer_value(fails));
	if (json_is_integer(timeout))
		used += (size_t)snprintf(options + used, sizeof options - used, "%sfail_timeout=%llds",
					 used ? " " : "", (long long)json_integer_value(timeout));
	return used ? json_string(options) : NULL;
}

json_t *upstream_wanted(const json_t *to, const json_t *now)
{
	json_t *list = json_is_string(to) ? json_pack("[{s:O}]", "server", to) : json_incref((json_t *)to);
	json_t *wanted = json_array(), *want;
	size_t i, k;

	json_array_foreach(list, i, want)
	{
		const char *address = json_string_value(json_object_get(want, "server")), *was = NULL;
		json_t *weight = json_object_get(want, "weight"), *server, *other, *options;

		if (!address)
			continue;
		json_array_foreach((json_t *)now, k, other)
		{
			const char *has = json_string_value(json_object_get(other, "server"));

			if (has && strcmp(has, address) == 0)
				was = json_string_value(json_object_get(other, "options"));
		}
		server = json_pack("{s:s, s:I}", "server", address, "weight",
				   json_is_integer(weight) ? json_integer_value(weight) : (json_int_t)1);
		if (json_is_true(json_object_get(want, "backup")))
			json_object_set_new(server, "backup", json_true());
		if (json_is_true(json_object_get(want, "down")))
			json_object_set_new(server, "down", json_true());
		options = options_for(want, was);
		if (options)
			json_object_set_new(server, "options", options);
		json_array_append_new(wanted, server);
	}
	json_decref(list);
	return wanted;
}

static void write_servers(FILE *out, const json_t *servers, const char *mark, const char *indent,
			  int indent_len)
{
	json_t *s;
	size_t i;

	if (mark[0])
		fprintf(out, "%.*s" UPSTREAM_MARK "%s\n", indent_len, indent, mark);
	json_array_foreach((json_t *)servers, i, s)
	{
		const char *address = json_string_value(json_object_get(s, "server"));
		const char *options = json_string_value(json_object_get(s, "options"));
		json_int_t weight = json_integer_value(json_object_get(s, "weight"));

		fprintf(out, "%.*sserver %s", indent_len, indent, address ? address : "");
		if (weight > 1)
			fprintf(out, " weight=%lld", (long long)weight);
		if (options)
			fprintf(out, " %s", options);
		if (json_is_true(json_object_get(s, "backup")))
			fputs(" backup", out);
		if (json_is_true(json_object_get(s, "down")))
			fputs(" down", out);
		fputs(";\n", out);
	}
}

char *upstream_render(const struct upstream *up, const json_t *servers, const char *mark)
{
	const char *text = up->text_ref, *indent = "\t";
	size_t size = 0, pos = up->body, kept = up->body;
	int indent_len = 1;
	bool placed = false;
	struct statement st;
	char *body = NULL;
	FILE *out = open_memstream(&body, &size);

	if (!out)
		return NULL;
	while (statement_next(text, up->body_end, &pos, &st)) {
		size_t from = st.at, to = st.end, line;

		if (st.at < kept || (!is_server(text, &st) && !is_mark(text, &st)))
			continue;
		/* A statement alone on its line takes the whole line with it, also a remark behind it. */
		for (line = from; line > kept && (text[line - 1] == ' ' || text[line - 1] == '\t'); line--)
			;
		while (to < up->body_end && (text[to] == ' ' || text[to] == '\t' || text[to] == '\r'))
			to++;
		if (to < up->body_end && text[to] == '#')
			while (to < up->body_end && text[to] != '\n')
				to++;
		if (line > 0 && text[line - 1] == '\n' && to < up->body_end && text[to] == '\n') {
			if (!placed)
				indent = text + line, indent_len = (int)(from - line);
			from = line;
			to++;
		} else {
			to = st.end;
		}
		fwrite(text + kept, 1, from - kept, out);
		if (!placed) {
			if (from == up->body || text[from - 1] != '\n')
				fputc('\n', out);
			write_servers(out, servers, mark, indent, indent_len);
			placed = true;
		}
		kept = to;
	}
	if (!placed) {
		fputc('\n', out);
		write_servers(out, servers, mark, indent, indent_len);
	}
	fwrite(text + kept, 1, up->body_end - kept, out);
	if (fclose(out) != 0) {
		free(body);
		return NULL;
	}
	return body;
}

char *upstream_splice(const struct upstream *up, const char *body)
{
	size_t n = strlen(body), tail = up->len - up->body_end;
	char *text = malloc(up->body + n + tail + 1);

	if (!text)
		return NULL;
	memcpy(text, up->text_ref, up->body);
	memcpy(text + up->body, body, n);
	memcpy(text + up->body + n, up->text_ref + up->body_end, tail);
	text[up->body + n + tail] = '\0';
	return text;
}

/* Start of every line; the last entry is the end of the text. */
static size_t *line_starts(const char *text, size_t *ret_count)
{
	size_t n = 0, len = strlen(text);
	size_t *starts;

	for (const char *p = text; *p; p++)
		n += *p == '\n';
	starts = calloc(n + 2, sizeof *starts);
	if (!starts)
		return NULL;
	n = 0;
	for (size_t i = 0; i < len; i++)
		if (i == 0 || text[i - 1] == '\n')
			starts[n++] = i;
	starts[n] = len;
	*ret_count = n;
	return starts;
}

static void put_line(FILE *out, char sign, const char *text, const size_t *starts, size_t i)
{
	size_t n = starts[i + 1] - starts[i];

	fprintf(out, "%c%.*s", sign, (int)n, text + starts[i]);
	if (n == 0 || text[starts[i] + n - 1] != '\n')
		fputs("\n\\ No newline at end of file\n", out);
}

static bool same_line(const char *a, const size_t *as, size_t i, const char *b, const size_t *bs, size_t k)
{
	size_t n = as[i + 1] - as[i];

	return n == bs[k + 1] - bs[k] && memcmp(a + as[i], b + bs[k], n) == 0;
}

char *upstream_diff(const char *path, const char *from, const char *to)
{
	size_t fn = 0, tn = 0, head = 0, tail = 0, lead, trail, size;
	size_t *fs = line_starts(from, &fn), *ts = line_starts(to, &tn);
	char *diff = NULL;
	FILE *out = fs && ts ? open_memstream(&diff, &size) : NULL;

	if (!out)
		goto done;
	while (head < fn && head < tn && same_line(from, fs, head, to, ts, head))
		head++;
	while (tail < fn - head && tail < tn - head &&
	       same_line(from, fs, fn - 1 - tail, to, ts, tn - 1 - tail))
		tail++;
	if (head < fn || head < tn) {
		lead = head < 3 ? head : 3;
		trail = tail < 3 ? tail : 3;
		fprintf(out, "--- %s\n+++ %s\n@@ -%zu,%zu +%zu,%zu @@\n", path, path, head - lead + 1,
			fn - tail + trail - head + lead, head - lead + 1, tn - tail + trail - head + lead);
		for (size_t i = head - lead; i < head; i++)
			put_line(out, ' ', from, fs, i);
		for (size_t i = head; i < fn - tail; i++)
			put_line(out, '-', from, fs, i);
		for (size_t i = head; i < tn - tail; i++)
			put_line(out, '+', to, ts, i);
		for (size_t i = fn - tail; i < fn - tail + trail; i++)
			put_line(out, ' ', from, fs, i);
	}
	fclose(out);
done:
	free(fs);
	free(ts);
	return diff;
}
