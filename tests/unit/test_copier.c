/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The provider "copy" while others work with the origin: nothing is left out, nothing mixed up. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "copy_rig.h"
#include "sync_spy.h"

TestSuite(copier, .init = rig_begin, .fini = rig_end, .timeout = 60);
TestSuite(copier_memory, .init = rig_begin_in_memory, .fini = rig_end, .timeout = 60);

/* --- files that somebody has a lease on, as Samba has --- */

#define LEASES 2

struct holder {
	int fds[LEASES];
	size_t n;
	void (*then)(void); /* called when all are asked for, before they are given up */
	volatile bool stop;
	pthread_t thread;
};

static bool asked_for(int fd)
{
	return fcntl(fd, F_GETLEASE) != F_WRLCK;
}

static void *give_up_when_asked(void *arg)
{
	struct holder *h = arg;
	size_t i = 0;

	while (!h->stop && i < h->n) {
		if (asked_for(h->fds[i]))
			i++;
		else
			usleep(1000);
	}
	if (h->then && !h->stop)
		h->then();
	for (i = 0; i < h->n; i++)
		fcntl(h->fds[i], F_SETLEASE, F_UNLCK);
	return NULL;
}

static void take_lease(struct holder *h, const char *name)
{
	_cleanup_free_ char *path = umbra_asprintf("%s/origin/%s", place, name);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, "leased\n", 7), 7);
	signal(SIGIO, SIG_IGN);
	if (fcntl(fd, F_SETLEASE, F_WRLCK) < 0)
		rig_skip("no leases here");
	h->fds[h->n++] = fd;
}

static void start(struct holder *h)
{
	cr_assert_eq(pthread_create(&h->thread, NULL, give_up_when_asked, h), 0);
}

static void finish(struct holder *h)
{
	h->stop = true;
	pthread_join(h->thread, NULL);
	while (h->n > 0)
		close(h->fds[--h->n]);
}

Test(copier, waits_until_a_lease_is_given_up)
{
	struct umbra_shadow *shadow;
	struct holder h = {0};

	take_lease(&h, "leased");
	start(&h);
	shadow = rig_copy(NULL);
	finish(&h);
	rig_same(shadow);
	cr_assert_eq(json_array_size(shadow->notes), 0);
}

Test(copier, a_lease_that_is_never_given_up_is_noted)
{
	struct umbra_shadow *first, *second;
	struct holder h = {0};

	take_lease(&h, "leased");
	first = rig_copy(NULL);
	cr_assert(rig_noted(first, UMBRA_NOTE_UNREADABLE, "leased"));
	cr_assert_neq(rig_ino(first, "leased"), 0);
	fcntl(h.fds[0], F_SETLEASE, F_UNLCK);
	close(h.fds[0]);
	rig_settle();
	second = rig_copy(first);
	rig_same(second);
}

/* --- what changes without any sign of it --- */

