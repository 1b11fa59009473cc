/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Listing directories. A listing has no state: where it goes on is all in the offset. */
#include <dirent.h>
#include <string.h>
#include <unistd.h>

#include "fuse/nodeid.h"
#include "fuse/visit.h"

/* Offsets: 0 the beginning, 1 after ".", 2 after "..", then by kind of directory. */
enum { AFTER_SELF = 1, AFTER_UP, FIRST };
#define AFTER_LATEST 4
#define SETS         16 /* + seq: stays right while sets come and go */

/* In a directory of a store the offsets are the store's own, of which no filesystem uses the last
 * ones but for its end; the names that only we put there come after those. */
#define OURS (INT64_MAX - 2 * UMBRA_SET_VOLUMES_MAX)

static bool is_ours(int64_t at)
{
	return at > OURS && at < INT64_MAX;
}

struct listing {
	struct umbra_visit v;
	int64_t at;
	bool attributes;
	umbra_emit_fn emit;
	void *arg;
};

/* told: the entry was told and must be taken back when there is no room. */
static int emit(struct listing *l, const char *name, uint64_t ino, mode_t mode, int64_t next,
		const struct umbra_entry *told)
{
	struct umbra_dirent d = {
		.name = name,
		.ino = ino,
		.type = IFTODT(mode),
		.next = next,
		.entry = l->attributes ? told : NULL,
	};
	int r = l->emit(l->arg, &d);

	if (told && (r != 0 || !l->attributes))
		umbra_inodes_forget(l->v.tree->inodes, told->id, 1);
	l->at = next;
	return r;
}

/* "." and ".." of a directory that is not read from a store. */
static int emit_dots(struct listing *l)
{
	if (l->at < AFTER_SELF && emit(l, ".", l->v.inode->id, S_IFDIR, AFTER_SELF, NULL))
		return 1;
	if (l->at < AFTER_UP && emit(l, "..", umbra_inode_up(l->v.inode), S_IFDIR, AFTER_UP, NULL))
		return 1;
	return 0;
}

/* A place's attributes are at hand, those of a copy would cost opening it. */
static int emit_place(struct listing *l, struct umbra_place *place, int64_t next)
{
	struct umbra_entry entry;

	if (!l->attributes || place->member ||
	    umbra_tell_place(l->v.tree, place, l->v.inode->id, &entry) < 0)
		return emit(l, place->name, umbra_place_node(place), S_IFDIR, next, NULL);
	return emit(l, place->name, entry.id, S_IFDIR, next, &entry);
}

static int emit_latest(struct listing *l)
{
	struct umbra_shown *set = umbra_layout_latest(&l->v.tree->layout);
	struct umbra_entry entry;
	int r = 0;

	if (set && umbra_tell_latest(l->v.tree, set, &entry) == 0)
		r = emit(l, "latest", entry.id, S_IFLNK, AFTER_LATEST, &entry);
	umbra_shown_unref(set);
	return r;
}

static int list_root(struct listing *l)
{
	struct umbra_shown *set;
	int64_t seq;
	int r = emit_dots(l);

	if (r == 0 && l->at < FIRST)
		r = emit(l, "by-volume", UMBRA_NODE_BY_VOLUME, S_IFDIR, FIRST, NULL);
	if (r == 0 && l->at < AFTER_LATEST)
		r = emit_latest(l);
	for (seq = l->at > SETS ? l->at - SETS : 0;
	     r == 0 && (set = umbra_layout_after(&l->v.tree->layout, seq));) {
		seq = set->set->seq;
		r = emit_place(l, set->top, SETS + seq);
		umbra_shown_unref(set);
	}
	return 0;
}

static int list_by_volume(struct listing *l)
{
	struct umbra_volume_dir *volume;
	struct umbra_entry entry;
	size_t i;
	int r = emit_dots(l);

	for (i = l->at > AFTER_UP ? (size_t)(l->at - AFTER_UP) : 0;
	     r == 0 && (volume = umbra_volume_dirs_at(&l->v.tree->layout.source.volumes, i));) {
		i = volume->position + 1;
		r = umbra_tell_volume(l->v.tree, volume, &entry);
		if (r < 0)
			return r;
		r = emit(l, volume->name, entry.id, S_IFDIR, AFTER_UP + (int64_t)i, &entry);
	}
	return 0;
}

static int list_volume(struct listing *l)
{
	const struct umbra_member *m;
	struct umbra_shown *set;
	int64_t seq;
	int r = emit_dots(l);

	for (seq = l->at > SETS ? l->at - SETS : 0;
	     r == 0 && (set = umbra_layout_after(&l->v.tree->layout, seq));) {
		seq = set->set->seq;
		m = umbra_shown_member(set, l->v.inode->volume);
		if (m)
			r = emit(l, set->token,
				 umbra_nodeid(UMBRA_VIEW_VOLUME, m->copy.shadow->index,
					      UMBRA_NUMBER_TOP),
				 S_IFDIR, SETS + seq, NULL);
		umbra_shown_unref(set);
	}
	return 0;
}

