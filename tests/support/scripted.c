#include "tests/support/scripted.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/mem.h"
#include "base/text.h"
#include "wire/json/json.h"

struct scripted {
	scripted_fn *fn;
	void *ctx;
	int fd;
	char url[64];
	pthread_t thread;
	atomic_bool stopping;
	atomic_uint requests;
};

static bool read_more(int fd, struct text *in)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char buf[16384];
	ssize_t n = poll(&p, 1, 10000) == 1 ? read(fd, buf, sizeof(buf)) : -1;

	if (n <= 0)
		return false;
	text_add_n(in, buf, (size_t)n);
	return true;
}

static void send_all(int fd, const char *s, size_t n)
{
	while (n > 0) {
		ssize_t k = send(fd, s, n, MSG_NOSIGNAL);

		if (k <= 0)
			return;
		s += k;
		n -= (size_t)k;
	}
}

static void serve(struct scripted *s, int fd)
{
	AUTO(text) struct text in = { 0 };
	AUTO(text) struct text out = { 0 };
	AUTO(str) char *head = NULL;
	AUTO(str) char *path = NULL;
	struct scripted_answer a = { .status = 200 };
	const char *end, *length, *body;
	size_t want = 0, len;

	while (!(end = strstr(text_str(&in), "\r\n\r\n")))
		if (!read_more(fd, &in))
			return;
	length = strcasestr(in.s, "\r\nContent-Length:");
	want = length ? strtoul(length + 17, NULL, 10) : 0;
	while (in.len < (size_t)(end - in.s) + 4 + want) {
		size_t at = (size_t)(end - in.s);

		if (!read_more(fd, &in))
			return;
		end = in.s + at;
	}
	body = end + 4;
	head = mem_strndup(in.s, (size_t)(end - in.s));
	path = mem_strndup(strchr(head, ' ') + 1, strcspn(strchr(head, ' ') + 1, " "));
	s->fn(s->ctx, atomic_fetch_add(&s->requests, 1), path, head, body, &a);
	if (!a.status) {
		free(a.body);
		return;
	}
	len = a.body ? strlen(a.body) : 0;
	text_addf(&out,
		  "HTTP/1.1 %d X\r\nContent-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n%s\r\n",
		  a.status, a.type ? a.type : "application/json", len, a.headers ? a.headers : "");
	send_all(fd, out.s, out.len);
	send_all(fd, a.body ? a.body : "", a.cut && a.cut < len ? a.cut : len);
	free(a.body);
}

static void *run(void *arg)
{
	struct scripted *s = arg;

	while (!atomic_load(&s->stopping)) {
		struct pollfd p = { .fd = s->fd, .events = POLLIN };
		int fd;

		if (poll(&p, 1, 50) != 1)
			continue;
		fd = accept(s->fd, NULL, NULL);
		if (fd < 0)
			continue;
		serve(s, fd);
		shutdown(fd, SHUT_WR);
		close(fd);
	}
	return NULL;
}

struct scripted *scripted_start(scripted_fn *fn, void *ctx)
{
	struct scripted *s = mem_alloc(sizeof(*s));
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(at);

	s->fn = fn;
	s->ctx = ctx;
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s->fd < 0 || bind(s->fd, (struct sockaddr *)&at, n) != 0 || listen(s->fd, 64) != 0 ||
	    getsockname(s->fd, (struct sockaddr *)&at, &n) != 0 ||
	    pthread_create(&s->thread, NULL, run, s) != 0)
		abort();
	snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%d", ntohs(at.sin_port));
	return s;
}

void scripted_stop(struct scripted *s)
{
	if (!s)
		return;
	atomic_store(&s->stopping, true);
	pthread_join(s->thread, NULL);
	close(s->fd);
	free(s);
}

const char *scripted_url(const struct scripted *s)
{
	return s->url;
}

unsigned scripted_requests(const struct scripted *s)
{
	return atomic_load(&((struct scripted *)s)->requests);
}

char *scripted_says(const char *content)
{
	AUTO(json)
	json_t *doc = json_pack("{s:[{s:{s:s, s:s}, s:s}], s:{s:i, s:i}}", "choices", "message", "role",
				"assistant", "content", content, "finish_reason", "stop", "usage",
				"prompt_tokens", 100, "completion_tokens", 50);

	return json_text(doc);
}

static void event(struct text *t, const char *name, json_t *doc)
{
	AUTO(str) char *text = json_text(doc);

	if (name)
		text_addf(t, "event: %s\n", name);
	text_addf(t, "data: %s\n\n", text);
	json_decref(doc);
}

