#define LOG_ROOM "llm"
#include "llm/llm_impl.h"
#include <pthread.h>
#include <time.h>
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "wire/http/client.h"

#define PROVIDERS_MAX LLM_PROVIDERS_MAX
#define TRIES         3     /* of one provider for one call */
#define BACKOFF_MS    500   /* doubled, with jitter */
#define RETRY_AFTER_S 20    /* longer: the next provider */
#define BREAKER_FAILS 5     /* in a row */
#define BREAKER_MS    30000 /* until one call may look again */
#define REQUEST_MAX   ((size_t)512 << 10)

struct provider {
	char *name, *url, *model, *key, *embed_model, *ca_file, *proxy;
	enum wire_kind kind;
	enum wire_structured structured;
	bool stream;
	unsigned max_tokens, timeout_ms, embed_dims;
	double price_in, price_out, price_embed;
	/* the breaker */
	unsigned fails;
	int64_t open_until_ms;
};

struct llm {
	struct provider provider[PROVIDERS_MAX];
	size_t count;
	struct llm_spent budget; /* 0: no limit */
	bool need_certificate;
	struct llm_hooks hooks;
	pthread_mutex_t lock; /* of the breakers */
};

/* --- configuration */

static char *own(const json_t *o, const char *key)
{
	return mem_strdup(str_empty(json_str(o, key)) ? NULL : json_str(o, key));
}

static enum oc_err read_provider(const json_t *o, size_t at, struct provider *p, struct oc_fail *reterr)
{
	const char *kind = json_str_or(o, "kind", "openai"), *how = json_str_or(o, "structured", "schema");
	char field[64];

	snprintf(field, sizeof(field), "/providers/%zu", at);
	if (!json_is_object(o) || str_empty(json_str(o, "name")) || str_empty(json_str(o, "url")) ||
	    str_empty(json_str(o, "model")))
		return oc_fail_field(reterr, OC_INVALID, field, "a provider has a name, a url and a model");
	if (!str_eq(kind, "openai") && !str_eq(kind, "anthropic"))
		return oc_fail_field(reterr, OC_INVALID, field, "kind is openai or anthropic, not '%.40s'",
				     kind);
	if (!str_eq(how, "schema") && !str_eq(how, "tool") && !str_eq(how, "text"))
		return oc_fail_field(reterr, OC_INVALID, field,
				     "structured is schema, tool or text, not '%.40s'", how);
	*p = (struct provider){
		.name = own(o, "name"),
		.url = own(o, "url"),
		.model = own(o, "model"),
		.key = own(o, "key"),
		.embed_model = own(o, "embed_model"),
		.ca_file = own(o, "ca_file"),
		.proxy = own(o, "proxy"),
		.kind = str_eq(kind, "anthropic") ? WIRE_ANTHROPIC : WIRE_OPENAI,
		.structured = str_eq(how, "tool")   ? WIRE_TOOL
			      : str_eq(how, "text") ? WIRE_TEXT
						    : WIRE_SCHEMA,
		.stream = json_bool_or(o, "stream", false),
		.max_tokens = (unsigned)json_int_or(o, "max_tokens", 4096),
		.timeout_ms = (unsigned)json_int_or(o, "timeout_s", 60) * 1000,
		.embed_dims = (unsigned)json_int_or(o, "embed_dims", 0),
		.price_in = json_num_or(o, "price_in", 0),
		.price_out = json_num_or(o, "price_out", 0),
		.price_embed = json_num_or(o, "price_embed", 0),
	};
	if (p->max_tokens < 16 || p->max_tokens > 65536 || p->timeout_ms < 1000 || p->timeout_ms > 600000)
		return oc_fail_field(reterr, OC_INVALID, field,
				     "max_tokens is 16 to 65536, timeout_s 1 to 600");
	if (p->embed_model && !p->embed_dims)
		return oc_fail_field(reterr, OC_INVALID, field, "embed_model needs embed_dims");
	return OC_OK;
}

enum oc_err llm_new(const char *config_text, const struct llm_hooks *hooks, struct llm **ret,
		    struct oc_fail *reterr)
{
	AUTO(llm) struct llm *llm = mem_alloc(sizeof(*llm));
	AUTO(json) json_t *doc = NULL;
	const json_t *list, *one, *budget;
	size_t i;
	enum oc_err err;

