/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Was a filesystem written without the layer? A stamp is what can be told of it from its own
 * blocks, as a line of text; two of them, one recorded while the layer was in, one from now, say
 * whether anybody else has mounted, checked, resized or replaced it in between:
 *
 *	ext2, ext3, ext4  each mount for writing counts itself and notes its time in the superblock,
 *			  before anything else is written. So while it is in use those must be the
 *			  same, and it must still be unclean. Unmounted cleanly, all of the
 *			  superblock must be the same, which has the time when it was written.
 *	XFS		  a mount tells nothing before it writes to the log. Unmounted cleanly, the
 *			  log must still end at the same place. Stopped uncleanly, the log must
 *			  still be unclean: who mounts it replays it, and who unmounts it says so.
 *			  A second unclean stop, without the layer, is not told from the first: all
 *			  that a mount leaves in an unclean log are the 2 MiB that it clears ahead
 *			  of its end (xlog_clear_stale_blocks), and the log soon goes over them. A
 *			  mount for reading clears them, too, and its unmount writes to the log what
 *			  one for writing does when nothing was changed, but perhaps trimmed, which
 *			  nobody logs. So it proves nothing, but with norecovery.
 *
 *	none		  the mark of a revert that is not done: nobody mounts that, and only a
 *			  revert puts it there, whatever was there before.
 *
 * What bypasses filesystems (dd) is not seen. Pure: whoever calls does the I/O. What is read is
 * not believed.
 */
#pragma once

#include <stdint.h>

#include "common/error.h"
#include "common/util.h"

#define UMBRA_PROOF_HEAD 2048U /* of a volume: both filesystems' superblocks */

#define UMBRA_STAMP_MAX 128 /* with its NUL; fits UMBRA_POOL_TEXT_MAX */

/* What a volume that is reverted only in part has in the place of its superblock, filled up with
 * zeros. */
#define UMBRA_PROOF_REVERTING "umbra: reverted only in part; 'umbra revert' goes on with it\n"

/* Reads len bytes at offset; both are multiples of 512. Negative, with err, ends it. */
typedef int (*umbra_proof_read_fn)(void *arg, uint64_t offset, void *buf, size_t len,
				   struct umbra_error *err);

/*
 * The stamp of a volume of `bytes`. "": there is nothing on it that tells. used: it is mounted, or
 * was a moment ago; by who reads it from below a layer that is in. Negative: reading failed.
 */
int umbra_proof_stamp(umbra_proof_read_fn read, void *arg, uint64_t bytes, bool used,
		      char out[UMBRA_STAMP_MAX], struct umbra_error *err);

/*
 * Is it proved that nothing was written between the two? used: it is mounted now, without the
 * layer, so only a filesystem that tells before it is written can prove anything.
 */
bool umbra_proof_holds(const char *then, const char *now, bool used);

/* Is it the stamp of a volume that is reverted only in part? */
bool umbra_proof_is_reverting(const char *stamp);

/* Is the volume that begins so the same filesystem still, mounted or not, written or not? True,
 * too, where the stamp does not tell, and while it is reverted: of one that was reverted in part as
 * long as it has the mark of that. */
bool umbra_proof_same(const char *then, const uint8_t head[UMBRA_PROOF_HEAD]);
/* The same of one that has a diff area inside, for which nothing is stored now: where the stamp
 * does not tell, it can be any filesystem that can have one. */
bool umbra_proof_may_be(const char *then, const uint8_t head[UMBRA_PROOF_HEAD]);
