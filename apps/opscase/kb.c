/* kb.c - opscase kb: pages of knowledge in, answers out. */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include "apps/opscase/out.h"
#include "apps/opscase/remote.h"
#include "apps/opscase/show.h"
#include "base/mem.h"

#define FILE_MAX    ((size_t)2 << 20)
#define BATCH_MAX   ((size_t)2 << 20) /* bytes of one request */
#define BATCH_PAGES 256
#define FILES_MAX   20000
#define DEPTH_MAX   16

static enum oc_err read_file(const char *path, char **ret, struct oc_fail *reterr)
{
	AUTO(file) FILE *f = str_eq(path, "-") ? NULL : fopen(path, "re");
	AUTO(text) struct text t = { 0 };
	FILE *in = str_eq(path, "-") ? stdin : f;
	char buf[8192];
	size_t n;

	if (!in)
		return oc_fail(reterr, OC_NOT_FOUND, "%s: %s", path, strerror(errno));
	while ((n = fread(buf, 1, sizeof(buf), in)) > 0) {
		text_add_n(&t, buf, n);
		if (t.len > FILE_MAX)
			return oc_fail(reterr, OC_TOO_LARGE, "%s has more than %zu bytes", path, FILE_MAX);
	}
	if (!str_utf8_ok(text_str(&t), t.len))
		return oc_fail(reterr, OC_INVALID, "%s is no UTF-8 text", path);
	*ret = text_take(&t);
	return OC_OK;
}

static json_t *page_of(const struct cli *cli, const char *url, const char *text)
{
	static const char *const names[][2] = {
		{ "kind",    "kind"       },
                { "service", "service"    },
                { "from",    "valid_from" },
                { "until",   "valid_to"   }
	};
	json_t *page = json_object();

	json_put(page, "url", url);
	json_put(page, "text", text);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (cli_option(cli, names[i][0]))
			json_put(page, names[i][1], cli_option(cli, names[i][0]));
	return page;
}

static void add_up(json_t *sum, const json_t *more)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)more, key, v) if (json_is_integer(v) && !str_eq(key, "doc_id"))
		json_object_set_new(sum, key, json_integer(json_int_or(sum, key, 0) + json_integer_value(v)));
}

static enum oc_err send(struct remote *r, const json_t *body, json_t *sum, struct oc_fail *reterr)
{
	AUTO(remote_answer) struct remote_answer answer = { 0 };
	enum oc_err err = remote_send(
		r, &(struct remote_call){ .method = "POST", .path = "/kb/doc", .body = body, .wait_s = -1 },
		&answer, reterr);

	if (err == OC_OK)
		add_up(sum, answer.data);
	return err;
}

static enum oc_err tell(const struct cli *cli, const json_t *sum)
{
	if (cli->json)
		return show_json(sum);
	printf("%lld pages changed, %lld as they were; %lld chunks embedded, %lld kept, %lld gone",
	       json_int_or(sum, "changed", 0), json_int_or(sum, "same", 0),
	       json_int_or(sum, "chunks_added", 0), json_int_or(sum, "chunks_kept", 0),
	       json_int_or(sum, "chunks_dropped", 0));
	if (json_int_or(sum, "retired", 0))
		printf("; %lld pages retired", json_int_or(sum, "retired", 0));
	if (json_int_or(sum, "chunks_bare", 0))
		printf("; %lld chunks wait for the embedding provider", json_int_or(sum, "chunks_bare", 0));
	puts("");
	return OC_OK;
}

