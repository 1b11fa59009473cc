/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The provider "copy": what is copied is what was there. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "copy_rig.h"
#include "snapshot/sys/same.h"

TestSuite(copy, .init = rig_begin, .fini = rig_end, .timeout = 120);
TestSuite(copy_many, .init = rig_begin_in_memory, .fini = rig_end, .timeout = 120);

static void make_socket(const char *name)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un sa = {.sun_family = AF_UNIX};

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/origin/%s", place, name);
	cr_assert_eq(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
}

/* Depth 100 of names with 255 bytes: no path reaches it. */
static void make_deep(int depth)
{
	_cleanup_free_ char *path = umbra_asprintf("%s/origin", place);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), sub;
	char name[256];

	memset(name, 'd', 255);
	name[255] = '\0';
	while (depth-- > 0) {
		cr_assert_eq(mkdirat(fd, name, 0755), 0);
		sub = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		cr_assert_geq(sub, 0);
		close(fd);
		fd = sub;
	}
	cr_assert_eq(symlinkat("at the bottom", fd, "link"), 0);
	close(fd);
}

static void make_hostile(void)
{
	lab_run("cd origin && mkdir -p a/b empty 'new\nline' && echo one >a/one && "
		"printf x >\"$(printf 'bad\\377utf8')\" && echo y >'new\nline/and\nmore' && "
		"echo z >\"$(printf '%%0255d' 7)\" && : >nothing && ln -s nowhere dangling && "
		"ln -s a/one good && mkfifo fifo && ln a/one a/b/two && ln a/one three && "
		"ln dangling a/dangling2 && ln fifo a/fifo2");
	lab_run("cd origin && truncate -s 6G sparse && echo end >>sparse && "
		"dd if=/dev/urandom of=sparse bs=64K seek=30000 count=3 conv=notrunc status=none "
		"&& "
		"truncate -s 7G tail && dd if=/dev/urandom of=big bs=1M count=5 status=none");
	lab_run("cd origin && touch -h -d '1903-02-01 01:02:03.123456789' dangling nothing && "
		"touch -d '1969-12-31 23:59:59.999999999 UTC' empty && touch -d @9999999999.5 big "
		"&& "
		"chmod 4755 big && chmod 2750 a && chmod 1777 empty && "
		"chmod 0555 a/b");
	make_socket("socket");
	make_deep(100);
}

static void make_privileged(void)
{
	lab_run("cd origin && mknod null c 1 3 && mknod disk b 259 262143 && chmod 0 nothing && "
		"chown 7:8 a/one && "
		"chown -h 9:10 dangling fifo && chown 11:12 empty && chmod 6755 big");
	rig_need("cd origin && setfattr -n user.key -v value a && "
		 "setfattr -n trusted.key -v secret big && setfattr -h -n trusted.l -v x good && "
		 "setfacl -m u:77:rw,g:88:- a/one && setfacl -d -m u:77:rwx a && "
		 "setfacl -m u:5:rwx empty && setcap cap_net_raw+ep three");
}

/* Where times say nothing of content, devices are made again instead of being linked. */
static void copies_are_exact(unsigned int devices)
{
	const unsigned int anew = umbra_times_tell(place_fd) ? 0 : devices;
	struct umbra_shadow *first, *second;

	rig_settle();
	first = rig_copy(NULL);
	rig_same(first);
	cr_assert_eq(json_array_size(first->notes), 0);
	second = rig_copy(first);
	rig_same(second);
	rig_same(first);
	cr_assert_eq(rig_data(second, "linked") + anew, rig_data(second, "files"));
}

Test(copy, of_everything_that_a_tree_can_hold)
{
	place_need_root("to make devices and files of others");
	make_hostile();
	make_privileged();
	copies_are_exact(2);
}

Test(copy, of_everything_that_a_user_can_make)
{
	make_hostile();
	copies_are_exact(0);
}

