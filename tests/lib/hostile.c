/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* umbra-hostile DIR [--user]: makes the hostile tree (hostile.h) in the empty directory DIR. */
#include "hostile.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/util.h"
#include "fill.h"

static const struct part {
	const char *name;
	void (*make)(struct hostile *h, int dir);
} parts[] = {
	{"names", hostile_names},   {"types", hostile_types},   {"depth", hostile_depth},
	{"beyond", hostile_beyond}, {"crowd", hostile_crowd},   {"sizes", hostile_sizes},
	{"holes", hostile_holes},   {"links", hostile_links},   {"modes", hostile_modes},
	{"times", hostile_times},   {"owners", hostile_owners}, {"xattrs", hostile_xattrs},
	{"acls", hostile_acls},
};

void must(int r, const char *what, const char *name)
{
	if (r < 0)
		err(1, "%s '%.80s'", what, name);
}

int make_dir(int dir, const char *name)
{
	int fd;

	must(mkdirat(dir, name, 0755), "mkdir", name);
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	must(fd, "open", name);
	return fd;
}

void make_file(struct hostile *h, int dir, const char *name, size_t size)
{
	_cleanup_close_ int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	int r;

	must(fd, "create", name);
	r = fill_file(fd, h->seed++, 0, size);
	errno = -r;
	must(r, "write", name);
}

int main(int argc, char **argv)
{
	struct hostile h = {.root = geteuid() == 0, .seed = 1};
	_cleanup_close_ int top = -1;
	size_t i;

	if (argc == 3 && strcmp(argv[2], "--user") == 0)
		h.root = false;
	else if (argc != 2 || argv[1][0] == '-')
		errx(2, "usage: umbra-hostile DIR [--user]");
	umask(0);
	if (mkdir(argv[1], 0755) < 0 && errno != EEXIST)
		err(1, "mkdir '%s'", argv[1]);
	top = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(top, "open", argv[1]);
	for (i = 0; i < UMBRA_ARRAY_SIZE(parts); i++) {
		_cleanup_close_ int dir = make_dir(top, parts[i].name);

		parts[i].make(&h, dir);
	}
	/* Delayed allocation would let hole maps change under a comparison. */
	must(syncfs(top), "sync", argv[1]);
	return 0;
}