	pthread_mutex_init(&llm->lock, NULL);
	llm->hooks = *hooks;
	err = json_read(config_text, strlen(config_text), NULL, &doc, reterr);
	if (err != OC_OK)
		return err;
	list = json_object_get(doc, "providers");
	if (json_array_size(list) < 1 || json_array_size(list) > PROVIDERS_MAX)
		return oc_fail_field(reterr, OC_INVALID, "/providers", "1 to %d providers", PROVIDERS_MAX);
	json_array_foreach(list, i, one)
	{
		err = read_provider(one, i, &llm->provider[llm->count++], reterr);
		if (err != OC_OK)
			return err;
	}
	budget = json_object_get(doc, "budget");
	llm->budget = (struct llm_spent){
		.case_tokens = json_int_or(budget, "case_tokens", 200000),
		.hour_tokens = json_int_or(budget, "hour_tokens", 2000000),
		.tenant_tokens = json_int_or(budget, "tenant_tokens", 10000000),
		.case_cost = json_num_or(budget, "case_cost", 0),
		.hour_cost = json_num_or(budget, "hour_cost", 0),
		.tenant_cost = json_num_or(budget, "tenant_cost", 0),
	};
	llm->need_certificate = json_bool_or(doc, "require_certificate", false);
	*ret = TAKE(llm);
	return OC_OK;
}

void llm_free(struct llm *llm)
{
	if (!llm)
		return;
	for (size_t i = 0; i < llm->count; i++) {
		struct provider *p = &llm->provider[i];
		char *const all[] = {
			p->name, p->url, p->model, p->key, p->embed_model, p->ca_file, p->proxy
		};

		for (size_t k = 0; k < ARRAY_LEN(all); k++)
			free(all[k]);
	}
	pthread_mutex_destroy(&llm->lock);
	free(llm);
}

/* --- the breaker, and waiting */

size_t llm_providers(const struct llm *llm)
{
	return llm->count;
}

struct provider *llm_provider(struct llm *llm, size_t i)
{
	return &llm->provider[i];
}

bool llm_may_call(struct llm *llm, struct provider *p)
{
	int64_t now = clock_mono_ms();
	bool may;

	pthread_mutex_lock(&llm->lock);
	may = p->fails < BREAKER_FAILS || now >= p->open_until_ms;
	/* one call looks whether it is back; the others wait for what it finds */
	if (may && p->fails >= BREAKER_FAILS)
		p->open_until_ms = now + BREAKER_MS;
	pthread_mutex_unlock(&llm->lock);
	return may;
}

static void called(struct llm *llm, struct provider *p, bool good)
{
	pthread_mutex_lock(&llm->lock);
	p->fails = good ? 0 : p->fails + 1;
	if (p->fails == BREAKER_FAILS) {
		p->open_until_ms = clock_mono_ms() + BREAKER_MS;
		log_warn("provider %s failed %d times in a row: not asked for %d s", p->name, BREAKER_FAILS,
			 BREAKER_MS / 1000);
	}
	pthread_mutex_unlock(&llm->lock);
}

static void pause_ms(struct llm *llm, unsigned ms)
{
	if (llm->hooks.pause)
		llm->hooks.pause(llm->hooks.ctx, ms);
	else
		nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000L },
			  NULL);
}

static unsigned jitter(unsigned ms)
{
	uint32_t r;

	hash_random(&r, sizeof(r));
	return ms / 2 + r % (ms / 2 + 1);
}

bool llm_may_serve(struct llm *llm, const struct provider *p, const struct llm_task *task,
		   struct oc_fail *reterr)
{
	bool may = false;

	if (!llm->need_certificate)
		return true;
	if (llm->hooks.certified && llm->hooks.certified(llm->hooks.ctx, task->tenant_id, task->purpose,
							 p->name, p->model, &may, reterr) != OC_OK)
		return false;
	if (!may)
		oc_fail(reterr, OC_UNAVAILABLE,
			"%s: model %s has no certificate for the duty '%s' (opscase llm certify)", p->name,
			p->model, task->purpose);
	return may;
}

/* --- one request */

struct exchange {
	int64_t until_ms;
	int status; /* 0: no answer */
	struct http_answer answer;
	int latency_ms;
	char why[400];
};

static void exchange_done(struct exchange *x)
{
	http_answer_done(&x->answer);
}