Test(copy_many, of_a_large_directory)
{
	struct umbra_shadow *first, *second;

	lab_run("cd origin && mkdir large && cd large && seq 50000 | xargs touch");
	rig_settle();
	first = rig_copy(NULL);
	rig_same(first);
	lab_run("cd origin/large && rm 777 && echo x >888 && echo y >x");
	rig_settle();
	second = rig_copy(first);
	rig_same(second);
	cr_assert_eq(rig_data(second, "files"), 50000);
	cr_assert_eq(rig_data(second, "linked"), 49998);
}

/* Far more levels than descriptors. */
Test(copy_many, of_a_tree_of_thousands_of_levels)
{
	const struct rlimit few = {.rlim_cur = 1024, .rlim_max = 20000};
	const struct umbra_provider *p = umbra_provider_find("copy");
	struct umbra_shadow *first, *second;
	_cleanup_free_ char *path = umbra_asprintf("%s/origin", place);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), sub, i;

	for (i = 0; i < 4000; i++) {
		cr_assert_eq(mkdirat(fd, "side", 0755), 0);
		cr_assert_eq(symlinkat("x", fd, "link"), 0);
		cr_assert_eq(mkdirat(fd, "down", 0755), 0);
		sub = openat(fd, "down", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		close(fd);
		fd = sub;
	}
	close(fd);
	rig_settle();
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	first = rig_copy(NULL);
	second = rig_copy(first);
	cr_assert_eq(rig_data(second, "dirs"), 8001);
	cr_assert_eq(rig_data(second, "linked"), 4000);
	cr_assert_eq(json_array_size(second->notes), 0);
	cr_assert_eq(p->remove(rig_state_fd(), first, NULL, NULL), 0);
	cr_assert_eq(p->remove(rig_state_fd(), second, NULL, NULL), 0);
}

Test(copy, shares_what_is_unchanged_and_nothing_else)
{
	struct umbra_shadow *first, *second;

	lab_run("cd origin && mkdir d e && for i in a b c f g; do echo $i >d/$i; done && "
		"echo same >e/moved && echo link >e/l1 && ln e/l1 d/l2");
	rig_settle();
	first = rig_copy(NULL);
	lab_run("cd origin && echo B >d/b && chmod 600 d/c && touch -d 2001-01-01 d/f && "
		"cp -p d/g d/h && mv d/h d/g && mv e e2");
	rig_settle();
	second = rig_copy(first);
	rig_same(second);
	cr_assert_eq(rig_ino(first, "d/a"), rig_ino(second, "d/a"));
	cr_assert_neq(rig_ino(first, "d/b"), rig_ino(second, "d/b"));
	cr_assert_neq(rig_ino(first, "d/c"), rig_ino(second, "d/c"));
	cr_assert_neq(rig_ino(first, "d/f"), rig_ino(second, "d/f"));
	cr_assert_neq(rig_ino(first, "d/g"), rig_ino(second, "d/g"));
	cr_assert_eq(rig_ino(second, "d/l2"), rig_ino(second, "e2/l1"));
}

Test(copy, what_changed_in_the_same_tick_is_copied_again)
{
	struct umbra_shadow *first, *second;
	int i;

	for (i = 0; i < 20; i++) {
		/* Same size, and often the same times. */
		lab_run("cd origin && echo %d >file", 10 + i);
		first = rig_copy(NULL);
		lab_run("cd origin && echo %d >file", 50 + i);
		second = rig_copy(first);
		rig_same(second);
	}
}

/* A page that is mapped and dirty is written without any change of the file's times. */
Test(copy, what_changes_through_a_mapping_is_seen)
{
	rig_need("command -v python3 >/dev/null");
	lab_run("echo hello >origin/mapped");
	lab_run("cat >m.py <<'END'\n"
		"import mmap, os, sys, time\n"
		"fd = os.open('origin/mapped', os.O_RDWR)\n"
		"m = mmap.mmap(fd, 6)\n"
		"m[0:1] = b'H'\n"
		"open('step1', 'w').close()\n"
		"while not os.path.exists('go'): time.sleep(0.01)\n"
		"m[1:2] = b'E'\n"
		"open('step2', 'w').close()\n"
		"END\n"
		"timeout 30 python3 m.py & while ! [ -e step1 ]; do sleep 0.02; done; sleep 0.1");
	struct umbra_shadow *first = rig_copy(NULL), *second;

	lab_run("touch go; while ! [ -e step2 ]; do sleep 0.02; done");
	second = rig_copy(first);
	rig_same(second);
}

