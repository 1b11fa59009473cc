/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "copy_rig.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapshot/sys/attrs.h"
#include "snapshot/sys/clone.h"

#define USER 4711

static char *origin, *state;
static int state_fd = -1;
static struct umbra_set *sets[64];
static size_t n_sets;
static const struct umbra_provider *provider;
static void (*opened)(void);

static void begin(void)
{
	cr_assert_eq(chmod(place, 0755), 0);
	provider = umbra_provider_find("copy");
	cr_assert_not_null(provider);
	lab_use(place);
	lab_run("mkdir origin state");
	rig_use("origin", "state");
}

void rig_begin(void)
{
	place_begin();
	begin();
}

void rig_begin_in_memory(void)
{
	place_begin_below(access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	begin();
}

void rig_end(void)
{
	if (setresuid((uid_t)-1, 0, (uid_t)-1) == 0) /* after rig_become_user() */
		cr_assert_eq(setresuid(0, 0, 0), 0);
	umbra_close(state_fd);
	free(origin);
	free(state);
	while (n_sets > 0)
		umbra_set_free(sets[--n_sets]);
	lab_run("for m in *; do ! mountpoint -q \"$m\" || umount -l \"$m\"; done");
	lab_close();
	place_end();
}

void rig_need(const char *cmd)
{
	if (!lab_true("%s", cmd))
		rig_skip("cannot: %s", cmd);
}

int rig_state_fd(void)
{
	return state_fd;
}

void rig_use(const char *o, const char *s)
{
	umbra_close(state_fd);
	free(origin);
	free(state);
	origin = umbra_asprintf("%s/%s", place, o);
	state = umbra_asprintf("%s/%s", place, s);
	state_fd = open(state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_geq(state_fd, 0);
}

void rig_settle(void)
{
	usleep(50000);
}

void rig_when_opened(void (*fn)(void))
{
	opened = fn;
}

int rig_try(struct umbra_shadow *previous, struct umbra_watch *watch, struct umbra_shadow **out,
	    struct umbra_error *err)
{
	struct umbra_volume volume = {.path = origin};
	struct umbra_set *set = umbra_set_new();
	_cleanup_close_ int fd = open(origin, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct umbra_member m = {.provider = provider,
				 .origin_fd = fd,
				 .volume = &volume,
				 .set = set,
				 .previous = previous,
				 .state_fd = state_fd,
				 .state_dir = state,
				 .watch = watch};
	struct umbra_error why = {0};
	int r;

	m.shadow = umbra_shadow_new(origin, "copy");
	m.shadow->index = (unsigned int)n_sets + 1;
	umbra_set_add_shadow(set, m.shadow);
	sets[n_sets++] = set;
	if (opened)
		opened();
	r = provider->prepare(&m, err);
	if (r == 0)
		r = provider->commit(&m, err);
	if (r == 0)
		r = provider->finish(&m, err);
	if (r < 0)
		cr_assert_eq(provider->abort(&m, &why), 0, "%s", why.text);
	cr_assert_null(m.priv);
	if (out)
		*out = m.shadow;
	return r;
}

struct umbra_shadow *rig_copy(struct umbra_shadow *previous)
{
	struct umbra_shadow *shadow;
	struct umbra_error err = {0};

	cr_assert_eq(rig_try(previous, NULL, &shadow, &err), 0, "%s", err.text);
	return shadow;
}

struct umbra_root *rig_open(const struct umbra_shadow *shadow)
{
	struct umbra_root *root;
	struct umbra_error err = {0};

	cr_assert_eq(provider->open(state_fd, shadow, &root, &err), 0, "%s", err.text);
	return root;
}

/* --- comparing --- */

struct twin {
	dev_t dev;
	ino_t ino, store_ino;
};

struct compare {
	const struct umbra_root *root;
	struct twin *twins; /* of inodes with several links */
	size_t n_twins;
	size_t objects;
};

static int names(const struct dirent *d)
{
	return strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0;
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* Which links are one inode is the same on both sides. */
static void same_identity(struct compare *c, const struct stat *o, const struct stat *s,
			  const char *name)
{
	size_t i;

	if (o->st_nlink < 2 || S_ISDIR(o->st_mode))
		return;
	for (i = 0; i < c->n_twins; i++) {
		bool same = c->twins[i].dev == o->st_dev && c->twins[i].ino == o->st_ino;

		cr_assert_eq(same, c->twins[i].store_ino == s->st_ino, "links of '%s'", name);
		if (same)
			return;
	}
	c->twins = reallocarray(c->twins, c->n_twins + 1, sizeof(*c->twins));
	c->twins[c->n_twins++] = (struct twin){o->st_dev, o->st_ino, s->st_ino};
}

static void same_data(int o, int s, const char *name)
{
	static char x[1 << 16], y[1 << 16];
	off_t at = 0, data, hole;
	ssize_t n;

	while ((data = lseek(o, at, SEEK_DATA)) >= 0) {
		cr_assert_eq(lseek(s, at, SEEK_DATA), data, "holes of '%s'", name);
		hole = lseek(o, data, SEEK_HOLE);
		cr_assert_eq(lseek(s, data, SEEK_HOLE), hole, "holes of '%s'", name);
		for (at = data; at < hole; at += n) {
			size_t want =
				hole - at < (off_t)sizeof(x) ? (size_t)(hole - at) : sizeof(x);

			n = pread(o, x, want, at);
			cr_assert_gt(n, 0);
			cr_assert_eq(pread(s, y, (size_t)n, at), n, "'%s'", name);
			cr_assert_eq(memcmp(x, y, (size_t)n), 0, "data of '%s'", name);
		}
	}
	cr_assert_lt(lseek(s, at, SEEK_DATA), 0, "holes of '%s'", name);
}

static void same_attributes(struct compare *c, const struct stat *o, struct stat *s,
			    const char *name)
{
	cr_assert_eq(umbra_root_fix(c->root, s), 0);
	cr_assert_eq(o->st_mode, s->st_mode, "mode of '%s': %o, %o", name, o->st_mode, s->st_mode);
	cr_assert_eq(o->st_uid, s->st_uid, "owner of '%s'", name);
	cr_assert_eq(o->st_gid, s->st_gid, "group of '%s'", name);
	cr_assert_eq(o->st_nlink, s->st_nlink, "links of '%s': %ju, %ju", name,
		     (uintmax_t)o->st_nlink, (uintmax_t)s->st_nlink);
	cr_assert_eq(o->st_rdev, s->st_rdev, "device of '%s'", name);
	cr_assert(S_ISDIR(o->st_mode) || o->st_size == s->st_size, "size of '%s'", name);
	cr_assert_eq(o->st_mtim.tv_sec, s->st_mtim.tv_sec, "time of '%s'", name);
	cr_assert_eq(o->st_mtim.tv_nsec, s->st_mtim.tv_nsec, "nanoseconds of '%s'", name);
}

static void same_directory(struct compare *c, int o, int s);

static void same_object(struct compare *c, int o, int s, const char *name)
{
	const struct umbra_object a = {.dirfd = o, .name = name}, b = {.dirfd = s, .name = name};
	char x[PATH_MAX] = {0}, y[PATH_MAX] = {0};
	_cleanup_close_ int of = -1, sf = -1;
	struct stat ost, sst;

	cr_assert_eq(fstatat(o, name, &ost, AT_SYMLINK_NOFOLLOW), 0);
	cr_assert_eq(fstatat(s, name, &sst, AT_SYMLINK_NOFOLLOW), 0, "'%s' is missing", name);
	same_identity(c, &ost, &sst, name);
	same_attributes(c, &ost, &sst, name);
	cr_assert_eq(umbra_attrs_same_xattrs(&a, &b), 1, "attributes of '%s'", name);
	c->objects++;
	if (S_ISLNK(ost.st_mode)) {
		cr_assert_geq(readlinkat(o, name, x, sizeof(x)), 0);
		cr_assert_geq(readlinkat(s, name, y, sizeof(y)), 0);
		cr_assert_str_eq(x, y);
	}
	if (!S_ISREG(ost.st_mode) && !S_ISDIR(ost.st_mode))
		return;
	cr_assert_eq(umbra_root_check(c->root, sst.st_ino), 0, "'%s'", name);
	of = umbra_clone_open(o, name, S_ISDIR(ost.st_mode) ? O_DIRECTORY : 0);
	sf = openat(s, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	cr_assert(of >= 0 && sf >= 0, "'%s'", name);
	if (S_ISREG(ost.st_mode))
		same_data(of, sf, name);
	else
		same_directory(c, of, sf);
}

static void same_directory(struct compare *c, int o, int s)
{
	struct dirent **on, **sn;
	int n = scandirat(o, ".", &on, names, by_bytes),
	    m = scandirat(s, ".", &sn, names, by_bytes);
	int i;

	for (i = 0; i < n && i < m; i++)
		cr_assert_str_eq(on[i]->d_name, sn[i]->d_name);
	cr_assert_eq(n, m);
	for (i = 0; i < n; i++) {
		same_object(c, o, s, on[i]->d_name);
		free(on[i]);
		free(sn[i]);
	}
	free(on);
	free(sn);
}

void rig_same(const struct umbra_shadow *shadow)
{
	struct umbra_root *root = rig_open(shadow);
	struct compare c = {.root = root};
	_cleanup_close_ int o = open(origin, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat ost, sst;

	cr_assert_eq(fstat(o, &ost), 0);
	cr_assert_eq(fstat(root->fd, &sst), 0);
	same_attributes(&c, &ost, &sst, ".");
	same_directory(&c, o, root->fd);
	cr_assert_eq(c.objects, (size_t)(rig_data(shadow, "files") + rig_data(shadow, "dirs") - 1));
	free(c.twins);
	umbra_root_close(root);
}

bool rig_noted(const struct umbra_shadow *shadow, const char *kind, const char *path)
{
	_cleanup_free_ char *whole = umbra_asprintf("%s/%s", origin, path);
	const json_t *note;
	size_t i;

	json_array_foreach (shadow->notes, i, note) {
		_cleanup_free_ char *is = NULL;

		if (strcmp(umbra_doc_string(note, "kind"), kind) == 0 &&
		    umbra_doc_get_path(note, "path", &is) == 0 && strcmp(is, whole) == 0)
			return true;
	}
	return false;
}

int64_t rig_data(const struct umbra_shadow *shadow, const char *key)
{
	return umbra_doc_int(shadow->data, key, -1);
}

ino_t rig_ino(const struct umbra_shadow *shadow, const char *path)
{
	struct umbra_root *root = rig_open(shadow);
	struct stat st;

	cr_assert_eq(fstatat(root->fd, path, &st, AT_SYMLINK_NOFOLLOW), 0, "%s", path);
	umbra_root_close(root);
	return st.st_ino;
}

void rig_assert_store_empty(void)
{
	cr_assert(lab_true("[ -z \"$(ls state/copies)\" ]"));
}

void rig_become_user(void)
{
	if (geteuid() != 0)
		rig_skip("needs root to become another user");
	cr_assert_eq(setgroups(0, NULL), 0);
	cr_assert_eq(setresgid(USER, USER, 0), 0);
	cr_assert_eq(setresuid(USER, USER, 0), 0);
}