static enum oc_err post(struct llm *llm, struct provider *p, const char *path, const char *body,
			struct exchange *x, struct oc_fail *reterr)
{
	AUTO(str) char *key = NULL;
	AUTO(str) char *key_line = NULL;
	struct http_client *http;
	const char *headers[3] = { NULL };
	struct oc_fail why = { 0 };
	int64_t began = clock_mono_ms(), left = x->until_ms - began;
	enum oc_err err;

	if (left < 1000)
		return oc_fail(reterr, OC_UNAVAILABLE, "the time for this document is over");

	if (p->key) {
		err = llm->hooks.secret ? llm->hooks.secret(llm->hooks.ctx, p->key, &key, reterr)
					: oc_fail(reterr, OC_NOT_FOUND, "no keys can be read here");
		if (err != OC_OK)
			return err;
	}
	if (key && p->kind == WIRE_ANTHROPIC) {
		key_line = mem_printf("x-api-key: %s", key);
		headers[0] = key_line;
	}
	if (p->kind == WIRE_ANTHROPIC)
		headers[key ? 1 : 0] = "anthropic-version: 2023-06-01";
	http = http_client_new(&(struct http_client_config){
		.base_url = p->url,
		.bearer = p->kind == WIRE_OPENAI ? key : NULL,
		.ca_file = p->ca_file,
		.proxy = p->proxy,
		.timeout_ms = left < p->timeout_ms ? (unsigned)left : p->timeout_ms,
		.answer_max = (size_t)64 << 20 });
	err = http_client_call(http, "POST", path, headers, body, &x->answer, &why);
	http_client_free(http);
	if (key)
		explicit_bzero(key, strlen(key));
	if (key_line)
		explicit_bzero(key_line, strlen(key_line));
	x->latency_ms = (int)(clock_mono_ms() - began);
	x->status = err == OC_OK ? x->answer.status : 0;
	if (err != OC_OK)
		snprintf(x->why, sizeof(x->why), "%.390s", why.text);
	return OC_OK;
}

static bool worth_again(int status)
{
	return status == 0 || status == 408 || status == 429 || status >= 500;
}

/* Tries, with pauses between. The last exchange is in x, whatever it was. */
static enum oc_err insist(struct llm *llm, struct provider *p, const char *path, const char *body,
			  struct exchange *x, struct oc_fail *reterr)
{
	for (unsigned i = 0;; i++) {
		unsigned wait = jitter(BACKOFF_MS << i);
		enum oc_err err;

		exchange_done(x);
		*x = (struct exchange){ .until_ms = x->until_ms };
		err = post(llm, p, path, body, x, reterr);
		if (err != OC_OK)
			return err;
		if (!worth_again(x->status)) {
			called(llm, p, true);
			return OC_OK;
		}
		called(llm, p, false);
		if (x->answer.retry_after_s > RETRY_AFTER_S || i + 1 == TRIES || !llm_may_call(llm, p))
			return OC_OK;
		if (x->answer.retry_after_s)
			wait = x->answer.retry_after_s * 1000;
		pause_ms(llm, wait);
	}
}

/* --- budget and record */

static bool over(double limit, double spent)
{
	return limit > 0 && spent >= limit;
}

enum oc_err llm_check_budget(struct llm *llm, const struct llm_task *task, struct oc_fail *reterr)
{
	const struct llm_spent *b = &llm->budget;
	struct llm_spent s = { 0 };
	enum oc_err err;

	if (!llm->hooks.spent)
		return OC_OK;
	err = llm->hooks.spent(llm->hooks.ctx, task->tenant_id, task->case_id, &s, reterr);
	if (err != OC_OK)
		return err;
	if (over((double)b->case_tokens, (double)s.case_tokens) || over(b->case_cost, s.case_cost))
		return oc_fail(reterr, OC_BUSY, "the case has used its budget for models: %lld tokens, %.4f",
			       s.case_tokens, s.case_cost);
	if (over((double)b->hour_tokens, (double)s.hour_tokens) || over(b->hour_cost, s.hour_cost))
		return oc_fail(reterr, OC_BUSY,
			       "the tenant has used this hour's budget for models: %lld tokens, %.4f",
			       s.hour_tokens, s.hour_cost);
	if (over((double)b->tenant_tokens, (double)s.tenant_tokens) || over(b->tenant_cost, s.tenant_cost))
		return oc_fail(reterr, OC_BUSY,
			       "the tenant has used this day's budget for models: %lld tokens, %.4f",
			       s.tenant_tokens, s.tenant_cost);
	return OC_OK;
}

