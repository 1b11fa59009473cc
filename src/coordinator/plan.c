/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "coordinator/plan.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "coordinator/storage.h"
#include "snapshot/sys/frozen.h"
#include "snapshot/sys/suspended.h"

#define ACL_MAX 65536

void umbra_plan_finish(struct umbra_plan *plan)
{
	size_t i;

	for (i = 0; i < plan->n; i++)
		umbra_volume_free(plan->items[i].volume);
	free(plan->items);
	*plan = (struct umbra_plan){0};
}

static const struct umbra_plan_item *find(const struct umbra_plan *plan, const char *path)
{
	size_t i;

	for (i = 0; i < plan->n; i++)
		if (strcmp(plan->items[i].volume->path, path) == 0)
			return &plan->items[i];
	return NULL;
}

/* Takes volume. */
static int add(struct umbra_plan *plan, struct umbra_volume *volume,
	       const struct umbra_provider *provider, struct umbra_error *err)
{
	struct umbra_plan_item *more;

	if (find(plan, volume->path)) {
		umbra_volume_free(volume);
		return 0;
	}
	more = reallocarray(plan->items, plan->n + 1, sizeof(*more));
	if (!more) {
		umbra_volume_free(volume);
		return umbra_oom(err);
	}
	plan->items = more;
	plan->items[plan->n++] = (struct umbra_plan_item){volume, provider};
	return 0;
}

/* A weaker copy than this volume could have must not come about in silence. */
static void warn_of_better(struct umbra_session *s, const struct umbra_volume *volume,
			   const struct umbra_provider *chosen)
{
	const struct umbra_provider *const *p;
	size_t n, i;

	p = umbra_providers(&n);
	for (i = 0; i < n; i++) {
		struct umbra_error why = {0};

		if (p[i]->label <= chosen->label || p[i]->probe(volume, &why) > 0 || !why.text[0] ||
		    why.code == UMBRA_E_UNSUPPORTED || why.code == UMBRA_E_PERMISSION)
			continue;
		umbra_session_warn(s, "'%s' is copied by '%s', not by '%s': %s", volume->path,
				   chosen->name, p[i]->name, why.text);
	}
}

/* Copies of it that p made. 1, 0 or negative. */
static int has_copies_by(struct umbra_session *s, const char *path, const struct umbra_provider *p,
			 struct umbra_error *err)
{
	_cleanup_set_ struct umbra_set *set = NULL;
	size_t count;
	int r = umbra_catalog_load_previous(umbra_engine_catalog(s->engine), path, p->name, &set,
					    &count, err);

	return r < 0 ? r : set != NULL;
}

/* -ENODEV: p has copied a volume that was mounted at path, or has a diff area of one. */
static int refuse_volume_of(struct umbra_session *s, const char *path,
			    const struct umbra_provider *p, const struct umbra_provider *chosen,
			    struct umbra_error *err)
{
	const struct umbra_storage_ops *ops = p->storage;
	int copies = has_copies_by(s, path, p, err), area;

	if (copies < 0)
		return copies;
	if (!copies &&
	    (!ops || !ops->was_at || !ops->was_at(umbra_engine_state_fd(s->engine), path)))
		return 0;
	area = umbra_storage_of_unmounted(s, path, err);
	if (area < 0)
		return umbra_wrap(err, area, "'%s' cannot be copied, and no set was made", path);
	if (!copies && !area)
		return 0;
	return umbra_fail(err, UMBRA_E_NOT_FOUND, ENODEV,
			  "'%s' was a volume ('%s') when it %s, and now nothing is mounted there: "
			  "mount it, or copy the directory with --provider %s",
			  path, p->name, copies ? "was copied before" : "got its diff area",
			  chosen->name);
}

/*
 * Copies of this path were made, or are to be made, of a volume that was mounted there. Now the
 * chosen provider would copy the directory that the volume is mounted on, which is empty, and
 * 'latest' would be that.
 */
static int refuse_empty_mountpoint(struct umbra_session *s, const struct umbra_volume *volume,
				   const struct umbra_provider *chosen, struct umbra_error *err)
{
	const struct umbra_provider *const *p;
	size_t n, i;
	int r = 0;

	if (chosen->resolve || strcmp(volume->mount, volume->path) == 0)
		return 0;
	p = umbra_providers(&n);
	for (i = 0; r == 0 && i < n; i++)
		if (p[i]->resolve)
			r = refuse_volume_of(s, volume->path, p[i], chosen, err);
	return r;
}

