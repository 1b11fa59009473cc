/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages for the operator, on stderr. Errors of a request travel in struct umbra_error. */
#pragma once

enum umbra_log_level { UMBRA_LOG_ERROR, UMBRA_LOG_WARNING, UMBRA_LOG_INFO, UMBRA_LOG_DEBUG };

/* program is borrowed for the life of the process. UMBRA_DEBUG=1 shows everything. */
void umbra_log_init(const char *program, enum umbra_log_level show);

/* From here on messages go to syslog: for a daemon, whose stderr nobody reads. Never waits: a
 * message for which a log has no room is dropped. */
void umbra_log_to_syslog(void);

/* Before all descriptors are closed; the next message opens what it needs again. */
void umbra_log_close(void);

/* Never waits for stderr either: for who is waited for by those that are to read it. */
void umbra_log_never_wait(void);

void umbra_log(enum umbra_log_level level, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* The same as a warning, but what this process has said so already is not said again. */
void umbra_log_once(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#define umbra_log_error(...)   umbra_log(UMBRA_LOG_ERROR, __VA_ARGS__)
#define umbra_log_warning(...) umbra_log(UMBRA_LOG_WARNING, __VA_ARGS__)
#define umbra_log_info(...)    umbra_log(UMBRA_LOG_INFO, __VA_ARGS__)
#define umbra_log_debug(...)   umbra_log(UMBRA_LOG_DEBUG, __VA_ARGS__)
