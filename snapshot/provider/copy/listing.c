/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/copy/listing.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BUFFER (32 * 1024)

/* What grows, besides what the caller sees. */
struct space {
	size_t list, text;
};

static int make_room(struct umbra_listing *n, struct space *s, size_t len)
{
	struct umbra_listed *list;
	char *text;

	if (n->n == s->list) {
		s->list = s->list ? s->list * 2 : 32;
		list = reallocarray(n->list, s->list, sizeof(*list));
		if (!list)
			return -ENOMEM;
		n->list = list;
	}
	if (s->text - n->text_len < len) {
		s->text = s->text ? s->text * 2 : 1024;
		if (s->text > UINT32_MAX)
			return -EOVERFLOW;
		text = realloc(n->text, s->text);
		if (!text)
			return -ENOMEM;
		n->text = text;
	}
	return 0;
}

/* Not all filesystems say the type when they list. */
static unsigned char type_of(int fd, const struct dirent64 *de)
{
	struct stat st;

	if (de->d_type != DT_UNKNOWN)
		return de->d_type;
	if (fstatat(fd, de->d_name, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) < 0)
		return DT_REG; /* gone or forbidden: that is found again where it is used */
	return (unsigned char)IFTODT(st.st_mode);
}

static int add(int fd, struct umbra_listing *n, struct space *s, const struct dirent64 *de)
{
	size_t len = strlen(de->d_name);
	int r = make_room(n, s, len + 1);

	if (r < 0)
		return r;
	n->list[n->n++] = (struct umbra_listed){
		.ino = de->d_ino, .at = n->text_len, .len = (uint16_t)len, .type = type_of(fd, de)};
	memcpy(n->text + n->text_len, de->d_name, len + 1);
	n->text_len += (uint32_t)len + 1;
	return 0;
}

static bool is_dot(const char *name)
{
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

/* Not readdir(), which would want a descriptor of its own. */
int umbra_listing_read(int fd, struct umbra_listing *out)
{
	_Alignas(struct dirent64) char buf[BUFFER];
	const struct dirent64 *de;
	struct space space = {0};
	long n, at;
	int r = 0;

	*out = (struct umbra_listing){0};
	while ((n = syscall(SYS_getdents64, fd, buf, sizeof(buf))) > 0) {
		for (at = 0; at < n && r == 0; at += de->d_reclen) {
			de = (const struct dirent64 *)(buf + at);
			if (!is_dot(de->d_name))
				r = add(fd, out, &space, de);
		}
		if (r < 0)
			return r;
	}
	return n < 0 ? -errno : 0;
}

void umbra_listing_finish(struct umbra_listing *names)
{
	free(names->list);
	free(names->text);
	*names = (struct umbra_listing){0};
}
