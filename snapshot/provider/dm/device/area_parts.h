/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Inside of the area: what its files share. */
#pragma once

#include <sys/stat.h>

#include "snapshot/provider/dm/device/area.h"
#include "snapshot/provider/dm/device/names.h"
#include "snapshot/sys/dm.h"
#include "snapshot/sys/fixed.h"
#include "snapshot/sys/loop.h"

enum umbra_area_kind { UMBRA_AREA_INSIDE, UMBRA_AREA_FILE, UMBRA_AREA_DEVICE };

struct umbra_area {
	struct umbra_id id;
	enum umbra_area_kind kind;
	char *place;    /* path of the file or device */
	uint64_t bytes; /* a multiple of UMBRA_AREA_BLOCK */
	dev_t origin;   /* the volume's device */
	dev_t base; /* where the blocks of one inside are reached: the origin, or below its layer */
	struct umbra_fixed_extent *extents; /* inside: where on it */
	size_t n_extents;
	bool compared; /* inside: the file is mounted, and is where it was */
	bool too_soon; /* inside: it was not looked at, as something was just mounted */
	bool resizing; /* its record says so */
	bool thawed;   /* file: it can be written, or could a moment ago */
	int io;        /* O_DIRECT: of base (opened when first needed), the file, or the device */
	int file;      /* inside, file: between create and publish; while it is resized */
	int dir;       /* the directory of file, as long */
	bool own_dir;  /* which goes with the file, if that is not published */
};

struct umbra_area *umbra_area_alloc(void);

/* Of an area whose record was read: is its place what it was? at_it: see umbra_area_open(). */
int umbra_area_find(struct umbra_area *a, bool at_it, struct umbra_error *err);

/* The root directory of what is mounted from a device, wherever that is; path, if not NULL, gets
 * where, to be freed. -ENOENT: nothing is, or something lies over it. */
int umbra_area_open_mounted(dev_t dev, char **path);
/* The caller frees. */
char *umbra_area_parent_of(const char *path);

/* The directory that its file is in. -ENOENT: not there, or, of one inside, the volume is not
 * mounted there. */
int umbra_area_open_dir(const struct umbra_area *a);

/* Do these extents begin with the area's own, as far as it reaches? */
bool umbra_area_begins(const struct umbra_area *a, const struct umbra_fixed_extent *now, size_t n);

/* As far as the filesystem has room for files of ours: what is reserved for root is not for us. */
int umbra_area_room(int dir, const char *place, uint64_t *out, struct umbra_error *err);

/* What was made for a file that was never published. */
void umbra_area_leave_dir(struct umbra_area *a);

/* Of a record; -1: none that we know. */
int umbra_area_record_kind(const json_t *record);

/* Before something is written: -EBUSY where that would have to wait for a thaw. */
int umbra_area_refuse_frozen_now(struct umbra_area *a, struct umbra_error *err);

/* A file as it is found by its name (area_watch.c). */
struct umbra_area_look {
	int wd; /* of the watch */
	dev_t dev;
	uint64_t ino, bytes;
	int64_t changed_s;
	uint32_t changed_ns;
};
/* False: it cannot be told, or is not immutable. */
bool umbra_area_look_at(const char *path, struct umbra_area_look *out);

enum umbra_area_glance {
	UMBRA_AREA_UNKNOWN,  /* its file has to be compared */
	UMBRA_AREA_KNOWN,    /* that was done, and nothing has changed since */
	UMBRA_AREA_TOO_SOON, /* not now */
};
enum umbra_area_glance umbra_area_glance(const struct umbra_area *a);
/* It was compared, and was like this before. */
void umbra_area_seen(const struct umbra_area *a, const char *path,
		     const struct umbra_area_look *as);

/* The same file once more. */
int umbra_area_open_again(int fd, int flags);
