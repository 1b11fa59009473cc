/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <endian.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "common/util.h"
#include "hostile.h"

void hostile_modes(struct hostile *h, int dir)
{
	static const mode_t modes[] = {0000,  0001,  0002,  0004,  0111,  0222,  0400, 0444, 0500,
				       0555,  0600,  0640,  0666,  0700,  0711,  0755, 0777, 01777,
				       02755, 02644, 04755, 04644, 06711, 07000, 07777};
	mode_t file_least = h->root ? 0 : 0400, dir_least = h->root ? 0 : 0500;
	char name[32];
	size_t i;

	for (i = 0; i < UMBRA_ARRAY_SIZE(modes); i++) {
		_cleanup_close_ int below = -1;

		snprintf(name, sizeof(name), "file-%04o", (unsigned int)modes[i]);
		make_file(h, dir, name, i);
		must(fchmodat(dir, name, modes[i] | file_least, 0), "chmod", name);
		snprintf(name, sizeof(name), "dir-%04o", (unsigned int)modes[i]);
		below = make_dir(dir, name);
		make_file(h, below, "inside", i);
		must(fchmod(below, modes[i] | dir_least), "chmod", name);
	}
}

void hostile_times(struct hostile *h, int dir)
{
	/* ext4 reaches from 1901 to 2446. */
	static const struct timespec times[] = {
		{0, 0},
		{0, 1},
		{1, 999999999},
		{-1, 999999999},
		{-1, 0},
		{-86400, 1},
		{-2147483648, 0},
		{-1234567890, 123456789},
		{2147483647, 5},
		{2147483648, 6},
		{4294967296, 7},
		{13569465600, 987654321},
		{1000000000, 1},
		{1000000000, 10},
		{1000000000, 100000000},
	};
	char name[32];
	size_t i;

	for (i = 0; i < UMBRA_ARRAY_SIZE(times); i++) {
		const struct timespec both[2] = {times[UMBRA_ARRAY_SIZE(times) - 1 - i], times[i]};

		snprintf(name, sizeof(name), "file-%zu", i);
		make_file(h, dir, name, 1);
		must(utimensat(dir, name, both, 0), "utimens", name);
		snprintf(name, sizeof(name), "link-%zu", i);
		must(symlinkat("x", dir, name), "symlink", name);
		must(utimensat(dir, name, both, AT_SYMLINK_NOFOLLOW), "utimens", name);
		snprintf(name, sizeof(name), "fifo-%zu", i);
		must(mkfifoat(dir, name, 0600), "mkfifo", name);
		must(utimensat(dir, name, both, 0), "utimens", name);
		snprintf(name, sizeof(name), "dir-%zu", i);
		umbra_close(make_dir(dir, name));
		must(utimensat(dir, name, both, 0), "utimens", name);
	}
}

void hostile_owners(struct hostile *h, int dir)
{
	static const unsigned int ids[] = {
		0, 1, 33, 999, 1000, 65533, 65534, 100000, 2147483647, 2147483648U, 4294967294U};
	char name[32];
	size_t i;

	make_file(h, dir, "mine", 3);
	if (!h->root)
		return;
	for (i = 0; i < UMBRA_ARRAY_SIZE(ids); i++) {
		gid_t gid = ids[UMBRA_ARRAY_SIZE(ids) - 1 - i];

		snprintf(name, sizeof(name), "file-%u", ids[i]);
		make_file(h, dir, name, i);
		must(fchownat(dir, name, ids[i], gid, 0), "chown", name);
		/* After the owner: chown takes setuid away. */
		must(fchmodat(dir, name, 06755, 0), "chmod", name);
		snprintf(name, sizeof(name), "dir-%u", ids[i]);
		umbra_close(make_dir(dir, name));
		must(fchownat(dir, name, ids[i], gid, 0), "chown", name);
		snprintf(name, sizeof(name), "link-%u", ids[i]);
		must(symlinkat("x", dir, name), "symlink", name);
		must(fchownat(dir, name, ids[i], gid, AT_SYMLINK_NOFOLLOW), "chown", name);
	}
}

/* By way of the directory's descriptor: works for every file type and any depth. */
static void set(int dir, const char *file, const char *key, const void *value, size_t len)
{
	char path[512];

	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", dir, file);
	must(lsetxattr(path, key, value, len, 0), key, file);
}