static double price(const struct provider *p, const struct wire_said *s)
{
	return ((double)s->tokens_in * p->price_in + (double)s->tokens_out * p->price_out) / 1e6;
}

static enum oc_err keep(struct llm *llm, const struct llm_task *task, const struct provider *p,
			const json_t *body, const struct exchange *x, const struct wire_said *said,
			const char *outcome, struct oc_fail *reterr)
{
	AUTO(json) json_t *request = NULL;
	AUTO(str) char *called = NULL;

	if (!llm->hooks.record)
		return OC_OK;
	request = json_pack("{s:O, s:o, s:s, s:s?}", "body", body, "map",
			    task->redact ? redact_map(task->redact) : json_object(), "document", task->name,
			    "run", task->run);
	/* what was called, whatever protocol it came by */
	if (task->tools && said->calls) {
		AUTO(json)
		json_t *calls = json_pack("{s:O, s:s?}", "calls", said->calls, "words", said->words);

		called = json_text(calls);
	}
	return llm->hooks.record(llm->hooks.ctx,
				 &(struct llm_record){ .tenant_id = task->tenant_id,
						       .case_id = task->case_id,
						       .purpose = task->purpose,
						       .provider = p->name,
						       .model = p->model,
						       .request = request,
						       .response = called       ? called
								   : said->text ? said->text
										: x->answer.body,
						       .outcome = outcome,
						       .tokens_in = said->tokens_in,
						       .tokens_out = said->tokens_out,
						       .cost = price(p, said),
						       .latency_ms = x->latency_ms },
				 reterr);
}

/* --- a document */

void llm_result_done(struct llm_result *r)
{
	json_decref(r->doc);
	*r = (struct llm_result){ 0 };
}

enum oc_err llm_say(struct llm *llm, struct provider *p, const struct llm_task *task,
		    const struct wire_turn *turns, size_t count, struct wire_said *said,
		    struct llm_result *ret, int64_t until_ms, struct oc_fail *reterr)
{
	__attribute__((cleanup(exchange_done))) struct exchange x = { .until_ms = until_ms };
	AUTO(json)
	json_t *body = wire_request(p->kind, p->structured,
				    &(struct wire_ask){ .model = p->model,
							.system = task->system,
							.turns = turns,
							.count = count,
							.name = task->name,
							.schema = task->schema,
							.tools = task->tools,
							.max_tokens = p->max_tokens,
							.stream = p->stream });
	AUTO(str) char *text = json_text(body);
	struct oc_fail why = { 0 }, unkept = { 0 };
	char outcome[64];
	enum oc_err err;

	if (strlen(text) > REQUEST_MAX)
		return oc_fail(reterr, OC_TOO_LARGE, "the request to the model has %zu bytes", strlen(text));
	err = insist(llm, p, wire_path(p->kind), text, &x, reterr);
	if (err != OC_OK)
		return err;
	if (x.status == 200)
		err = wire_read(p->kind, x.answer.content_type, x.answer.body, x.answer.len, said, &why);
	snprintf(outcome, sizeof(outcome), "%s",
		 x.status == 0     ? "no answer"
		 : x.status != 200 ? "refused by the provider"
		 : err != OC_OK    ? "unreadable"
		 : said->refused   ? "refused by the model"
		 : said->cut       ? "cut"
				   : "ok");
	if (x.status && x.status != 200)
		snprintf(outcome, sizeof(outcome), "http %d", x.status);
	if (keep(llm, task, p, body, &x, said, outcome, &unkept) != OC_OK)
		return oc_fail(reterr, OC_UNAVAILABLE,
			       "the call could not be recorded, so its answer is not used: %s", unkept.text);
	ret->tokens += said->tokens_in + said->tokens_out;
	ret->cost += price(p, said);
	snprintf(ret->provider, sizeof(ret->provider), "%s", p->name);
	snprintf(ret->model, sizeof(ret->model), "%s", p->model);
	if (x.status != 200)
		return oc_fail(reterr, OC_UNAVAILABLE, "%s: %s", p->name, x.status ? outcome : x.why);
	ret->calls++;
	if (err != OC_OK)
		return oc_fail(reterr, OC_UNAVAILABLE, "%s: %s", p->name, why.text);
	if (said->refused)
		return oc_fail(reterr, OC_INVALID, "%s: the model would not answer", p->name);
	return OC_OK;
}

