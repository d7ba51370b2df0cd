/* opscase-retrieval - how well pages are found: recall@5, MRR and nDCG@10 over questions with known answers.
 *
 * opscase-retrieval ROOT QUESTIONS.jsonl CORPUS...
 *
 * QUESTIONS: one JSON object a line: {"qid", "query", "relevant": [path...], "remove_section"?}. A section that is named
 * is left out of the relevant pages before they are indexed. CORPUS: folders below ROOT, or lists of paths (*.txt).
 * Prints a JSON line for the words, the built-in embedding, and both fused: the same code that the service asks. */
#include <ctype.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <sys/stat.h>
#include "base/mem.h"
#include "librarian/chunk.h"
#include "librarian/embed.h"
#include "librarian/fuse.h"
#include "wire/json/json.h"

#define TOP 200

struct page {
	char *path, *text;
	struct chunk_list chunks;
};

static struct page *pages;
static size_t page_count;
static struct vec {
	size_t page;
	float v[EMBED_DIMS];
} *vecs;
static size_t vec_count;

static char *read_file(const char *root, const char *path)
{
	AUTO(str) char *whole = mem_printf("%s/%s", root, path);
	AUTO(file) FILE *f = fopen(whole, "re");
	struct text t = { 0 };
	char buf[8192];
	size_t n;

	if (!f)
		return NULL;
	while ((n = fread(buf, 1, sizeof(buf), f)) > 0)
		text_add_n(&t, buf, n);
	return text_take(&t);
}

