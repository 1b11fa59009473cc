/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An opened shadow copy: what a provider's open() gives, and all that readers (the FUSE tree,
 * versions, diff, restore) need. Read-only by contract: nobody writes through these descriptors.
 * Safe for use by several threads at once.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct umbra_root {
	/* O_RDONLY|O_DIRECTORY on the copy's root. Everything is reached below it with openat(). */
	int fd;
	/* A descriptor of the mount that the copy lies on, for open_by_handle_at(2); may equal fd.
	 */
	int mount_fd;
	/* name_to_handle_at() and open_by_handle_at() work here for this process (they need
	 * CAP_DAC_READ_SEARCH). Tried, not guessed. */
	bool handles;
	/* A name in the root directory that is umbra's own store and is not shown, or NULL. */
	const char *hidden;

	/* Optional, may be NULL: puts right what the store could not keep or must show otherwise
	 * (link counts, owners in a user's store, …). st is what fstatat() says in the copy. 0 or
	 * -EIO: then nothing of st may be shown. */
	int (*fix)(const struct umbra_root *root, struct stat *st);
	/* Optional: 0, or -EACCES/-EIO when the content of inode ino is not in the copy. */
	int (*check)(const struct umbra_root *root, uint64_t ino);
	void (*close)(struct umbra_root *root); /* frees root too */
	void *data;
};

/* NULL-safe. Returns NULL. */
struct umbra_root *umbra_root_close(struct umbra_root *root);

static inline int umbra_root_fix(const struct umbra_root *root, struct stat *st)
{
	return root->fix ? root->fix(root, st) : 0;
}

static inline int umbra_root_check(const struct umbra_root *root, uint64_t ino)
{
	return root->check ? root->check(root, ino) : 0;
}

/* Do handles work on the filesystem of mount_fd, for this process? Tries with fd itself. */
bool umbra_root_probe_handles(int fd, int mount_fd);
