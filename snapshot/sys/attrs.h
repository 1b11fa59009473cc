/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What an object of any type is besides its data: owner, mode, extended attributes of every
 * namespace that may be read (ACLs and capabilities are some), times to the nanosecond.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

/* name below dirfd, links not followed; or, with name NULL, what dirfd itself is open on. Then
 * any descriptor will do, O_PATH too. */
struct umbra_object {
	int dirfd;
	const char *name;
};

enum {
	UMBRA_ATTRS_OWNER = 1 << 0,
	UMBRA_ATTRS_MODE = 1 << 1,
	UMBRA_ATTRS_XATTRS = 1 << 2, /* all but ACLs */
	UMBRA_ATTRS_ACLS = 1 << 3,
	UMBRA_ATTRS_TIMES = 1 << 4, /* last access, last change */
	UMBRA_ATTRS_ALL = (1 << 5) - 1,

	/* The object was made by us, in a directory without a default ACL: it cannot have
	 * inherited an ACL that would have to be removed. */
	UMBRA_ATTRS_FRESH = 1 << 8,
};

/*
 * Gives to what from has. Owner, mode and times are taken from st (its st_mode says the type,
 * which is the same for both), extended attributes from from. Everything that must come in an order
 * is done in that order (owner before set-id bits and capabilities, user attributes before a mode
 * that forbids them, times last), so call this once, when the object's data is complete.
 *
 * what: UMBRA_ATTRS_*. What cannot be kept (no privilege, the filesystem has no such thing) does
 * not fail: it is told as a sum of UMBRA_ATTRS_* in *lost. Set-id bits are never given to an
 * object whose owner could not be set; where an ACL cannot be set, the group gets no more than the
 * ACL gave it.
 *
 * 0, or a negative errno when the object cannot be changed at all (-EROFS, -EIO, -ENOENT, …).
 */
int umbra_attrs_copy(const struct umbra_object *from, const struct umbra_object *to,
		     const struct stat *st, unsigned int what, unsigned int *lost);

/* Have both the same extended attributes (as far as they may be read)? 1, 0, or -errno. */
int umbra_attrs_same_xattrs(const struct umbra_object *a, const struct umbra_object *b);

/* Has it an ACL that says more than its mode? False also when that cannot be known. */
bool umbra_attrs_has_acl(const struct umbra_object *o);

/* "owner, mode, ACLs": for a sentence about what was lost. Returns buf. */
const char *umbra_attrs_names(unsigned int lost, char *buf, size_t size);