enum oc_err cli_kb_add(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(remote) struct remote *r = NULL;
	AUTO(json) json_t *sum = json_object();
	enum oc_err err = remote_open(cli, &r, reterr);

	if (cli_option(cli, "url") && cli->argc > 1)
		return oc_fail(reterr, OC_BAD_REQUEST, "--url names one page, not %d", cli->argc);
	for (int i = 0; err == OC_OK && i < cli->argc; i++) {
		AUTO(json) json_t *body = json_object(), *pages = json_array();
		AUTO(str) char *text = NULL;
		const char *url = cli_option(cli, "url") ? cli_option(cli, "url") : cli_arg(cli, i);

		if (str_eq(url, "-"))
			return oc_fail(reterr, OC_BAD_REQUEST,
				       "what comes from standard input needs an address: --url");
		err = read_file(cli_arg(cli, i), &text, reterr);
		if (err != OC_OK)
			break;
		json_array_append_new(pages, page_of(cli, url, text));
		json_object_set(body, "pages", pages);
		json_put(body, "source", "file");
		err = send(r, body, sum, reterr);
	}
	return err == OC_OK ? tell(cli, sum) : err;
}

/* --- folders */

struct files {
	char **path; /* below the folder */
	size_t count;
	bool over;
};

static void files_done(struct files *f)
{
	for (size_t i = 0; i < f->count; i++)
		free(f->path[i]);
	free(f->path);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static bool is_page(const char *name)
{
	size_t n = strlen(name);

	return (n > 3 && str_eq(name + n - 3, ".md")) || (n > 4 && str_eq(name + n - 4, ".txt"));
}

/* Links are not followed: a folder that leads to itself would never end, and /etc is no knowledge. */
static void walk(const char *root, const char *below, unsigned depth, struct files *f)
{
	AUTO(str) char *whole = mem_printf("%s%s%s", root, *below ? "/" : "", below);
	struct dirent **names;
	int n = scandir(whole, &names, NULL, by_name);

	for (int i = 0; i < n; i++) {
		AUTO(str) char *path = mem_printf("%s%s%s", below, *below ? "/" : "", names[i]->d_name);
		AUTO(str) char *at = mem_printf("%s/%s", root, path);
		struct stat st;

		if (names[i]->d_name[0] != '.' && lstat(at, &st) == 0) {
			if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX) {
				walk(root, path, depth + 1, f);
			} else if (S_ISREG(st.st_mode) && is_page(names[i]->d_name)) {
				f->over |= f->count == FILES_MAX;
				if (f->count < FILES_MAX) {
					f->path = mem_grow(f->path, f->count + 1, sizeof(char *));
					f->path[f->count++] = TAKE(path);
				}
			}
		}
		free(names[i]);
	}
	if (n >= 0)
		free(names);
}

enum oc_err cli_kb_sync(struct cli *cli, struct oc_fail *reterr)
{
	__attribute__((cleanup(files_done))) struct files f = { 0 };
	AUTO(remote) struct remote *r = NULL;
	AUTO(json) json_t *sum = json_object(), *keep = json_array(), *pages = json_array();
	const char *dir = cli_arg(cli, 0), *name = cli_option(cli, "source");
	size_t bytes = 0;
	struct stat st;
	enum oc_err err;

	if (stat(dir, &st) != 0 || !S_ISDIR(st.st_mode))
		return oc_fail(reterr, OC_NOT_FOUND, "%s is no folder", dir);
	walk(dir, "", 0, &f);
	if (f.over)
		return oc_fail(reterr, OC_TOO_LARGE, "%s has more than %d pages", dir, FILES_MAX);
	if (!f.count)
		return oc_fail(reterr, OC_NOT_FOUND, "%s has no *.md or *.txt", dir);
	if (!name)
		name = dir;
	err = remote_open(cli, &r, reterr);
	for (size_t i = 0; err == OC_OK && i < f.count; i++) {
		AUTO(str) char *at = mem_printf("%s/%s", dir, f.path[i]);
		AUTO(str) char *url = mem_printf("%s/%s", name, f.path[i]);
		AUTO(str) char *text = NULL;

		err = read_file(at, &text, reterr);
		if (err != OC_OK)
			break;
		json_array_append_new(keep, json_string(url));
		json_array_append_new(pages, page_of(cli, url, text));
		bytes += strlen(text);
		if (bytes > BATCH_MAX || json_array_size(pages) == BATCH_PAGES || i + 1 == f.count) {
			AUTO(json) json_t *body = json_pack("{s:s, s:O}", "source", name, "pages", pages);

			/* Only when every page went in does what is missing mean anything. */
			if (i + 1 == f.count && !cli_flag(cli, "keep"))
				json_object_set(body, "keep", keep);
			err = send(r, body, sum, reterr);
			json_array_clear(pages);
			bytes = 0;
		}
	}
	return err == OC_OK ? tell(cli, sum) : err;
}

