/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/restore.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/compare.h"
#include "snapshot/provider.h"
#include "snapshot/restore_file.h"
#include "snapshot/sys/attrs.h"

static int entry(struct umbra_restore *r, const char *path, const struct umbra_node *node,
		 const struct umbra_target *dir, const char *name, struct umbra_error *err);

const char *umbra_restore_lost(const struct umbra_restore *r, char *buf, size_t size)
{
	return umbra_attrs_names(r->lost, buf, size);
}

void umbra_restore_finish(struct umbra_restore *r)
{
	umbra_relink_finish(&r->links);
}

static void done_was(struct umbra_restore *r, enum umbra_restored what, const char *path,
		     const struct umbra_node *node, const char *was)
{
	size_t *const counts[] = {&r->made, &r->replaced, &r->attrs, &r->skipped};

	(*counts[what])++;
	if (r->done)
		r->done(r, what, path, node, was);
}

static void done(struct umbra_restore *r, enum umbra_restored what, const char *path,
		 const struct umbra_node *node)
{
	done_was(r, what, path, node, NULL);
}

/* What path is in the set, when a directory made anew is less than that. */
static const char *volume_kind(const struct umbra_restore *r, const char *path)
{
	const struct umbra_shadow *shadow = umbra_set_covering(umbra_view_set(r->view), path);
	const struct umbra_provider *p = shadow && strcmp(shadow->path, path) == 0
						 ? umbra_provider_find(shadow->provider)
						 : NULL;

	return p ? p->volume_kind : NULL;
}

/* Would every other file fail for the same reason? */
static bool hopeless(int r)
{
	return r == -ENOSPC || r == -EDQUOT || r == -EROFS || r == -ENOMEM || r == -EMFILE ||
	       r == -ENFILE || r == -ECANCELED;
}

/* The error is in r->why: one for all levels, as each is told before there is another. */
static int warned(struct umbra_restore *r, int result, struct umbra_error *err)
{
	if (hopeless(result)) {
		if (err && err != &r->why)
			*err = r->why;
		return result;
	}
	r->failed++;
	if (r->warn)
		r->warn(r, &r->why);
	return 0;
}

/* 1: live is as the copy, and where the copy has links so has it. A live file that cannot be read,
 * as on a disk that fails, is what has to be restored. */
static int is_same(const struct umbra_restore *r, const struct umbra_node *node,
		   const struct umbra_node *live, const char *path, struct umbra_error *err)
{
	int differs;

	if (!umbra_relink_agrees(&r->links, node, live))
		return 0;
	differs = umbra_compare(node, live, UMBRA_COMPARE_READABLE, path, err);
	return differs < 0 ? differs : differs == 0;
}

/* Only files and links are replaced by something else. A device, a FIFO or a socket is what
 * programs talk to; whoever names one as the place to restore to does not want it gone. */
static bool may_replace(const struct umbra_node *live, const struct umbra_node *node)
{
	mode_t type = live->st.st_mode & S_IFMT;

	return type == S_IFREG || type == S_IFLNK || type == (node->st.st_mode & S_IFMT);
}

static int one_file(struct umbra_restore *r, const char *path, const struct umbra_node *node,
		    const struct umbra_target *dir, const char *name, const struct umbra_node *live,
		    struct umbra_error *err)
{
	bool old = live->fd >= 0;
	int ret;

	if (old && !may_replace(live, node))
		return umbra_fail(err, UMBRA_E_EXISTS, S_ISDIR(live->st.st_mode) ? EISDIR : EEXIST,
				  "'%s' is a %s now, the copy has a %s: move it away, or "
				  "restore to another place with --to",
				  path, umbra_type_name(live->st.st_mode),
				  umbra_type_name(node->st.st_mode));
	if (umbra_node_is_unreadable(node))
		return umbra_view_unreadable(r->view, path, err);
	ret = old ? is_same(r, node, live, path, err) : 0;
	if (ret < 0)
		return ret;
	if (ret > 0) {
		r->same++;
		umbra_relink_remember(&r->links, node, dir, name, path);
		return 0;
	}
	if (!r->dry_run) {
		if (umbra_relink_put(&r->links, node, dir, name, old) < 0)
			ret = umbra_restore_put(r, node, dir, name, path, old, err);
		if (ret < 0)
			return ret;
		umbra_relink_remember(&r->links, node, dir, name, path);
	}
	done(r, old ? UMBRA_RESTORE_REPLACED : UMBRA_RESTORE_MADE, path, node);
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* How many names are live, but not in the copy. */
static size_t count_kept(const struct umbra_names *live, const struct umbra_names *copy)
{
	size_t i, n = 0;

	for (i = 0; i < live->n; i++)
		if (strncmp(live->names[i], UMBRA_RESTORE_TEMP, sizeof(UMBRA_RESTORE_TEMP) - 1) !=
			    0 &&
		    (copy->n == 0 ||
		     !bsearch(&live->names[i], copy->names, copy->n, sizeof(char *), by_name)))
			n++;
	return n;
}

static int children(struct umbra_restore *r, const char *path, const struct umbra_node *node,
		    const struct umbra_names *names, const struct umbra_target *target,
		    struct umbra_error *err)
{
	size_t i;
	int ret = 0;

