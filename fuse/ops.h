/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The tree as FUSE operations. */
#pragma once

#define FUSE_USE_VERSION 35
#include <fuse_lowlevel.h>

#include "fuse/tree.h"

/* The session's userdata. */
struct umbra_mount {
	struct umbra_tree *tree;
	bool others;              /* everybody may look: only where the kernel enforces ACLs */
	bool no_open, no_opendir; /* the kernel takes ENOSYS for "do not ask" */
	/* Called once, when the kernel and we have agreed: NULL, or why the tree cannot be used. */
	void (*ready)(void *arg, const char *why_not);
	void *arg;
};

extern const struct fuse_lowlevel_ops umbra_ops;

/* Tells the kernel of one change; for umbra_tree_update(). arg: struct fuse_session. */
void umbra_ops_notify(void *arg, uint64_t parent, const char *name, uint64_t child);
