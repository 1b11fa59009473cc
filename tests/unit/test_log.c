/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A log that nobody reads keeps nobody waiting. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/log.h"
#include "common/util.h"
#include "place.h"

#define MANY 5000 /* more than any socket or pipe has room for */

TestSuite(log, .init = place_begin, .fini = place_end, .timeout = 20);

static int listen_at(const char *name)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%.80s/%s", place, name);
	unlink(sa.sun_path);
	cr_assert_eq(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	setenv("UMBRA_TEST_LOG", sa.sun_path, 1);
	return fd;
}

static void expect(int fd, const char *text)
{
	_cleanup_free_ char *wanted = umbra_asprintf("<28>umbrad[%d]: %s", getpid(), text);
	char line[200] = "";

	cr_assert_gt(recv(fd, line, sizeof(line) - 1, MSG_DONTWAIT), 0);
	cr_assert_str_eq(line, wanted);
}

Test(log, syslog_is_not_waited_for)
{
	int fd = listen_at("log"), i;

	umbra_log_init("umbrad", UMBRA_LOG_INFO);
	umbra_log_to_syslog();
	for (i = 0; i < MANY; i++)
		umbra_log_warning("it is %d o'clock", i);
	expect(fd, "it is 0 o'clock");
	expect(fd, "it is 1 o'clock");
	close(fd);
}

Test(log, syslog_may_be_started_anew)
{
	int fd = listen_at("log");

	umbra_log_init("umbrad", UMBRA_LOG_INFO);
	umbra_log_to_syslog();
	umbra_log_warning("one");
	expect(fd, "one");
	close(fd);
	umbra_log_warning("two, which nobody hears");
	fd = listen_at("log");
	umbra_log_warning("three");
	expect(fd, "three");
	close(fd);
}

/* Its number may be somebody else's descriptor by then. */
Test(log, who_closes_all_descriptors_closes_syslog_first)
{
	int fd = listen_at("log"), other;

	umbra_log_init("umbrad", UMBRA_LOG_INFO);
	umbra_log_to_syslog();
	umbra_log_warning("one");
	expect(fd, "one");
	umbra_log_close();
	other = open("/dev/null", O_WRONLY | O_CLOEXEC);
	umbra_log_warning("two");
	expect(fd, "two");
	cr_assert_geq(fcntl(other, F_GETFD), 0);
	close(other);
	close(fd);
}

Test(log, stderr_is_not_waited_for_where_it_must_not)
{
	int ends[2], i;

	cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	dup2(ends[1], STDERR_FILENO);
	umbra_log_init("umbrad", UMBRA_LOG_INFO);
	umbra_log_never_wait();
	for (i = 0; i < MANY; i++)
		umbra_log_warning("it is %d o'clock", i);
	close(ends[0]);
}

/* What every copy of a volume would say again is said once. */
Test(log, what_was_said_once_is_not_said_again)
{
	int fd = listen_at("log");

	umbra_log_init("umbrad", UMBRA_LOG_INFO);
	umbra_log_to_syslog();
	umbra_log_once("volume %d is not there", 1);
	umbra_log_once("volume %d is not there", 1);
	umbra_log_once("volume %d is not there", 2);
	expect(fd, "volume 1 is not there");
	expect(fd, "volume 2 is not there");
	close(fd);
}
