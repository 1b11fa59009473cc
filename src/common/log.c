/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "common/text.h"

static const char *name = "umbra";
static enum umbra_log_level shown = UMBRA_LOG_WARNING;
static bool syslogging;

void umbra_log_init(const char *program, enum umbra_log_level show)
{
	const char *debug = secure_getenv("UMBRA_DEBUG");

	name = program;
	shown = debug && strcmp(debug, "1") == 0 ? UMBRA_LOG_DEBUG : show;
}

void umbra_log_to_syslog(void)
{
	openlog(name, LOG_PID, LOG_DAEMON);
	syslogging = true;
}

void umbra_log(enum umbra_log_level level, const char *fmt, ...)
{
	static const char *const words[] = {"", "warning: ", "", "debug: "};
	static const int priorities[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};
	char raw[4096], text[4096];
	int saved = errno;
	va_list ap;

	if (level > shown)
		return;
	va_start(ap, fmt);
	vsnprintf(raw, sizeof(raw), fmt, ap);
	va_end(ap);
	umbra_text_printable(raw, text, sizeof(text));
	if (syslogging) {
		syslog(priorities[level], "%s", text);
		errno = saved;
		return;
	}
	/* One write, so that lines of several threads and processes stay whole. */
	fprintf(stderr, "%s: %s%s\n", name, words[level], text);
	errno = saved;
}