	for (i = 0; ret == 0 && i < names->n; i++) {
		_cleanup_free_ char *below = umbra_path_join(path, names->names[i]);
		_cleanup_node_ struct umbra_node child = UMBRA_NODE_NONE;

		if (!below)
			return umbra_oom(err);
		ret = umbra_restore_stopped(r, err);
		if (ret < 0)
			return ret;
		ret = umbra_view_child(r->view, node, below, names->names[i], &child, &r->why);
		if (ret > 0)
			ret = entry(r, below, &child, target, names->names[i], &r->why);
		if (ret < 0)
			ret = warned(r, ret, err);
	}
	return ret;
}

/* A directory that we made is given its attributes at once, so that a killed restore leaves it
 * usable, and again when it is full, for its times. */
static int finish_dir(struct umbra_restore *r, const struct umbra_node *node,
		      const struct umbra_target *target, const struct umbra_node *live,
		      bool exactly, struct umbra_error *err)
{
	unsigned int what = 0;
	int differs;

	if (target->made)
		return umbra_restore_attrs(r, node, target->fd, UMBRA_ATTRS_ALL, target->path, err);
	differs = umbra_compare(node, live, UMBRA_COMPARE_QUICK, target->path, err);
	if (differs < 0)
		return differs;
	if (differs) {
		what = UMBRA_ATTRS_ALL & ~(unsigned int)UMBRA_ATTRS_TIMES;
		done(r, UMBRA_RESTORE_ATTRS, target->path, node);
	} else {
		r->same++;
	}
	if (exactly && r->wrote) /* else the time says, rightly, that something else is in there */
		what |= UMBRA_ATTRS_TIMES;
	if (r->dry_run || what == 0)
		return 0;
	return umbra_restore_attrs(r, node, target->fd, what, target->path, err);
}

static int make_dir(struct umbra_restore *r, const struct umbra_node *node,
		    const struct umbra_target *parent, const char *name, const char *path,
		    const char *was, struct umbra_target *out, struct umbra_error *err)
{
	struct umbra_restore scratch = {0};
	int ret;

	done_was(r, UMBRA_RESTORE_MADE, path, node, was);
	if (r->dry_run) {
		*out = (struct umbra_target){.fd = -1, .path = strdup(path), .made = true};
		return out->path ? 0 : umbra_oom(err);
	}
	ret = umbra_target_make(parent, name, out, err);
	if (ret < 0)
		return ret;
	r->wrote = true;
	ret = umbra_restore_attrs(&scratch, node, out->fd, UMBRA_ATTRS_ALL, path, err);
	/* Who is not root must be able to write into it until it is full. */
	if (ret == 0 && geteuid() != 0 && (node->st.st_mode & 0700) != 0700)
		fchmod(out->fd, (node->st.st_mode & 0777) | 0700);
	return ret;
}

/* New files are made durable together; that of each one alone would take far longer. */
static int make_durable(const struct umbra_restore *r, const struct umbra_target *dir,
			struct umbra_error *err)
{
	if (!r->wrote || dir->fd < 0 || syncfs(dir->fd) == 0)
		return 0;
	if (errno != EBADF)
		return umbra_fail_errno(err, errno, "cannot write to the filesystem of '%s'",
					dir->path);
	sync(); /* we may not read the directory, so it was opened with O_PATH */
	return 0;
}

static int one_dir(struct umbra_restore *r, const char *path, const struct umbra_node *node,
		   const struct umbra_target *parent, const char *name,
		   const struct umbra_node *live, const char *dest, struct umbra_error *err)
{
	_cleanup_target_ struct umbra_target target = UMBRA_TARGET_NONE;
	_cleanup_names_ struct umbra_names names = {0}, there = {0};
	size_t kept;
	int ret;

	if (live->fd >= 0 && !S_ISDIR(live->st.st_mode))
		return umbra_fail(err, UMBRA_E_EXISTS, ENOTDIR,
				  "'%s' is a %s now, the copy has a directory: move it away, or "
				  "restore to another place with --to",
				  dest, umbra_type_name(live->st.st_mode));
	ret = umbra_view_names(r->view, node, path, &names, err);
	if (ret < 0)
		return ret;
	if (live->fd < 0)
		ret = make_dir(r, node, parent, name, dest, volume_kind(r, path), &target, err);
	else
		ret = umbra_target_open(parent, name, &target, err);
	if (ret < 0)
		return ret;
	if (target.fd >= 0 && !r->dry_run)
		umbra_target_claim(&target, &there);
	else if (live->fd >= 0)
		umbra_target_names(&target, &there);
	kept = count_kept(&there, &names);
	r->kept += kept;
	if (r->depth == UMBRA_DEPTH_MAX)
		return umbra_view_too_deep(dest, err);
	r->depth++;
	ret = children(r, path, node, &names, &target, err);
	r->depth--;
	if (ret == 0 && target.fd >= 0)
		ret = finish_dir(r, node, &target, live, kept == 0, err);
	if (ret == 0 && umbra_node_is_unlisted(node))
		ret = warned(r, umbra_view_unreadable(r->view, path, &r->why), err);
	if (live->mount && make_durable(r, &target, ret < 0 ? NULL : err) < 0 && ret == 0)
		ret = -EIO;
	return ret;
}

/* A mount is another volume, which the set says nothing about unless it has a member there. */
static bool left_alone(const struct umbra_restore *r, const char *path, const char *dest,
		       const struct umbra_node *live)
{
	if (r->state_dir && umbra_path_below(dest, r->state_dir))
		return true;
	return live->mount && !umbra_view_is_member(r->view, path);
}

/* name in dir becomes what node is. */
static int entry(struct umbra_restore *r, const char *path, const struct umbra_node *node,
		 const struct umbra_target *dir, const char *name, struct umbra_error *err)
{
	_cleanup_free_ char *dest = umbra_path_join(dir->path, name);
	_cleanup_node_ struct umbra_node live = UMBRA_NODE_NONE;
	int ret = 0;

	if (!dest)
		return umbra_oom(err);
	if (dir->fd >= 0)
		ret = umbra_target_look(dir, name, &live, err);
	if (ret < 0)
		return ret;
	if (left_alone(r, path, dest, &live)) {
		done(r, UMBRA_RESTORE_SKIPPED, dest, node);
		return 0;
	}
	if (S_ISDIR(node->st.st_mode))
		return one_dir(r, path, node, dir, name, &live, dest, err);
	return one_file(r, dest, node, dir, name, &live, err);
}

/* A missing parent above the copied volume: as the set recorded it. */
static int above_volume(const struct umbra_restore *r, const char *path, struct stat *st)
{
	const struct umbra_set *set = umbra_view_set(r->view);
	size_t depth = 0, i;
	const char *p;

	for (p = path; *p; p++)
		depth += *p == '/' && p[1] != '\0';
	for (i = 0; i < set->n_shadows; i++) {
		const struct umbra_shadow *s = set->shadows[i];

		if (umbra_path_below(s->path, path) && depth < s->n_above) {
			st->st_mode = S_IFDIR | s->above[depth].mode;
			st->st_uid = s->above[depth].uid;
			st->st_gid = s->above[depth].gid;
			return 0;
		}
	}
	return -ENOENT;
}

/* Makes the parent that is missing, with what is known of it. */
static int make_parent(struct umbra_restore *r, const struct umbra_target *dir, const char *name,
		       struct umbra_target *out, struct umbra_error *err)
{
	_cleanup_free_ char *path = umbra_path_join(dir->path, name);
	_cleanup_node_ struct umbra_node node = UMBRA_NODE_NONE;
	struct stat st;
	int ret;

