/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The places of diff areas: inside the volume, in a file elsewhere, on a device. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dm_lab.h"
#include "snapshot/provider/dm/device/area.h"
#include "snapshot/provider/dm/device/layer.h"
#include "snapshot/provider/dm/device/place.h"
#include "snapshot/provider/dm/pool/pool_disk.h"

TestSuite(area, .init = dm_lab_begin, .fini = dm_lab_end, .timeout = 120);

static struct umbra_error err;

#define ok(call) cr_assert_eq(call, 0, "%s", err.text)

#define MIB (1ULL << 20)

/* The volume "lab-x" of this many MiB, mounted on DIR/at. */
static struct umbra_area_request new_volume(unsigned int mib, const char *fstype)
{
	struct umbra_area_request request = {.origin = dm_lab_linear("lab-x", mib)};
	struct umbra_volume *v;

	dm_lab_mount("lab-x", fstype, "at");
	ok(umbra_volume_resolve(lab_path("at"), &v, &err));
	request.volume = v;
	return request;
}

static struct umbra_area *make(const struct umbra_area_request *request)
{
	struct umbra_area *a;

	ok(umbra_area_create(request, &a, &err));
	return a;
}

static struct umbra_area *open_again(const struct umbra_area *a, dev_t origin)
{
	_cleanup_json_ json_t *record = umbra_area_record(a);
	struct umbra_area *again;

	cr_assert_not_null(record);
	ok(umbra_area_open(record, origin, false, &again, &err));
	return again;
}

static int refused(const struct umbra_area_request *request, enum umbra_code code, const char *why)
{
	struct umbra_area *a = NULL;
	int r = umbra_area_create(request, &a, &err);

	cr_assert_lt(r, 0, "it was not refused");
	cr_assert_null(a);
	cr_assert_eq(err.code, code, "%s", err.text);
	cr_assert(strstr(err.text, why), "%s", err.text);
	return r;
}

static void fill(unsigned char *buf, size_t len, unsigned int seed)
{
	while (len-- > 0) {
		seed = seed * 1103515245 + 12345;
		*buf++ = (unsigned char)(seed >> 16);
	}
}

#define SAMPLE (3U << 20)

/* Writes all over an area; buffers that are not aligned. */
static void write_sample(const struct umbra_area *a, unsigned int seed)
{
	unsigned char *buf = malloc(SAMPLE + 1);
	uint64_t end = umbra_area_sectors(a) * 512;

	fill(buf + 1, SAMPLE, seed);
	ok(umbra_area_write(a, 4096, buf + 1, SAMPLE, &err));
	ok(umbra_area_write(a, end - SAMPLE, buf + 1, SAMPLE, &err));
	ok(umbra_area_zero(a, 4096, 8192, &err));
	ok(umbra_area_flush(a, &err));
	free(buf);
}

static bool has_sample(const struct umbra_area *a, unsigned int seed)
{
	unsigned char *buf = malloc(2 * SAMPLE + 1), *back = buf + SAMPLE + 1;
	uint64_t end = umbra_area_sectors(a) * 512;
	bool same;

	fill(buf, SAMPLE, seed);
	ok(umbra_area_read(a, end - SAMPLE, back, SAMPLE, &err));
	same = memcmp(buf, back, SAMPLE) == 0;
	memset(buf, 0, 8192);
	ok(umbra_area_read(a, 4096, back, SAMPLE, &err));
	same = same && memcmp(buf, back, SAMPLE) == 0;
	free(buf);
	return same;
}

/* What the mapped device reads at its end. */
static bool device_has_sample(dev_t dev, const struct umbra_area *a, unsigned int seed)
{
	unsigned char *buf = malloc(SAMPLE), *back = aligned_alloc(4096, SAMPLE);
	int fd = umbra_dm_open(dev, O_RDONLY | O_DIRECT, &err);
	off_t at = (off_t)(umbra_area_sectors(a) * 512 - SAMPLE);
	bool same;

	cr_assert_geq(fd, 0, "%s", err.text);
	fill(buf, SAMPLE, seed);
	cr_assert_eq(pread(fd, back, SAMPLE, at), (ssize_t)SAMPLE);
	same = memcmp(buf, back, SAMPLE) == 0;
	close(fd);
	free(buf);
	free(back);
	return same;
}

