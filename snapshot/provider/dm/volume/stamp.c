/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/volume/stamp.h"

#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/log.h"
#include "snapshot/provider/dm/volume/proof.h"
#include "snapshot/sys/mounted.h"

#define BLOCK 4096U /* what direct I/O takes everywhere */
#define PIECE (2 * BLOCK)

struct reader {
	int fd;
	const char *name;
	char *bounce;
};

/* The disk counts, not what is cached. */
static int read_direct(void *arg, uint64_t offset, void *buf, size_t len, struct umbra_error *err)
{
	const struct reader *reader = arg;
	uint64_t from = offset / BLOCK * BLOCK, skip = offset - from;
	size_t want = (skip + len + BLOCK - 1) / BLOCK * BLOCK;
	ssize_t got = -1;

	if (want <= PIECE)
		do
			got = pread(reader->fd, reader->bounce, want, (off_t)from);
		while (got < 0 && errno == EINTR);
	if (got < 0 || (size_t)got < skip + len)
		return umbra_fail_errno(err, got < 0 ? errno : EIO, "cannot read '%s'",
					reader->name);
	memcpy(buf, reader->bounce + skip, len);
	return 0;
}

static int stamp_of(int fd, const char *name, uint64_t sectors, bool used,
		    char out[UMBRA_STAMP_MAX], struct umbra_error *err)
{
	_cleanup_free_ void *bounce = NULL;
	struct reader reader = {.fd = fd, .name = name};

	if (posix_memalign(&bounce, BLOCK, PIECE) != 0)
		return umbra_oom(err);
	reader.bounce = bounce;
	return umbra_proof_stamp(read_direct, &reader, sectors * UMBRA_DM_SECTOR, used, out, err);
}

static int stamp_now(const struct umbra_protected *p, bool used, char out[UMBRA_STAMP_MAX],
		     struct umbra_error *err)
{
	_cleanup_close_ int fd =
		umbra_dm_open(p->in ? p->kernel.real : p->layer.origin, O_RDONLY | O_DIRECT, err);

	return fd < 0 ? fd : stamp_of(fd, p->path, p->kernel.sectors, used, out, err);
}

int umbra_stamp_used(dev_t origin, const char *name, struct umbra_error *err)
{
	struct umbra_dm_info info;
	int r = umbra_dm_info(umbra_dm_numbered(origin), &info, err);

	if (r == UMBRA_DM_NONE)
		return umbra_fail(err, UMBRA_E_NOT_FOUND, ENODEV, "the volume '%s' is gone", name);
	return r < 0 ? r : info.open_count > 0;
}

int umbra_stamp_claim(const struct umbra_protected *p, struct umbra_error *err)
{
	int fd = umbra_dm_open(p->layer.origin, O_RDONLY | O_EXCL, err);

	return fd == -EBUSY
		       ? umbra_fail(err, UMBRA_E_BUSY, EBUSY,
				    "'%s' is in use without umbra's layer: unmount it, and run "
				    "'umbra activate' before it is mounted",
				    p->path)
		       : fd;
}

/* Not by who only looks what is on it, as udev does: claimed, by a mount or a check; nor by a mount
 * that writes nothing. */
static int in_use(const struct umbra_protected *p, struct umbra_error *err)
{
	_cleanup_close_ int fd = -1;
	int r = umbra_stamp_used(p->layer.origin, p->path, err);

	if (r <= 0)
		return r;
	fd = umbra_stamp_claim(p, err);
	if (fd != -EBUSY)
		return fd < 0 ? fd : 0;
	r = umbra_mounted_untouched(p->layer.origin, err);
	return r < 0 ? r : r == 0;
}

int umbra_stamp_holds(const struct umbra_protected *p, bool claimed, struct umbra_error *err)
{
	char now[UMBRA_STAMP_MAX];
	int used = claimed ? 0 : in_use(p, err), r;

	if (used < 0)
		return used;
	r = stamp_now(p, false, now, err);
	return r < 0 ? r : umbra_proof_holds(p->pool->stamp, now, used);
}

int umbra_stamp_put(const struct umbra_protected *p, struct umbra_pool *pool,
		    struct umbra_error *err)
{
	char now[UMBRA_STAMP_MAX];
	int used = umbra_stamp_used(p->layer.origin, p->path, err), r;

