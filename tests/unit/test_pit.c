/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A point in time, proved (tests/pit/pit.h): by provider btrfs, and not by copying files. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "btrfs_lab.h"
#include "tests/pit/pit.h"

static struct pit_status *status;
static pid_t writer;
static volatile int stop_writer;

static void stop_writing(int sig)
{
	(void)sig;
	stop_writer = 1;
}

static void begin(void)
{
	lab_begin();
	status = pit_status_new(lab_path("status"), 4, 256);
	cr_assert_not_null(status);
	writer = lab_fork();
	if (writer == 0) {
		signal(SIGTERM, stop_writing);
		_exit(pit_write(lab_path("at"), status, 50, &stop_writer) < 0);
	}
	while (status->synced == 0)
		usleep(1000);
}

/* 0: it could write till now. */
static int finish_writing(void)
{
	int code = 0;

	if (writer > 0) {
		kill(writer, SIGTERM);
		waitpid(writer, &code, 0);
		writer = 0;
	}
	return code;
}

static void end(void)
{
	finish_writing();
	pit_status_close(status);
	lab_end();
}

TestSuite(pit, .init = begin, .fini = end, .timeout = 60);

static void report(const char *text)
{
	cr_log_info("%s", text);
}

static void ignore(const char *text)
{
	(void)text;
}

Test(pit, every_copy_is_of_one_instant)
{
	uint64_t synced, issued, newest, last = 0;
	struct umbra_error err = {0};
	struct umbra_root *root;
	struct lab_set *s;
	int i;

	for (i = 0; i < 12; i++) {
		s = lab_prepare(lab_path("at"), "/state");
		synced = status->synced;
		lab_commit(s);
		issued = status->issued;
		lab_finish(s);
		cr_assert_eq(umbra_provider_btrfs.open(-1, s->set->shadows[0], &root, &err), 0,
			     "%s", err.text);
		cr_assert_eq(pit_check(root->fd, status, synced, issued, report, &newest), 0);
		cr_assert_geq(newest, synced);
		cr_assert_gt(newest, last, "the writer stood still");
		last = newest;
		umbra_root_close(root);
		lab_free(s);
	}
	cr_assert_eq(finish_writing(), 0);
}

/* Otherwise the test above proves nothing. */
Test(pit, files_copied_one_after_another_are_found_out)
{
	uint64_t synced, issued, newest;
	int fd;

	synced = status->synced;
	lab_run("mkdir wrong && for i in 0 1 2 3; do cp -a at/pit-$i wrong; sleep 0.2; done");
	issued = status->issued;
	fd = open(lab_path("wrong"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_gt(pit_check(fd, status, synced, issued, ignore, &newest), 0);
	close(fd);
}

Test(pit, each_kind_of_fault_is_found)
{
	uint64_t synced, issued, newest;
	int fd;

	cr_assert_eq(finish_writing(), 0);
	synced = status->synced;
	issued = status->issued;
	fd = open(lab_path("at"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_eq(pit_check(fd, status, synced, issued, report, &newest), 0);
	cr_assert_gt(pit_check(fd, status, synced, newest - 1, ignore, &newest), 0, "too new");
	lab_run("printf x | dd of=at/pit-1 bs=1 seek=5000 conv=notrunc");
	cr_assert_gt(pit_check(fd, status, synced, issued, ignore, &newest), 0, "torn");
	lab_run("truncate -s 0 at/pit-2");
	cr_assert_gt(pit_check(fd, status, synced, issued, ignore, &newest), 0, "missing");
	close(fd);
}
