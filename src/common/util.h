/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Ownership helpers and the few system calls that everything wraps the same way. */
#pragma once

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>

#include "common/error.h"

#define UMBRA_ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define UMBRA_STATE_SYSTEM "/var/lib/umbra" /* the state directory of root */

/* Closes fd (ignored when negative) without touching errno. Returns -1. */
int umbra_close(int fd);

static inline void umbra_cleanup_fd(int *fd)
{
	umbra_close(*fd);
}

static inline void umbra_cleanup_ptr(void *p)
{
	free(*(void **)p);
}

static inline void umbra_cleanup_dir(DIR **d)
{
	if (*d)
		closedir(*d);
}

static inline void umbra_cleanup_file(FILE **f)
{
	if (*f)
		fclose(*f);
}

#define _cleanup_(fn)    __attribute__((cleanup(fn)))
#define _cleanup_close_  _cleanup_(umbra_cleanup_fd)
#define _cleanup_free_   _cleanup_(umbra_cleanup_ptr)
#define _cleanup_dir_    _cleanup_(umbra_cleanup_dir)
#define _cleanup_fclose_ _cleanup_(umbra_cleanup_file)

/* Declares void umbra_cleanup_NAME(TYPE *p) for a "free takes NULL" function. */
#define UMBRA_DEFINE_CLEANUP(type, name, free_fn)                                                  \
	static inline void umbra_cleanup_##name(type *p)                                           \
	{                                                                                          \
		if (*p)                                                                            \
			free_fn(*p);                                                               \
	}

#define TAKE_PTR(p)                                                                                \
	({                                                                                         \
		__typeof__(p) *_pp = &(p), _v = *_pp;                                              \
		*_pp = NULL;                                                                       \
		_v;                                                                                \
	})
#define TAKE_FD(fd)                                                                                \
	({                                                                                         \
		int *_pfd = &(fd), _v = *_pfd;                                                     \
		*_pfd = -1;                                                                        \
		_v;                                                                                \
	})

/* Writes all of it. 0 or -errno. */
int umbra_write_all(int fd, const void *data, size_t len);

/*
 * Reads a whole file below dirfd, at most max bytes (-EFBIG beyond). O_NOFOLLOW. A NUL follows
 * the data. The caller frees *out.
 */
int umbra_read_file(int dirfd, const char *name, size_t max, char **out, size_t *len);

/*
 * Makes or replaces a file so that it is durable on return, and a process killed before leaves
 * either the old or the new content: temporary name, fsync, rename, fsync of the directory. After
 * a power cut too, but that a new file may be there unfinished on btrfs, which saves an fsync.
 * name must have no slash.
 */
int umbra_replace_file(int dirfd, const char *name, mode_t mode, const void *data, size_t len);

/* The same with a text in the directory dir below dirfd, which is made (0700) if it is missing. */
int umbra_put_file(int dirfd, const char *dir, const char *name, const char *text);

/* mkdir -p of an absolute or relative path; existing directories are left as they are. */
int umbra_mkdir_all(const char *path, mode_t mode);

/* Has the directory name (below dirfd) no entries? 1, 0 or -errno. */
int umbra_dir_is_empty(int dirfd, const char *name);

/* open(O_DIRECTORY|O_CLOEXEC|O_NOFOLLOW) below dirfd, made first if it is missing. fd or -errno. */
int umbra_open_dir_make(int dirfd, const char *name, mode_t mode);

/* mkdir and the like are not durable until their directory is. 0 or -errno. */
int umbra_fsync_dir(int dirfd);

/*
 * At the start of a program: those of descriptors 0 to 2 that are closed become /dev/null, so that
 * no file or socket of ours gets a number that messages are written to. Standard output becomes one
 * that cannot be written: who prints where nothing arrives is told so (EBADF).
 */
void umbra_hold_standard_fds(void);

/*
 * Opens an absolute, clean path none of whose components is a symbolic link: for a path that was
 * resolved before and that somebody may have put a link into since. A descriptor, or -errno
 * (-ENOTDIR or -ELOOP where a link is). flags as for open(2).
 */
int umbra_open_real(const char *path, int flags);

/* Raises the soft RLIMIT_NOFILE to the hard one. Returns the limit in force. */
size_t umbra_raise_nofile(void);

/* asprintf that returns NULL when out of memory. */
char *umbra_asprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * Absolute, without symbolic links, "." and "..": what realpath() says, or the same for a last
 * component that does not exist (missing_ok). 0 or -errno; the caller frees *out.
 */
int umbra_absolute_path(const char *path, bool missing_ok, char **out);

/*
 * As above, but without a look at the last component, which is not followed either: what is
 * mounted there may have no process that answers.
 */
int umbra_absolute_name(const char *path, char **out);

/* Where an open file or directory is now; NULL when that is not known. The caller frees it. */
char *umbra_fd_path(int fd);

/*
 * The part of path below prefix, without leading slash ("" when equal); NULL when path is not
 * at or below it. Both absolute and clean. "/a/b" is below "/a" and "/", not below "/a/".
 */
const char *umbra_path_below(const char *path, const char *prefix);

/*
 * Another program of ours: in SBINDIR when this one is installed, else in one of the directories
 * (relative to that of this program; NULL ends them). The caller frees *out.
 */
int umbra_find_program(const char *name, const char *const *dirs, char **out,
		       struct umbra_error *err);

/* Asks the kernel to end others first when memory runs out (oom_score_adj, proc(5)); only root may,
 * and that it could not is only logged. */
void umbra_be_spared(void);