	r = used < 0 ? used : stamp_now(p, used > 0, now, err);
	if (r < 0 || strcmp(pool->stamp, now) == 0)
		return r;
	return umbra_pool_set_stamp(pool, now, err);
}

/* What is written already, past the page cache. */
static bool head_on_disk(dev_t real, void *head)
{
	_cleanup_close_ int fd = umbra_dm_open(real, O_RDONLY | O_DIRECT, NULL);

	return fd >= 0 && pread(fd, head, BLOCK, 0) == BLOCK;
}

/* What will be, if it is in memory. Never waits: the volume may be held. */
static bool head_cached(dev_t origin, void *head)
{
	_cleanup_close_ int fd = umbra_dm_open(origin, O_RDONLY, NULL);
	struct iovec iov = {.iov_base = head, .iov_len = BLOCK};

	return fd >= 0 && preadv2(fd, &iov, 1, 0, RWF_NOWAIT) == BLOCK;
}

bool umbra_stamp_replaced(dev_t origin, dev_t real, const char *stamp)
{
	_cleanup_free_ void *head = NULL;

	if (posix_memalign(&head, BLOCK, BLOCK) != 0)
		return false;
	/* What is reverted is written past the cache, which may have anything. */
	return (!umbra_proof_is_reverting(stamp) && head_cached(origin, head) &&
		!umbra_proof_same(stamp, head)) ||
	       (head_on_disk(real, head) && !umbra_proof_same(stamp, head));
}

int umbra_stamp_refuse_other(const struct umbra_protected *p, struct umbra_error *err)
{
	_cleanup_free_ void *head = NULL;
	struct umbra_dm_info info;

	if (p->in || p->asleep || umbra_area_certain(p->area))
		return 0;
	if (posix_memalign(&head, BLOCK, BLOCK) != 0)
		return umbra_oom(err);
	if (!head_on_disk(p->layer.origin, head) || umbra_proof_may_be(p->pool->stamp, head) ||
	    umbra_dm_info(umbra_dm_numbered(p->layer.origin), &info, NULL) != 0)
		return 0;
	return umbra_fail(err, UMBRA_E_DAMAGED, EBADMSG,
			  "what is on the volume '%s' now is not the filesystem that the diff area "
			  "is in (mkfs, cryptsetup luksFormat, wipefs); if that only got another "
			  "UUID, mount it once",
			  info.name);
}

bool umbra_stamp_differs(dev_t origin, dev_t real, uint64_t sectors, const char *stamp)
{
	_cleanup_close_ int fd = umbra_dm_open(real, O_RDONLY | O_DIRECT, NULL);
	char now[UMBRA_STAMP_MAX];
	int used = umbra_stamp_used(origin, "", NULL);

	return fd >= 0 && used >= 0 && stamp_of(fd, "", sectors, used > 0, now, NULL) == 0 &&
	       strcmp(stamp, now) != 0;
}

int umbra_stamp_renew(struct umbra_protected *p, struct umbra_error *err)
{
	_cleanup_pool_ struct umbra_pool *next = NULL;
	char now[UMBRA_STAMP_MAX];
	struct umbra_error why = {0};
	int r, used = umbra_stamp_used(p->layer.origin, p->path, &why);

	r = used < 0 ? used : stamp_now(p, used > 0, now, &why);
	if (r < 0) {
		umbra_log_warning("%s", why.text);
		return 0;
	}
	if (strcmp(p->pool->stamp, now) == 0)
		return 0;
	if (!umbra_area_certain(p->area) &&
	    umbra_stamp_replaced(p->layer.origin, p->kernel.real, p->pool->stamp))
		return 0; /* since it was opened: found the next time */
	r = umbra_protected_begin(p, &next, err);
	if (r == 0)
		r = umbra_pool_set_stamp(next, now, err);
	return r < 0 ? r : umbra_protected_write(p, &next, err);
}

int umbra_stamp_expect(struct umbra_protected *p, int fd, struct umbra_error *err)
{
	_cleanup_pool_ struct umbra_pool *next = NULL;
	char then[UMBRA_STAMP_MAX];
	int r = stamp_of(fd, p->path, p->kernel.sectors, false, then, err);

	if (r == 0)
		r = umbra_protected_begin(p, &next, err);
	if (r == 0)
		r = umbra_pool_set_stamp(next, then, err);
	return r < 0 ? r : umbra_protected_write(p, &next, err);
}