static int list_place(struct listing *l)
{
	const struct umbra_place *place = l->v.inode->place;
	size_t i;
	int r = emit_dots(l);

	for (i = l->at > AFTER_UP ? (size_t)(l->at - AFTER_UP) : 0; r == 0 && i < place->n_children;
	     i++)
		r = emit_place(l, place->children[i], AFTER_UP + 1 + (int64_t)i);
	return 0;
}

/* A name that the store has. */
static int emit_name(struct listing *l, int fd, const struct dirent64 *d)
{
	struct umbra_inode *inode = l->v.inode;
	struct umbra_place *place = NULL;
	struct umbra_entry entry;
	int r;

	if (strcmp(d->d_name, ".") == 0)
		return emit(l, ".", inode->id, S_IFDIR, d->d_off, NULL);
	if (strcmp(d->d_name, "..") == 0)
		return emit(l, "..", umbra_inode_up(inode), S_IFDIR, d->d_off, NULL);
	if (inode->place)
		place = umbra_place_child(inode->place, d->d_name);
	if (place && place->member)
		return emit_place(l, place, d->d_off);
	r = umbra_tell_name(&l->v, fd, d->d_name, &entry);
	if (r == -ENOENT) { /* the store's own name */
		l->at = d->d_off;
		return 0;
	}
	if (r < 0)
		return emit(l, d->d_name,
			    umbra_nodeid(umbra_nodeid_view(inode->id),
					 umbra_nodeid_index(inode->id),
					 d->d_ino & (UMBRA_NUMBER_MADE - 1)),
			    DTTOIF(d->d_type), d->d_off, NULL);
	return emit(l, d->d_name, entry.id, entry.st.st_mode, d->d_off, &entry);
}

/* Names of ours that the store does not have: places on the way to other members. */
static int list_ours(struct listing *l, int fd)
{
	const struct umbra_place *place = l->v.inode->place, *child;
	struct stat st;
	size_t i;
	int r = 0;

	for (i = is_ours(l->at) ? (size_t)(l->at - OURS) : 0; r == 0 && i < place->n_children;
	     i++) {
		child = place->children[i];
		if (fstatat(fd, child->name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			continue;
		r = emit_place(l, place->children[i], OURS + 1 + (int64_t)i);
	}
	return 0;
}

/* 1: no room for more; 0: the end. A name that had no room comes again. */
static int list_store(struct listing *l, struct umbra_stream *stream)
{
	const struct dirent64 *d;
	ssize_t n;

	for (;;) {
		for (; stream->used < stream->len; stream->used += d->d_reclen) {
			d = (const void *)(stream->buf + stream->used);
			if (emit_name(l, stream->fd, d))
				return 1;
			stream->at = d->d_off;
		}
		n = getdents64(stream->fd, stream->buf, sizeof(stream->buf));
		if (n <= 0)
			return n < 0 ? -errno : 0;
		stream->used = 0;
		stream->len = (size_t)n;
	}
}

static int new_stream(struct listing *l, struct umbra_stream **out)
{
	struct umbra_stream *stream;
	uint64_t ino;
	int fd, r = umbra_visit_ino(&l->v, &ino);

	if (r == 0)
		r = umbra_root_check(l->v.root, ino);
	if (r < 0)
		return r;
	fd = umbra_visit_open(&l->v, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return fd;
	stream = umbra_stream_new(l->v.inode->id, fd);
	if (!stream)
		return -ENOMEM;
	if (l->at > 0 && !is_ours(l->at) && lseek(fd, l->at, SEEK_SET) < 0) {
		r = -errno;
		umbra_stream_free(stream);
		return r;
	}
	stream->at = l->at;
	*out = stream;
	return 0;
}

static int list_real(struct listing *l)
{
	struct umbra_streams *streams = l->v.tree->streams;
	bool ours = is_ours(l->at);
	struct umbra_stream *stream = umbra_streams_take(streams, l->v.inode->id, l->at);
	int r = 0;

	if (!stream)
		r = new_stream(l, &stream);
	if (r < 0)
		return r;
	if (!ours)
		r = list_store(l, stream);
	if (r == 0 && l->v.inode->place)
		r = list_ours(l, stream->fd);
	if (r > 0 && !ours)
		umbra_streams_keep(streams, stream);
	else
		umbra_stream_free(stream);
	return r < 0 ? r : 0;
}

int umbra_tree_list(struct umbra_tree *tree, uint64_t id, int64_t at, bool attributes,
		    umbra_emit_fn emit_fn, void *arg)
{
	struct listing l = {.at = at, .attributes = attributes, .emit = emit_fn, .arg = arg};
	int r = umbra_visit_begin(tree, id, &l.v);

	if (r < 0)
		return r;
	switch (l.v.inode->kind) {
	case UMBRA_INODE_ROOT:
		r = list_root(&l);
		break;
	case UMBRA_INODE_BY_VOLUME:
		r = list_by_volume(&l);
		break;
	case UMBRA_INODE_VOLUME:
		r = list_volume(&l);
		break;
	case UMBRA_INODE_PLACE:
		r = list_place(&l);
		break;
	default:
		if (!l.v.inode->dir)
			r = -ENOTDIR;
		else
			r = l.v.inode->empty ? emit_dots(&l) : list_real(&l);
	}
	umbra_visit_end(&l.v);
	return r < 0 ? r : 0;
}
