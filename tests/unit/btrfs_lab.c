/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "btrfs_lab.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

/* The image has no name and the loop device detaches itself: nothing is left to clean up. */
static const char make[] = "mount --make-rprivate / && truncate -s 256M image && "
			   "mkfs.btrfs -q -L 'two words' image && mkdir top at && "
			   "mount -o loop,subvolid=5 image top && rm image && "
			   "btrfs subvolume create top/@ && "
			   "mount -o subvol=@ \"$(findmnt -no SOURCE top | head -n1)\" at";

void lab_begin(void)
{
	if (geteuid() != 0)
		cr_skip_test("btrfs snapshots need root");
	lab_open("/var/tmp/umbra-btrfs-XXXXXX");
	if (unshare(CLONE_NEWNS) < 0 || !lab_true("%s", make)) {
		lab_end();
		cr_skip_test("no mount namespace, loop device or btrfs to be had here");
	}
}

void lab_end(void)
{
	_cleanup_free_ char *dir = strdup(lab_path("%s", "")), *cmd = NULL;

	if (!lab_close())
		return;
	/* Other mounts of a test lie below these. */
	cmd = umbra_asprintf("cd / && umount -R '%s'/top '%s'/at '%s'/more 2>/dev/null; "
			     "rm -rf --one-file-system '%s'",
			     dir, dir, dir, dir);
	if (system(cmd) != 0)
		cr_log_warn("'%s' is left over", dir);
}

void lab_resolve(const char *path, struct umbra_volume_list *out)
{
	_cleanup_volume_ struct umbra_volume *v = NULL;
	struct umbra_error err = {0};

	cr_assert_eq(umbra_volume_resolve(path, &v, &err), 0, "%s", err.text);
	cr_assert_gt(umbra_provider_btrfs.probe(v, &err), 0, "%s", err.text);
	cr_assert_eq(umbra_provider_btrfs.resolve(v, out, &err), 0, "%s", err.text);
}

static void add_member(struct lab_set *s, size_t i, const char *state)
{
	struct umbra_shadow *shadow = umbra_shadow_new(s->volumes.v[i]->path, "btrfs");

	cr_assert_eq(umbra_set_add_shadow(s->set, shadow), 0);
	shadow->index = (unsigned int)i + 1;
	s->members[i] = (struct umbra_member){
		.provider = &umbra_provider_btrfs,
		.volume = s->volumes.v[i],
		.origin_fd = umbra_open_real(s->volumes.v[i]->path, O_PATH | O_DIRECTORY),
		.set = s->set,
		.shadow = shadow,
		.state_fd = -1,
		.state_dir = state,
	};
}

struct lab_set *lab_prepare(const char *path, const char *state)
{
	struct lab_set *s = calloc(1, sizeof(*s));
	struct umbra_error err = {0};
	size_t i;

	lab_resolve(path, &s->volumes);
	s->set = umbra_set_new();
	s->set->seq = 1;
	s->set->state = UMBRA_SET_PREPARING;
	s->members = calloc(s->volumes.n, sizeof(*s->members));
	for (i = 0; i < s->volumes.n; i++)
		add_member(s, i, state);
	for (i = 0; i < s->volumes.n; i++)
		cr_assert_eq(umbra_provider_btrfs.prepare(&s->members[i], &err), 0, "%s", err.text);
	return s;
}

void lab_commit(struct lab_set *s)
{
	struct umbra_error err = {0};
	size_t i;

	for (i = 0; i < s->volumes.n; i++)
		cr_assert_eq(umbra_provider_btrfs.commit(&s->members[i], &err), 0, "%s", err.text);
}

void lab_finish(struct lab_set *s)
{
	struct umbra_error err = {0};
	size_t i;

	for (i = 0; i < s->volumes.n; i++) {
		cr_assert_eq(umbra_provider_btrfs.finish(&s->members[i], &err), 0, "%s", err.text);
		cr_assert_null(s->members[i].priv);
		s->members[i].origin_fd = umbra_close(s->members[i].origin_fd);
	}
}

struct lab_set *lab_create(const char *path)
{
	struct lab_set *s = lab_prepare(path, "/state");

	lab_commit(s);
	lab_finish(s);
	return s;
}

struct lab_set *lab_free(struct lab_set *s)
{
	size_t i;

	for (i = 0; i < s->volumes.n; i++)
		umbra_close(s->members[i].origin_fd);
	umbra_set_free(s->set);
	umbra_volume_list_finish(&s->volumes);
	free(s->members);
	free(s);
	return NULL;
}

struct umbra_shadow *lab_shadow(const struct lab_set *s, const char *path)
{
	size_t i;

	for (i = 0; i < s->set->n_shadows; i++)
		if (strcmp(s->set->shadows[i]->path, path) == 0)
			return s->set->shadows[i];
	cr_assert_fail("the set has no member '%s'", path);
	return NULL;
}
