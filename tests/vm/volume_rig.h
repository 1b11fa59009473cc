/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A small volume with a diff area on another disk, copied through the calls of provider dm, and a
 * model of it: which write every sector has the content of, now and at the instant of each copy.
 *
 * Nothing is mounted; the first chunk has the superblock of an ext4, by which a restart is judged,
 * and is never written. There is no umbrad: volume_write() does its work, so that nobody waits at
 * a wall.
 */
#pragma once

#include "dm_lab.h"
#include "snapshot/provider.h"
#include "snapshot/provider/dm/volume/protected.h"

#define VOLUME_SECTORS_IN_CHUNK 32U

struct volume_copy {
	struct umbra_set *set; /* of this copy alone */
	struct umbra_shadow *shadow;
	uint32_t *tags; /* of all sectors, at its instant */
	int view;       /* open for reading; -1: not */
};

struct volume_rig {
	const struct umbra_provider *provider;
	struct umbra_volume volume;
	struct umbra_storage_request area;
	const char *state_dir;
	dev_t disk, area_disk;
	/* Makes what is area.dev of the area's disk, whenever it has to be there; NULL: it is that.
	 */
	void (*bring_area)(const struct volume_rig *v);
	int fd, origin_fd, state_fd; /* fd: the volume, O_DIRECT */
	uint32_t sectors;
	uint32_t *now, last_tag;
	unsigned char *head; /* the first chunk */
	unsigned char *buffer;
	struct umbra_member m;      /* of the creation that is under way */
	struct volume_copy *copies; /* those that there are, oldest first */
	size_t n;
	uint64_t room; /* chunks that can be written before one has to look again */
};

void volume_begin(struct volume_rig *v, unsigned int mib, unsigned int area_mib);
void volume_begin_on(struct volume_rig *v, unsigned int mib, unsigned int area_mib,
		     void (*bring_area)(const struct volume_rig *v));
void volume_end(struct volume_rig *v);

/* The same numbers after the same seed. */
void volume_seed(unsigned int seed);
unsigned int volume_random(unsigned int below);

/* n writes of a sector up to 64 KiB, aligned or not, some places more often than others; none when
 * there is no room and none can be made. */
void volume_write(struct volume_rig *v, unsigned int n);
/* The same, but looks for no room. */
void volume_write_on(struct volume_rig *v, unsigned int n);
/* The first n sectors behind the first chunk, in order: first the model, then, maybe by another
 * process that may wait for space, the volume. */
void volume_rewrite_model(struct volume_rig *v, uint32_t n);
bool volume_rewrite(struct volume_rig *v, uint32_t n);

/* A creation in its steps; the copy is in the model from its instant on. */
void volume_begin_set(struct volume_rig *v);
int volume_prepare(struct volume_rig *v); /* with the two before it */
void volume_instant(struct volume_rig *v);
void volume_finish(struct volume_rig *v);
void volume_create(struct volume_rig *v); /* all of them, with writes between */
/* Undone, after the instant or before, by who began it or by the next. */
void volume_abort(struct volume_rig *v);

/* i: which of the list. */
void volume_delete(struct volume_rig *v, size_t i);
void volume_open(struct volume_rig *v, size_t i);
void volume_close(struct volume_rig *v, size_t i);

/* With the lock, for what is not here. */
struct umbra_protected *volume_protected(const struct volume_rig *v);

/* What umbrad does. */
void volume_look_after(struct volume_rig *v);
/* How many pieces. */
unsigned int volume_compact(struct volume_rig *v);
/* Is a copy, by the diff area, there? */
bool volume_has(const struct volume_rig *v, size_t i);
/* The model alone: it is not. */
void volume_forget(struct volume_rig *v, size_t i);

/* All devices go, with all views; the volume comes back, and is activated. */
void volume_off(struct volume_rig *v);
void volume_on(struct volume_rig *v);
void volume_restart(struct volume_rig *v); /* both */

/* Is every sector of the copy what it was, through its view; and of the volume what it is? after:
 * for the message. */
void volume_check(struct volume_rig *v, size_t i, const char *after);
void volume_check_all(struct volume_rig *v, const char *after);
void volume_check_origin(struct volume_rig *v, const char *after);
/* Reads the open view of a copy once; from any thread, with a buffer of VOLUME_PIECE. */
#define VOLUME_PIECE (1U << 20)
bool volume_view_same(const struct volume_rig *v, const struct volume_copy *copy,
		      unsigned char *buffer);
unsigned char *volume_buffer(void);