json_t *llm_stand(const struct llm_task *task, const json_t *doc, struct text *findings)
{
	json_t *named = task->redact ? redact_json_back(task->redact, doc) : json_incref((json_t *)doc);

	if (task->check(task->ctx, named, findings))
		return named;
	json_decref(named);
	if (!findings->len)
		text_add(findings, "the document was refused\n");
	return NULL;
}

/* The document in what was said. */
static json_t *stand(const struct llm_task *task, const struct wire_said *said, struct text *findings)
{
	AUTO(json) json_t *doc = wire_extract(said->text ? said->text : "");

	if (doc)
		return llm_stand(task, doc, findings);
	text_add(findings, said->cut ? "the answer was cut at its limit of tokens: write less\n"
				     : "the answer holds no JSON object\n");
	return NULL;
}

static enum oc_err talk(struct llm *llm, struct provider *p, const struct llm_task *task,
			struct llm_result *ret, int64_t until_ms, struct oc_fail *reterr)
{
	char *said_texts[2 * LLM_REPAIRS] = { NULL };
	struct wire_turn turns[1 + 2 * LLM_REPAIRS] = { { .text = task->user } };
	AUTO(text) struct text last = { 0 };
	size_t count = 1;
	enum oc_err err = OC_OK;

	for (unsigned i = 0; i <= LLM_REPAIRS; i++) {
		struct wire_said said = { 0 };
		AUTO(text) struct text findings = { 0 };

		err = llm_check_budget(llm, task, reterr);
		if (err == OC_OK)
			err = llm_say(llm, p, task, turns, count, &said, ret, until_ms, reterr);
		if (err == OC_OK)
			ret->doc = stand(task, &said, &findings);
		if (err != OC_OK || ret->doc) {
			wire_said_done(&said);
			break;
		}
		last.len = 0;
		text_add(&last, text_str(&findings));
		if (i < LLM_REPAIRS) {
			AUTO(str)
			char *shown = task->redact ? redact_text(task->redact, findings.s)
						   : mem_strdup(findings.s);

			ret->repairs++;
			said_texts[2 * i] = said.text && *said.text ? TAKE(said.text)
								    : mem_strdup("(nothing)");
			said_texts[2 * i + 1] = mem_printf(
				"That document was refused:\n%s\nSend the whole document again, mended. "
				"Nothing but the document.",
				shown);
			turns[count++] = (struct wire_turn){ .assistant = true, .text = said_texts[2 * i] };
			turns[count++] = (struct wire_turn){ .text = said_texts[2 * i + 1] };
		}
		wire_said_done(&said);
	}
	for (size_t i = 0; i < ARRAY_LEN(said_texts); i++)
		free(said_texts[i]);
	if (err == OC_OK && !ret->doc)
		return oc_fail(reterr, OC_INVALID, "the model's document was refused %d times: %.600s",
			       LLM_REPAIRS + 1, text_str(&last));
	return err;
}

enum oc_err llm_document(struct llm *llm, const struct llm_task *task, struct llm_result *ret,
			 struct oc_fail *reterr)
{
	struct oc_fail why = { .err = OC_UNAVAILABLE, .text = "every provider is out of order" };
	int64_t until_ms = clock_mono_ms() + LLM_TOTAL_MS;
	enum oc_err err = OC_UNAVAILABLE;

	*ret = (struct llm_result){ 0 };
	for (size_t i = 0; i < llm->count; i++) {
		if (!llm_may_serve(llm, &llm->provider[i], task, &why) ||
		    !llm_may_call(llm, &llm->provider[i]))
			continue;
		err = talk(llm, &llm->provider[i], task, ret, until_ms, &why);
		/* What one model could not write well, or would not, another one may; a budget is a budget. */
		if (err == OC_OK || err == OC_BUSY)
			break;
	}
	if (err != OC_OK)
		return oc_fail(reterr, err, "%s", why.text);
	return OC_OK;
}

/* --- embeddings */

