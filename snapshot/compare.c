/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/compare.h"

#include <string.h>

#include "snapshot/sys/attrs.h"
#include "snapshot/sys/extents.h"
#include "snapshot/sys/same.h"

/* Two files, and which of them could not be read; NULL: it was not for one of them. */
struct pair {
	const struct umbra_node *a, *b, *failed;
};

static int fail(struct pair *p, int r, const struct umbra_node *node, const char *path,
		struct umbra_error *err)
{
	p->failed = node;
	if (umbra_node_is_unreadable(node))
		return umbra_fail(
			err, UMBRA_E_PERMISSION, EACCES,
			"the content of '%s' is not in the copy: it was not readable when "
			"the copy was made",
			path);
	return umbra_fail_errno(err, r, "cannot read %s of '%s'",
				node->root ? "the copy" : "the live file", path);
}

static int same_data(struct pair *p, const char *path, struct umbra_error *err)
{
	const struct umbra_node *a = p->a, *b = p->b;
	_cleanup_close_ int fd_a = -1, fd_b = -1;
	int r, failed;

	if (a->st.st_size != b->st.st_size)
		return 0;
	if (a->dev == b->dev && a->ino == b->ino)
		return 1;
	fd_a = umbra_node_open(a, 0);
	if (fd_a < 0)
		return fail(p, fd_a, a, path, err);
	fd_b = umbra_node_open(b, 0);
	if (fd_b < 0)
		return fail(p, fd_b, b, path, err);
	if (umbra_extents_same(fd_a, fd_b))
		return 1;
	r = umbra_same_data(fd_a, fd_b, NULL, &failed);
	if (r == -ENOMEM)
		return umbra_oom(err);
	return r < 0 ? fail(p, r, failed == fd_a ? a : b, path, err) : r;
}

static int same_link(struct pair *p, const char *path, struct umbra_error *err)
{
	_cleanup_free_ char *x = NULL, *y = NULL;
	int r = umbra_node_readlink(p->a, &x);

	if (r < 0)
		return fail(p, r, p->a, path, err);
	r = umbra_node_readlink(p->b, &y);
	if (r < 0)
		return fail(p, r, p->b, path, err);
	return strcmp(x, y) == 0;
}

static int same_content(struct pair *p, const char *path, struct umbra_error *err)
{
	mode_t mode = p->a->st.st_mode;

	if (S_ISREG(mode))
		return same_data(p, path, err);
	if (S_ISLNK(mode))
		return same_link(p, path, err);
	if (S_ISCHR(mode) || S_ISBLK(mode))
		return p->a->st.st_rdev == p->b->st.st_rdev;
	return 1;
}

int umbra_compare_content(const struct umbra_node *a, const struct umbra_node *b, const char *path,
			  struct umbra_error *err)
{
	struct pair p = {.a = a, .b = b};
	int r = same_content(&p, path, err);

	return r < 0 && p.failed == b ? 0 : r;
}

static bool same_time(const struct stat *a, const struct stat *b)
{
	return a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

int umbra_compare(const struct umbra_node *a, const struct umbra_node *b,
		  enum umbra_compare_how how, const char *path, struct umbra_error *err)
{
	const struct stat *x = &a->st, *y = &b->st;
	struct pair p = {.a = a, .b = b};
	int differs = 0, r;

	if ((x->st_mode & S_IFMT) != (y->st_mode & S_IFMT))
		return UMBRA_DIFFERS_TYPE;
	if ((x->st_mode & 07777) != (y->st_mode & 07777))
		differs |= UMBRA_DIFFERS_MODE;
	if (x->st_uid != y->st_uid || x->st_gid != y->st_gid)
		differs |= UMBRA_DIFFERS_OWNER;
	if (!S_ISDIR(x->st_mode) && !same_time(x, y))
		differs |= UMBRA_DIFFERS_TIME;
	r = umbra_attrs_same_xattrs(&(struct umbra_object){a->fd, NULL},
				    &(struct umbra_object){b->fd, NULL});
	if (r < 0)
		return umbra_fail_errno(err, r, "cannot read the attributes of '%s'", path);
	if (r == 0)
		differs |= UMBRA_DIFFERS_XATTRS;
	/* Size and time of what is not there say nothing. */
	if (how == UMBRA_COMPARE_QUICK && S_ISREG(x->st_mode) && x->st_size == y->st_size &&
	    same_time(x, y) && !umbra_node_is_unreadable(a) && !umbra_node_is_unreadable(b))
		return differs;
	r = same_content(&p, path, err);
	if (r < 0 && !(how == UMBRA_COMPARE_READABLE && p.failed == b))
		return r;
	return differs | (r > 0 ? 0 : UMBRA_DIFFERS_CONTENT);
}

const char *umbra_differs_word(unsigned int bit)
{
	static const char *const words[] = {"type", "content", "mode", "owner", "xattrs", "time"};

	return bit < UMBRA_ARRAY_SIZE(words) ? words[bit] : NULL;
}

char *umbra_differs_text(int differs)
{
	char *text = strdup(""), *more;
	unsigned int bit;

	for (bit = 0; text && umbra_differs_word(bit); bit++) {
		if (!(differs & 1 << bit))
			continue;
		more = umbra_asprintf("%s%s%s", text, *text ? ", " : "", umbra_differs_word(bit));
		free(text);
		text = more;
	}
	return text;
}
