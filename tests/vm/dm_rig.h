/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A protected volume of 16 MiB without a filesystem, its diff area on a disk, and what each copy of
 * it has to be: written and compared block by block.
 */
#pragma once

#include "dm_lab.h"
#include "snapshot/provider/dm/volume/protected.h"
#include "snapshot/provider/dm/volume/view_device.h"

#define RIG_BYTES  (16U << 20)
#define RIG_CHUNK  (16U << 10)
#define RIG_CHUNKS (RIG_BYTES / RIG_CHUNK)
#define RIG_BLOCK  4096U

struct rig_copy {
	struct umbra_id id;
	uint64_t *sums; /* of what it has to be, one a block */
};

struct rig {
	struct umbra_protected p; /* filled in by hand */
	int control, volume;      /* volume: O_DIRECT */
	struct umbra_dm_device origin;
	struct rig_copy copies[16];
	size_t n;
};

/* The volume "lab-x", slid under. */
void rig_begin(struct rig *rig);
void rig_end(struct rig *rig);

/* Overwrites n random pieces of 4 KiB. */
void rig_write(struct rig *rig, unsigned int n);

/* A creation in its steps. */
dev_t rig_prepare(struct rig *rig); /* the number of the new snap<S> */
void rig_instant(struct rig *rig, dev_t snap);
void rig_finish(struct rig *rig);
void rig_create(struct rig *rig); /* all of them */

/* The live store gets all free segments, or ends after the first `keep`. */
void rig_grant_all(struct rig *rig);
void rig_shrink(struct rig *rig, uint32_t keep);
/* n more segments for the live store: in the pool, or its device too. */
void rig_record_grant(struct rig *rig, uint32_t n);
void rig_grant(struct rig *rig, uint32_t n);

/* Do these bytes, whole blocks, have these sums? */
bool rig_has_sums(const unsigned char *bytes, size_t n, const uint64_t *sums);
/* Does what a device reads have these sums? */
bool rig_same(dev_t dev, const uint64_t *sums);
/* The view of a copy, made if there is none; is it what it has to be? */
dev_t rig_view(struct rig *rig, size_t copy);
bool rig_exact(struct rig *rig, size_t copy);

const struct umbra_pool_store *rig_live(const struct rig *rig);