static char *openai_stream(const char *id, const char *tool, const char *input)
{
	struct text t = { 0 };
	AUTO(str) char *head = mem_strndup(input, strlen(input) / 2);

	event(&t, NULL,
	      json_pack("{s:[{s:i, s:{s:s, s:[{s:i, s:s, s:s, s:{s:s, s:s}}]}}]}", "choices", "index", 0,
			"delta", "role", "assistant", "tool_calls", "index", 0, "id", id, "type", "function",
			"function", "name", tool, "arguments", head));
	event(&t, NULL,
	      json_pack("{s:[{s:i, s:{s:[{s:i, s:{s:s}}]}}]}", "choices", "index", 0, "delta", "tool_calls",
			"index", 0, "function", "arguments", input + strlen(head)));
	event(&t, NULL,
	      json_pack("{s:[{s:i, s:{}, s:s}]}", "choices", "index", 0, "delta", "finish_reason",
			"tool_calls"));
	event(&t, NULL,
	      json_pack("{s:[], s:{s:i, s:i}}", "choices", "usage", "prompt_tokens", 100, "completion_tokens",
			50));
	text_add(&t, "data: [DONE]\n\n");
	return text_take(&t);
}

static char *anthropic_stream(const char *id, const char *tool, const char *input)
{
	struct text t = { 0 };
	AUTO(str) char *head = mem_strndup(input, strlen(input) / 2);

	event(&t, "message_start",
	      json_pack("{s:s, s:{s:s, s:{s:i}}}", "type", "message_start", "message", "role", "assistant",
			"usage", "input_tokens", 100));
	event(&t, "content_block_start",
	      json_pack("{s:s, s:i, s:{s:s, s:s}}", "type", "content_block_start", "index", 0,
			"content_block", "type", "text", "text", ""));
	event(&t, "content_block_delta",
	      json_pack("{s:s, s:i, s:{s:s, s:s}}", "type", "content_block_delta", "index", 0, "delta",
			"type", "text_delta", "text", "Let me look."));
	event(&t, "content_block_start",
	      json_pack("{s:s, s:i, s:{s:s, s:s, s:s, s:{}}}", "type", "content_block_start", "index", 1,
			"content_block", "type", "tool_use", "id", id, "name", tool, "input"));
	event(&t, "content_block_delta",
	      json_pack("{s:s, s:i, s:{s:s, s:s}}", "type", "content_block_delta", "index", 1, "delta",
			"type", "input_json_delta", "partial_json", head));
	event(&t, "content_block_delta",
	      json_pack("{s:s, s:i, s:{s:s, s:s}}", "type", "content_block_delta", "index", 1, "delta",
			"type", "input_json_delta", "partial_json", input + strlen(head)));
	event(&t, "message_delta",
	      json_pack("{s:s, s:{s:s}, s:{s:i}}", "type", "message_delta", "delta", "stop_reason",
			"tool_use", "usage", "output_tokens", 50));
	event(&t, "message_stop", json_pack("{s:s}", "type", "message_stop"));
	return text_take(&t);
}

char *scripted_calls(bool anthropic, bool stream, const char *id, const char *tool, const char *input,
		     const char **ret_type)
{
	AUTO(json) json_t *doc = NULL, *args = NULL;

	*ret_type = stream ? "text/event-stream" : "application/json";
	if (stream)
		return anthropic ? anthropic_stream(id, tool, input) : openai_stream(id, tool, input);
	if (json_read_own(input, &args, NULL) != OC_OK)
		args = json_object();
	if (anthropic)
		doc = json_pack("{s:s, s:s, s:[{s:s, s:s}, {s:s, s:s, s:s, s:O}], s:s, s:{s:i, s:i}}", "type",
				"message", "role", "assistant", "content", "type", "text", "text",
				"Let me look.", "type", "tool_use", "id", id, "name", tool, "input", args,
				"stop_reason", "tool_use", "usage", "input_tokens", 100, "output_tokens", 50);
	else
		doc = json_pack("{s:[{s:{s:s, s:n, s:[{s:s, s:s, s:{s:s, s:s}}]}, s:s}], s:{s:i, s:i}}",
				"choices", "message", "role", "assistant", "content", "tool_calls", "id", id,
				"type", "function", "function", "name", tool, "arguments", input,
				"finish_reason", "tool_calls", "usage", "prompt_tokens", 100,
				"completion_tokens", 50);
	return json_text(doc);
}
