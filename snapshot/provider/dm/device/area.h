/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A diff area: the place where what is replaced on a volume is kept, as one row of bytes.
 *
 *	inside	a file in the volume itself, preallocated and immutable. Its blocks are reached
 *		below the layer, never through the filesystem, which therefore must not move them
 *	file	a file on another filesystem, through a loop device with direct I/O
 *	device	a block device
 *
 * What lies in it is the pool's (pool_disk.h). All of it needs root.
 */
#pragma once

#include "common/doc.h"
#include "common/id.h"
#include "snapshot/volume.h"

#define UMBRA_AREA_DIR   ".umbra" /* in the root directory of the volume */
#define UMBRA_AREA_NAME  "diff-area"
#define UMBRA_AREA_MIN   (32ULL << 20)  /* bytes; smaller ones are of no use */
#define UMBRA_AREA_USUAL (320ULL << 20) /* VSS: the least that is made when nothing is said */
#define UMBRA_AREA_BLOCK 4096U          /* offsets and lengths are multiples of it */

struct umbra_area;

struct umbra_area_request {
	const struct umbra_volume *volume;
	dev_t origin;      /* what the volume is mounted from */
	const char *place; /* a file or block device; NULL: inside */
	uint64_t bytes; /* 0: a tenth of the volume, at least UMBRA_AREA_USUAL; a block device whole
			 */
	bool force;     /* a device that something is on already */
};

/*
 * Makes a place for an area, with an id of its own and whatever content. NO_SPACE: less is free
 * than the volume may spare. UNSUPPORTED: a filesystem that cannot have one (place.h), a place that
 * is on the protected volume itself at last. EXISTS, BUSY: a device with something on it, or in
 * use.
 */
int umbra_area_create(const struct umbra_area_request *request, struct umbra_area **out,
		      struct umbra_error *err);

/* Makes its place durable under its name; until then it goes with this process (but for a file on
 * a filesystem that knows no files without a name). AFTER the record was written. */
int umbra_area_publish(struct umbra_area *a, struct umbra_error *err);

/* Where the whole of what is mounted from a device is, now; to be freed. NULL: nowhere. was: a path
 * that it was at, which it keeps if it is still there. */
char *umbra_area_mounted_at(dev_t dev, const char *was);

/* What umbra_area_open() needs, also before any filesystem is mounted. New reference. */
json_t *umbra_area_record(const struct umbra_area *a);
/* Is it that of an area inside its volume? */
bool umbra_area_record_inside(const json_t *record);

/* Before a lock is taken under which the area is changed: -EBUSY where it is a file elsewhere, and
 * the filesystem of that is still frozen after limit_ms. */
int umbra_area_refuse_frozen(const json_t *record, int limit_ms, struct umbra_error *err);

/*
 * Finds an area again. origin: the volume's device. The file of one inside is compared with the
 * record where the volume is mounted; of one that was being resized its first part, which stays.
 * -EBADMSG (DAMAGED): it is not where it was, so what is in it cannot be believed; -ENOENT: file or
 * device is gone. at_it: somebody is resizing it, and has looked. Then the file is not asked for:
 * who changes it may have to wait for space that only the caller can give.
 */
int umbra_area_open(const json_t *record, dev_t origin, bool at_it, struct umbra_area **out,
		    struct umbra_error *err);
/* Does a record say that the area is being resized, or was when somebody was killed? */
bool umbra_area_resizing(const json_t *record);
struct umbra_area *umbra_area_close(struct umbra_area *a);
UMBRA_DEFINE_CLEANUP(struct umbra_area *, area, umbra_area_close)
#define _cleanup_area_ _cleanup_(umbra_cleanup_area)

/* Is what lies at its place certainly the area? One inside a volume that is not mounted was only
 * there when the record was written: where the volume was written since, nothing may be written. */
bool umbra_area_certain(const struct umbra_area *a);

const struct umbra_id *umbra_area_id(const struct umbra_area *a);
bool umbra_area_is_inside(const struct umbra_area *a);
uint64_t umbra_area_sectors(const struct umbra_area *a);
const char *umbra_area_kind(const struct umbra_area *a); /* "inside", "file", "device" */
const char *umbra_area_place(const struct umbra_area *a);

