/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Provider "copy": any directory, any filesystem, no privilege. A tree in the store (store.h);
 * what did not change since the previous copy is a hard link to it.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "snapshot/provider.h"
#include "snapshot/provider/copy/copier.h"
#include "snapshot/provider/copy/flush.h"
#include "snapshot/provider/copy/open.h"
#include "snapshot/provider/copy/remover.h"
#include "snapshot/provider/copy/scan.h"
#include "snapshot/provider/copy/store.h"
#include "snapshot/sys/frozen.h"

#define SCORE 10 /* whatever can do more than copy is better suited */

struct priv {
	int origin, dir, tree;
	struct timespec settled;
	struct umbra_copier_totals totals;
};

static struct priv *free_priv(struct priv *p)
{
	umbra_close(p->origin);
	umbra_close(p->dir);
	umbra_close(p->tree);
	free(p);
	return NULL;
}
UMBRA_DEFINE_CLEANUP(struct priv *, priv, free_priv)

static int probe(const struct umbra_volume *volume, struct umbra_error *err)
{
	(void)volume;
	(void)err;
	return SCORE;
}

/* --- prepare --- */

static int open_origin(const struct umbra_member *m, struct umbra_error *err)
{
	const char *path = m->volume->path;

	if (umbra_path_below(path, m->state_dir))
		return umbra_fail(err, UMBRA_E_UNSUPPORTED, EINVAL,
				  "'%s' lies inside umbra's own state directory '%s', which is "
				  "never copied",
				  path, m->state_dir);
	return umbra_member_open_origin(m, err);
}

static int store_failed(const struct umbra_member *m, int r, struct umbra_error *err)
{
	switch (-r) {
	case EROFS:
		return umbra_fail(err, UMBRA_E_READ_ONLY, r,
				  "the store '%s/" UMBRA_STORE_COPIES "' is on a read-only "
				  "filesystem: choose another with --state DIR",
				  m->state_dir);
	case ENOSPC:
	case EDQUOT:
		return umbra_fail(err, UMBRA_E_NO_SPACE, r,
				  "the store '%s/" UMBRA_STORE_COPIES "' is full (%s): delete sets "
				  "with 'umbra delete', make room there, or choose another with "
				  "--state DIR",
				  m->state_dir, strerror(-r));
	case EACCES:
	case EPERM:
		return umbra_fail(err, UMBRA_E_PERMISSION, r,
				  "you may not write to the store '%s/" UMBRA_STORE_COPIES
				  "': choose another with --state DIR",
				  m->state_dir);
	default:
		return umbra_fail_errno(err, r,
					"cannot write to the store '%s/" UMBRA_STORE_COPIES "'",
					m->state_dir);
	}
}

/* The coordinator has seen to it that STATE is not frozen; the store may be mounted in there. */
static int refuse_frozen(int store, int state_fd, struct umbra_error *err)
{
	_cleanup_free_ char *dir = NULL, *what = NULL;
	struct stat a, b;

	if (fstat(store, &a) == 0 && fstat(state_fd, &b) == 0 && a.st_dev == b.st_dev)
		return 0;
	if (umbra_thawed(store, UMBRA_THAW_WAIT_MS) == 0)
		return 0;
	dir = umbra_fd_path(store);
	what = umbra_asprintf("the filesystem of the store '%s'", dir ? dir : UMBRA_STORE_COPIES);
	return what ? umbra_frozen_fail(err, what, dir ? dir : "MOUNTPOINT") : umbra_oom(err);
}

static int make_copy(const struct umbra_member *m, struct priv *p, struct umbra_error *err)
{
	_cleanup_close_ int store = umbra_store_open(m->state_fd, true);
	int r = store < 0 ? 0 : refuse_frozen(store, m->state_fd, err);

	if (r < 0)
		return r;
	p->dir = store < 0 ? store : umbra_store_make_copy(store, m->shadow->id.s);
	p->tree = p->dir < 0 ? p->dir : umbra_store_open_tree(p->dir);
	return p->tree < 0 ? store_failed(m, p->tree, err) : 0;
}

static int identify(struct umbra_shadow *shadow, const char *path)
{
	char *identity = umbra_asprintf("dir:%s", path);

	if (!identity)
		return -ENOMEM;
	free(shadow->volume);
	shadow->volume = identity;
	return 0;
}

static int prepare(struct umbra_member *m, struct umbra_error *err)
{
	_cleanup_(umbra_cleanup_priv) struct priv *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return umbra_oom(err);
	p->origin = p->dir = p->tree = -1;
	if (identify(m->shadow, m->volume->path) < 0)
		return umbra_oom(err);
	p->origin = open_origin(m, err);
	if (p->origin < 0)
		return p->origin;
	r = make_copy(m, p, err);
	if (r < 0)
		return r;
	/* Pages that are mapped for writing change without a sign until they were written back:
	 * from here on they give one. An older error of that disk is not ours to report. */
	clock_gettime(CLOCK_REALTIME_COARSE, &p->settled);
	r = umbra_flush(p->origin, m->watch, NULL, err);
	if (r == -ECANCELED)
		return r;
	m->priv = TAKE_PTR(p);
	return 0;
}

/* --- commit --- */

static int open_previous(const struct umbra_member *m)
{
	_cleanup_close_ int store = -1, copy = -1;

	if (!m->previous || strcmp(m->previous->provider, "copy") != 0)
		return -1;
	store = umbra_store_open(m->state_fd, false);
	copy = store < 0 ? -1 : umbra_store_open_copy(store, m->previous->id.s);
	return copy >= 0 && umbra_store_finished(copy) ? TAKE_FD(copy) : -1;
}