static struct provider *embedder(const struct llm *llm)
{
	for (size_t i = 0; i < llm->count; i++)
		if (llm->provider[i].embed_model)
			return (struct provider *)&llm->provider[i];
	return NULL;
}

bool llm_embeds(const struct llm *llm, const char **ret_model, unsigned *ret_dims)
{
	const struct provider *p = embedder(llm);

	if (!p)
		return false;
	*ret_model = p->embed_model;
	*ret_dims = p->embed_dims;
	return true;
}

/* The vectors are in the chunks: of an answer that was read, the row keeps what it was by its hash. */
static char *embedded(const struct exchange *x, size_t count, unsigned dims)
{
	char hash[HASH_HEX];

	hash_sha256_hex(x->answer.body, x->answer.len, hash);
	return mem_printf("{\"vectors\":%zu,\"dims\":%u,\"sha256\":\"%s\"}", count, dims, hash);
}

static enum oc_err keep_embedding(struct llm *llm, long long tenant_id, const struct provider *p,
				  const json_t *body, const struct exchange *x, const char *response,
				  long long tokens, const char *outcome, struct oc_fail *reterr)
{
	AUTO(json) json_t *request = NULL;

	if (!llm->hooks.record)
		return OC_OK;
	request = json_pack("{s:O}", "body", body);
	return llm->hooks.record(llm->hooks.ctx,
				 &(struct llm_record){ .tenant_id = tenant_id,
						       .purpose = "embed",
						       .provider = p->name,
						       .model = p->embed_model,
						       .request = request,
						       .response = response ? response : x->answer.body,
						       .outcome = outcome,
						       .tokens_in = tokens,
						       .cost = (double)tokens * p->price_embed / 1e6,
						       .latency_ms = x->latency_ms },
				 reterr);
}

static json_t *embed_body(const struct provider *p, const char *const *texts, size_t count)
{
	AUTO(redact) struct redact *r = redact_new();
	char **clean = mem_array(count ? count : 1, sizeof(*clean));
	json_t *body;

	for (size_t i = 0; i < count; i++)
		clean[i] = redact_text(r, texts[i]);
	body = wire_embed_request(p->embed_model, (const char *const *)clean, count);
	for (size_t i = 0; i < count; i++)
		free(clean[i]);
	free(clean);
	return body;
}

enum oc_err llm_embed(struct llm *llm, long long tenant_id, const char *const *texts, size_t count,
		      float *ret, struct oc_fail *reterr)
{
	__attribute__((cleanup(exchange_done))) struct exchange x = { .until_ms = clock_mono_ms() +
										  LLM_TOTAL_MS };
	struct provider *p = embedder(llm);
	AUTO(json) json_t *body = NULL;
	AUTO(str) char *text = NULL;
	AUTO(str) char *told = NULL;
	struct oc_fail why = { 0 }, unkept = { 0 };
	char outcome[32];
	long long tokens = 0;
	enum oc_err err;

	if (!p || !llm_may_call(llm, p))
		return oc_fail(reterr, OC_UNAVAILABLE, "no provider that embeds is there");
	err = llm_check_budget(llm, &(struct llm_task){ .tenant_id = tenant_id }, reterr);
	if (err != OC_OK)
		return err;
	body = embed_body(p, texts, count);
	text = json_text(body);
	err = insist(llm, p, "/v1/embeddings", text, &x, reterr);
	if (err != OC_OK)
		return err;
	if (x.status == 200)
		err = wire_embed_read(x.answer.body, x.answer.len, count, p->embed_dims, ret, &tokens, &why);
	else
		err = oc_fail(&why, OC_UNAVAILABLE, "http %d %s", x.status, x.why);
	if (err == OC_OK)
		told = embedded(&x, count, p->embed_dims);
	snprintf(outcome, sizeof(outcome), "%s",
		 x.status == 0  ? "no answer"
		 : err == OC_OK ? "ok"
				: "unreadable");
	if (x.status && x.status != 200)
		snprintf(outcome, sizeof(outcome), "http %d", x.status);
	if (keep_embedding(llm, tenant_id, p, body, &x, told, tokens, outcome, &unkept) != OC_OK)
		return oc_fail(reterr, OC_UNAVAILABLE,
			       "the call could not be recorded, so its answer is not used: %s", unkept.text);
	return err == OC_OK ? OC_OK : oc_fail(reterr, err, "%s: %s", p->name, why.text);
}
