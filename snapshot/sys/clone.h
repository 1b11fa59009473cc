/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The data of one regular file, copied in the cheapest way that the two filesystems have: shared
 * (FICLONE), else copied in the kernel (copy_file_range), else read and written. Holes stay
 * holes, also at the end.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * What was learned about a pair of filesystems, so that it is asked once and not for every file.
 * Zero it, then pass it for all files that are copied from one of the two to the other, from any
 * number of threads.
 */
struct umbra_clone_pair {
	atomic_bool no_clone;
	atomic_bool no_kernel_copy;
};

/* Long work reports here, every few MiB, in the thread that copies. */
struct umbra_clone_watch {
	/* bytes: copied since the last call. Negative: give up, umbra_clone_data() returns it. */
	int (*tick)(struct umbra_clone_watch *watch, uint64_t bytes);
};

/* umbra_clone_data(): nothing was copied, the two files share their blocks. */
#define UMBRA_CLONE_SHARED 1

/*
 * Copies all data of from (open for reading) to to (open for writing, empty). to gets the size
 * that from had when this began, or, when from shrank meanwhile, zeros for what was missing:
 * whoever must know compares fstat() of from before and after. File offsets of from are moved.
 * pair and watch may be NULL.
 *
 * 0, UMBRA_CLONE_SHARED, or a negative errno; then to holds a part.
 */
int umbra_clone_data(int from, int to, struct umbra_clone_pair *pair,
		     struct umbra_clone_watch *watch);

/*
 * Opens name below dirfd for reading: a directory with O_DIRECTORY in flags, else a regular file,
 * and -ENXIO for whatever has come in its place: opening a device or a FIFO does something. No
 * link is followed, a lease is not waited for (-EAGAIN), and, where we may ask for that, the
 * access time stays. A descriptor, or a negative errno.
 */
int umbra_clone_open(int dirfd, const char *name, int flags);