/*
 * Does the volume's byte at offset belong to the area, whose content no copy has? *len is cut to
 * how far the answer holds.
 */
bool umbra_area_owns(const struct umbra_area *a, uint64_t offset, size_t *len);

/*
 * The area's file, as this directory, the root of a volume or of a copy of it, has it: does it lie
 * where the area lies? 0, too, for an area that is not inside; -EBADMSG, -ENOENT (DAMAGED).
 */
int umbra_area_is_in(const struct umbra_area *a, int dir, struct umbra_error *err);

/*
 * Direct I/O, whether the layer is in or not; while it is, base says what the volume is below it
 * (umbra_area_set_base()). Buffers need no alignment. Short of the end is an error. -EBUSY: what is
 * written would have to wait until a filesystem is thawed.
 */
void umbra_area_set_base(struct umbra_area *a, dev_t real);
int umbra_area_read(const struct umbra_area *a, uint64_t offset, void *buf, size_t len,
		    struct umbra_error *err);
int umbra_area_write(const struct umbra_area *a, uint64_t offset, const void *buf, size_t len,
		     struct umbra_error *err);
int umbra_area_zero(const struct umbra_area *a, uint64_t offset, size_t len,
		    struct umbra_error *err);
int umbra_area_flush(const struct umbra_area *a, struct umbra_error *err);

/* The device-mapper device that is the area, role "area". base: the volume below the layer. */
int umbra_area_map(struct umbra_area *a, dev_t base, dev_t *out, struct umbra_error *err);
int umbra_area_unmap(struct umbra_area *a, struct umbra_error *err);
/* If there is one: is it over what lies at the area's place now? -EXDEV (DAMAGED): another disk or
 * file has taken that place since. 0, too, of one inside, of which more is known. */
int umbra_area_is_mapped(const struct umbra_area *a, struct umbra_error *err);
/* The device that there is gets the length that the area has by now. */
int umbra_area_refit(struct umbra_area *a, dev_t base, struct umbra_error *err);

/* Removes the place; of a block device only the superblocks of the pool. -EBADMSG: it is a file
 * that has none, and is left alone. The layer is out, or was never in. */
int umbra_area_destroy(struct umbra_area *a, struct umbra_error *err);

/*
 * --- resizing (resize.c has the order of things) ---
 *
 * Its record says so from before the file may be changed until all is done, so that what a killed
 * process left is known. These calls change the file, so they may wait for space in the diff area:
 * never with the volume's lock. A block device stays what it is.
 */

/* USAGE: too small for an area. NO_SPACE: the place has no room for it. */
int umbra_area_may_be(const struct umbra_area *a, uint64_t bytes, struct umbra_error *err);

/* What the next record says. */
void umbra_area_mark(struct umbra_area *a, bool resizing);

/* The file can be changed, and then has that many bytes; the area is what it was. What fails half
 * way is for umbra_area_trim(). */
int umbra_area_loosen(struct umbra_area *a, struct umbra_error *err);
int umbra_area_reserve(struct umbra_area *a, uint64_t bytes, struct umbra_error *err);

/* The area has that many bytes: more, AFTER reserve(), or fewer. -EBADMSG: its first part does not
 * lie where it lay. */
int umbra_area_extend(struct umbra_area *a, uint64_t bytes, struct umbra_error *err);
void umbra_area_cut(struct umbra_area *a, uint64_t bytes);

/* Writes zeros by way of the filesystem, AFTER reserve(): so the layer keeps what was there. */
int umbra_area_overwrite(const struct umbra_area *a, uint64_t offset, size_t len,
			 struct umbra_error *err);

/* Where the bytes from offset on lie on the volume; *len is cut to what lies there in one piece. */
uint64_t umbra_area_locate(const struct umbra_area *a, uint64_t offset, size_t *len);

/* The file cannot be changed any more. */
int umbra_area_fix(struct umbra_area *a, struct umbra_error *err);

/* The file becomes what the area is, and cannot be changed any more. 1: not now, as the volume is
 * not mounted where it was, or what has the file is frozen. */
int umbra_area_trim(struct umbra_area *a, struct umbra_error *err);
