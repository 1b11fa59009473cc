/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/util.h"
#include "hostile.h"

#define DEPTH 100
#define CROWD 50000

static const char *const names[] = {
	"plain",
	" ",
	" leading and trailing ",
	"new\nline",
	"\n",
	"tab\tcarriage\rbell\a",
	"\033[31mred\033[0m",
	"\177",
	"invalid \xff\xfe UTF-8",
	"\x80",
	"overlong \xc0\xaf",
	"surrogate \xed\xa0\x80",
	"cut \xe2\x82",
	"na\xc3\xafve",
	"nai\xcc\x88ve", /* the same to the eye, other bytes */
	"-rf",
	"--",
	"-",
	"--delete",
	"...",
	"..x",
	".hidden",
	"*",
	"?[a]{b}",
	"$HOME`id`$(id)",
	"back\\slash",
	"back\\012slash",
	"quote'\"",
	"percent%s%n%d",
	"semi;colon&pipe|",
	"tilde~",
	"#hash",
	"case",
	"CASE",
	"@GMT-2026.11.20-03.10.00",
	"latest",
	"by-volume",
	"versions",
	"shadow.json",
};

static void long_name(char out[NAME_MAX + 1], char c)
{
	memset(out, c, NAME_MAX);
	out[NAME_MAX] = '\0';
}

void hostile_names(struct hostile *h, int dir)
{
	_cleanup_close_ int below = make_dir(dir, "directories");
	char longest[NAME_MAX + 1];
	size_t i;

	for (i = 0; i < UMBRA_ARRAY_SIZE(names); i++) {
		_cleanup_close_ int fd = make_dir(below, names[i]);

		make_file(h, dir, names[i], 10 + i);
		make_file(h, fd, names[i], 20 + i);
	}
	long_name(longest, 'n');
	make_file(h, dir, longest, 1);
	long_name(longest, '\n');
	make_file(h, dir, longest, 2);
	long_name(longest, '\xff');
	make_file(h, dir, longest, 3);
}

static void links(int dir)
{
	char target[PATH_MAX];

	must(symlinkat("../sizes/4096", dir, "relative"), "symlink", "relative");
	must(symlinkat("nowhere/at all", dir, "dangling"), "symlink", "dangling");
	must(symlinkat("/etc/passwd", dir, "absolute"), "symlink", "absolute");
	must(symlinkat("loop", dir, "loop"), "symlink", "loop");
	must(symlinkat("../../../../../../../../..", dir, "above"), "symlink", "above");
	must(symlinkat("\xff\n\033[1m", dir, "bytes"), "symlink", "bytes");
	/* btrfs takes no more than a node holds, and XFS 1023 bytes. */
	memset(target, 't', sizeof(target));
	target[1023] = '\0';
	must(symlinkat(target, dir, "long"), "symlink", "long");
	target[60] = '\0'; /* one more than ext4 keeps in an inode */
	must(symlinkat(target, dir, "sixty"), "symlink", "sixty");
}

void hostile_types(struct hostile *h, int dir)
{
	make_file(h, dir, "regular", 100);
	umbra_close(make_dir(dir, "directory"));
	links(dir);
	must(mkfifoat(dir, "fifo", 0640), "mkfifo", "fifo");
	must(mknodat(dir, "socket", S_IFSOCK | 0750, 0), "mknod", "socket");
	if (!h->root)
		return;
	must(mknodat(dir, "null", S_IFCHR | 0666, makedev(1, 3)), "mknod", "null");
	must(mknodat(dir, "whiteout", S_IFCHR, makedev(0, 0)), "mknod", "whiteout");
	must(mknodat(dir, "block", S_IFBLK | 0600, makedev(7, 0)), "mknod", "block");
	must(mknodat(dir, "high", S_IFBLK | 0600, makedev(511, 262143)), "mknod", "high");
}

static void deep(struct hostile *h, int dir, size_t length)
{
	_cleanup_close_ int at = dup(dir);
	char name[NAME_MAX + 1];
	int i, next;

	must(at, "dup", "deep");
	for (i = 0; i < DEPTH; i++) {
		memset(name, 'd', length);
		name[length] = '\0';
		next = make_dir(at, name);
		snprintf(name, sizeof(name), "file-%d", i);
		make_file(h, at, name, (size_t)i);
		umbra_close(at);
		at = next;
	}
	make_file(h, at, "bottom", 1000);
}

void hostile_depth(struct hostile *h, int dir)
{
	deep(h, dir, 3);
}

void hostile_beyond(struct hostile *h, int dir)
{
	deep(h, dir, NAME_MAX);
}

void hostile_crowd(struct hostile *h, int dir)
{
	_cleanup_close_ int many = make_dir(dir, "many");
	char name[32];
	int i;

	umbra_close(make_dir(dir, "empty"));
	for (i = 0; i < CROWD; i++) {
		snprintf(name, sizeof(name), "entry-%05d", i);
		make_file(h, many, name, 0);
	}
}
