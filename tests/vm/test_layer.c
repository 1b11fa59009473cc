/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sliding the snapshot layer under devices that are in use, and out again. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/fault.h"
#include "dm_lab.h"
#include "snapshot/provider/dm/device/layer.h"
#include "snapshot/provider/dm/device/names.h"

TestSuite(layer, .init = dm_lab_begin, .fini = dm_lab_end, .timeout = 120);

static struct umbra_error err;

#define ok(call) cr_assert_eq(call, 0, "%s", err.text)

static struct umbra_layer new_layer(dev_t origin)
{
	struct umbra_layer layer = {.origin = origin};

	umbra_id_new(&layer.area);
	lab_run("mkdir -p run");
	layer.run_dir = open(lab_path("run"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_geq(layer.run_dir, 0);
	return layer;
}

static enum umbra_layer_state state_of(const struct umbra_layer *layer)
{
	enum umbra_layer_state state;

	ok(umbra_layer_state(layer, &state, &err));
	return state;
}

static void table_of(dev_t dev, struct umbra_dm_table *out)
{
	umbra_dm_table_finish(out);
	ok(umbra_dm_table(umbra_dm_numbered(dev), UMBRA_DM_LIVE, out, &err));
}

/* In and out under a writer, twenty changes; then all is as it was. */
static void slide_under_writer(dev_t origin, const char *at)
{
	_cleanup_dm_table_ struct umbra_dm_table before = {0}, after = {0};
	struct umbra_layer layer = new_layer(origin);
	pid_t writer = dm_lab_writer(at);
	int i;

	table_of(origin, &before);
	for (i = 0; i < 10; i++) {
		ok(umbra_layer_in(&layer, &err));
		cr_assert_eq(state_of(&layer), UMBRA_LAYER_IN);
		usleep(20000);
		ok(umbra_layer_out(&layer, &err));
		cr_assert_eq(state_of(&layer), UMBRA_LAYER_OUT);
		usleep(20000);
	}
	dm_lab_writer_stop(writer);
	table_of(origin, &after);
	cr_assert(umbra_dm_table_same(&before, &after));
	close(layer.run_dir);
}

Test(layer, linear_with_ext4)
{
	dev_t origin = dm_lab_linear("lab-x", 64);

	dm_lab_mount("lab-x", "ext4", "at");
	slide_under_writer(origin, "at");
	lab_run("umount at && e2fsck -fn /dev/mapper/lab-x");
}

Test(layer, two_segments_with_xfs)
{
	dev_t a = dm_lab_disk("a", 256), b = dm_lab_disk("b", 256);
	dev_t origin =
		dm_lab_create("lab-x", "0 400000 linear %u:%u 8\n400000 300000 linear %u:%u 0",
			      major(a), minor(a), major(b), minor(b));

	dm_lab_mount("lab-x", "xfs", "at");
	slide_under_writer(origin, "at");
	lab_run("umount at && xfs_repair -n /dev/mapper/lab-x");
}

Test(layer, crypt_with_key_in_table)
{
	static const char key[] =
		"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
	dev_t disk = dm_lab_disk("d", 64), origin;

	dm_lab_need("dm-crypt", "modprobe dm-crypt && modprobe aes_generic && modprobe xts");
	origin = dm_lab_create("lab-x", "0 131072 crypt aes-xts-plain64 %s 0 %u:%u 0", key,
			       major(disk), minor(disk));
	dm_lab_mount("lab-x", "ext4", "at");
	slide_under_writer(origin, "at");
}

Test(layer, logical_volume)
{
	dev_t origin;

	dm_lab_disk("d", 200);
	dm_lab_need("lvm", "export DM_DISABLE_UDEV=1; vgcreate -y labvg $(readlink d.dev) && "
			   "lvcreate -y -Wn -Zn -L 100M -n lv labvg");
	origin = dm_lab_dev("/dev/mapper/labvg-lv");
	dm_lab_mount("labvg-lv", "ext4", "at");
	slide_under_writer(origin, "at");
	lab_run("umount at; vgremove -ff -y labvg");
}

/* lvm puts its own table back and says nothing. */
Test(layer, refresh_of_a_logical_volume_is_noticed)
{
	struct umbra_layer layer;

	dm_lab_disk("d", 200);
	dm_lab_need("lvm", "vgcreate -y labvg $(readlink d.dev) && "
			   "lvcreate -y -Wn -Zn -L 100M -n lv labvg");
	layer = new_layer(dm_lab_dev("/dev/mapper/labvg-lv"));
	ok(umbra_layer_in(&layer, &err));
	lab_run("lvchange --refresh labvg/lv");
	cr_assert_eq(state_of(&layer), UMBRA_LAYER_HALF);
	ok(umbra_layer_repair(&layer, &err));
	cr_assert_eq(state_of(&layer), UMBRA_LAYER_OUT);
	ok(umbra_layer_in(&layer, &err));
	lab_run("lvextend -y -L +20M labvg/lv");
	cr_assert_eq(state_of(&layer), UMBRA_LAYER_HALF);
	ok(umbra_layer_out(&layer, &err));
	cr_assert_eq(state_of(&layer), UMBRA_LAYER_OUT);
	lab_run("vgremove -ff -y labvg");
}

Test(layer, replaced_under_copies)
{
	dev_t origin = dm_lab_linear("lab-x", 32), store = dm_lab_disk("s", 32), real;
	_cleanup_dm_table_ struct umbra_dm_table own = {0}, snap = {0};
	struct umbra_layer layer = new_layer(origin);
	struct umbra_device_name name;

	table_of(origin, &own);
	ok(umbra_layer_in(&layer, &err));
	ok(umbra_layer_real(&layer, &real, &err));
	ok(umbra_dm_table_add(&snap, 65536, "snapshot", &err, "%u:%u %u:%u P 32", major(real),
			      minor(real), major(store), minor(store)));
	umbra_device_name(&layer.area, "snap1", &name);
	ok(umbra_dm_create(name.name, name.uuid, &snap, 0, NULL, &err));
	cr_assert_eq(umbra_layer_out(&layer, &err), -EBUSY);
	cr_assert_eq(state_of(&layer), UMBRA_LAYER_IN);
	ok(umbra_dm_load(umbra_dm_numbered(origin), &own, 0, &err));
	ok(umbra_dm_resume(umbra_dm_numbered(origin), &err));
	cr_assert_eq(state_of(&layer), UMBRA_LAYER_REPLACED);
	cr_assert_eq(umbra_layer_in(&layer, &err), -EBUSY);
	ok(umbra_layer_repair(&layer, &err));
	cr_assert_eq(state_of(&layer), UMBRA_LAYER_REPLACED);
	ok(umbra_dm_remove(name.name, UMBRA_DM_REMOVE_NOW, &err));
	ok(umbra_layer_repair(&layer, &err));
	cr_assert_eq(state_of(&layer), UMBRA_LAYER_OUT);
}

static void set_queue(const char *file, const char *value)
{
	lab_run("echo %s >/sys/block/$(basename $(realpath /dev/dm-*[0-9] | head -n1))/queue/%s",
		value, file);
}

static bool queue_is(dev_t dev, const char *file, const char *value)
{
	return lab_true("test \"$(cat /sys/dev/block/%u:%u/queue/%s)\" = %s", major(dev),
			minor(dev), file, value);
}

Test(layer, queue_settings_stay)
{
	dev_t origin = dm_lab_linear("lab-x", 32);
	struct umbra_layer layer = new_layer(origin);

	set_queue("read_ahead_kb", "4096");
	set_queue("max_sectors_kb", "64");
	set_queue("rotational", "1");
	ok(umbra_layer_in(&layer, &err));
	cr_assert(queue_is(origin, "read_ahead_kb", "4096"));
	cr_assert(queue_is(origin, "max_sectors_kb", "64"));
	cr_assert(queue_is(origin, "rotational", "1"));
	ok(umbra_layer_out(&layer, &err));
	cr_assert(queue_is(origin, "read_ahead_kb", "4096"));
	cr_assert(queue_is(origin, "max_sectors_kb", "64"));
	cr_assert(queue_is(origin, "rotational", "1"));
	cr_assert(lab_true("test -z \"$(ls run)\""));
}

static void refused(dev_t dev, enum umbra_code code, const char *why)
{
	_cleanup_dm_table_ struct umbra_dm_table before = {0}, after = {0};
	struct umbra_layer layer = new_layer(dev);
	struct umbra_dm_info info;

	if (umbra_dm_info(umbra_dm_numbered(dev), &info, NULL) == 0)
		table_of(dev, &before);
	cr_assert_lt(umbra_layer_check(dev, &err), 0);
	cr_assert_eq(err.code, code, "%s", err.text);
	cr_assert(strstr(err.text, why), "%s", err.text);
	cr_assert_lt(umbra_layer_in(&layer, &err), 0);
	cr_assert(strstr(err.text, why), "%s", err.text);
	cr_assert_eq(state_of(&layer), UMBRA_LAYER_OUT);
	if (before.n > 0) {
		table_of(dev, &after);
		cr_assert(umbra_dm_table_same(&before, &after));
	}
	close(layer.run_dir);
}

Test(layer, refused_with_the_reason)
{
	dev_t disk = dm_lab_disk("d", 64), store = dm_lab_disk("s", 64), x;

	refused(disk, UMBRA_E_UNSUPPORTED, "not a device-mapper device");
	x = dm_lab_create("lab-so", "0 8192 snapshot-origin %u:%u", major(disk), minor(disk));
	refused(x, UMBRA_E_BUSY, "lvremove");
	x = dm_lab_create("lab-s", "0 8192 snapshot %u:%u %u:%u P 8", major(disk), minor(disk),
			  major(store), minor(store));
	refused(x, UMBRA_E_UNSUPPORTED, "copy its origin");
	lab_run("dmsetup remove lab-s && dmsetup remove lab-so && modprobe dm-zero");
	x = dm_lab_create("lab-z", "0 8192 zero");
	refused(x, UMBRA_E_UNSUPPORTED, "not known");
	x = dm_lab_create("lab-l", "0 8192 linear %u:%u 0", major(disk), minor(disk));
	lab_run("dmsetup suspend lab-l");
	refused(x, UMBRA_E_BUSY, "dmsetup resume lab-l");
	lab_run("dmsetup resume lab-l && echo 0 4096 linear /dev/mapper/lab-z 0 | "
		"dmsetup load lab-l");
	refused(x, UMBRA_E_BUSY, "dmsetup clear lab-l");
}

/* There is no persistent memory here: a device that says that it is. */
Test(layer, persistent_memory_is_refused)
{
	dev_t x = dm_lab_linear("lab-l", 16);

	lab_run("echo 1 >dax && mount --bind dax /sys/dev/block/%u:%u/queue/dax", major(x),
		minor(x));
	refused(x, UMBRA_E_UNSUPPORTED, "DAX");
	lab_run("umount /sys/dev/block/%u:%u/queue/dax", major(x), minor(x));
	ok(umbra_layer_check(x, &err));
}

Test(layer, multipath_is_refused)
{
	dev_t disk = dm_lab_disk("d", 8);

	dm_lab_need("dm-multipath", "modprobe -a dm-multipath dm-round-robin");
	refused(dm_lab_create("lab-m", "0 8192 multipath 0 0 1 1 round-robin 0 1 1 %u:%u 1",
			      major(disk), minor(disk)),
		UMBRA_E_UNSUPPORTED, "put a partition");
}

Test(layer, key_in_the_keyring_is_refused)
{
	static const char key[] = "0123456789abcdef0123456789abcdef";
	dev_t disk = dm_lab_disk("d", 64);

	dm_lab_need("dm-crypt", "modprobe dm-crypt && modprobe aes_generic && modprobe xts");
	cr_assert_geq(syscall(SYS_add_key, "logon", "lab:key", key, sizeof(key) - 1,
			      KEY_SPEC_SESSION_KEYRING),
		      0);
	refused(dm_lab_create("lab-c", "0 8192 crypt aes-xts-plain64 :32:logon:lab:key 0 %u:%u 0",
			      major(disk), minor(disk)),
		UMBRA_E_NOT_FOUND, "cryptsetup refresh --disable-keyring lab-c");
}

static int in(void *layer)
{
	return umbra_layer_in(layer, NULL);
}

static int out(void *layer)
{
	return umbra_layer_out(layer, NULL);
}

/* Killed after each ioctl, then repaired: the origin works and is in or out. */
static void kill_everywhere(struct umbra_layer *layer, int (*fn)(void *))
{
	enum umbra_layer_state state;
	int n;

	for (n = 1; dm_lab_kill_at(n, fn, layer); n++) {
		ok(umbra_layer_repair(layer, &err));
		cr_assert(dm_lab_flows(NULL), "suspended after ioctl %d", n);
		state = state_of(layer);
		cr_assert(state == UMBRA_LAYER_IN || state == UMBRA_LAYER_OUT);
		cr_assert(lab_true("test -z \"$(ls run)\""));
		cr_assert(queue_is(layer->origin, "read_ahead_kb", "4096"));
		/* From where the step begins. */
		ok(fn == in ? umbra_layer_out(layer, &err) : umbra_layer_in(layer, &err));
	}
	cr_assert_gt(n, 5);
}

Test(layer, killed_at_each_step)
{
	struct umbra_layer layer = new_layer(dm_lab_linear("lab-x", 64));
	pid_t writer;

	dm_lab_mount("lab-x", "ext4", "at");
	set_queue("read_ahead_kb", "4096");
	writer = dm_lab_writer("at");
	kill_everywhere(&layer, in);
	kill_everywhere(&layer, out);
	dm_lab_writer_stop(writer);
}

/* As a backup program does for a snapshot of the disk below. */
Test(layer, repair_leaves_what_somebody_else_suspended_alone)
{
	struct umbra_layer layer = new_layer(dm_lab_linear("lab-x", 64));
	pid_t writer;

	dm_lab_mount("lab-x", "ext4", "at");
	writer = dm_lab_writer("at");
	ok(umbra_layer_in(&layer, &err));
	lab_run("dmsetup suspend lab-x");
	ok(umbra_layer_repair(&layer, &err));
	ok(umbra_layer_resume(&layer, &err));
	cr_assert_eq(umbra_layer_out(&layer, &err), -EBUSY);
	cr_assert(strstr(err.text, "dmsetup resume lab-x"), "%s", err.text);
	cr_assert_not(dm_lab_flows(NULL));
	cr_assert(dm_lab_flows("lab-x"));
	cr_assert_eq(state_of(&layer), UMBRA_LAYER_IN);
	lab_run("dmsetup resume lab-x");
	dm_lab_writer_stop(writer);
}

/* As lvextend puts it there between our look at the table and the change of it. */
Test(layer, what_somebody_else_changes_meanwhile_stays)
{
	struct umbra_layer layer = new_layer(dm_lab_linear("lab-x", 64));
	pid_t pid = lab_fork();
	int status;

	if (pid == 0) {
		setenv("UMBRA_TEST_FAULT", "layer.made:stop", 1);
		umbra_fault_init();
		_exit(umbra_layer_in(&layer, NULL) != -EBUSY);
	}
	cr_assert_eq(waitpid(pid, &status, WUNTRACED), pid);
	cr_assert(WIFSTOPPED(status));
	lab_run("echo 0 131072 error | dmsetup load lab-x && dmsetup resume lab-x");
	kill(pid, SIGCONT);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0);
	cr_assert_eq(state_of(&layer), UMBRA_LAYER_OUT);
	lab_run("dmsetup table lab-x | grep error && test -z \"$(ls run)\"");
}

/* Killed when the kernel had suspended the origin, and then refused the new table. */
static void kill_at_refused_table(struct umbra_layer *layer, int (*fn)(void *))
{
	pid_t pid = lab_fork();

	if (pid == 0) {
		setenv("UMBRA_TEST_FAULT", "layer.loaded:kill", 1);
		umbra_fault_init();
		_exit(fn(layer) == 0);
	}
	waitpid(pid, NULL, 0);
	lab_run("dmsetup clear lab-x && dmsetup suspend lab-x");
}

Test(layer, repair_resumes_what_a_refused_table_left)
{
	struct umbra_layer layer = new_layer(dm_lab_linear("lab-x", 64));

	kill_at_refused_table(&layer, in);
	ok(umbra_layer_repair(&layer, &err));
	cr_assert(dm_lab_flows(NULL));
	cr_assert_eq(state_of(&layer), UMBRA_LAYER_OUT);
	ok(umbra_layer_in(&layer, &err));
	kill_at_refused_table(&layer, out);
	ok(umbra_layer_repair(&layer, &err));
	cr_assert(dm_lab_flows(NULL));
	cr_assert_eq(state_of(&layer), UMBRA_LAYER_IN);
}

/* For who has to read the origin before it can be repaired. */
Test(layer, resume_is_the_beginning_of_a_repair)
{
	struct umbra_layer layer = new_layer(dm_lab_linear("lab-x", 64));

	kill_at_refused_table(&layer, in);
	ok(umbra_layer_resume(&layer, &err));
	cr_assert(dm_lab_flows(NULL));
	cr_assert_eq(state_of(&layer), UMBRA_LAYER_HALF);
	ok(umbra_layer_repair(&layer, &err));
	lab_run("dmsetup suspend lab-x");
	ok(umbra_layer_resume(&layer, &err));
	cr_assert_not(dm_lab_flows(NULL));
	lab_run("dmsetup resume lab-x");
}

/* Somebody else has suspended it, to give it a table of his own. */
Test(layer, repair_leaves_a_change_under_way_alone)
{
	struct umbra_layer layer = new_layer(dm_lab_linear("lab-x", 64));

	ok(umbra_layer_in(&layer, &err));
	lab_run("dmsetup suspend lab-x && echo 0 131072 error | dmsetup load lab-x");
	ok(umbra_layer_repair(&layer, &err));
	cr_assert_not(dm_lab_flows(NULL));
	cr_assert(dm_lab_flows("lab-x"));
	lab_run("dmsetup clear lab-x && dmsetup resume lab-x");
	ok(umbra_layer_repair(&layer, &err));
	cr_assert_eq(state_of(&layer), UMBRA_LAYER_IN);
}

/* He loads what we would load to slide out. */
Test(layer, repair_leaves_the_old_table_alone)
{
	struct umbra_layer layer = new_layer(dm_lab_linear("lab-x", 64));

	lab_run("dmsetup table lab-x >table");
	ok(umbra_layer_in(&layer, &err));
	lab_run("dmsetup load lab-x table");
	ok(umbra_layer_repair(&layer, &err));
	lab_run("dmsetup resume lab-x");
	cr_assert_neq(state_of(&layer), UMBRA_LAYER_IN);
}

/* Not our business: suspended by somebody else, without a layer of ours. */
Test(layer, repair_leaves_others_alone)
{
	struct umbra_layer layer = new_layer(dm_lab_linear("lab-x", 64));

	lab_run("dmsetup suspend lab-x");
	ok(umbra_layer_repair(&layer, &err));
	cr_assert_not(dm_lab_flows(NULL));
	cr_assert(dm_lab_flows("lab-x"));
	lab_run("dmsetup resume lab-x");
}