	if (!path)
		return umbra_oom(err);
	ret = umbra_view_find(r->view, path, &node, err);
	if (ret < 0)
		return ret;
	if (ret > 0)
		return make_dir(r, &node, dir, name, path, volume_kind(r, path), out, err);
	node.st.st_mode = S_IFDIR | 0755;
	done(r, UMBRA_RESTORE_MADE, path, &node);
	if (r->dry_run) {
		*out = (struct umbra_target){.fd = -1, .path = TAKE_PTR(path), .made = true};
		return 0;
	}
	ret = umbra_target_make(dir, name, out, err);
	if (ret < 0)
		return ret;
	if (above_volume(r, path, &st) < 0)
		return fchmod(out->fd, 0755) < 0 ? umbra_fail_errno(err, errno, "'%s'", path) : 0;
	if (fchown(out->fd, st.st_uid, st.st_gid) < 0)
		r->incomplete++, r->lost |= UMBRA_ATTRS_OWNER;
	if (fchmod(out->fd, st.st_mode & 07777) < 0)
		return umbra_fail_errno(err, errno, "cannot give '%s' its mode", path);
	return 0;
}

/* Walks to the directory that dest lies in. */
static int open_parent(struct umbra_restore *r, const char *dest, bool make,
		       struct umbra_target *out, struct umbra_error *err)
{
	_cleanup_target_ struct umbra_target t = UMBRA_TARGET_NONE, next = UMBRA_TARGET_NONE;
	_cleanup_free_ char *copy = strdup(dest);
	char *name, *slash;
	int ret;

