/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The lists of what is held: what is believed of what lies there, and what is done about it. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "children.h"
#include "common/util.h"
#include "fake_dm.h"
#include "fake_provider.h"
#include "place.h"
#include "snapshot/sys/held.h"
#include "snapshot/sys/thaw.h"

static char dir[128];
static int held_fd;

static void setup(void)
{
	_cleanup_free_ char *dm = NULL;

	place_begin();
	dm = umbra_asprintf("%s/dm", place);
	snprintf(dir, sizeof(dir), "%s/held", place);
	setenv("UMBRA_TEST_HELD", dir, 1);
	setenv("UMBRA_TEST_DM", dm, 1);
	fake_dm_add(1, "one", "LVM-one");
	fake_dm_add(2, "two", "");
	cr_assert_eq(umbra_held_dir(true, &held_fd, NULL), 0);
}

static void teardown(void)
{
	close(held_fd);
	place_end();
}

TestSuite(held, .init = setup, .fini = teardown, .timeout = 30);

static struct umbra_held *two_devices(int64_t until_us)
{
	static struct umbra_held held;

	held = (struct umbra_held){.until_us = until_us, .owner = getpid(), .n = 2};
	held.devices[0] = fake_dm()->devices[1].known;
	held.devices[1] = fake_dm()->devices[2].known;
	return &held;
}

static int read_one(const char *name, struct umbra_held *out, struct umbra_error *err)
{
	int fd = -1, r = umbra_held_read(held_fd, name, out, &fd, err);

	umbra_close(fd);
	return r;
}

static bool same(const struct umbra_dm_device *a, const struct umbra_dm_device *b)
{
	return a->major == b->major && a->minor == b->minor && strcmp(a->name, b->name) == 0 &&
	       strcmp(a->uuid, b->uuid) == 0;
}

Test(held, what_is_written_is_read)
{
	static struct umbra_held got;
	struct umbra_held *held = two_devices(123456789);
	char name[UMBRA_HELD_NAME_MAX];
	struct umbra_error err = {0};
	int fd;

	strcpy(held->devices[1].name, "b\xff\"\\ \n");
	cr_assert_eq(umbra_held_write(held_fd, held, name, &fd, &err), 0, "%s", err.text);
	cr_assert_eq(read_one(name, &got, &err), 0, "%s", err.text);
	close(fd);
	cr_assert_eq(got.n, 2);
	cr_assert_eq(got.until_us, 123456789);
	cr_assert_eq(got.owner, getpid());
	cr_assert(same(&got.devices[0], &held->devices[0]));
	cr_assert_str_eq(got.devices[1].name, "b\xff\"\\ \n");
	cr_assert_str_eq(got.devices[1].uuid, "");
	cr_assert_eq(got.devices[1].minor, 2);
	cr_assert_eq(read_one("missing", &got, &err), -ENOENT);
}

Test(held, as_many_as_there_can_be)
{
	static struct umbra_held held, got;
	char name[UMBRA_HELD_NAME_MAX];
	int fd;

	held = (struct umbra_held){.until_us = 1, .owner = 1, .n = UMBRA_HELD_MAX};
	for (int i = 0; i < UMBRA_HELD_MAX; i++) {
		memset(held.devices[i].name, 'n' + i % 2, UMBRA_DM_NAME_MAX - 1);
		memset(held.devices[i].uuid, 0x80 + i % 2, UMBRA_DM_UUID_MAX - 1);
	}
	cr_assert_eq(umbra_held_write(held_fd, &held, name, &fd, NULL), 0);
	cr_assert_eq(read_one(name, &got, NULL), 0);
	for (int i = 0; i < UMBRA_HELD_MAX; i++)
		cr_assert(same(&got.devices[i], &held.devices[i]));
	close(fd);
}

