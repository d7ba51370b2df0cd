/* log.h - one line per fact on standard error: time level room message key=value...
 * Thread-safe. Level by OPSCASE_LOG=debug|info|warn|error (default info). Never log a secret. */
#pragma once
#include "base/cleanup.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

void log_set_level(enum log_level level);
enum log_level log_level_parse(const char *text); /* unknown text is info */
void log_line(enum log_level level, const char *room, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Each .c file that logs says who it is: #define LOG_ROOM "relay" before including this. */
#ifndef LOG_ROOM
#define LOG_ROOM "opscase"
#endif
#define log_debug(...) log_line(LOG_DEBUG, LOG_ROOM, __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO, LOG_ROOM, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, LOG_ROOM, __VA_ARGS__)
#define log_error(...) log_line(LOG_ERROR, LOG_ROOM, __VA_ARGS__)