/* --- asking */

static void query(struct text *path, const char *name, const char *value)
{
	if (!value)
		return;
	text_addf(path, "%c%s=", strchr(path->s, '?') ? '&' : '?', name);
	url_add(path, value);
}

static void show_hit(const struct cli *cli, const json_t *hit, size_t at, struct text *out)
{
	const char *content = json_str_or(hit, "content", "");
	AUTO(text) struct text head = { 0 };
	AUTO(text) struct text ranks = { 0 };
	const char *key;
	json_t *v;
	unsigned lines = 0;

	text_addf(&head, "%zu. %s", at + 1, json_str_or(hit, "heading", ""));
	if (str_empty(json_str(hit, "heading")))
		text_add(&head, json_str_or(hit, "title", ""));
	out_styled(out, cli->colour, OUT_BOLD, head.s);
	text_add(out, "\n   ");
	json_object_foreach(json_object_get(hit, "ranks"), key, v)
		text_addf(&ranks, "%s%s %lld", ranks.len ? ", " : "", key, (long long)json_integer_value(v));
	AUTO(str)
	char *from = mem_printf("page %lld, %s, %s%s%s; trust %.2f; %s", json_int_or(hit, "doc_id", 0),
				json_str_or(hit, "url", ""), json_str_or(hit, "kind", ""),
				json_str(hit, "service") ? " of " : "", json_str_or(hit, "service", ""),
				json_num_or(hit, "trust", 1), text_str(&ranks));
	out_styled(out, cli->colour, OUT_DIM, from);
	text_add(out, "\n");
	for (const char *line = content; *line && lines < 4;
	     line += strcspn(line, "\n"), line += *line == '\n') {
		size_t n = strcspn(line, "\n");
		AUTO(str) char *one = mem_strndup(line, n < 200 ? n : 200);

		if (!n)
			continue;
		text_add(out, "   ");
		out_clean(out, one, false);
		text_add(out, "\n");
		lines++;
	}
}

enum oc_err cli_kb_search(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(remote) struct remote *r = NULL;
	AUTO(remote_answer) struct remote_answer answer = { 0 };
	AUTO(text) struct text path = { 0 };
	AUTO(text) struct text q = { 0 };
	AUTO(text) struct text out = { 0 };
	const json_t *hits, *hit;
	size_t i;
	enum oc_err err;

	for (int k = 0; k < cli->argc; k++)
		text_addf(&q, "%s%s", k ? " " : "", cli_arg(cli, k));
	text_add(&path, "/kb/search");
	query(&path, "q", text_str(&q));
	query(&path, "service", cli_option(cli, "service"));
	query(&path, "kind", cli_option(cli, "kind"));
	query(&path, "limit", cli_option(cli, "limit"));
	query(&path, "how", cli_option(cli, "how"));
	err = remote_open(cli, &r, reterr);
	if (err == OC_OK)
		err = remote_get(r, &answer, reterr, "%s", path.s);
	if (err != OC_OK)
		return err;
	if (cli->json)
		return show_json(answer.data);
	hits = json_object_get(answer.data, "hits");
	json_array_foreach(hits, i, hit) show_hit(cli, hit, i, &out);
	if (json_str(answer.data, "note"))
		fprintf(stderr, "opscase: %s\n", json_str(answer.data, "note"));
	fputs(out.len ? out.s : "nothing is known about that\n", stdout);
	return OC_OK;
}