static int record_totals(struct umbra_shadow *shadow, const struct umbra_copier_totals *t)
{
	json_t *d = shadow->data;

	return json_object_set_new(d, "files", json_integer((json_int_t)t->files)) < 0 ||
			       json_object_set_new(d, "dirs", json_integer((json_int_t)t->dirs)) <
				       0 ||
			       json_object_set_new(d, "linked",
						   json_integer((json_int_t)t->linked)) < 0 ||
			       json_object_set_new(d, "bytes", json_integer((json_int_t)t->bytes)) <
				       0 ||
			       json_object_set_new(d, "copied",
						   json_integer((json_int_t)t->copied)) < 0
		       ? -ENOMEM
	       : t->left_store ? umbra_doc_set_string(d, "hidden", UMBRA_STORE_OF_VOLUME)
			       : 0;
}

static int commit(struct umbra_member *m, struct umbra_error *err)
{
	_cleanup_free_ char *store = umbra_asprintf("%s/" UMBRA_STORE_COPIES, m->state_dir);
	_cleanup_close_ int previous = open_previous(m);
	struct priv *p = m->priv;
	const struct umbra_copier_place place = {
		.origin = p->origin,
		.dir = p->dir,
		.tree = p->tree,
		.previous = previous,
		.state_fd = m->state_fd,
		.id = m->shadow->id.s,
		.previous_id = previous < 0 ? NULL : m->previous->id.s,
		.origin_path = m->volume->path,
		.store_path = store,
		.settled = p->settled,
	};
	int64_t files = previous < 0 ? 0 : umbra_doc_int(m->previous->data, "files", 0);
	int r;

	if (!store)
		return umbra_oom(err);
	r = umbra_copier_run(m, &place, files > 0 ? (uint64_t)files : 0, &p->totals, err);
	if (r < 0)
		return r;
	return record_totals(m->shadow, &p->totals) < 0 ? umbra_oom(err) : 0;
}

static int finish(struct umbra_member *m, struct umbra_error *err)
{
	struct priv *p = m->priv;
	const struct umbra_progress progress = {
		.files = p->totals.files, .files_total = p->totals.files, .bytes = p->totals.bytes};
	int r = umbra_flush(p->dir, m->watch, &progress, err);

	if (r < 0)
		return umbra_wrap(err, r, "making the copy of '%s' durable", m->volume->path);
	r = umbra_member_record(m, p->dir, err);
	if (r < 0)
		return r;
	m->priv = free_priv(p);
	return 0;
}

/* --- removal --- */

/* copy: the descriptor of the copy. */
static int remove_opened(int store, int copy, const char *id, struct umbra_watch *watch,
			 struct umbra_error *err)
{
	int r;

	/* Without its record it is a leftover, whatever happens now. */
	if (unlinkat(copy, UMBRA_RECORD_NAME, 0) < 0 && errno != ENOENT)
		return umbra_fail_errno(err, errno, "cannot delete the record of copy '%s'", id);
	r = umbra_fsync_dir(copy);
	if (r < 0)
		return umbra_fail_errno(err, r, "deleting the record of copy '%s'", id);
	r = umbra_remover_run(copy, id, watch, err);
	if (r < 0)
		return r;
	if (unlinkat(store, id, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return umbra_fail_errno(err, errno, "cannot delete the copy '%s'", id);
	/* Else a power cut could bring it back when the catalog does not know it any more. */
	r = umbra_fsync_dir(store);
	return r < 0 ? umbra_fail_errno(err, r, "deleting the copy '%s'", id) : 0;
}

/* leftover: only what has no record, and nobody at work in it. */
static int remove_copy(int state_fd, const char *id, bool leftover, struct umbra_watch *watch,
		       struct umbra_error *err)
{
	_cleanup_close_ int store = umbra_store_open(state_fd, false), copy = -1;
	int r;

	copy = store < 0 ? store : umbra_store_open_copy(store, id);
	if (copy == -ENOENT)
		return 0;
	if (copy < 0)
		return umbra_fail_errno(err, copy, "cannot open the copy '%s' in the store", id);
	r = refuse_frozen(store, state_fd, err);
	if (r < 0)
		return r;
	if (leftover && (umbra_store_in_use(copy) || umbra_store_finished(copy)))
		return umbra_fail(err, UMBRA_E_BUSY, EBUSY,
				  "the copy '%s' is no leftover: somebody is making it", id);
	return remove_opened(store, copy, id, watch, err);
}

static int discard(int state_fd, const char *state_dir, const char *id, struct umbra_watch *watch,
		   struct umbra_error *err)
{
	(void)state_dir; /* all that is in STATE is its */
	return remove_copy(state_fd, id, true, watch, err);
}

static int abort_member(struct umbra_member *m, struct umbra_error *err)
{
	if (m->priv)
		m->priv = free_priv(m->priv);
	/* Whoever asked to stop would stop this too. */
	return remove_copy(m->state_fd, m->shadow->id.s, false, NULL, err);
}

static int remove_shadow(int state_fd, const struct umbra_shadow *shadow, struct umbra_watch *watch,
			 struct umbra_error *err)
{
	return remove_copy(state_fd, shadow->id.s, false, watch, err);
}

const struct umbra_provider umbra_provider_copy = {
	.name = "copy",
	.summary = "any directory: a tree of files, unchanged ones shared between copies",
	.label = UMBRA_LABEL_FUZZY,
	.probe = probe,
	.prepare = prepare,
	.commit = commit,
	.finish = finish,
	.abort = abort_member,
	.open = umbra_copy_store_read,
	.remove = remove_shadow,
	.scan = umbra_copy_scan,
	.discard = discard,
};