static void user_xattrs(struct hostile *h, int dir)
{
	char key[256], value[2500];
	int i;

	memset(value, 'v', sizeof(value));
	make_file(h, dir, "file", 10);
	set(dir, "file", "user.empty", "", 0);
	set(dir, "file", "user.text", "text", 4);
	set(dir, "file", "user.binary", "a\0b\xff\n", 5);
	set(dir, "file", "user.with space\n\xff", "x", 1);
	make_file(h, dir, "big", 10);
	set(dir, "big", "user.big", value, sizeof(value));
	make_file(h, dir, "long", 10);
	memset(key, 'k', sizeof(key));
	memcpy(key, "user.", 5);
	key[255] = '\0';
	set(dir, "long", key, "x", 1);
	make_file(h, dir, "many", 10);
	for (i = 0; i < 50; i++) {
		snprintf(key, sizeof(key), "user.key-%d", i);
		set(dir, "many", key, value, (size_t)i);
	}
	umbra_close(make_dir(dir, "directory"));
	set(dir, "directory", "user.of.a.directory", "d", 1);
}

static void capability(struct hostile *h, int dir)
{
	const struct vfs_cap_data cap = {
		.magic_etc = htole32(VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE),
		.data[0].permitted = htole32(1U << CAP_NET_RAW),
	};

	make_file(h, dir, "capability", 10);
	must(fchmodat(dir, "capability", 0755, 0), "chmod", "capability");
	set(dir, "capability", "security.capability", &cap, XATTR_CAPS_SZ_2);
}

void hostile_xattrs(struct hostile *h, int dir)
{
	user_xattrs(h, dir);
	if (!h->root)
		return;
	make_file(h, dir, "trusted", 10);
	set(dir, "trusted", "trusted.overlay.opaque", "y", 1);
	set(dir, "trusted", "trusted.binary", "\0\1\2", 3);
	set(dir, "directory", "trusted.of.a.directory", "d", 1);
	must(symlinkat("nowhere", dir, "symlink"), "symlink", "symlink");
	set(dir, "symlink", "trusted.of.a.symlink", "s", 1);
	must(mkfifoat(dir, "fifo", 0600), "mkfifo", "fifo");
	set(dir, "fifo", "trusted.of.a.fifo", "f", 1);
	capability(h, dir);
}

/* As the kernel keeps ACLs in system.posix_acl_*: version 2, then the entries by tag and id. */
struct acl {
	uint32_t version;
	struct entry {
		uint16_t tag, perm;
		uint32_t id;
	} entries[8];
};

enum { USER_OBJ = 1, USER = 2, GROUP_OBJ = 4, GROUP = 8, MASK = 16, OTHER = 32 };
#define NOBODY 0xffffffffU

static void set_acl(int dir, const char *file, const char *key, const struct entry *entries,
		    size_t n)
{
	struct acl acl = {.version = htole32(2)};
	size_t i;

	for (i = 0; i < n; i++)
		acl.entries[i] = (struct entry){htole16(entries[i].tag), htole16(entries[i].perm),
						htole32(entries[i].id)};
	set(dir, file, key, &acl, sizeof(acl.version) + n * sizeof(*entries));
}

void hostile_acls(struct hostile *h, int dir)
{
	static const struct entry grant[] = {
		{USER_OBJ, 6, NOBODY}, {USER, 4, 1000},   {USER, 6, 65534},  {GROUP_OBJ, 4, NOBODY},
		{GROUP, 2, 33},        {MASK, 6, NOBODY}, {OTHER, 0, NOBODY}};
	/* All may read, but not this user and not this group. */
	static const struct entry deny[] = {{USER_OBJ, 6, NOBODY},  {USER, 0, 1000},
					    {GROUP_OBJ, 4, NOBODY}, {GROUP, 0, 33},
					    {MASK, 4, NOBODY},      {OTHER, 4, NOBODY}};
	static const struct entry inherit[] = {{USER_OBJ, 7, NOBODY},
					       {USER, 5, 1000},
					       {GROUP_OBJ, 5, NOBODY},
					       {MASK, 5, NOBODY},
					       {OTHER, 1, NOBODY}};
	_cleanup_close_ int below = -1;

	make_file(h, dir, "grant", 10);
	set_acl(dir, "grant", "system.posix_acl_access", grant, UMBRA_ARRAY_SIZE(grant));
	make_file(h, dir, "deny", 10);
	set_acl(dir, "deny", "system.posix_acl_access", deny, UMBRA_ARRAY_SIZE(deny));
	must(mkfifoat(dir, "fifo", 0600), "mkfifo", "fifo");
	set_acl(dir, "fifo", "system.posix_acl_access", grant, UMBRA_ARRAY_SIZE(grant));
	below = make_dir(dir, "inherit");
	set_acl(dir, "inherit", "system.posix_acl_default", inherit, UMBRA_ARRAY_SIZE(inherit));
	set_acl(dir, "inherit", "system.posix_acl_access", inherit, UMBRA_ARRAY_SIZE(inherit));
	make_file(h, below, "heir", 10);
	umbra_close(make_dir(below, "heir directory"));
}
