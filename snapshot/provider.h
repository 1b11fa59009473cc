/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The contract between umbra and a provider: who makes and keeps shadow copies of one kind of
 * volume. A provider is one file, snapshot/provider/NAME.c (or a folder of that name), that
 * defines `const struct umbra_provider umbra_provider_NAME`, and one word in the meson.build
 * beside it. Only name, summary, label, probe, prepare, commit, abort, open, remove, scan and
 * discard are required; defaults for the rest are filled in by snapshot/provider.c and nowhere
 * else.
 *
 * Life of one member of a set (coordinator, umbra-design(7) "A set, step by step"):
 *
 *	probe -> resolve -> prepare -> [hold] -> commit -> [release] -> [finish] ==> kept
 *	                       |          |         |           |           |
 *	                       +----------+---------+-----------+-----------+--> abort ==> gone
 *	kept: open* ... remove ==> gone
 *	what the catalog does not know: scan -> discard ==> gone
 *
 * - Every call is made from one thread; a provider may use threads of its own inside a call.
 * - Between hold and release of any member: no I/O on held volumes, no log, no allocation, no
 *   wait without a limit. All members that have a hold() are held, those that lie on others
 *   (lies_on()) before these, before the first of them is committed, and released, in reverse
 *   order, right after the last; members without one are committed after that.
 * - prepare() names in held what hold() will suspend. When a member has such devices, the guard
 *   watches the hold: memory is locked, a signal interrupts a suspend that takes too long (-EINTR),
 *   and if all is not released in time the guard resumes the devices and the set fails. So
 *   release() may find them resumed already: 1 says so, and the set fails.
 * - A process may be killed at any instruction. What is left over is undone by the next start
 *   with abort(), called with a member that has no priv: it must find and remove whatever a
 *   half-made copy with that shadow id left, and succeed when there is nothing.
 * - finish() makes the copy durable and writes its record (umbra_member_record()); when it has
 *   returned 0 a power cut does not lose the copy.
 */
#pragma once

#include <stdint.h>

#include "snapshot/revert.h"
#include "snapshot/root.h"
#include "snapshot/set.h"
#include "snapshot/storage.h"
#include "snapshot/sys/dm_hold.h"
#include "snapshot/volume.h"

#define UMBRA_MEMBER_HELD_MAX 4

/* How far long work has come. */
struct umbra_progress {
	uint64_t files, files_total; /* total 0: not known */
	uint64_t bytes, bytes_total; /* as files_total */
};

/* Progress goes out and a wish to stop comes in here. */
struct umbra_watch {
	/* Called now and then (at least every 200 ms in long work) from the thread that made the
	 * call into the provider. 0, or -ECANCELED: give up soon; abort() follows. */
	int (*tick)(struct umbra_watch *watch, const struct umbra_progress *progress);
};

/* One volume in one creation. */
struct umbra_member {
	const struct umbra_provider *provider;
	struct umbra_volume *volume; /* NULL in abort() of a leftover */
	const struct umbra_set *set;
	struct umbra_shadow *shadow; /* provider fills volume (identity), data and notes */
	struct umbra_shadow
		*previous; /* newest copy of the same volume path and provider, or NULL */
	/* The volume's root directory (O_PATH), reached through those that shadow->above tells of;
	 * what is copied is this, whatever lies at the path by now. -1 in abort() of a leftover. */
	int origin_fd;
	int state_fd; /* umbra's state directory */
	const char *state_dir;
	struct umbra_watch *watch; /* may be NULL */
	void *priv;                /* the provider's; freed by finish() or abort() */
	/* What hold() suspends, in the order in which it is resumed; prepare() fills this in. */
	struct umbra_dm_device held[UMBRA_MEMBER_HELD_MAX];
	size_t n_held;
};

enum umbra_found_kind {
	UMBRA_FOUND_COPY,     /* finished, and its record names this state directory */
	UMBRA_FOUND_LEFTOVER, /* this state directory's, without a record: half-made or half-deleted
			       */
	UMBRA_FOUND_FOREIGN,  /* a finished copy in STATE that names another state directory */
	UMBRA_FOUND_STRANGE,  /* cannot be judged, and may be this state directory's */
};

/* One place in a provider's store. Strings are borrowed. */
struct umbra_found {
	enum umbra_found_kind kind;
	const char *id;       /* the shadow copy's, as its place is named */
	const char *where;    /* for messages */
	const json_t *record; /* COPY: as umbra_shadow_record() wrote it */
	const char *why;      /* FOREIGN, STRANGE: what is wrong with it */
	bool here; /* FOREIGN: its place is in, or named by, this state directory, which was
		    * moved, or copied */
	bool lost; /* it cannot be read any more, which its open() says too */
};

/* Given all that scan() finds. A negative result ends the scan with it. */
typedef int (*umbra_scan_fn)(void *arg, const struct umbra_found *found);

struct umbra_provider {
	const char *name;
	const char *summary;    /* one line for `umbra providers` */
	enum umbra_label label; /* what its copies are without writers */
	/* What its volumes are, where that is lost when one is made again as a directory
	 * ("subvolume"). Default: directories. */
	const char *volume_kind;

