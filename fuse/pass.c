/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fuse/pass.h"

#include <endian.h>
#include <linux/posix_acl_xattr.h>
#include <string.h>

#define EXECUTE 1

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int umbra_acl_decode(const char *hex, void **out, size_t *len)
{
	_cleanup_free_ unsigned char *bytes = NULL;
	size_t n = hex ? strlen(hex) / 2 : 0, i;
	int high, low;

	*out = NULL;
	*len = 0;
	if (!hex)
		return 0;
	if (strlen(hex) % 2 != 0 || n < sizeof(struct posix_acl_xattr_header))
		return -EBADMSG;
	bytes = malloc(n);
	if (!bytes)
		return -ENOMEM;
	for (i = 0; i < n; i++) {
		high = digit(hex[2 * i]);
		low = digit(hex[2 * i + 1]);
		if (high < 0 || low < 0)
			return -EBADMSG;
		bytes[i] = (unsigned char)(high << 4 | low);
	}
	*out = TAKE_PTR(bytes);
	*len = n;
	return 0;
}

/* Does every entry of the list let pass? */
static bool acl_open(const char *hex)
{
	const struct posix_acl_xattr_entry *e;
	_cleanup_free_ void *bytes = NULL;
	size_t len, at;

	if (umbra_acl_decode(hex, &bytes, &len) < 0)
		return false;
	for (at = sizeof(struct posix_acl_xattr_header); at + sizeof(*e) <= len; at += sizeof(*e)) {
		e = (const void *)((const char *)bytes + at);
		if (!(le16toh(e->e_perm) & EXECUTE))
			return false;
	}
	return at == len;
}

static bool open_to_all(const struct umbra_above *a)
{
	return (a->mode & 0111) == 0111 && (!a->acl || acl_open(a->acl));
}

/* The classes of a mode that may pass, with all their bits. */
static mode_t passing(mode_t mode)
{
	mode_t mask = 0;

	if (mode & 0100)
		mask |= 0700;
	if (mode & 0010)
		mask |= 0070;
	if (mode & 0001)
		mask |= 0007;
	return mask;
}

struct umbra_pass umbra_pass_of(const struct umbra_above *above, size_t n, bool complete)
{
	struct umbra_pass pass = {.kind = UMBRA_PASS_ALL, .mask = 0777};
	const struct umbra_above *a;
	size_t i;

	for (i = 0; i < n; i++) {
		a = &above[i];
		if (open_to_all(a))
			continue;
		if (a->acl ||
		    (pass.kind == UMBRA_PASS_CLASS && (a->uid != pass.uid || a->gid != pass.gid)))
			return (struct umbra_pass){.kind = UMBRA_PASS_NOBODY};
		pass.kind = UMBRA_PASS_CLASS;
		pass.uid = a->uid;
		pass.gid = a->gid;
		pass.mask &= passing(a->mode);
	}
	if (!complete)
		pass.kind = UMBRA_PASS_NOBODY;
	return pass;
}
