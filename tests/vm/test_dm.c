/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The wrapper of libdevmapper, on real device-mapper. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "dm_lab.h"
#include "snapshot/sys/dm_hold.h"

TestSuite(dm, .init = dm_lab_begin, .fini = dm_lab_end, .timeout = 60);

static struct umbra_error err;

#define ok(call) cr_assert_eq(call, 0, "%s", err.text)

static void linear(struct umbra_dm_table *t, dev_t dev, uint64_t length, uint64_t offset)
{
	ok(umbra_dm_table_add(t, length, "linear", &err, "%u:%u %llu", major(dev), minor(dev),
			      (unsigned long long)offset));
}

Test(dm, life_of_a_device)
{
	_cleanup_dm_table_ struct umbra_dm_table t = {0}, back = {0}, u = {0};
	_cleanup_free_ dev_t *deps = NULL;
	dev_t disk = dm_lab_disk("d", 8), dev;
	struct umbra_dm_info info;
	struct umbra_dm_ref ref = umbra_dm_named("lab-a");
	size_t n;

	linear(&t, disk, 1024, 0);
	linear(&t, disk, 1024, 4096);
	cr_assert_eq(umbra_dm_table_sectors(&t), 2048);
	ok(umbra_dm_create("lab-a", "UMBRA-lab-a", &t, 0, &dev, &err));
	ok(umbra_dm_info(ref, &info, &err));
	cr_assert(info.live && !info.loaded && !info.suspended && !info.read_only);
	cr_assert_eq(info.dev, dev);
	cr_assert_str_eq(info.name, "lab-a");
	cr_assert_str_eq(info.uuid, "UMBRA-lab-a");
	ok(umbra_dm_table(ref, UMBRA_DM_LIVE, &back, &err));
	cr_assert(umbra_dm_table_same(&t, &back));
	ok(umbra_dm_deps(umbra_dm_numbered(dev), &deps, &n, &err));
	cr_assert(n == 1 && deps[0] == disk);
	cr_assert(lab_true("test -b /dev/mapper/lab-a"));

	linear(&u, disk, 4096, 0);
	ok(umbra_dm_load(ref, &u, 0, &err));
	ok(umbra_dm_info(ref, &info, &err));
	cr_assert(info.loaded);
	umbra_dm_table_finish(&back);
	ok(umbra_dm_table(ref, UMBRA_DM_LOADED, &back, &err));
	cr_assert(umbra_dm_table_same(&u, &back));
	ok(umbra_dm_resume(ref, &err));
	cr_assert_eq(umbra_dm_create("lab-a", "UMBRA-lab-b", &t, 0, NULL, &err), -EEXIST);
	cr_assert_eq(umbra_dm_create("lab-b", "UMBRA-lab-a", &t, 0, NULL, &err), -EEXIST);
	ok(umbra_dm_suspend(ref, UMBRA_DM_NO_LOCKFS, &err));
	ok(umbra_dm_suspend(ref, 0, &err));
	ok(umbra_dm_remove("lab-a", UMBRA_DM_REMOVE_NOW, &err));
	cr_assert_eq(umbra_dm_remove("lab-a", UMBRA_DM_REMOVE_NOW, &err), UMBRA_DM_NONE);
	cr_assert_eq(umbra_dm_info(ref, &info, &err), UMBRA_DM_NONE);
	cr_assert_not(lab_true("test -e /dev/mapper/lab-a"));
}

