#include <ctype.h>
#include <string.h>
#include "ingest/log_miner.h"

const char *log_severity_name(enum log_severity s)
{
	static const char *const name[] = { "TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL" };

	return name[s];
}

#define WORD_MAX 24

/* level: said by a logger about the line; else a word that tells how bad it is */
static const struct severity_word {
	const char *word;
	enum log_severity severity;
	bool level;
} words[] = {
	{ "trace",       LOG_TRACE, true  },
        { "debug",       LOG_DEBUG, true  },
	{ "info",        LOG_INFO,  true  },
        { "notice",      LOG_INFO,  true  },
	{ "information", LOG_INFO,  true  },
        { "warn",        LOG_WARN,  true  },
	{ "warning",     LOG_WARN,  true  },
        { "error",       LOG_ERROR, true  },
	{ "err",         LOG_ERROR, true  },
        { "severe",      LOG_ERROR, true  },
	{ "critical",    LOG_FATAL, true  },
        { "crit",        LOG_FATAL, true  },
	{ "fatal",       LOG_FATAL, true  },
        { "emerg",       LOG_FATAL, true  },
	{ "alert",       LOG_FATAL, true  },
        { "panic",       LOG_FATAL, false },
	{ "segfault",    LOG_FATAL, false },
        { "failed",      LOG_ERROR, false },
	{ "failure",     LOG_ERROR, false },
        { "fail",        LOG_ERROR, false },
	{ "errors",      LOG_ERROR, false },
        { "exception",   LOG_ERROR, false },
	{ "aborted",     LOG_ERROR, false },
        { "refused",     LOG_ERROR, false },
	{ "denied",      LOG_ERROR, false },
        { "cannot",      LOG_ERROR, false },
	{ "unable",      LOG_ERROR, false },
        { "unreachable", LOG_ERROR, false },
	{ "corrupt",     LOG_ERROR, false },
        { "timeout",     LOG_WARN,  false },
	{ "retry",       LOG_WARN,  false },
        { "retrying",    LOG_WARN,  false },
	{ "deprecated",  LOG_WARN,  false },
        { "invalid",     LOG_WARN,  false },
};

static const struct severity_word *look_up(const char *w, size_t n)
{
	char low[WORD_MAX];

	if (n < 3 || n >= WORD_MAX)
		return NULL;
	for (size_t i = 0; i < n; i++)
		low[i] = (char)tolower((unsigned char)w[i]);
	low[n] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strcmp(words[i].word, low) == 0)
			return &words[i];
	/* java.io.IOException, ValueError */
	if (n > 9 && strcmp(low + n - 9, "exception") == 0 && w[n - 9] == 'E')
		return look_up("exception", 9);
	if (n > 5 && strcmp(low + n - 5, "error") == 0 && w[n - 5] == 'E')
		return look_up("errors", 6);
	return NULL;
}

enum log_severity log_severity_guess(const char *text, size_t len)
{
	enum log_severity worst = LOG_INFO;
	size_t i = 0, count = 0;

	while (i < len) {
		const struct severity_word *s;
		size_t from = i;
		bool upper = true, said;

		while (i < len && isalpha((unsigned char)text[i])) {
			upper = upper && isupper((unsigned char)text[i]);
			i++;
		}
		if (i == from) {
			i++;
			continue;
		}
		s = look_up(text + from, i - from);
		/* level=warn, "severity":"error"; or WARN, [error] among the first words */
		said = from > 4 && ((text[from - 1] == '=' && strncasecmp(text + from - 3, "el=", 3) == 0) ||
				    (from > 6 && strncasecmp(text + from - 5, "el\":\"", 5) == 0) ||
				    (from > 6 && strncasecmp(text + from - 5, "ty\":\"", 5) == 0));
		said = said ||
		       (count < 6 && (upper || (from && text[from - 1] == '[' && i < len && text[i] == ']')));
		if (s && s->level && said)
			return s->severity;
		if (s && s->severity > worst)
			worst = s->severity;
		count++;
	}
	return worst;
}
