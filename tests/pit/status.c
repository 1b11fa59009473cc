/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pit.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char magic[8] = "pitstate";

static struct pit_status *map(int fd)
{
	void *p = mmap(NULL, sizeof(struct pit_status), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

struct pit_status *pit_status_new(const char *path, uint32_t files, uint32_t blocks)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	struct pit_status *s = NULL;

	if (fd >= 0 && ftruncate(fd, sizeof(*s)) == 0)
		s = map(fd);
	if (s) {
		s->files = files;
		s->blocks = blocks;
		memcpy(s->magic, magic, sizeof(magic));
	}
	if (fd >= 0)
		close(fd);
	return s;
}

struct pit_status *pit_status_open(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct pit_status *s = NULL;
	struct stat st;

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) == 0 && st.st_size == sizeof(*s))
		s = map(fd);
	close(fd);
	if (s && (memcmp(s->magic, magic, sizeof(magic)) != 0 || !s->files || !s->blocks))
		s = pit_status_close(s);
	if (!s)
		errno = EINVAL;
	return s;
}

struct pit_status *pit_status_close(struct pit_status *s)
{
	if (s)
		munmap(s, sizeof(*s));
	return NULL;
}