Test(dm, loaded_only_and_read_only)
{
	_cleanup_dm_table_ struct umbra_dm_table t = {0}, none = {0};
	struct umbra_dm_ref ref = umbra_dm_named("lab-a");
	_cleanup_close_ int control = -1;
	struct umbra_dm_device held;
	struct umbra_dm_info info;
	dev_t dev;

	linear(&t, dm_lab_disk("d", 8), 2048, 0);
	ok(umbra_dm_create("lab-a", "UMBRA-a", &t, UMBRA_DM_READ_ONLY | UMBRA_DM_LOAD_ONLY, &dev,
			   &err));
	ok(umbra_dm_info(ref, &info, &err));
	cr_assert(!info.live && info.loaded);
	ok(umbra_dm_table(ref, UMBRA_DM_LIVE, &none, &err));
	cr_assert_eq(none.n, 0);
	ok(umbra_dm_control_open(&control, &err));
	ok(umbra_dm_device_lookup(control, major(dev), minor(dev), &held, &err));
	cr_assert_eq(umbra_dm_hold_activate(control, &held), 0);
	ok(umbra_dm_info(ref, &info, &err));
	cr_assert(info.live && !info.loaded && info.read_only && !info.suspended);
	cr_assert_eq(umbra_dm_hold_activate(control, &held), 0);
	ok(umbra_dm_remove("lab-a", UMBRA_DM_REMOVE_NOW, &err));
	cr_assert_eq(umbra_dm_hold_activate(control, &held), -ENODEV);
}

Test(dm, unload)
{
	_cleanup_dm_table_ struct umbra_dm_table t = {0};
	struct umbra_dm_ref ref = umbra_dm_named("lab-a");
	struct umbra_dm_info info;

	linear(&t, dm_lab_disk("d", 8), 2048, 0);
	ok(umbra_dm_create("lab-a", "UMBRA-a", &t, 0, NULL, &err));
	ok(umbra_dm_unload(ref, &err));
	ok(umbra_dm_load(ref, &t, 0, &err));
	ok(umbra_dm_unload(ref, &err));
	ok(umbra_dm_info(ref, &info, &err));
	cr_assert(info.live && !info.loaded && !info.suspended);
}

/* Of blocks that the disk does not have, which is found out when the old table is out of force. */
Test(dm, goes_on_with_its_table_when_another_cannot_be_had)
{
	_cleanup_dm_table_ struct umbra_dm_table t = {0}, odd = {0}, back = {0};
	dev_t disk = dm_lab_disk("d", 8), large, dev;
	struct umbra_dm_info info;

	lab_run("truncate -s 8M large && ln -s $(losetup -f --show -b 4096 large) large.dev");
	large = dm_lab_dev(lab_path("large.dev"));
	linear(&t, disk, 2048, 0);
	linear(&odd, large, 4, 0);
	linear(&odd, large, 2044, 8);
	ok(umbra_dm_create("lab-a", "UMBRA-a", &t, 0, &dev, &err));
	ok(umbra_dm_load(umbra_dm_numbered(dev), &odd, 0, &err));
	cr_assert_lt(umbra_dm_resume(umbra_dm_numbered(dev), &err), 0);
	ok(umbra_dm_info(umbra_dm_numbered(dev), &info, &err));
	cr_assert(!info.suspended && info.live && !info.loaded);
	ok(umbra_dm_table(umbra_dm_numbered(dev), UMBRA_DM_LIVE, &back, &err));
	cr_assert(umbra_dm_table_same(&t, &back));
	ok(umbra_dm_load(umbra_dm_named("lab-a"), &odd, 0, &err));
	cr_assert_lt(umbra_dm_resume(umbra_dm_named("lab-a"), &err), 0);
	ok(umbra_dm_info(umbra_dm_numbered(dev), &info, &err));
	cr_assert(!info.suspended);
}

