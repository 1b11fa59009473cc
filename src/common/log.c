/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include "common/text.h"
#include "common/util.h"

static const char *name = "umbra";
static enum umbra_log_level shown = UMBRA_LOG_WARNING;
static bool syslogging, never_waits;
static pthread_mutex_t syslog_lock = PTHREAD_MUTEX_INITIALIZER;
static int syslog_fd = -1; /* under it */

void umbra_log_init(const char *program, enum umbra_log_level show)
{
	const char *debug = secure_getenv("UMBRA_DEBUG");

	name = program;
	shown = debug && strcmp(debug, "1") == 0 ? UMBRA_LOG_DEBUG : show;
}

/* syslog(3) waits while the log's socket is full, as long as its reader does not read: it may be
 * writing to a volume that is waiting for us. */
static int connect_syslog(void)
{
	const char *path = secure_getenv("UMBRA_TEST_LOG");
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path ? path : "/dev/log");
	if (fd >= 0 && connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		fd = umbra_close(fd);
	return fd;
}

/* The reader adds the time. A log that was started anew is another socket. */
static void to_syslog(int priority, const char *text)
{
	char line[4200];
	int tries, n = snprintf(line, sizeof(line), "<%d>%s[%d]: %s", LOG_DAEMON | priority, name,
				getpid(), text);

	pthread_mutex_lock(&syslog_lock);
	for (tries = 0; tries < 2; tries++) {
		if (syslog_fd < 0)
			syslog_fd = connect_syslog();
		if (syslog_fd < 0 || send(syslog_fd, line, (size_t)n, MSG_NOSIGNAL) >= 0 ||
		    errno == EAGAIN)
			break;
		syslog_fd = umbra_close(syslog_fd);
	}
	pthread_mutex_unlock(&syslog_lock);
}

void umbra_log_to_syslog(void)
{
	syslogging = true;
}

void umbra_log_close(void)
{
	pthread_mutex_lock(&syslog_lock);
	syslog_fd = umbra_close(syslog_fd);
	pthread_mutex_unlock(&syslog_lock);
}

void umbra_log_never_wait(void)
{
	never_waits = true;
}

static bool has_room(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};

	return poll(&p, 1, 0) > 0 && (p.revents & POLLOUT) != 0;
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
		to_syslog(priorities[level], text);
		errno = saved;
		return;
	}
	/* One write, so that lines of several threads and processes stay whole. */
	if (!never_waits || has_room(STDERR_FILENO))
		fprintf(stderr, "%s: %s%s\n", name, words[level], text);
	errno = saved;
}

void umbra_log_once(const char *fmt, ...)
{
	static uint32_t
		said[64]; /* sums of lines; when there are more, the oldest may come again */
	static atomic_uint n;
	char text[4096];
	const char *c;
	uint32_t sum = 2166136261U; /* FNV-1a */
	va_list ap;
	size_t i;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (c = text; *c; c++)
		sum = (sum ^ (unsigned char)*c) * 16777619U;
	for (i = 0; i < UMBRA_ARRAY_SIZE(said) && i < n; i++)
		if (said[i] == sum)
			return;
	said[n++ % UMBRA_ARRAY_SIZE(said)] = sum;
	umbra_log_warning("%s", text);
}