	if (!copy)
		return umbra_oom(err);
	ret = umbra_target_open(NULL, NULL, &t, err);
	for (name = copy + 1; ret >= 0 && (slash = strchr(name, '/')); name = slash + 1) {
		*slash = '\0';
		ret = t.fd < 0 ? 0 : umbra_target_open(&t, name, &next, err);
		if (ret == 0 && !make)
			ret = umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT, "'%s' does not exist",
					 copy);
		if (ret == 0)
			ret = make_parent(r, &t, name, &next, err);
		if (ret < 0)
			return ret;
		*slash = '/';
		umbra_target_finish(&t);
		t = next;
		next = (struct umbra_target)UMBRA_TARGET_NONE;
	}
	if (ret < 0)
		return ret;
	*out = t;
	t = (struct umbra_target)UMBRA_TARGET_NONE;
	return 0;
}

/* "/" has no name in a directory. */
static int root_dir(struct umbra_restore *r, const char *path, const struct umbra_node *node,
		    struct umbra_error *err)
{
	_cleanup_target_ struct umbra_target target = UMBRA_TARGET_NONE;
	_cleanup_names_ struct umbra_names names = {0};
	int ret = umbra_view_names(r->view, node, path, &names, err);

	if (ret == 0)
		ret = umbra_target_open(NULL, NULL, &target, err);
	if (ret < 0)
		return ret;
	ret = children(r, path, node, &names, &target, err);
	if (make_durable(r, &target, ret < 0 ? NULL : err) < 0 && ret == 0)
		ret = -EIO;
	return ret;
}

static int restore(struct umbra_restore *r, const char *path, const struct umbra_node *node,
		   const char *dest, struct umbra_error *err)
{
	_cleanup_target_ struct umbra_target parent = UMBRA_TARGET_NONE;
	int ret;

	if (strcmp(dest, "/") == 0)
		return root_dir(r, path, node, err);
	ret = open_parent(r, dest, strcmp(path, dest) == 0, &parent, err);
	if (ret < 0)
		return ret;
	if (!r->dry_run)
		umbra_target_claim(&parent, NULL);
	ret = entry(r, path, node, &parent, strrchr(dest, '/') + 1, &r->why);
	if (ret < 0)
		ret = warned(r, ret, err);
	if (make_durable(r, &parent, ret < 0 ? NULL : err) < 0 && ret == 0)
		ret = -EIO;
	return ret;
}

int umbra_restore_path(struct umbra_restore *r, const char *path, const char *dest,
		       struct umbra_error *err)
{
	_cleanup_node_ struct umbra_node node = UMBRA_NODE_NONE;
	char token[UMBRA_TOKEN_LEN + 1];
	int ret;

	ret = umbra_view_find(r->view, path, &node, err);
	if (ret == 0) {
		umbra_token_format(umbra_view_set(r->view)->time, token);
		return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT, "'%s' is not in %s", path, token);
	}
	return ret < 0 ? ret : restore(r, path, &node, dest, err);
}
