/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The versions of one path: what the sets hold of it, each different one once. Two copies are the
 * same version when type, size, time of last modification and content are the same; a change of
 * mode or owner alone makes no version. A directory's content is its own time of modification:
 * entries that came or went, not what is in them.
 */
#pragma once

#include "snapshot/view.h"

struct umbra_version {
	const struct umbra_set **sets; /* all that have it, newest first; borrowed from the list */
	size_t n_sets;
	struct stat st; /* in the newest of them */
	dev_t dev;      /* where that one's data lies */
	uint64_t ino;
	bool live;       /* the live file is just so */
	bool unreadable; /* the content is not in the copy */
};

struct umbra_versions {
	struct umbra_version *v; /* newest first */
	size_t n;
	size_t covering; /* sets that cover the path, having it or not */
	size_t damaged;  /* of those, how many could not be read */
	bool live_exists;
	struct stat live; /* when it does */
};

void umbra_versions_finish(struct umbra_versions *versions);
#define _cleanup_versions_ _cleanup_(umbra_versions_finish)

enum {
	UMBRA_VERSIONS_ALL = 1 << 0,  /* one for every set, compared with the live file only */
	UMBRA_VERSIONS_LIVE = 1 << 1, /* say which is as the live file */
};

/* A copy that could not be read; the search goes on. */
typedef void (*umbra_warn_fn)(void *arg, const struct umbra_error *why);

/* path: absolute and clean. warn may be NULL. Nothing found is no error. */
int umbra_versions_find(const struct umbra_opener *opener, const struct umbra_set_list *sets,
			const char *path, unsigned int flags, umbra_warn_fn warn, void *arg,
			struct umbra_versions *out, struct umbra_error *err);

/*
 * The set to restore path from when nobody said which: the newest that has it, whatever is live,
 * so that restoring twice is as restoring once. -ENOENT: none has it.
 */
int umbra_versions_newest(const struct umbra_opener *opener, const struct umbra_set_list *sets,
			  const char *path, umbra_warn_fn warn, void *arg,
			  const struct umbra_set **out, struct umbra_error *err);

/*
 * The set to compare path with when nobody said which: the newest whose content of path is not that
 * of the live file; the newest that has path at all when there is no live file, or it is a
 * directory. 1: *out is that set. 2: all that have it are as the live file; *out is the newest.
 * -ENOENT: none has it.
 */
int umbra_versions_choose(const struct umbra_opener *opener, const struct umbra_set_list *sets,
			  const char *path, umbra_warn_fn warn, void *arg,
			  const struct umbra_set **out, struct umbra_error *err);

/*
 * The error for a path of which nothing was found in `covering` sets that cover it, `damaged` of
 * which could not be read. Returns -ENOENT.
 */
int umbra_versions_absent(const struct umbra_set_list *sets, const char *path, size_t covering,
			  size_t damaged, struct umbra_error *err);