Test(dm, errors_name_the_device_and_the_cause)
{
	_cleanup_dm_table_ struct umbra_dm_table t = {0};
	struct umbra_dm_ref gone = umbra_dm_named("lab-gone");

	cr_assert_eq(umbra_dm_resume(gone, &err), -ENXIO);
	cr_assert(strstr(err.text, "'lab-gone'") && strstr(err.text, "there is none"), "%s",
		  err.text);
	cr_assert_eq(umbra_dm_status(gone, UMBRA_DM_LIVE, &t, &err), -ENXIO);
	cr_assert_eq(umbra_dm_table(gone, UMBRA_DM_LIVE, &t, &err), -ENXIO);
	cr_assert_eq(
		umbra_dm_info(umbra_dm_numbered(makedev(7, 0)), &(struct umbra_dm_info){0}, &err),
		UMBRA_DM_NONE);
	ok(umbra_dm_table_add(&t, 8, "linear", &err, "nonsense"));
	cr_assert_lt(umbra_dm_create("lab-a", "UMBRA-a", &t, 0, NULL, &err), 0);
	cr_assert(strstr(err.text, "'lab-a'"), "%s", err.text);
	cr_assert_eq(umbra_dm_info(umbra_dm_named("lab-a"), &(struct umbra_dm_info){0}, &err),
		     UMBRA_DM_NONE);
	cr_assert_eq(umbra_dm_has_target("no-such", &err), -EOPNOTSUPP);
	ok(umbra_dm_has_target("snapshot-origin", &err));
}

Test(dm, in_use)
{
	_cleanup_dm_table_ struct umbra_dm_table t = {0};
	_cleanup_close_ int fd = -1;
	struct umbra_dm_info info;
	dev_t dev;

	linear(&t, dm_lab_disk("d", 8), 2048, 0);
	ok(umbra_dm_create("lab-a", "UMBRA-a", &t, 0, &dev, &err));
	fd = umbra_dm_open(dev, O_RDONLY, &err);
	cr_assert_geq(fd, 0, "%s", err.text);
	cr_assert_eq(umbra_dm_remove("lab-a", UMBRA_DM_REMOVE_NOW, &err), -EBUSY);
	cr_assert(strstr(err.text, "in use"), "%s", err.text);
	ok(umbra_dm_remove("lab-a", UMBRA_DM_REMOVE_LATER, &err));
	ok(umbra_dm_info(umbra_dm_named("lab-a"), &info, &err));
	cr_assert(info.removed_later);
	fd = umbra_close(fd);
	usleep(100000);
	cr_assert_eq(umbra_dm_info(umbra_dm_named("lab-a"), &info, &err), UMBRA_DM_NONE);
}

Test(dm, list_by_uuid)
{
	_cleanup_dm_list_ struct umbra_dm_list list = {0}, none = {0};
	_cleanup_dm_table_ struct umbra_dm_table t = {0};

	linear(&t, dm_lab_disk("d", 8), 2048, 0);
	ok(umbra_dm_create("lab-a", "UMBRA-x-a", &t, 0, NULL, &err));
	ok(umbra_dm_create("lab-b", "UMBRA-x-b", &t, 0, NULL, &err));
	ok(umbra_dm_create("lab-c", "UMBRA-y-c", &t, 0, NULL, &err));
	ok(umbra_dm_list("UMBRA-x-", &list, &err));
	cr_assert_eq(list.n, 2);
	ok(umbra_dm_list("UMBRA-z-", &none, &err));
	cr_assert_eq(none.n, 0);
}

Test(dm, hold_freezes_and_thaws)
{
	dev_t dev = dm_lab_linear("lab-x", 64);
	_cleanup_close_ int control = -1;
	struct umbra_dm_device held;
	pid_t writer;
	int i;

	dm_lab_mount("lab-x", "ext4", "at");
	ok(umbra_dm_control_open(&control, &err));
	ok(umbra_dm_device_lookup(control, major(dev), minor(dev), &held, &err));
	writer = dm_lab_writer("at");
	for (i = 0; i < 20; i++) {
		cr_assert_eq(umbra_dm_hold_suspend(control, &held, 0), 0);
		cr_assert_eq(umbra_dm_hold_suspend(control, &held, 0), -EBUSY);
		cr_assert_eq(umbra_dm_suspended(control, &held), 1);
		cr_assert_eq(umbra_dm_hold_resume(control, &held), 0);
		cr_assert_eq(umbra_dm_hold_resume(control, &held), 1);
	}
	dm_lab_writer_stop(writer);
}
