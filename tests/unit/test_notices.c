/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the kernel tells umbrad by itself, and how often it listens. */
#include <fcntl.h>
#include <linux/netlink.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/token.h"
#include "common/util.h"
#include "daemon/notices.h"
#include "daemon/pace.h"
#include "daemon/uevent.h"
#include "place.h"

#define DEVICE "/sys/class/block/loop0" /* of which the kernel is asked to tell something */

static dev_t device, asked;
static bool it_matters;

static bool matters(dev_t dev)
{
	asked = dev;
	return it_matters;
}

static void setup(void)
{
	place_begin();
	asked = 0;
	it_matters = true;
}

TestSuite(notices, .init = setup, .fini = place_end, .timeout = 60);

/* --- messages --- */

static bool parse(const char *text, size_t len, dev_t *out)
{
	_cleanup_free_ char *exact = malloc(len);

	memcpy(exact, text, len);
	return umbra_uevent_parse(exact, len, out);
}

#define PARSE(text, out) parse(text, sizeof(text), out)

Test(notices, the_device_of_a_message)
{
	dev_t dev = 0;

	cr_assert(PARSE("change@/devices/virtual/block/dm-3\0ACTION=change\0SUBSYSTEM=block\0"
			"MAJOR=253\0MINOR=3\0DEVNAME=dm-3",
			&dev));
	cr_assert_eq(dev, makedev(253, 3));
	cr_assert_not(PARSE("add@/x\0SUBSYSTEM=net\0MAJOR=253\0MINOR=3", &dev));
	cr_assert_not(PARSE("add@/x\0SUBSYSTEM=block\0MINOR=3", &dev));
	cr_assert_not(PARSE("add@/x\0SUBSYSTEM=block\0MAJOR=253", &dev));
	cr_assert_not(PARSE("add@/x\0SUBSYSTEM=block\0MAJOR=-1\0MINOR=3", &dev));
	cr_assert_not(PARSE("add@/x\0SUBSYSTEM=block\0MAJOR=9999999999\0MINOR=3", &dev));
	cr_assert_not(PARSE("add@/x\0SUBSYSTEM=block\0MAJOR=2x\0MINOR=3", &dev));
	cr_assert_not(PARSE("add@/x\0SUBSYSTEM=block\0MAJOR=\0MINOR=3", &dev));
	cr_assert_not(PARSE("", &dev));
	cr_assert_not(parse("", 0, &dev));
	cr_assert_not(parse("SUBSYSTEM=block\0MAJOR=1\0MINOR=3", 31, &dev), "no end");
}

/* A change of DEVICE, as far as everybody can tell. */
static void tell(int times)
{
	_cleanup_close_ int fd = open(DEVICE "/uevent", O_WRONLY | O_CLOEXEC);

	while (times-- > 0)
		cr_assert_eq(pwrite(fd, "change", 6, 0), 6);
}

/* Skips where the kernel's messages do not arrive: in a network namespace of a user. One test at a
 * time: all hear the same. */
static void need_messages(void)
{
	static int turn;
	_cleanup_close_ int fd = umbra_uevent_open(NULL);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	unsigned int maj, min;
	char text[32];
	ssize_t n;
	int dev_fd;

	place_need_root("to have the kernel tell something");
	dev_fd = open(DEVICE "/dev", O_RDONLY | O_CLOEXEC);
	n = dev_fd < 0 ? 0 : read(dev_fd, text, sizeof(text) - 1);
	umbra_close(dev_fd);
	text[n > 0 ? n : 0] = '\0';
	if (sscanf(text, "%u:%u", &maj, &min) != 2)
		place_skip("there is no loop device here");
	device = makedev(maj, min);
	turn = open(DEVICE "/uevent", O_RDONLY | O_CLOEXEC);
	cr_assert_eq(flock(turn, LOCK_EX), 0);
	if (fd >= 0)
		tell(1);
	if (fd < 0 || poll(&p, 1, 1000) != 1)
		place_skip("the kernel's events do not arrive here");
}

Test(notices, what_the_kernel_tells)
{
	_cleanup_close_ int fd = -1;
	struct pollfd p = {.events = POLLIN};
	enum umbra_uevent what = UMBRA_UEVENT_OTHER;
	dev_t dev = 0;

	need_messages();
	p.fd = fd = umbra_uevent_open(NULL);
	tell(1);
	while (dev != device && poll(&p, 1, 5000) == 1)
		what = umbra_uevent_next(fd, &dev); /* others' are among them */
	cr_assert_eq(dev, device);
	cr_assert_eq(what, UMBRA_UEVENT_BLOCK);
}

Test(notices, what_somebody_else_sends_is_not_the_kernels)
{
	static const char text[] = "change@/x\0SUBSYSTEM=block\0MAJOR=253\0MINOR=3";
	struct sockaddr_nl to = {.nl_family = AF_NETLINK};
	socklen_t len = sizeof(to);
	_cleanup_close_ int fd = -1, sender = -1;
	enum umbra_uevent what;
	dev_t dev = 0;
	int i, others = 0;

	need_messages();
	fd = umbra_uevent_open(NULL);
	sender = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&to, &len), 0);
	for (i = 0; i < 2; i++) {
		cr_assert_eq(
			sendto(sender, text, sizeof(text), 0, (struct sockaddr *)&to, sizeof(to)),
			sizeof(text));
		to = (struct sockaddr_nl){.nl_family = AF_NETLINK, .nl_groups = 1};
	}
	while ((what = umbra_uevent_next(fd, &dev)) != UMBRA_UEVENT_NONE) {
		others += what == UMBRA_UEVENT_OTHER;
		cr_assert_neq(dev, makedev(253, 3));
	}
	cr_assert_geq(others, 2);
}

