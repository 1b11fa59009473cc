/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "dm_lab.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <linux/loop.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

static int kill_at; /* the ioctl that this process does not survive; 0: none */

/* The library's calls come here. */
int ioctl(int fd, unsigned long request, ...)
{
	bool counts = _IOC_TYPE(request) == DM_IOCTL || request >> 8 == LOOP_SET_FD >> 8;
	bool last = counts && kill_at > 0 && --kill_at == 0;
	va_list ap;
	void *arg;
	long r;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	r = syscall(SYS_ioctl, fd, request, arg);
	if (last)
		kill(getpid(), SIGKILL);
	return (int)r;
}

void dm_lab_begin(void)
{
	struct umbra_error err = {0};
	char template[200];

	if (!getenv("UMBRA_GUEST"))
		cr_skip_test("device-mapper is tried in the guest: tests/vm/run");
	if (umbra_dm_available(&err) < 0)
		cr_skip_test("%s", err.text);
	snprintf(template, sizeof(template), "%s/dm-XXXXXX",
		 getenv("UMBRA_TEST_DIR") ? getenv("UMBRA_TEST_DIR") : "/var/tmp");
	lab_open(template);
}

void dm_lab_end(void)
{
	_cleanup_free_ char *dir = NULL, *cmd = NULL;

	dir = strdup(lab_path("%s", ""));
	if (!lab_close())
		return;
	close_range(STDERR_FILENO + 1, ~0U, 0); /* what a test that failed still has open */
	cmd = umbra_asprintf("{ for d in $(dmsetup ls | cut -f1); do dmsetup resume $d; done; "
			     "for m in '%s'/*/; do umount -l $m; done; "
			     "dmsetup remove_all --force; losetup -D; "
			     "dmsetup remove_all --force; losetup -D; } >/dev/null 2>&1; "
			     "cd / && rm -rf --one-file-system '%s'",
			     dir, dir);
	cr_assert_not_null(cmd);
	if (system(cmd) == -1)
		cr_log_warn("'%s' is left over", dir);
}

void dm_lab_need(const char *what, const char *test)
{
	if (lab_true("%s", test))
		return;
	dm_lab_end();
	cr_skip("no %s here", what);
}

dev_t dm_lab_dev(const char *path)
{
	struct stat st;

	cr_assert_eq(stat(path, &st), 0, "%s: %s", path, strerror(errno));
	cr_assert(S_ISBLK(st.st_mode));
	return st.st_rdev;
}

dev_t dm_lab_disk(const char *name, unsigned int mib)
{
	lab_run("truncate -s %uM %s && ln -s $(losetup -f --show %s) %s.dev", mib, name, name,
		name);
	return dm_lab_dev(lab_path("%s.dev", name));
}

dev_t dm_lab_create(const char *name, const char *fmt, ...)
{
	char *table = NULL, node[300];
	va_list ap;

	va_start(ap, fmt);
	cr_assert_geq(vasprintf(&table, fmt, ap), 0);
	va_end(ap);
	lab_run("dmsetup create %s <<'EOF'\n%s\nEOF", name, table);
	free(table);
	snprintf(node, sizeof(node), "/dev/mapper/%s", name);
	return dm_lab_dev(node);
}

dev_t dm_lab_linear(const char *name, unsigned int mib)
{
	char disk[64];
	dev_t dev;

	snprintf(disk, sizeof(disk), "%s.disk", name);
	dev = dm_lab_disk(disk, mib);
	return dm_lab_create(name, "0 %u linear %u:%u 0", mib * 2048, major(dev), minor(dev));
}

void dm_lab_mount(const char *name, const char *fstype, const char *at)
{
	lab_run("mkfs.%s %s /dev/mapper/%s && mkdir %s && mount -t %s /dev/mapper/%s %s", fstype,
		strcmp(fstype, "ext4") == 0 ? "-q -F" : "-q -f", name, at, fstype, name, at);
}

static volatile sig_atomic_t stopped;

static void on_stop(int number)
{
	(void)number;
	stopped = 1;
}

static int write_file(const char *path, int seed)
{
	_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	char buf[65536], back[sizeof(buf)];
	int r = fd < 0 ? -errno : 0;

	memset(buf, seed, sizeof(buf));
	if (r == 0)
		r = umbra_write_all(fd, buf, sizeof(buf));
	if (r == -ENOSPC) /* the test may have filled it */
		return 0;
	if (r < 0 || fsync(fd) < 0)
		return 1;
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	if (pread(fd, back, sizeof(back), 0) != sizeof(back))
		return 2;
	return memcmp(buf, back, sizeof(buf)) == 0 ? 0 : 3;
}

/* The status is 10 when all went well, the error else. started: told when something is written. */
static int write_on(const char *at, int started)
{
	char path[400];
	int i, r;

	for (i = 0; i == 0 || !stopped; i++) {
		snprintf(path, sizeof(path), "%s/w%d", at, i % 8);
		if (i % 3 == 0)
			unlink(path);
		r = write_file(path, i);
		if (r != 0)
			return r;
		if (i == 0)
			umbra_write_all(started, "", 1);
	}
	return 10;
}

pid_t dm_lab_writer(const char *at)
{
	const char *path = lab_path("%s", at);
	int started[2];
	pid_t pid;
	char c;

	cr_assert_eq(pipe2(started, O_CLOEXEC), 0);
	signal(SIGTERM, on_stop); /* the child's; ours, which never comes, too */
	pid = lab_fork();
	cr_assert_geq(pid, 0);
	if (pid == 0)
		_exit(write_on(path, started[1]));
	close(started[1]);
	cr_assert_eq(read(started[0], &c, 1), 1, "the writer cannot write");
	close(started[0]);
	return pid;
}

/* Its status; -1 when it does not end. */
static int wait_for(pid_t pid, int seconds)
{
	int status, i;

	for (i = 0; i < seconds * 100; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return status;
		usleep(10000);
	}
	return -1;
}

void dm_lab_writer_stop(pid_t writer)
{
	int status;

	kill(writer, SIGTERM);
	status = wait_for(writer, 20);
	cr_assert_neq(status, -1, "the writer is stuck");
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 10,
		  "the writer met error %d of write_file()", status >> 8);
}

bool dm_lab_flows(const char *spared)
{
	_cleanup_dm_list_ struct umbra_dm_list list = {0};
	size_t i;

	cr_assert_eq(umbra_dm_list("", &list, NULL), 0);
	for (i = 0; i < list.n; i++)
		if (list.v[i].suspended && !strstr(list.v[i].uuid, "-wall") &&
		    (!spared || strcmp(list.v[i].name, spared) != 0))
			return false;
	return true;
}

bool dm_lab_works(const char *at, int limit_ms)
{
	pid_t pid = lab_fork();
	int ms, status;

	if (pid == 0)
		_exit(write_file(lab_path("%s/test", at), (int)getpid()));
	for (ms = 0; ms < limit_ms; ms += 10) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return status == 0;
		usleep(10000);
	}
	return false;
}

bool dm_lab_kill_at(int n, int (*fn)(void *arg), void *arg)
{
	int status;
	pid_t pid = lab_fork();

	cr_assert_geq(pid, 0);
	if (pid == 0) {
		kill_at = n;
		_exit(fn(arg) == 0 ? 0 : 1);
	}
	status = wait_for(pid, 30);
	cr_assert_neq(status, -1, "it is stuck before ioctl %d", n);
	if (WIFSIGNALED(status))
		return true;
	cr_assert_eq(WEXITSTATUS(status), 0, "it failed");
	return false;
}