static void change_through_a_mapping(void)
{
	_cleanup_free_ char *path = umbra_asprintf("%s/origin/mapped", place);
	struct umbra_shadow *first, *second;
	char *map;
	int fd;

	lab_run("echo hello >origin/mapped && echo other >origin/other && ln -s x origin/link");
	fd = open(path, O_RDWR | O_CLOEXEC);
	map = mmap(NULL, 6, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	cr_assert_neq(map, MAP_FAILED);
	map[0] = 'H';
	rig_settle();
	first = rig_copy(NULL);
	map[1] = 'E';
	second = rig_copy(first);
	rig_same(second);
	cr_assert_neq(rig_ino(first, "mapped"), rig_ino(second, "mapped"));
	cr_assert_eq(rig_ino(first, "other"), rig_ino(second, "other"));
	munmap(map, 6);
	close(fd);
}

Test(copier_memory, what_changes_through_a_mapping_is_seen)
{
	change_through_a_mapping();
}

/* What lies below an overlay cannot be known. */
Test(copier, what_changes_through_a_mapping_is_seen_on_an_overlay)
{
	place_need_root("to mount an overlay");
	rig_need("mkdir low mem && mount -t tmpfs umbra-unit mem && mkdir mem/up mem/work && "
		 "mount -t overlay -o lowerdir=low,upperdir=mem/up,workdir=mem/work umbra-unit "
		 "origin");
	change_through_a_mapping();
	lab_run("umount origin mem");
}

/* Two builds of one image: the same names, numbers, sizes and times. */
Test(copier, another_image_with_the_same_times_is_seen)
{
	struct umbra_shadow *first, *second;

	rig_need("command -v mksquashfs >/dev/null && mkdir i && ln -s one i/link && echo one >i/f "
		 "&& "
		 "touch -h -d @1000000000 i/* i && mksquashfs i 1.img -quiet -no-progress "
		 ">/dev/null && "
		 "ln -sf two i/link && echo two >i/f && touch -h -d @1000000000 i/* i && "
		 "mksquashfs i 2.img -quiet -no-progress >/dev/null && mount -o loop,ro 1.img "
		 "origin");
	first = rig_copy(NULL);
	rig_same(first);
	lab_run("umount origin && mount -o loop,ro 2.img origin");
	second = rig_copy(first);
	rig_same(second);
	lab_run("umount origin");
}

/* --- hard links --- */

static char *below(const char *name)
{
	return umbra_asprintf("%s/%s", place, name);
}

static ino_t inode_of(const char *name)
{
	_cleanup_free_ char *path = below(name);
	struct stat st;

	return lstat(path, &st) == 0 ? st.st_ino : 0;
}

static ino_t doomed;

/* Another file takes the place and the number of the one that was copied already. */
static void reuse_inode(void)
{
	lab_run("rm origin/file outside && echo new >origin/m/z/file && "
		"ln origin/m/z/file outside");
}

Test(copier, an_inode_that_is_used_again_is_another_file)
{
	struct holder h = {.then = reuse_inode};
	struct umbra_shadow *shadow;

	/* In the order of inodes: file, one, two. */
	lab_run("cd origin && mkdir -p m/z && cd m/z && echo old >file && touch one two && "
		"mv file one ../.. && mv two .. && ln ../../file ../../../outside");
	doomed = inode_of("origin/file");
	/* Others on this filesystem get inodes, too, and may have had one that was free in between.
	 */
	if (doomed >= inode_of("origin/one") || inode_of("origin/one") >= inode_of("origin/m/two"))
		rig_skip("inode numbers were not given out in order");
	take_lease(&h, "one");   /* one thread waits here */
	take_lease(&h, "m/two"); /* the other one here, before it lists m/z */
	start(&h);
	shadow = rig_copy(NULL);
	finish(&h);
	if (inode_of("origin/m/z/file") != doomed)
		rig_skip("inode numbers are not used again here");
	cr_assert(lab_true("[ \"$(cat state/copies/%s/tree/m/z/file)\" = new ]", shadow->id.s));
	cr_assert(lab_true("[ \"$(cat state/copies/%s/tree/file)\" = old ]", shadow->id.s));
}

/* --- durability --- */

Test(copier, a_deleted_copy_does_not_come_back_after_a_power_cut)
{
	_cleanup_free_ char *store = below("state/copies");
	struct umbra_shadow *shadow;

	lab_run("echo x >origin/f");
	shadow = rig_copy(NULL);
	sync_spy_reset();
	cr_assert_eq(umbra_provider_find("copy")->remove(rig_state_fd(), shadow, NULL, NULL), 0);
	cr_assert(sync_spy_last_is(store));
}

/* --- what the store cannot keep --- */

static size_t notes_of(const struct umbra_shadow *shadow, const char *text)
{
	const json_t *note;
	size_t i, n = 0;

	json_array_foreach (shadow->notes, i, note)
		n += strstr(umbra_doc_string(note, "text"), text) != NULL;
	return n;
}

/* Inodes of 128 bytes have seconds, until 2038. */
Test(copier, times_that_the_store_does_not_have_are_noted_and_nothing_is_copied_again)
{
	struct umbra_shadow *copies[3] = {0};
	size_t i;

	place_need_root("to mount a filesystem");
	rig_need("truncate -s 16M img && mkfs.ext4 -q -F -I 128 img 2>/dev/null && "
		 "mount -o loop img state");
	rig_use("origin", "state");
	lab_run("cd origin && mkdir d && touch -d '2001-02-03 04:05:06.789' d/a d/b c && "
		"ln c d/c && ln -s c link && touch -d '2100-01-01 00:00:00' late");
	rig_settle();
	for (i = 0; i < UMBRA_ARRAY_SIZE(copies); i++) {
		copies[i] = rig_copy(i > 0 ? copies[i - 1] : NULL);
		cr_assert_eq(notes_of(copies[i], "less exactly"), 1);
		cr_assert_eq(notes_of(copies[i], "not kept: times"), 1);
		cr_assert(rig_noted(copies[i], UMBRA_NOTE_PARTIAL, "late"));
	}
	cr_assert_eq(rig_data(copies[0], "linked"), 0);
	cr_assert_eq(rig_data(copies[2], "linked"), rig_data(copies[2], "files"));
	cr_assert_eq(rig_ino(copies[0], "d/a"), rig_ino(copies[2], "d/a"));
	rig_use("origin", "origin");
	lab_run("umount state");
}

Test(copier, exact_times_are_not_noted)
{
	lab_run("touch -d '2001-02-03 04:05:06.789' origin/a origin");
	cr_assert_eq(notes_of(rig_copy(NULL), ""), 0);
}

Test(copier, every_copy_says_what_is_lost_in_it)
{
	struct umbra_shadow *first, *second;

	/* ext4 keeps a block of attributes, tmpfs what the memory holds. */
	rig_need("mount -t tmpfs umbra-unit origin && echo x >origin/f && "
		 "setfattr -n user.large -v $(head -c 40000 /dev/zero | tr '\\0' x) origin/f && "
		 "! { : >g && setfattr -n user.large -v $(head -c 40000 /dev/zero | tr '\\0' x) g; "
		 "}");
	rig_settle();
	first = rig_copy(NULL);
	second = rig_copy(first);
	lab_run("umount origin");
	cr_assert_eq(rig_ino(first, "f"), rig_ino(second, "f"));
	cr_assert(rig_noted(first, UMBRA_NOTE_PARTIAL, "f"));
	cr_assert(rig_noted(second, UMBRA_NOTE_PARTIAL, "f"));
}