static int add_path(struct umbra_session *s, const char *path,
		    const struct umbra_plan_request *request, struct umbra_plan *plan,
		    struct umbra_error *err)
{
	_cleanup_volume_list_ struct umbra_volume_list members = {0};
	_cleanup_volume_ struct umbra_volume *volume = NULL;
	const struct umbra_provider *provider;
	size_t i;
	int r = umbra_volume_resolve(path, &volume, err);

	if (r < 0)
		return r;
	if (umbra_engine_owns(s->engine, volume->path))
		return umbra_fail(err, UMBRA_E_UNSUPPORTED, EINVAL,
				  "'%s' lies inside umbra's own store '%s', which is never copied",
				  volume->path, umbra_engine_state_dir(s->engine));
	/* Whatever provider it was, it would be stuck there. */
	r = umbra_refuse_suspended(volume->dev, UMBRA_THAW_WAIT_MS, err);
	if (r < 0)
		return umbra_wrap(err, r, "'%s'", volume->path);
	r = umbra_provider_choose(volume, request->provider, &provider, err);
	if (r == 0 && !request->provider) {
		warn_of_better(s, volume, provider);
		r = refuse_empty_mountpoint(s, volume, provider, err);
	}
	if (r == 0)
		r = umbra_provider_resolve(provider, volume, &members, err);
	if (r < 0)
		return r;
	for (i = 0; i < members.n; i++) {
		r = add(plan, TAKE_PTR(members.v[i]), provider, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int add_below(struct umbra_session *s, const char *path,
		     const struct umbra_plan_request *request, struct umbra_plan *plan,
		     struct umbra_error *err)
{
	struct umbra_mount_below *mounts;
	size_t n, i;
	int r = umbra_volume_mounts_below(path, &mounts, &n, err);

	if (r < 0)
		return r;
	for (i = 0; r == 0 && i < n; i++)
		if (mounts[i].usable && !find(plan, mounts[i].path) &&
		    !umbra_engine_owns(s->engine, mounts[i].path))
			r = add_path(s, mounts[i].path, request, plan, err);
	umbra_mounts_below_free(mounts, n);
	return r;
}

/* A directory on the same mount as a directory above it that is copied whole is in that copy. */
static bool is_below(const struct umbra_plan_item *inner, const struct umbra_plan_item *outer)
{
	return !outer->provider->resolve &&
	       umbra_path_below(inner->volume->path, outer->volume->path) &&
	       strcmp(outer->volume->mount, inner->volume->mount) == 0;
}

/* Block copies are of the whole device, wherever that is mounted, and as often as it is. */
static bool is_same(const struct umbra_plan_item *inner, const struct umbra_plan_item *outer)
{
	const char *in = inner->volume->root ? inner->volume->root : "/";
	const char *out = outer->volume->root ? outer->volume->root : "/";

	return outer->provider->storage && strcmp(outer->volume->path, outer->volume->mount) == 0 &&
	       outer->volume->dev == inner->volume->dev && umbra_path_below(in, out) &&
	       (strcmp(in, out) != 0 || outer < inner);
}

static const char *covered_by(const struct umbra_plan *plan, const struct umbra_plan_item *inner)
{
	const struct umbra_plan_item *outer;
	size_t i;

	for (i = 0; i < plan->n; i++) {
		outer = &plan->items[i];
		if (outer != inner && outer->provider == inner->provider &&
		    (is_below(inner, outer) || is_same(inner, outer)))
			return outer->volume->path;
	}
	return NULL;
}

static void drop_covered(struct umbra_session *s, struct umbra_plan *plan)
{
	const char *by;
	size_t i;

	for (i = 0; i < plan->n;) {
		by = covered_by(plan, &plan->items[i]);
		if (!by) {
			i++;
			continue;
		}
		umbra_session_warn(s, "'%s' is in the copy of '%s' already",
				   plan->items[i].volume->path, by);
		umbra_volume_free(plan->items[i].volume);
		memmove(&plan->items[i], &plan->items[i + 1],
			(plan->n - i - 1) * sizeof(plan->items[0]));
		plan->n--;
	}
}

static int by_path(const void *a, const void *b)
{
	const struct umbra_plan_item *x = a, *y = b;

	return strcmp(x->volume->path, y->volume->path);
}

int umbra_plan_make(struct umbra_session *s, const struct umbra_plan_request *request,
		    struct umbra_plan *out, struct umbra_error *err)
{
	_cleanup_plan_ struct umbra_plan plan = {0};
	size_t i, asked;
	int r = 0;

	for (i = 0; r == 0 && i < request->n_paths; i++)
		r = add_path(s, request->paths[i], request, &plan, err);
	asked = plan.n;
	for (i = 0; r == 0 && request->recursive && i < asked; i++)
		r = add_below(s, plan.items[i].volume->path, request, &plan, err);
	if (r < 0)
		return r;
	drop_covered(s, &plan);
	if (plan.n > UMBRA_SET_VOLUMES_MAX)
		return umbra_fail(
			err, UMBRA_E_USAGE, E2BIG,
			"%zu volumes are too many for one set (at most %d): name fewer, or "
			"make several sets",
			plan.n, UMBRA_SET_VOLUMES_MAX);
	if (plan.n > 1)
		qsort(plan.items, plan.n, sizeof(plan.items[0]), by_path);
	*out = plan;
	plan = (struct umbra_plan){0};
	return 0;
}

/* A second mount of a device that is copied whole. */
static bool is_in_copy(const struct umbra_plan_item *item, const struct umbra_mount_below *m)
{
	return item && item->provider->storage && item->volume->source && m->source &&
	       strcmp(item->volume->source, m->source) == 0;
}

int umbra_plan_note_uncovered(struct umbra_session *s, const struct umbra_plan *plan,
			      struct umbra_shadow *shadow, struct umbra_error *err)
{
	struct umbra_mount_below *mounts;
	bool fuse;
	size_t n, i;
	int r = umbra_volume_mounts_below(shadow->path, &mounts, &n, err);

	if (r < 0)
		return r;
	for (i = 0; r == 0 && i < n; i++) {
		fuse = strncmp(mounts[i].fstype, "fuse", 4) == 0;
		if ((!mounts[i].usable && !fuse) || find(plan, mounts[i].path) ||
		    is_in_copy(find(plan, shadow->path), &mounts[i]))
			continue;
		if (umbra_shadow_note(shadow, UMBRA_NOTE_UNCOVERED, mounts[i].path,
				      mounts[i].fstype) < 0)
			r = umbra_oom(err);
		else
			umbra_session_warn(s,
					   "'%s' (%s) is mounted below '%s' and not in the set%s",
					   mounts[i].path, mounts[i].fstype, shadow->path,
					   fuse ? "" : ": name it too, or use --recursive");
	}
	umbra_mounts_below_free(mounts, n);
	return r;
}

/* Extended attributes of what O_PATH found are reached through the link to it only. */
static int read_acl(int fd, char **hex)
{
	unsigned char acl[ACL_MAX];
	char proc[40];
	ssize_t n, i;

	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	n = getxattr(proc, "system.posix_acl_access", acl, sizeof(acl));
	if (n < 0)
		return errno == ENODATA || errno == EOPNOTSUPP ? 0 : -errno;
	if (n == 0)
		return 0;
	*hex = malloc((size_t)n * 2 + 1);
	if (!*hex)
		return -ENOMEM;
	for (i = 0; i < n; i++)
		sprintf(*hex + i * 2, "%02x", acl[i]);
	return 0;
}

static int record_one(struct umbra_above *a, int fd)
{
	struct stat st;

	if (fstatat(fd, "", &st, AT_EMPTY_PATH) < 0)
		return -errno;
	*a = (struct umbra_above){.mode = st.st_mode & 07777, .uid = st.st_uid, .gid = st.st_gid};
	return read_acl(fd, &a->acl);
}

/* One directory further down, where there must be no link; takes fd. A descriptor or -errno. */
static int descend(int fd, const char *name)
{
	int next = openat(fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int r = next < 0 ? -errno : next;

	umbra_close(fd);
	return r;
}

static size_t count_above(const char *path)
{
	size_t n = 0;

	for (; path[1]; path++)
		n += *path == '/';
	return n;
}

int umbra_plan_record_above(struct umbra_shadow *shadow, int *fd_out, struct umbra_error *err)
{
	_cleanup_free_ char *path = strdup(shadow->path + 1);
	_cleanup_close_ int fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	size_t n = count_above(shadow->path);
	char *at = path, *name = NULL;
	int r = fd < 0 ? -errno : 0;

	shadow->above = calloc(n + 1, sizeof(*shadow->above));
	if (!path || !shadow->above)
		return umbra_oom(err);
	while (r == 0 && shadow->n_above < n && (name = strsep(&at, "/"))) {
		r = record_one(&shadow->above[shadow->n_above++], fd);
		if (r == 0)
			fd = descend(fd, name);
		if (fd < 0)
			r = fd;
	}
	if (r < 0)
		return umbra_fail_errno(err, r, "cannot reach '%s' at '%s'", shadow->path,
					name ? name : "/");
	*fd_out = TAKE_FD(fd);
	return 0;
}