static void add_page(const char *root, const char *path)
{
	for (size_t i = 0; i < page_count; i++)
		if (str_eq(pages[i].path, path))
			return;
	pages = mem_grow(pages, page_count + 1, sizeof(*pages));
	pages[page_count] = (struct page){ .path = mem_strdup(path), .text = read_file(root, path) };
	if (!pages[page_count].text) {
		fprintf(stderr, "%s/%s: not there\n", root, path);
		exit(2);
	}
	page_count++;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void add_folder(const char *root, const char *path)
{
	AUTO(str) char *whole = mem_printf("%s/%s", root, path);
	struct dirent **names;
	int n = scandir(whole, &names, NULL, by_name);

	for (int i = 0; i < n; i++) {
		AUTO(str) char *below = mem_printf("%s/%s", path, names[i]->d_name);
		size_t len = strlen(below);

		if (names[i]->d_name[0] != '.') {
			if (names[i]->d_type == DT_DIR)
				add_folder(root, below);
			else if (len > 3 && str_eq(below + len - 3, ".md"))
				add_page(root, below);
		}
		free(names[i]);
	}
	if (n >= 0)
		free(names);
}

static void add_corpus(const char *root, const char *what)
{
	size_t len = strlen(what);

	if (len > 4 && str_eq(what + len - 4, ".txt")) {
		AUTO(str) char *list = read_file(root, what);

		for (char *save = NULL, *line = strtok_r(list, "\n", &save); line;
		     line = strtok_r(NULL, "\n", &save))
			add_page(root, line);
	} else {
		add_folder(root, what);
	}
}

/* The section under a heading, up to the next heading as high. */
static void remove_section(char *text, const char *name)
{
	size_t skip = 0;
	char *out = text;
	bool fence = false;

	for (char *line = text; *line;) {
		size_t n = strcspn(line, "\n") + (line[strcspn(line, "\n")] == '\n'),
		       depth = strspn(line, "#");

		fence ^= strncmp(line, "```", 3) == 0;
		if (!fence && depth && line[depth] == ' ') {
			const char *title = line + depth + strspn(line + depth, " ");
			size_t len = strcspn(title, "\n");

			while (len && isspace((unsigned char)title[len - 1]))
				len--;
			if (skip && depth <= skip)
				skip = 0;
			if (len == strlen(name) && strncmp(title, name, len) == 0)
				skip = depth;
		}
		if (!skip) {
			memmove(out, line, n);
			out += n;
		}
		line += n;
	}
	*out = '\0';
}

static const char *name_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static void build(struct index *ix, struct embed_stats *stats)
{
	struct embed_census *census = embed_census_new();
	struct oc_fail fail;
	long long id = 0;

	for (size_t i = 0; i < page_count; i++) {
		struct page *p = &pages[i];
		AUTO(str) char *name = mem_strndup(name_of(p->path), strlen(name_of(p->path)) - 3);

		if (chunk_markdown(name, p->text, strlen(p->text), &p->chunks, &fail) != OC_OK) {
			fprintf(stderr, "%s: %s\n", p->path, fail.text);
			exit(2);
		}
		index_put_page(ix, &(struct index_page){ .doc_id = (long long)i + 1,
							 .title = p->chunks.title,
							 .trust = 1,
							 .live = true });
		for (size_t k = 0; k < p->chunks.count; k++) {
			index_put(ix, ++id, (long long)i + 1, p->chunks.chunk[k].heading,
				  p->chunks.chunk[k].body);
			embed_census_add(census, p->chunks.title, p->chunks.chunk[k].heading,
					 p->chunks.chunk[k].body);
		}
	}
	embed_census_stats(census, stats);
	embed_census_free(census);
	vecs = mem_array((size_t)id, sizeof(*vecs));
	for (size_t i = 0; i < page_count; i++)
		for (size_t k = 0; k < pages[i].chunks.count; k++) {
			vecs[vec_count].page = i;
			embed_chunk(stats, pages[i].chunks.title, pages[i].chunks.chunk[k].heading,
				    pages[i].chunks.chunk[k].body, vecs[vec_count++].v);
		}
}

static int by_hit(const void *a, const void *b)
{
	const struct index_hit *x = a, *y = b;

	return x->score != y->score ? (x->score < y->score) - (x->score > y->score)
				    : (x->doc_id > y->doc_id) - (x->doc_id < y->doc_id);
}

/* Exact: what the database's index is measured against. */
static size_t nearest(const struct embed_stats *stats, const char *question, struct index_hit *ret)
{
	struct index_hit *all = mem_array(page_count, sizeof(*all));
	float q[EMBED_DIMS];
	size_t n = page_count < TOP ? page_count : TOP;

	embed_question(stats, question, q);
	for (size_t i = 0; i < page_count; i++)
		all[i] = (struct index_hit){ (long long)i + 1, 0, -1 };
	for (size_t i = 0; i < vec_count; i++) {
		double dot = 0;

		for (size_t k = 0; k < EMBED_DIMS; k++)
			dot += (double)q[k] * (double)vecs[i].v[k];
		if (dot > all[vecs[i].page].score)
			all[vecs[i].page].score = dot;
	}
	qsort(all, page_count, sizeof(*all), by_hit);
	memcpy(ret, all, n * sizeof(*ret));
	free(all);
	return n;
}

struct sums {
	const char *name;
	double r1, r5, mrr, ndcg;
};

static bool relevant(const json_t *list, long long doc_id)
{
	const json_t *one;
	size_t i;

	json_array_foreach(list, i,
			   one) if (str_eq(json_string_value(one), pages[doc_id - 1].path)) return true;
	return false;
}

static void judge(struct sums *s, const json_t *want, const long long *docs, size_t n, const char *qid,
		  bool say)
{
	size_t all = json_array_size(want), at5 = 0;
	double gain = 0, ideal = 0;
	bool found = false;

	for (size_t i = 0; i < n && i < 10; i++) {
		if (!relevant(want, docs[i]))
			continue;
		s->r1 += i < 1 ? 1.0 / (double)all : 0;
		s->r5 += i < 5 ? 1.0 / (double)all : 0;
		at5 += i < 5;
		if (!found)
			s->mrr += 1.0 / (double)(i + 1);
		found = true;
		gain += 1 / log2((double)i + 2);
	}
	for (size_t i = 0; i < all && i < 10; i++)
		ideal += 1 / log2((double)i + 2);
	s->ndcg += gain / ideal;
	if (say && at5 < all)
		fprintf(stderr, "%s: %zu of %zu among the first five; first is %s\n", qid, at5, all,
			n ? pages[docs[0] - 1].path : "nothing");
}

int main(int argc, char **argv)
{
	struct sums sums[] = { { .name = "words" }, { .name = "embedding" }, { .name = "fused" } };
	struct index *ix = index_new();
	struct embed_stats *stats = mem_alloc(sizeof(*stats));
	AUTO(str) char *questions = NULL;
	size_t asked = 0;

	if (argc < 4) {
		fprintf(stderr, "usage: opscase-retrieval ROOT QUESTIONS.jsonl CORPUS...\n");
		return 2;
	}
	questions = read_file(argv[1], argv[2]);
	if (!questions) {
		fprintf(stderr, "%s/%s: not there\n", argv[1], argv[2]);
		return 2;
	}
	for (int i = 3; i < argc; i++)
		add_corpus(argv[1], argv[i]);
	for (int pass = 0; pass < 2; pass++) {
		AUTO(str) char *copy = mem_strdup(questions);

		for (char *save = NULL, *line = strtok_r(copy, "\n", &save); line;
		     line = strtok_r(NULL, "\n", &save)) {
			AUTO(json) json_t *q = NULL;
			const json_t *want, *path;
			size_t i;

			if (json_read_own(line, &q, NULL) != OC_OK)
				continue;
			want = json_object_get(q, "relevant");
			if (pass == 0) {
				json_array_foreach(want, i, path) add_page(argv[1], json_string_value(path));
				for (size_t k = 0; k < page_count && json_str(q, "remove_section"); k++)
					if (relevant(want, (long long)k + 1))
						remove_section(pages[k].text, json_str(q, "remove_section"));
				continue;
			}
			struct index_hit text[TOP], plain[TOP], vec[TOP];
			struct fused both[TOP];
			long long docs[3][TOP];
			size_t n[3];
			struct index_filter none = { 0 };

			if (!asked++)
				build(ix, stats);
			n[0] = index_search(ix, json_str(q, "query"), &none, true, text, TOP);
			n[1] = nearest(stats, json_str(q, "query"), vec);
			n[2] = fuse(
				(struct fuse_leg[FUSE_LEGS]){
					[FUSE_WIDENED] = { text, n[0] },
					[FUSE_WORDS] = { plain, index_search(ix, json_str(q, "query"), &none,
                                                          false, plain, TOP) },
					[FUSE_VECTOR] = { vec, n[1] }
                        },
				NULL, NULL, both, TOP);
			for (i = 0; i < TOP; i++) {
				docs[0][i] = i < n[0] ? text[i].doc_id : 0;
				docs[1][i] = i < n[1] ? vec[i].doc_id : 0;
				docs[2][i] = i < n[2] ? both[i].doc_id : 0;
			}
			for (i = 0; i < 3; i++)
				judge(&sums[i], want, docs[i], n[i], json_str(q, "qid"),
				      i == 2 && getenv("RETRIEVAL_SAY"));
		}
	}
	for (size_t i = 0; i < 3 && asked; i++)
		printf("{\"ranking\":\"%s\",\"questions\":%zu,\"pages\":%zu,\"chunks\":%zu,\"recall_1\":%.3f,\"recall_5\":%.3f,"
		       "\"mrr\":%.3f,\"ndcg_10\":%.3f}\n",
		       sums[i].name, asked, page_count, vec_count, sums[i].r1 / (double)asked,
		       sums[i].r5 / (double)asked, sums[i].mrr / (double)asked, sums[i].ndcg / (double)asked);
	for (size_t i = 0; i < page_count; i++) {
		chunk_list_done(&pages[i].chunks);
		free(pages[i].path);
		free(pages[i].text);
	}
	free(pages);
	free(vecs);
	free(stats);
	index_free(ix);
	return asked ? 0 : 1;
}