Test(copy, past_the_link_limit_a_new_file_begins)
{
	struct umbra_shadow *first, *second, *third;
	int i, r = 0;

	lab_run("cd origin && echo data >file && echo l >l1 && ln l1 l2");
	rig_settle();
	first = rig_copy(NULL);
	lab_run("mkdir more");
	for (i = 0; i < 70000 && r == 0; i++) {
		_cleanup_free_ char *to = umbra_asprintf("%s/more/%d", place, i);
		_cleanup_free_ char *from =
			umbra_asprintf("%s/state/copies/%s/tree/file", place, first->id.s);
		_cleanup_free_ char *to2 = umbra_asprintf("%s/more/l%d", place, i);
		_cleanup_free_ char *from2 =
			umbra_asprintf("%s/state/copies/%s/tree/l1", place, first->id.s);

		r = link(from, to);
		if (i < 64997)
			link(from2, to2);
	}
	if (r == 0)
		rig_skip("this filesystem has no limit of links below 70000");
	second = rig_copy(first);
	rig_same(second);
	cr_assert_neq(rig_ino(first, "file"), rig_ino(second, "file"));
	cr_assert_neq(rig_ino(first, "l1"), rig_ino(second, "l1"));
	third = rig_copy(second);
	rig_same(third);
	cr_assert_eq(rig_ino(third, "file"), rig_ino(second, "file"));
	cr_assert_eq(rig_ino(third, "l2"), rig_ino(second, "l1"));
}

/* --- what happens meanwhile --- */

static void *write_on(void *arg)
{
	_cleanup_free_ char *path = umbra_asprintf("%s/origin/log", place);
	volatile bool *stop = arg;
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);

	while (!*stop && write(fd, "line\n", 5) == 5)
		;
	close(fd);
	return NULL;
}

Test(copy, a_file_that_never_holds_still_is_kept_and_named)
{
	volatile bool stop = false;
	struct umbra_shadow *shadow;
	pthread_t thread;

	if (lab_true("echo x >x && cp --reflink=always x y 2>/dev/null"))
		rig_skip("here files are cloned, which takes no time");
	/* Long enough that it takes a while to read. */
	lab_run("echo quiet >origin/quiet; dd if=/dev/zero of=origin/log bs=1M count=64 "
		"status=none");
	cr_assert_eq(pthread_create(&thread, NULL, write_on, (void *)(uintptr_t)&stop), 0);
	usleep(20000);
	shadow = rig_copy(NULL);
	stop = true;
	pthread_join(thread, NULL);
	cr_assert(rig_noted(shadow, UMBRA_NOTE_CHANGED, "log"));
	cr_assert_not(rig_noted(shadow, UMBRA_NOTE_CHANGED, "quiet"));
	cr_assert_eq(json_array_size(shadow->notes), 1);
	rig_ino(shadow, "log");
}

/* Files come and go, directories become links and back, names change. */
static void *shuffle(void *arg)
{
	volatile bool *stop = arg;
	_cleanup_free_ char *path = umbra_asprintf("%s/origin", place);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), i, f;
	char name[32], other[32];

	for (i = 0; !*stop; i++) {
		snprintf(name, sizeof(name), "d%d", i % 40);
		snprintf(other, sizeof(other), "e%d", i % 40);
		renameat(fd, name, fd, other);
		symlinkat("/etc", fd, name);
		unlinkat(fd, name, 0);
		renameat(fd, other, fd, name);
		snprintf(name, sizeof(name), "f%d", i % 100);
		unlinkat(fd, name, 0);
		linkat(fd, "linked", fd, name, 0);
		unlinkat(fd, name, 0);
		f = openat(fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		close(f);
	}
	close(fd);
	return NULL;
}