/* --- notices --- */

/* For that: tests that run at the same time cause some of the other kind. */
static unsigned int wait_for(struct umbra_notices *n, unsigned int kind, int ms)
{
	int64_t end = umbra_now_us() + (int64_t)ms * 1000;
	struct pollfd p[UMBRA_NOTICES_FDS];
	unsigned int what = UMBRA_NOTICE_NONE;

	while (!what && umbra_now_us() < end) {
		poll(p, UMBRA_NOTICES_FDS,
		     umbra_notices_poll(n, (int)((end - umbra_now_us()) / 1000) + 1, p));
		what = umbra_notices_take(n, p) & kind;
	}
	return what;
}

Test(notices, a_device_that_matters_and_one_that_does_not)
{
	struct umbra_notices *n;

	need_messages();
	n = umbra_notices_new(matters);
	tell(1);
	cr_assert_eq(wait_for(n, UMBRA_NOTICE_DEVICE, 5000), UMBRA_NOTICE_DEVICE);
	while (wait_for(n, UMBRA_NOTICE_DEVICE, 100))
		;
	it_matters = false;
	tell(1);
	cr_assert_eq(wait_for(n, UMBRA_NOTICE_DEVICE, 200), UMBRA_NOTICE_NONE);
	cr_assert_eq(asked, device);
	umbra_notices_free(n);
}

Test(notices, more_than_fits_is_a_reason_to_look)
{
	struct umbra_notices *n;

	need_messages();
	it_matters = false;
	n = umbra_notices_new(matters);
	tell(3000);
	cr_assert_eq(wait_for(n, UMBRA_NOTICE_DEVICE, 1000), UMBRA_NOTICE_DEVICE);
	cr_assert_eq(wait_for(n, UMBRA_NOTICE_DEVICE, 200), UMBRA_NOTICE_NONE);
	it_matters = true;
	tell(1);
	cr_assert_eq(wait_for(n, UMBRA_NOTICE_DEVICE, 5000), UMBRA_NOTICE_DEVICE, "it goes on");
	umbra_notices_free(n);
}

static void need_mounts(void)
{
	place_need_root("to mount");
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		place_skip("no mounts of one's own here");
}

static void mount_once(void)
{
	cr_assert_eq(mount("umbra-test", place, "tmpfs", 0, NULL), 0);
	cr_assert_eq(umount(place), 0);
}

Test(notices, some_looks_follow_a_change_of_mounts_and_then_no_more)
{
	struct umbra_notices *n;
	int64_t last = 0, now, apart = 0;
	int looks;

	need_mounts();
	it_matters = false;
	n = umbra_notices_new(matters);
	mount_once();
	for (looks = 0; wait_for(n, UMBRA_NOTICE_MOUNTS, 1000) == UMBRA_NOTICE_MOUNTS; looks++) {
		now = umbra_now_us();
		if (looks > 0)
			cr_assert_geq(now - last, apart, "%d", looks);
		apart = looks ? 10000 << (looks - 1) : 0;
		last = now;
	}
	cr_assert_eq(looks, 6);
	umbra_notices_free(n);
}

Test(notices, who_mounts_all_day_keeps_nobody_busy)
{
	int64_t end;
	struct umbra_notices *n;
	struct pollfd p[UMBRA_NOTICES_FDS];
	int looks = 0, mounts = 0;

	need_mounts();
	n = umbra_notices_new(matters);
	it_matters = false;
	for (end = umbra_now_us() + 2000000; umbra_now_us() < end; mounts++) {
		mount_once();
		umbra_notices_poll(n, 0, p);
		poll(p, UMBRA_NOTICES_FDS, 0);
		looks += (umbra_notices_take(n, p) & UMBRA_NOTICE_MOUNTS) != 0;
	}
	cr_assert_gt(mounts, 200, "%d", mounts);
	cr_assert_leq(looks, UMBRA_PACE_BURST + 2000000 / UMBRA_PACE_US + 1);
	cr_assert_gt(looks, UMBRA_PACE_BURST, "%d", looks);
	cr_assert_eq(wait_for(n, UMBRA_NOTICE_MOUNTS, 1000), UMBRA_NOTICE_MOUNTS,
		     "the last is not forgotten");
	umbra_notices_free(n);
}

Test(notices, a_pace)
{
	struct umbra_pace pace = {0};
	int64_t now = 1000000000;
	int i, k;

	for (k = 0; k < 2; k++) {
		for (i = 0; i < UMBRA_PACE_BURST; i++) {
			cr_assert_eq(umbra_pace_wait(&pace, now), 0, "%d", i);
			umbra_pace_spend(&pace, now);
		}
		cr_assert_eq(umbra_pace_wait(&pace, now), UMBRA_PACE_US);
		now += UMBRA_PACE_US;
		cr_assert_eq(umbra_pace_wait(&pace, now), 0);
		umbra_pace_spend(&pace, now);
		cr_assert_eq(umbra_pace_wait(&pace, now), UMBRA_PACE_US);
		now += UMBRA_PACE_BURST * UMBRA_PACE_US;
	}
}
