/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The provider "copy": for an ordinary user. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "copy_rig.h"

TestSuite(copy_user, .init = rig_begin, .fini = rig_end, .timeout = 120);

static void user_copies(void)
{
	struct umbra_shadow *first, *second;
	struct umbra_root *root;
	struct stat st;

	rig_use("origin", "state");
	first = rig_copy(NULL);
	root = rig_open(first);
	cr_assert_eq(fstatat(root->fd, "secret", &st, 0), 0);
	cr_assert_eq(umbra_root_fix(root, &st), 0);
	cr_assert_eq(st.st_mode, S_IFREG | 0600);
	cr_assert_eq(st.st_uid, 0);
	cr_assert_eq(st.st_size, 4);
	cr_assert_eq(umbra_root_check(root, st.st_ino), -EACCES);
	cr_assert_eq(fstatat(root->fd, "closed", &st, 0), 0);
	cr_assert_eq(umbra_root_fix(root, &st), 0);
	cr_assert_eq(st.st_mode, S_IFDIR | 0700);
	cr_assert_eq(umbra_root_check(root, st.st_ino), -EACCES);
	cr_assert(rig_noted(first, UMBRA_NOTE_UNREADABLE, "secret"));
	cr_assert(rig_noted(first, UMBRA_NOTE_UNREADABLE, "closed"));
	cr_assert_eq(json_array_size(first->notes), 2);
	umbra_root_close(root);
	second = rig_copy(first);
	cr_assert_eq(rig_ino(first, "d/suid"), rig_ino(second, "d/suid"));
}

static void user_compares(void)
{
	struct umbra_shadow *first, *second;

	rig_use("origin", "state");
	first = rig_copy(NULL);
	rig_same(first);
	second = rig_copy(first);
	rig_same(second);
	cr_assert_eq(json_array_size(second->notes), 0);
}

static void user_removes(void)
{
	const struct umbra_provider *p = umbra_provider_find("copy");
	struct umbra_shadow *shadow;

	rig_use("origin", "state");
	shadow = rig_copy(NULL);
	/* As a killed process or a meddling owner could leave it. */
	lab_run("chmod 0 state/copies/*/tree/d state/copies/*/tree");
	cr_assert_eq(p->remove(rig_state_fd(), shadow, NULL, NULL), 0);
	rig_assert_store_empty();
}

static void make_foreign(void)
{
	place_need_root("to become another user");
	lab_run("cd origin && mkdir d && echo s >d/suid && chmod 6755 d/suid && mkdir -m 555 d/ro "
		"&& "
		"echo x >d/ro/x && ln d/suid d/ro/twin && mknod d/null c 1 3 && mkfifo d/fifo && "
		"ln -s x d/link && mkdir -m 755 own && echo o >own/f && chmod 0400 own/f && "
		"chmod 1755 d && chown -R 4711:4711 own && chmod 0500 own && "
		"echo t >d/t && chmod 604 d/t && chown -R 4711 ../state && chmod 755 ..");
	rig_settle();
}

Test(copy_user, by_a_user_shows_the_true_attributes)
{
	make_foreign();
	rig_become_user();
	user_compares();
	cr_assert(lab_true("! find state -perm /6000 | grep ."));
}

Test(copy_user, by_a_user_names_what_he_may_not_read)
{
	make_foreign();
	lab_run("cd origin && echo 123 >secret && chmod 600 secret && mkdir -m 700 closed");
	rig_settle();
	rig_become_user();
	user_copies();
}

Test(copy_user, by_a_user_can_be_deleted_whatever_the_bits)
{
	make_foreign();
	rig_become_user();
	user_removes();
}

/* --- deleting, opening, finding --- */
