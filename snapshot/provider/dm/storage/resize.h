/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A diff area gets larger or smaller, while copies are made, written for and read.
 *
 *	larger		the record says that it is being resized; the file gets its blocks; what
 *			copies need of those is kept (preserve.h); the record has the new size;
 *			the device, the pool and the live store's devices get longer; the record
 *			says that it is done
 *	smaller		the record says that it is being resized; the pool's end is freed and
 *			goes (tail.h); the record has the new size; the device gets shorter, then
 *			the file; the record says that it is done
 *
 * The pool is never longer than what the record has, nor the record than the file. So whatever a
 * killed process left, the next one makes file and pool what the record says: that finishes or
 * undoes it.
 *
 * The volume's lock is taken for single steps, because umbrad grants space under it: whatever may
 * wait for space (the file, the record, which may be on the same volume) is changed without it,
 * under a mark of its own (umbra_protected_mark_resize()). Between record and file it is taken
 * once: who has read the record compares the file with it under the lock.
 */
#pragma once

#include "snapshot/provider/dm/volume/protected.h"
#include "snapshot/storage.h"

/* 1: it has that size already. */
int umbra_dm_resize(int state_fd, const struct umbra_storage_request *request,
		    struct umbra_error *err);

/* umbra_storage_ops.reconcile */
int umbra_dm_resize_reconcile(int state_fd, struct umbra_error *err);
