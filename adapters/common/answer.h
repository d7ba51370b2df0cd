/* answer.h - how adapters say things to the host, and read what it hands them.
 *
 * Header only, so that an adapter stays one folder. Nothing here keeps state. */
#ifndef ADAPTERS_COMMON_ANSWER_H
#define ADAPTERS_COMMON_ANSWER_H

#include <opscase/adapter.h>

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Sends `take_body` (swallowed; NULL says that there was no memory for it). */
static inline int answer(struct opscase_reply *reply, enum opscase_outcome outcome, json_t *take_body)
{
	char *text = take_body ? json_dumps(take_body, JSON_COMPACT) : NULL;
	int r = reply->send(reply, outcome,
			    text ? text : "{\"error\":\"the adapter could not put its answer into JSON\"}");

	free(text);
	json_decref(take_body);
	return r;
}

/* Text of any origin as a JSON string: what is not UTF-8 becomes '?'. At most `max` bytes. */
static inline json_t *answer_text(const char *text, size_t len, size_t max)
{
	json_t *value;
	char *copy;

	if (len > max)
		len = max;
	copy = malloc(len + 1);
	if (!copy)
		return NULL;
	for (size_t i = 0; i < len;) {
		unsigned char c = (unsigned char)text[i];
		size_t n = c < 0x80                ? 1
			   : c >= 0xc2 && c < 0xe0 ? 2
			   : c >= 0xe0 && c < 0xf0 ? 3
			   : c >= 0xf0 && c < 0xf5 ? 4
						   : 0;

		for (size_t k = 0; k < n && i + k < len; k++)
			copy[i + k] = text[i + k];
		if (n == 0 || i + n > len || (n == 1 && c == 0) ||
		    (n > 1 && !(value = json_stringn(text + i, n)))) {
			copy[i++] = '?';
			continue;
		}
		if (n > 1)
			json_decref(value);
		i += n;
	}
	value = json_stringn(copy, len);
	free(copy);
	return value;
}

/* {"error": sentence} */
__attribute__((format(printf, 3, 4))) static inline int answer_error(struct opscase_reply *reply,
								     enum opscase_outcome outcome,
								     const char *format, ...)
{
	char sentence[2048];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(sentence, sizeof sentence, format, args);
	va_end(args);
	if (n < 0)
		n = 0;
	return answer(reply, outcome,
		      json_pack("{s:o}", "error",
				answer_text(sentence,
					    (size_t)n < sizeof sentence ? (size_t)n : sizeof sentence - 1,
					    sizeof sentence)));
}

/* The JSON object that the host handed over; NULL if it is none. The caller drops it. */
static inline json_t *answer_object(const char *text)
{
	json_t *value = text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;

	if (json_is_object(value))
		return value;
	json_decref(value);
	return NULL;
}

static inline int64_t answer_clock_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

#endif