	/* Can it copy this volume? > 0: yes, the higher the better suited; 0: no. In err: why not
	 * (shown by `umbra volumes` and when the user asked for this provider by name); another
	 * code than UNSUPPORTED and PERMISSION says that somebody could do something about it, and
	 * then it is shown, too, when a weaker provider copies the volume instead. */
	int (*probe)(const struct umbra_volume *volume, struct umbra_error *err);

	/* Adds to out the volumes that must be members so that nothing below asked is missing
	 * (a subvolume and those nested in it). Default: asked alone. */
	int (*resolve)(const struct umbra_volume *asked, struct umbra_volume_list *out,
		       struct umbra_error *err);

	int (*prepare)(struct umbra_member *m, struct umbra_error *err);
	/* Of two prepared members of this provider: does what is written to m, its diff area too,
	 * come to below at last? Then m is held first: what it has to write out then could not be
	 * written any more. 1, 0 or negative. Default: no. */
	int (*lies_on)(const struct umbra_member *m, const struct umbra_member *below,
		       struct umbra_error *err);
	int (*hold)(struct umbra_member *m, struct umbra_error *err);
	int (*commit)(struct umbra_member *m, struct umbra_error *err);
	int (*release)(struct umbra_member *m, struct umbra_error *err);
	int (*finish)(struct umbra_member *m, struct umbra_error *err);
	int (*abort)(struct umbra_member *m, struct umbra_error *err);

	/* state_fd, state_dir: as in the member. -ENOENT: the copy is not there any more. */
	int (*open)(int state_fd, const struct umbra_shadow *shadow, struct umbra_root **out,
		    struct umbra_error *err);

	/* Deletes the copy; succeeds when it is gone already. Killed half-way it is called again.
	 */
	int (*remove)(int state_fd, const struct umbra_shadow *shadow, struct umbra_watch *watch,
		      struct umbra_error *err);

	/* All that is in the stores and is not certainly another state directory's, nor being made
	 * at the moment. */
	int (*scan)(int state_fd, const char *state_dir, umbra_scan_fn fn, void *arg,
		    struct umbra_error *err);

	/* Removes a leftover that scan() found; gone already is success. One that has a record by
	 * now, or whose maker is alive, is left alone: -EBUSY. */
	int (*discard)(int state_fd, const char *state_dir, const char *id,
		       struct umbra_watch *watch, struct umbra_error *err);

	/* Bytes that deleting this copy alone would free; *bytes < 0: not known. Default: not
	 * known. */
	int (*usage)(int state_fd, const struct umbra_shadow *shadow, int64_t *bytes,
		     struct umbra_error *err);

	/* Of a provider with diff areas; else NULL. */
	const struct umbra_storage_ops *storage;
	/* Of a provider that can make a whole volume what it was; else NULL. */
	const struct umbra_revert_ops *revert;
};

/* All providers, in the order of the list in meson.build; n is set. */
const struct umbra_provider *const *umbra_providers(size_t *n);

/* NULL when there is none of that name. */
const struct umbra_provider *umbra_provider_find(const char *name);

/* The best for volume: highest probe(). name: take only this one. The reason is in err. */
int umbra_provider_choose(const struct umbra_volume *volume, const char *name,
			  const struct umbra_provider **out, struct umbra_error *err);

/* Calls with defaults filled in. */
int umbra_provider_resolve(const struct umbra_provider *p, const struct umbra_volume *asked,
			   struct umbra_volume_list *out, struct umbra_error *err);
int umbra_member_hold(struct umbra_member *m, struct umbra_error *err);
int umbra_member_release(struct umbra_member *m, struct umbra_error *err);
int umbra_member_finish(struct umbra_member *m, struct umbra_error *err);
int umbra_provider_usage(const struct umbra_provider *p, int state_fd,
			 const struct umbra_shadow *shadow, int64_t *bytes,
			 struct umbra_error *err);

/* For prepare(): the volume's root directory, opened for reading. A descriptor, or negative. */
int umbra_member_open_origin(const struct umbra_member *m, struct umbra_error *err);

/* For providers: 0, or -ECANCELED with err filled in. progress may be NULL. */
int umbra_watch_tick(struct umbra_watch *watch, const struct umbra_progress *progress,
		     struct umbra_error *err);

/* In a state directory that has ever had a catalog. */
#define UMBRA_STATE_MARK "catalog.made"

#define UMBRA_RECORD_NAME "shadow.json"
#define UMBRA_RECORD_MAX  (4U << 20)

/* For finish(): writes the record to UMBRA_RECORD_NAME in dirfd, durable and atomic. */
int umbra_member_record(const struct umbra_member *m, int dirfd, struct umbra_error *err);

/* The record, for who keeps it in another way. New reference; NULL: memory. */
json_t *umbra_member_record_doc(const struct umbra_member *m);

/* For scan(): reads UMBRA_RECORD_NAME in dirfd. -ENOENT: unfinished copy. */
int umbra_record_read(int dirfd, const char *where, json_t **out, struct umbra_error *err);
