/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Real devices with ext4 mounted from them; somebody writes to both all the time. */
#include "tests/unit/hold_lab.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dm_lab.h"
#include "snapshot/sys/dm_hold.h"

#define WORK_MS 5000
#define MIB     32

unsigned int lab_major, lab_minors[2];

static const char *const names[] = {"lab-a", "lab-b"};
static pid_t writers[2], stuck;

void lab_begin(void)
{
	dev_t dev;
	size_t i;

	dm_lab_begin();
	for (i = 0; i < UMBRA_ARRAY_SIZE(names); i++) {
		dev = dm_lab_linear(names[i], MIB);
		lab_major = major(dev);
		lab_minors[i] = minor(dev);
		if (i == 0) /* the other has no uuid, as dmsetup makes them */
			lab_run("dmsetup rename --setuuid %s LAB-a", names[i]);
		dm_lab_mount(names[i], "ext4", names[i] + strlen("lab-"));
		writers[i] = dm_lab_writer(names[i] + strlen("lab-"));
	}
}

void lab_end(void)
{
	size_t i;

	for (i = 0; i < UMBRA_ARRAY_SIZE(writers); i++)
		if (writers[i])
			dm_lab_writer_stop(writers[i]);
	if (stuck) {
		lab_run("dmsetup resume lab-low");
		waitpid(stuck, NULL, 0);
	}
	dm_lab_end();
}

bool lab_owns(pid_t pid)
{
	return pid == writers[0] || pid == writers[1] || pid == stuck;
}

static struct umbra_dm_device device(size_t i, int *control)
{
	struct umbra_dm_device d;

	cr_assert_eq(umbra_dm_control_open(control, NULL), 0);
	cr_assert_eq(umbra_dm_device_lookup(*control, lab_major, lab_minors[i], &d, NULL), 0);
	return d;
}

bool lab_suspended(size_t i)
{
	_cleanup_close_ int control = -1;
	struct umbra_dm_device d = device(i, &control);
	int r = umbra_dm_suspended(control, &d);

	cr_assert_geq(r, 0);
	return r > 0;
}

bool lab_works(size_t i)
{
	return dm_lab_works(names[i] + strlen("lab-"), WORK_MS);
}

void lab_suspend(size_t i)
{
	_cleanup_close_ int control = -1;
	struct umbra_dm_device d = device(i, &control);

	cr_assert_eq(umbra_dm_hold_suspend(control, &d, 0), 0);
}

void lab_resume(size_t i)
{
	_cleanup_close_ int control = -1;
	struct umbra_dm_device d = device(i, &control);

	cr_assert_eq(umbra_dm_hold_resume(control, &d), 0);
}

/* Puts another device below it, which is its twin but can be suspended without it. */
static void put_low(size_t i)
{
	dev_t low = dm_lab_linear("lab-low", MIB);

	lab_run("dmsetup suspend %s && dmsetup reload %s --table '0 %d linear %u:%u 0' && "
		"dmsetup resume %s",
		names[i], names[i], MIB * 2048, major(low), minor(low), names[i]);
}

/* A write that is under way below it for ever. */
void lab_stick(size_t i)
{
	dm_lab_writer_stop(writers[i]);
	writers[i] = 0;
	lab_run("umount %s", names[i] + strlen("lab-"));
	put_low(i);
	lab_run("dmsetup suspend lab-low");
	stuck = lab_fork();
	if (stuck == 0)
		_exit(!lab_true("exec dd if=/dev/zero of=/dev/mapper/%s bs=4k count=1 oflag=direct",
				names[i]));
	usleep(300000);
}

void lab_two_storeys(size_t i)
{
	const char *at = names[i] + strlen("lab-");

	dm_lab_writer_stop(writers[i]);
	writers[i] = 0;
	lab_run("umount %s", at);
	put_low(i);
	lab_run("mkfs.ext4 -q -F /dev/mapper/%s && mount /dev/mapper/%s %s && sync", names[i],
		names[i], at);
}

/* Its filesystem has something to write when it is thawed, which takes that long. */
void lab_block(size_t i)
{
	(void)i;
	lab_run("dmsetup suspend lab-low");
}

/* The same, when it is frozen. */
void lab_hang(size_t i)
{
	lab_two_storeys(i);
	lab_run("echo something >%s/file", names[i] + strlen("lab-"));
	lab_block(i);
}

void lab_go_on(void)
{
	lab_run("dmsetup resume lab-low");
}