enum oc_err cli_kb_list(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(remote) struct remote *r = NULL;
	AUTO(remote_answer) struct remote_answer answer = { 0 };
	AUTO(out_table) struct out_table table;
	AUTO(text) struct text path = { 0 };
	AUTO(text) struct text out = { 0 };
	const json_t *one;
	size_t i;
	enum oc_err err;

	out_table_init(&table, "PAGE|STATE|KIND|SERVICE|TRUST|CHUNKS|TITLE|ADDRESS");
	text_add(&path, "/kb/doc");
	query(&path, "state", cli_option(cli, "state"));
	query(&path, "limit", cli_option(cli, "limit"));
	err = remote_open(cli, &r, reterr);
	if (err == OC_OK)
		err = remote_get(r, &answer, reterr, "%s", path.s);
	if (err != OC_OK)
		return err;
	if (cli->json)
		return show_json(answer.data);
	json_array_foreach(answer.data, i, one)
	{
		const char *state = json_str_or(one, "state", "");

		out_table_addf(&table, OUT_DIM, "%lld", json_int_or(one, "doc_id", 0));
		out_table_add(&table,
			      str_eq(state, "live")    ? OUT_GOOD
			      : str_eq(state, "draft") ? OUT_WARN
						       : OUT_DIM,
			      state);
		out_table_add(&table, OUT_PLAIN, json_str(one, "kind"));
		out_table_add(&table, OUT_PLAIN, json_str(one, "service"));
		out_table_addf(&table, OUT_PLAIN, "%.2f", json_num_or(one, "trust", 1));
		out_table_addf(&table, OUT_PLAIN, "%lld", json_int_or(one, "chunks", 0));
		out_table_add(&table, OUT_PLAIN, json_str(one, "title"));
		out_table_add(&table, OUT_DIM, json_str(one, "url"));
	}
	out_table_print(&table, cli->width, cli->colour, &out);
	fputs(out.s, stdout);
	return OC_OK;
}

static enum oc_err decide(struct cli *cli, const char *state, struct oc_fail *reterr)
{
	AUTO(remote) struct remote *r = NULL;
	AUTO(remote_answer) struct remote_answer answer = { 0 };
	AUTO(json) json_t *body = json_object();
	long long doc = 0, by = 0;
	enum oc_err err = cli_option_int(cli, "by", 1, INT64_MAX, &by, reterr);

	if (err != OC_OK)
		return err;
	if (!str_to_long(cli_arg(cli, 0), 1, INT64_MAX, &doc))
		return oc_fail(reterr, OC_BAD_REQUEST, "'%s' is no number of a page; see `opscase kb list`",
			       cli_arg(cli, 0));
	json_object_set_new(body, "doc_id", json_integer(doc));
	json_put(body, "state", by ? "superseded" : state);
	if (by)
		json_object_set_new(body, "by", json_integer(by));
	err = remote_open(cli, &r, reterr);
	if (err == OC_OK)
		err = remote_send(r,
				  &(struct remote_call){
					  .method = "POST", .path = "/kb/decide", .body = body, .wait_s = -1 },
				  &answer, reterr);
	if (err != OC_OK)
		return err;
	if (cli->json)
		return show_json(answer.data);
	printf("page %lld is %s\n", doc, json_str_or(answer.data, "state", state));
	return OC_OK;
}

enum oc_err cli_kb_accept(struct cli *cli, struct oc_fail *reterr)
{
	return decide(cli, "live", reterr);
}

enum oc_err cli_kb_retire(struct cli *cli, struct oc_fail *reterr)
{
	return decide(cli, "retired", reterr);
}

enum oc_err cli_kb_embed(struct cli *cli, struct oc_fail *reterr)
{
	AUTO(remote) struct remote *r = NULL;
	AUTO(remote_answer) struct remote_answer answer = { 0 };
	AUTO(json) json_t *body = json_pack("{s:s}", "anew", cli_flag(cli, "anew") ? "yes" : "no");
	enum oc_err err = remote_open(cli, &r, reterr);

	if (err == OC_OK)
		err = remote_send(r,
				  &(struct remote_call){
					  .method = "POST", .path = "/kb/embed", .body = body, .wait_s = -1 },
				  &answer, reterr);
	if (err != OC_OK)
		return err;
	if (cli->json)
		return show_json(answer.data);
	printf("%lld chunks embedded\n", json_int_or(answer.data, "chunks", 0));
	return OC_OK;
}
