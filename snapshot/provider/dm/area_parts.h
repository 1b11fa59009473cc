/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Inside of the area: what its files share. */
#pragma once

#include <sys/stat.h>

#include "snapshot/provider/dm/area.h"
#include "snapshot/provider/dm/names.h"
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
	int io;        /* O_DIRECT: of base (opened when first needed), the file, or the device */
	int file;      /* inside, file: between create and publish */
	int dir;       /* the directory of file, as long */
};

struct umbra_area *umbra_area_alloc(void);

/* Of an area whose record was read: is its place what it was? */
int umbra_area_find(struct umbra_area *a, struct umbra_error *err);