Test(copy_many, of_a_tree_that_is_changed_all_the_time)
{
	volatile bool stop = false;
	struct umbra_shadow *last = NULL;
	pthread_t thread;
	int i;

	lab_run("cd origin && for i in $(seq 0 39); do mkdir -p d$i/x/y; seq 100 >d$i/x/y/n; done; "
		"echo l >linked");
	cr_assert_eq(pthread_create(&thread, NULL, shuffle, (void *)(uintptr_t)&stop), 0);
	for (i = 0; i < 10; i++)
		last = rig_copy(last);
	stop = true;
	pthread_join(thread, NULL);
	cr_assert(lab_true("! find state/copies -name passwd | grep -q ."));
	rig_settle();
	last = rig_copy(last);
	rig_same(last);
}

static void put_another_there(void)
{
	lab_run("mv origin mine && mkdir -m 755 theirs && echo theirs >theirs/f && ln -s theirs "
		"origin");
}

Test(copy, what_was_opened_is_copied_whatever_is_put_in_its_place)
{
	struct umbra_shadow *shadow;
	struct umbra_root *root;
	struct stat st;

	lab_run("echo mine >origin/mine");
	rig_when_opened(put_another_there);
	shadow = rig_copy(NULL);
	root = rig_open(shadow);
	cr_assert_eq(fstatat(root->fd, "mine", &st, 0), 0);
	cr_assert_eq(fstatat(root->fd, "f", &st, 0), -1);
	umbra_root_close(root);
}

Test(copy, its_own_store_is_left_out)
{
	struct umbra_shadow *shadow;

	lab_run("mkdir origin/state origin/other");
	rig_use("origin", "origin/state");
	shadow = rig_copy(NULL);
	rig_copy(shadow);
	cr_assert(lab_true("cd origin/state/copies/%s/tree && [ -d other ] && [ ! -e state ]",
			   shadow->id.s));
}

Test(copy, on_a_filesystem_that_keeps_no_owners_and_modes)
{
	struct umbra_shadow *first, *second;

	place_need_root("to make files of others");
	rig_need("mkdir real view && command -v bindfs >/dev/null && "
		 "timeout 20 bindfs --chown-ignore --chgrp-ignore --chmod-ignore real view");
	lab_run("cd origin && mkdir d && echo one >d/one && chown 5:6 d/one && chmod 4711 d/one && "
		"mkfifo d/fifo && chmod 1753 d && ln d/one two && mkdir d/e");
	rig_settle();
	rig_use("origin", "view");
	first = rig_copy(NULL);
	rig_same(first);
	second = rig_copy(first);
	rig_same(second);
	cr_assert_eq(rig_data(second, "linked"), 3);
}

Test(copy, other_mounts_are_empty_directories)
{
	struct umbra_shadow *shadow;
	struct umbra_root *root;
	struct stat st;

	place_need_root("to mount something in the origin");
	lab_run("mkdir -p origin/d/m && echo x >origin/file");
	rig_need("mount -t tmpfs -o mode=1770 none origin/d/m && echo inside >origin/d/m/file");
	rig_need("touch origin/cover && mount --bind origin/file origin/cover");
	shadow = rig_copy(NULL);
	lab_run("umount origin/d/m && umount origin/cover");
	root = rig_open(shadow);
	cr_assert_eq(fstatat(root->fd, "d/m", &st, 0), 0);
	cr_assert_eq(umbra_root_fix(root, &st), 0);
	cr_assert_eq(st.st_mode, S_IFDIR | 01770);
	cr_assert(lab_true("[ -z \"$(ls state/copies/%s/tree/d/m)\" ]", shadow->id.s));
	cr_assert_eq(fstatat(root->fd, "cover", &st, 0), 0);
	cr_assert_eq(umbra_root_check(root, st.st_ino), -EIO);
	cr_assert(rig_noted(shadow, UMBRA_NOTE_UNREADABLE, "cover"));
	umbra_root_close(root);
}