/* In the volume, through filling, deleting and trimming it, mounted or not. */
static void inside(const char *fstype, const char *check)
{
	struct umbra_area_request request = new_volume(400, fstype);
	struct umbra_area *a, *again;
	struct umbra_layer layer = {.origin = request.origin};
	pid_t writer;
	dev_t dev, real;

	lab_run("mkdir run");
	layer.run_dir = open(lab_path("run"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	umbra_id_new(&layer.area);
	request.bytes = 64 * MIB;
	/* Not one piece: every second of these files goes. */
	lab_run("for i in $(seq 60); do fallocate -l 4M at/f$i; done; sync; rm at/f*[02468]; "
		"fallocate -l 120M at/rest; sync");
	a = make(&request);
	write_sample(a, 1);
	cr_assert_not(lab_true("test -e at/.umbra/diff-area"));
	ok(umbra_area_publish(a, &err));
	lab_run("test $(stat -c %%a.%%u at/.umbra) = 700.0 && lsattr at/.umbra/diff-area | grep -q "
		"i");
	cr_assert_not(lab_true("rm -f at/.umbra/diff-area"));
	cr_assert_not(lab_true("truncate -s 1M at/.umbra/diff-area"));
	cr_assert_not(lab_true("fallocate -p -o 0 -l 1M at/.umbra/diff-area"));

	writer = dm_lab_writer("at");
	cr_assert_not(lab_true("dd if=/dev/urandom of=at/full bs=1M"));
	dm_lab_writer_stop(writer);
	lab_run("rm at/f* at/rest; sync; fstrim at || true; e4defrag at || xfs_fsr at || true");
	cr_assert(has_sample(a, 1));
	again = open_again(a, request.origin);
	cr_assert(has_sample(again, 1));
	ok(umbra_layer_in(&layer, &err));
	ok(umbra_layer_real(&layer, &real, &err));
	umbra_area_set_base(again, real);
	ok(umbra_area_map(again, real, &dev, &err));
	cr_assert(device_has_sample(dev, again, 1));
	write_sample(again, 2);
	cr_assert(device_has_sample(dev, again, 2));
	ok(umbra_area_unmap(again, &err));
	ok(umbra_area_unmap(again, &err));
	umbra_area_close(again);
	ok(umbra_layer_out(&layer, &err));

	lab_run("umount at");
	again = open_again(a, request.origin);
	cr_assert(has_sample(again, 2));
	umbra_area_close(again);
	lab_run("%s /dev/mapper/lab-x && mount /dev/mapper/lab-x at", check);
	ok(umbra_area_destroy(a, &err));
	cr_assert_not(lab_true("test -e at/.umbra"));
	umbra_area_close(a);
	lab_run("umount at && %s /dev/mapper/lab-x", check);
}

Test(area, inside_ext4)
{
	inside("ext4", "e2fsck -fn");
}

Test(area, inside_xfs)
{
	inside("xfs", "xfs_repair -n");
}

static void moved(const struct umbra_area *a, dev_t origin, int errnum)
{
	_cleanup_json_ json_t *record = umbra_area_record(a);
	struct umbra_area *again = NULL;

	cr_assert_eq(umbra_area_open(record, origin, false, &again, &err), -errnum);
	cr_assert_null(again);
	cr_assert(strstr(err.text, "at/.umbra/diff-area"), "%s", err.text);
}

Test(area, a_file_that_was_moved_is_noticed)
{
	struct umbra_area_request request = new_volume(300, "ext4");
	struct umbra_area *a;

	request.bytes = 40 * MIB;
	a = make(&request);
	ok(umbra_area_publish(a, &err));
	umbra_area_close(open_again(a, request.origin));
	lab_run("chattr -i at/.umbra/diff-area");
	moved(a, request.origin, EBADMSG);
	lab_run("fallocate -p -o 1M -l 1M at/.umbra/diff-area && fallocate -l 100M at/x && "
		"fallocate -o 1M -l 1M at/.umbra/diff-area && sync && "
		"chattr +i at/.umbra/diff-area");
	moved(a, request.origin, EBADMSG);
	lab_run("chattr -R -i at/.umbra && rm at/.umbra/diff-area");
	moved(a, request.origin, ENOENT);
	umbra_area_close(a);
}

Test(area, blocks_that_another_file_shares)
{
	struct umbra_area_request request = new_volume(300, "xfs");
	struct umbra_area *a, *again;

	request.bytes = 40 * MIB;
	a = make(&request);
	ok(umbra_area_publish(a, &err));
	/* As a resize does: only what was written can be shared. */
	ok(umbra_area_loosen(a, &err));
	ok(umbra_area_overwrite(a, 8 * MIB, MIB, &err));
	ok(umbra_area_fix(a, &err));
	lab_run("cp --reflink=always at/.umbra/diff-area at/same && "
		"xfs_io -r -c 'fiemap -v' at/same | grep -q '0x2...$'");
	again = open_again(a, request.origin);
	cr_assert(umbra_area_certain(again));
	umbra_area_close(again);
	umbra_area_close(a);
}

Test(area, sizes)
{
	struct umbra_area_request request = new_volume(1000, "ext4");
	struct umbra_area *a = make(&request);

	cr_assert_eq(umbra_area_sectors(a), 320 * MIB / 512);
	umbra_area_close(a);
	cr_assert_not(lab_true("test -e at/.umbra/diff-area"));
	lab_run("sync; fallocate -l 700M at/big");
	a = make(&request); /* half of what is free */
	cr_assert(umbra_area_sectors(a) < 140 * MIB / 512);
	cr_assert(umbra_area_sectors(a) > 50 * MIB / 512);
	umbra_area_close(a);
	/* The last of the room is root's own. */
	lab_run("sync; fallocate -l $(($(stat -f -c %%a at) * 4096 - 50 * 1048576)) at/more");
	request.bytes = 60 * MIB;
	refused(&request, UMBRA_E_NO_SPACE, "there is no room");
	request.bytes = 0;
	refused(&request, UMBRA_E_NO_SPACE, "make room");
	request.bytes = 4 * MIB;
	refused(&request, UMBRA_E_USAGE, "at least");
}

Test(area, filesystems_that_cannot_have_one_inside)
{
	struct umbra_area_request request;

	dm_lab_need("btrfs", "modprobe btrfs && command -v mkfs.btrfs");
	request = new_volume(300, "btrfs");
	refused(&request, UMBRA_E_UNSUPPORTED, "ext4 or XFS");
	cr_assert_not(lab_true("test -e at/.umbra"));
}

/* As of an area that has been in use. */
static void write_superblock(const struct umbra_area *a)
{
	const struct umbra_pool_geometry g = {.chunk_sectors = 32, .segment_chunks = 16};
	_cleanup_free_ void *data = NULL;
	_cleanup_pool_ struct umbra_pool *pool = NULL;
	size_t len;

	ok(umbra_pool_new(&g, umbra_area_id(a), "x", &pool, &err));
	ok(umbra_pool_encode(pool, &data, &len, &err));
	ok(umbra_area_write(a, UMBRA_POOL_SLOT_B, data, len, &err));
}

Test(area, in_a_file_elsewhere)
{
	struct umbra_area_request request = new_volume(64, "ext4");
	struct umbra_area *a, *again;
	dev_t dev;

	request.bytes = 48 * MIB;
	request.place = lab_path("area");
	a = make(&request);
	write_sample(a, 1);
	ok(umbra_area_publish(a, &err));
	again = open_again(a, request.origin);
	cr_assert(has_sample(again, 1));
	ok(umbra_area_map(again, request.origin, &dev, &err));
	cr_assert(device_has_sample(dev, again, 1));
	lab_run("test $(losetup -nl | grep -c '/area') = 1");
	ok(umbra_area_unmap(again, &err));
	lab_run("for i in $(seq 50); do losetup -nl | grep -q /area || exit 0; sleep 0.1; done; "
		"exit 1");
	umbra_area_close(again);
	cr_assert_eq(umbra_area_destroy(a, &err), -EBADMSG, "it could be anybody's");
	cr_assert(lab_true("test -e area"));
	write_superblock(a);
	ok(umbra_area_destroy(a, &err));
	cr_assert_not(lab_true("test -e area"));
	umbra_area_close(a);
}

Test(area, places_elsewhere_that_are_refused)
{
	struct umbra_area_request request = new_volume(300, "ext4");

	request.bytes = 40 * MIB;
	request.place = lab_path("at/area");
	refused(&request, UMBRA_E_UNSUPPORTED, "on the volume that it would protect");
	/* A filesystem, and a device, in a file on the volume. */
	lab_run("truncate -s 200M at/image && mkfs.ext4 -q -F at/image && mkdir in && "
		"mount -o loop at/image in");
	request.place = lab_path("in/area");
	refused(&request, UMBRA_E_UNSUPPORTED, "on the volume that it would protect");
	lab_run("truncate -s 100M at/disk && ln -s $(losetup -f --show at/disk) disk.dev && "
		"dmsetup create lab-above --table \"0 100000 linear $(readlink disk.dev) 0\"");
	request.place = "/dev/mapper/lab-above";
	refused(&request, UMBRA_E_UNSUPPORTED, "on the volume that it would protect");
	lab_run("mkdir mem && mount -t tmpfs none mem");
	request.place = lab_path("mem/area");
	refused(&request, UMBRA_E_UNSUPPORTED, "ext4 or XFS");
	request.place = lab_path("none/area");
	refused(&request, UMBRA_E_NOT_FOUND, "none");
	lab_run("umount in mem");
}

Test(area, on_a_device)
{
	struct umbra_area_request request = new_volume(64, "ext4");
	struct umbra_area *a;
	dev_t dev, disk = dm_lab_disk("disk", 40);

	request.place = lab_path("disk.dev");
	a = make(&request);
	cr_assert_eq(umbra_area_sectors(a), 40 * MIB / 512);
	write_sample(a, 1);
	ok(umbra_area_map(a, request.origin, &dev, &err));
	cr_assert(device_has_sample(dev, a, 1));
	refused(&request, UMBRA_E_BUSY, "disk.dev");
	ok(umbra_area_unmap(a, &err));
	ok(umbra_area_destroy(a, &err));
	umbra_area_close(a);

	lab_run("mkfs.ext4 -q -F disk.dev");
	refused(&request, UMBRA_E_EXISTS, "there is ext4");
	lab_run("mkdir in && mount disk.dev in");
	request.force = true;
	refused(&request, UMBRA_E_BUSY, "disk.dev");
	lab_run("umount in");
	request.bytes = 36 * MIB + 512;
	a = make(&request);
	cr_assert_eq(umbra_area_sectors(a), 36 * MIB / 512);
	umbra_area_close(a);
	/* Two filesystems at once: nobody can tell what it is, but there is something. */
	request.force = false;
	lab_run("mkfs.xfs -q -f -d size=36m disk.dev || mkswap disk.dev; "
		"dd if=/dev/zero of=disk.dev bs=1k count=1 conv=notrunc; "
		"mkfs.ext4 -q -F disk disk.dev; printf 'XFSB' | dd of=disk.dev conv=notrunc");
	refused(&request, UMBRA_E_EXISTS, "--force");
	cr_assert_eq(umbra_place_lies_on(disk, disk), 1);
	cr_assert_eq(umbra_place_lies_on(disk, request.origin), 0);
}

Test(area, on_a_device_that_is_one_already)
{
	struct umbra_area_request request = new_volume(64, "ext4");
	struct umbra_area *a;

	dm_lab_disk("disk", 40);
	request.place = lab_path("disk.dev");
	a = make(&request);
	write_superblock(a);
	refused(&request, UMBRA_E_EXISTS, "diff area of umbra");
	request.force = true;
	umbra_area_close(make(&request));
	request.force = false;
	ok(umbra_area_destroy(a, &err));
	umbra_area_close(a);
	umbra_area_close(make(&request));
}

Test(area, on_a_device_with_larger_sectors)
{
	struct umbra_area_request request = new_volume(64, "ext4");

	lab_run("truncate -s 40M disk && ln -s $(losetup -b 4096 -f --show disk) disk.dev");
	request.place = lab_path("disk.dev");
	refused(&request, UMBRA_E_UNSUPPORTED, "4096");
	lab_run("mkfs.ext4 -q -F disk.dev && mkdir in && mount disk.dev in");
	request.place = lab_path("in/area");
	request.bytes = 32 * MIB;
	refused(&request, UMBRA_E_UNSUPPORTED, "4096");
	lab_run("umount in");
}

Test(area, what_lies_on_what)
{
	dev_t disk = dm_lab_disk("disk", 40), a, b, part;

	a = dm_lab_create("lab-a", "0 20000 linear %u:%u 0", major(disk), minor(disk));
	b = dm_lab_create("lab-b", "0 8 error\n8 1000 linear %u:%u 0", major(a), minor(a));
	cr_assert_eq(umbra_place_lies_on(b, disk), 1);
	cr_assert_eq(umbra_place_lies_on(a, b), 0);
	/* One partition, from sector 2048 on. */
	lab_run("dmsetup remove lab-b; dmsetup remove lab-a; losetup -D; rm disk.dev; "
		"printf '\\0\\0\\0\\0\\203\\0\\0\\0\\0\\10\\0\\0\\0\\20\\0\\0' | "
		"dd of=disk bs=1 seek=446 conv=notrunc; "
		"printf '\\125\\252' | dd of=disk bs=1 seek=510 conv=notrunc; "
		"ln -s $(losetup -f -P --show disk) disk.dev");
	dm_lab_need("partitions", "test -b $(readlink disk.dev)p1");
	lab_run("ln -s $(readlink disk.dev)p1 part.dev");
	disk = dm_lab_dev(lab_path("disk.dev"));
	part = dm_lab_dev(lab_path("part.dev"));
	cr_assert_eq(umbra_place_lies_on(part, disk), 1);
	cr_assert_eq(umbra_place_lies_on(disk, part), 0);
}

Test(area, out_of_range)
{
	struct umbra_area_request request = new_volume(200, "ext4");
	struct umbra_area *a;
	uint64_t end;
	char c;

	request.bytes = 32 * MIB;
	a = make(&request);
	end = umbra_area_sectors(a) * 512;
	cr_assert_lt(umbra_area_read(a, end, &c, 4096, &err), 0);
	cr_assert_lt(umbra_area_write(a, UINT64_MAX - 4095, &c, 4096, &err), 0);
	cr_assert_lt(umbra_area_zero(a, 4096, end, &err), 0);
	umbra_area_close(a);
}

static struct umbra_area_request wanted;

static int make_and_publish(void *arg)
{
	struct umbra_area *a;

	(void)arg;
	return umbra_area_create(&wanted, &a, NULL) < 0 || umbra_area_publish(a, NULL) < 0;
}

/* Killed: either there is no file, or one that can be removed by its name. */
Test(area, killed_while_it_is_made)
{
	pid_t pid;
	int i;

	wanted = new_volume(200, "ext4");
	wanted.bytes = 100 * MIB;
	for (i = 0; i < 6; i++) {
		pid = lab_fork();
		if (pid == 0)
			_exit(make_and_publish(NULL));
		usleep(5000 * (unsigned int)i);
		kill(pid, SIGKILL);
		cr_assert_eq(waitpid(pid, NULL, 0), pid);
		lab_run("chattr -R -i at/.umbra 2>/dev/null; rm -rf at/.umbra; sync at; "
			"test $(stat -f -c %%f at) -gt 40000");
	}
}