static void put(const char *name, const char *text)
{
	_cleanup_close_ int fd =
		openat(held_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	cr_assert_eq(umbra_write_all(fd, text, strlen(text)), 0);
}

#define DEVICE  "{\"major\":240,\"minor\":1,\"name\":\"one\",\"uuid\":\"LVM-one\"}"
#define LIST(d) "{\"v\":1,\"owner\":5,\"until_us\":1,\"devices\":[" d "]}"

Test(held, nothing_that_umbra_would_not_write_is_believed)
{
	static const char *const texts[] = {
		"",
		"{",
		"[]",
		"null",
		"{}",
		LIST(""),
		LIST("1"),
		LIST("{}"),
		LIST("[]"),
		"{\"v\":2,\"owner\":5,\"until_us\":1,\"devices\":[" DEVICE "]}",
		"{\"v\":1,\"owner\":0,\"until_us\":1,\"devices\":[" DEVICE "]}",
		"{\"v\":1,\"owner\":4294967296,\"until_us\":1,\"devices\":[" DEVICE "]}",
		"{\"v\":1,\"owner\":5,\"until_us\":-1,\"devices\":[" DEVICE "]}",
		"{\"v\":1,\"owner\":5,\"until_us\":1,\"devices\":" DEVICE "}",
		LIST(DEVICE) LIST(DEVICE),
		LIST("{\"major\":-1,\"minor\":1,\"name\":\"one\"}"),
		LIST("{\"major\":4096,\"minor\":1,\"name\":\"one\"}"),
		LIST("{\"major\":240,\"minor\":1048576,\"name\":\"one\"}"),
		LIST("{\"major\":240,\"minor\":1}"),
		LIST("{\"major\":240,\"minor\":1,\"uuid\":\"x\"}"),
		LIST("{\"major\":240,\"minor\":1,\"name\":\"\"}"),
		LIST("{\"major\":240,\"minor\":1,\"name\":3}"),
		LIST("{\"major\":240,\"minor\":1,\"name\":\"one\",\"uuid\":3}"),
		LIST("{\"major\":240,\"minor\":1,\"name_hex\":\"6f00\"}"),
		LIST("{\"major\":240,\"minor\":1,\"name\":\"a-wall1\",\"uuid\":"
		     "\"UMBRA-1-wall1\"}"),
	};
	static struct umbra_held got;
	struct umbra_error err;
	size_t i;

	put("good", LIST(DEVICE));
	cr_assert_eq(read_one("good", &got, &err), 0, "%s", err.text);
	for (i = 0; i < UMBRA_ARRAY_SIZE(texts); i++) {
		put("bad", texts[i]);
		cr_assert_eq(read_one("bad", &got, &err), -EBADMSG, "%s", texts[i]);
		cr_assert_eq(err.code, UMBRA_E_DAMAGED);
	}
}

Test(held, names_are_bounded)
{
	static struct umbra_held got;
	_cleanup_free_ char *text = NULL;
	char name[UMBRA_DM_NAME_MAX + 1];
	struct umbra_error err;

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	text = umbra_asprintf(LIST("{\"major\":240,\"minor\":1,\"name\":\"%s\"}"), name);
	put("long", text);
	cr_assert_eq(read_one("long", &got, &err), -EBADMSG);
}

Test(held, no_more_devices_than_a_guard_can_watch)
{
	static char text[UMBRA_HELD_MAX * 80 + 200];
	static struct umbra_held got;
	struct umbra_error err;
	char *at = text;

	at += sprintf(at, "{\"v\":1,\"owner\":5,\"until_us\":1,\"devices\":[");
	for (int i = 0; i <= UMBRA_HELD_MAX; i++)
		at += sprintf(at, "%s" DEVICE, i ? "," : "");
	strcpy(at, "]}");
	put("many", text);
	cr_assert_eq(read_one("many", &got, &err), -EBADMSG);
}

Test(held, only_plain_files_of_ones_own)
{
	static struct umbra_held got;
	struct umbra_error err;

	put("good", LIST(DEVICE));
	cr_assert_eq(symlinkat("good", held_fd, "link"), 0);
	cr_assert_eq(read_one("link", &got, &err), -EBADMSG);
	cr_assert_eq(mkfifoat(held_fd, "fifo", 0600), 0);
	cr_assert_eq(read_one("fifo", &got, &err), -EBADMSG);
	cr_assert_eq(mkdirat(held_fd, "dir", 0700), 0);
	cr_assert_eq(read_one("dir", &got, &err), -EBADMSG);
	cr_assert_eq(fchmodat(held_fd, "good", 0620, 0), 0);
	cr_assert_eq(read_one("good", &got, &err), -EBADMSG);
	cr_assert_eq(fchmodat(held_fd, "good", 0644, 0), 0);
	cr_assert_eq(read_one("good", &got, &err), 0, "%s", err.text);
	cr_assert_eq(linkat(held_fd, "good", held_fd, "twice", 0), 0);
	cr_assert_eq(read_one("good", &got, &err), -EBADMSG);
}

Test(held, others_files_and_directories_are_not_believed)
{
	static struct umbra_held got;
	struct umbra_error err;
	int fd;

	place_need_root("to give files away");
	put("good", LIST(DEVICE));
	cr_assert_eq(fchownat(held_fd, "good", 12345, 0, 0), 0);
	cr_assert_eq(read_one("good", &got, &err), -EBADMSG);
	cr_assert_eq(fchmod(held_fd, 0770), 0);
	cr_assert_eq(umbra_held_dir(false, &fd, &err), -EPERM, "others can write there");
	cr_assert_eq(fchmod(held_fd, 0700), 0);
	cr_assert_eq(fchown(held_fd, 12345, 0), 0);
	cr_assert_eq(umbra_held_dir(false, &fd, &err), -EPERM);
}

/* --- the third way ---------------------------------------------------------------------------- */

static int said, problems;

static void tell(void *arg, bool problem, const char *sentence)
{
	(void)arg;
	(void)sentence;
	said += !problem;
	problems += problem;
}

static int thaw(void)
{
	struct umbra_error err = {0};
	int r;

	said = problems = 0;
	r = umbra_thaw(tell, NULL, &err);
	cr_assert_geq(r, 0, "%s", err.text);
	return r;
}

static bool exists(const char *name)
{
	return faccessat(held_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* As a killed holder of two devices leaves it. */
static void leave_list(char name[UMBRA_HELD_NAME_MAX], int64_t until_us)
{
	int fd;

	cr_assert_eq(umbra_held_write(held_fd, two_devices(until_us), name, &fd, NULL), 0);
	close(fd);
}

static int64_t soon(void)
{
	return umbra_boottime_us() + 5000000;
}

Test(held, what_a_dead_process_held_is_released_in_order)
{
	char name[UMBRA_HELD_NAME_MAX];
	struct fake_dm *dm = fake_dm();
	int fd;

	place_need_root("to resume devices");
	cr_assert_eq(umbra_held_write(held_fd, two_devices(soon()), name, &fd, NULL), 0);
	dm->devices[1].suspended = dm->devices[2].suspended = 1;
	cr_assert_eq(thaw(), 0, "it is alive and has time");
	cr_assert(exists(name));
	close(fd); /* as the end of the process would */
	cr_assert_eq(thaw(), 2);
	cr_assert_eq(said, 2);
	cr_assert_eq(problems, 0);
	cr_assert_eq(dm->devices[1].order, 1);
	cr_assert_eq(dm->devices[2].order, 2);
	cr_assert(!exists(name));
	cr_assert_eq(thaw(), 0);
}

Test(held, who_is_over_its_time_and_lives_is_named)
{
	char name[UMBRA_HELD_NAME_MAX];
	struct fake_dm *dm = fake_dm();
	int fd;

	place_need_root("to resume devices");
	cr_assert_eq(umbra_held_write(held_fd, two_devices(umbra_boottime_us() - 2000000), name,
				      &fd, NULL),
		     0);
	dm->devices[2].suspended = 1;
	cr_assert_eq(thaw(), 1);
	cr_assert_eq(problems, 1);
	cr_assert(exists(name));
	close(fd);
}

Test(held, other_devices_are_left_alone)
{
	char name[UMBRA_HELD_NAME_MAX];
	struct fake_dm *dm = fake_dm();

	place_need_root("to resume devices");
	leave_list(name, soon());
	fake_dm_add(1, "one", "LVM-another"); /* the number went to somebody else */
	fake_dm_add(2, "another", "");
	fake_dm_add(3, "three", "LVM-one");
	for (int i = 1; i <= 3; i++)
		dm->devices[i].suspended = 1;
	cr_assert_eq(thaw(), 0);
	cr_assert(!exists(name), "its devices are gone");
	for (int i = 1; i <= 3; i++)
		cr_assert(dm->devices[i].suspended);
}

Test(held, what_cannot_be_resumed_is_tried_again)
{
	char name[UMBRA_HELD_NAME_MAX];
	struct fake_dm *dm = fake_dm();

	place_need_root("to resume devices");
	leave_list(name, soon());
	dm->devices[1].suspended = dm->devices[2].suspended = 1;
	dm->devices[1].unresumable = 1;
	cr_assert_eq(thaw(), 1, "the others are released all the same");
	cr_assert_eq(problems, 1);
	cr_assert(exists(name));
	dm->devices[1].unresumable = 0;
	cr_assert_eq(thaw(), 1);
	cr_assert(!exists(name));
}

Test(held, what_waits_for_a_disk_keeps_nobody)
{
	char name[UMBRA_HELD_NAME_MAX];
	struct fake_dm *dm = fake_dm();
	int64_t begun;
	int ms;

	place_need_root("to resume devices");
	leave_list(name, soon());
	dm->devices[1].suspended = dm->devices[2].suspended = 1;
	dm->devices[1].blocked = 1;
	begun = umbra_boottime_us();
	cr_assert_eq(thaw(), 1, "the other is released");
	cr_assert_eq(problems, 1);
	cr_assert_lt(umbra_boottime_us() - begun, 2000000);
	cr_assert(dm->devices[1].suspended && !dm->devices[2].suspended);
	cr_assert(exists(name));
	dm->devices[1].blocked = 0;
	for (ms = 0; ms < 2000 && dm->devices[1].suspended; ms += 10)
		usleep(10000);
	cr_assert_eq(thaw(), 0);
	cr_assert_eq(problems, 0);
	cr_assert(!exists(name));
}

static pid_t start_umbrad(const char *state)
{
	static const char *const here[] = {".", NULL};
	_cleanup_free_ char *path = NULL;
	pid_t pid;

	cr_assert_eq(umbra_find_program("umbrad", here, &path, NULL), 0);
	setenv(FAKE_STORAGE, "1", 1);
	pid = fork();
	if (pid == 0) {
		execl(path, "umbrad", "--state", state, (char *)NULL);
		_exit(127);
	}
	return pid;
}

static bool nobody(pid_t pid)
{
	(void)pid;
	return false;
}

/* One whose state directory is on the very volume waits for it, and cannot be killed. */
Test(held, what_umbrad_cannot_release_its_second_does)
{
	_cleanup_free_ char *state = umbra_asprintf("%s/state", place);
	_cleanup_free_ char *stuck = umbra_asprintf("%s/stuck", state);
	char name[UMBRA_HELD_NAME_MAX];
	struct fake_dm *dm = fake_dm();
	pid_t pid;
	int ms;

	place_need_root("to resume devices");
	children_adopt();
	cr_assert_eq(mkdir(state, 0700), 0);
	close(open(stuck, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	pid = start_umbrad(state);
	usleep(500000);
	dm->devices[1].suspended = dm->devices[2].suspended = 1;
	leave_list(name, soon());
	for (ms = 0; ms < 6000 && exists(name); ms += 10)
		usleep(10000);
	cr_assert_not(exists(name));
	cr_assert(!dm->devices[1].suspended && !dm->devices[2].suspended);
	cr_assert_eq(kill(pid, 0), 0);
	unlink(stuck);
	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
	while (children_end(nobody) > 0)
		;
}

/* Over between our look at the directory and at the file: its devices may be somebody else's. */
Test(held, a_hold_that_is_over_is_no_leftover)
{
	_cleanup_close_ int there = -1;
	char name[UMBRA_HELD_NAME_MAX];
	static struct umbra_held got;
	struct stat st;
	int fd;

	cr_assert_eq(umbra_held_write(held_fd, two_devices(soon()), name, &fd, NULL), 0);
	cr_assert_eq(umbra_held_read(held_fd, name, &got, &there, NULL), 0);
	cr_assert_lt(flock(there, LOCK_EX | LOCK_NB), 0);
	cr_assert_eq(unlinkat(held_fd, name, 0), 0);
	close(fd);
	cr_assert_eq(flock(there, LOCK_EX | LOCK_NB), 0);
	cr_assert_eq(fstat(there, &st), 0);
	cr_assert_eq(st.st_nlink, 0);
}

Test(held, rubbish_is_named_and_hides_nothing)
{
	char name[UMBRA_HELD_NAME_MAX];
	struct fake_dm *dm = fake_dm();

	place_need_root("to resume devices");
	put("1.1", "rubbish");
	put("zz", LIST(DEVICE) "x");
	cr_assert_eq(symlinkat("/etc/passwd", held_fd, "2.2"), 0);
	put(".3.3", "");
	leave_list(name, soon());
	dm->devices[1].suspended = 1;
	cr_assert_eq(thaw(), 1);
	cr_assert_eq(problems, 3);
	cr_assert(exists("1.1") && exists(".3.3"));
}
