/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/mountdir.h"
#include "cli/output.h"
#include "cli/users.h"
#include "common/log.h"
#include "snapshot/mounts.h"

static void unref_table(struct libmnt_table **tb)
{
	mnt_unref_table(*tb);
}

static int no_tree(const char *dir, struct libmnt_fs *fs, struct umbra_error *err)
{
	if (!fs)
		return umbra_fail(err, UMBRA_E_NOT_FOUND, EINVAL,
				  "no tree of shadow copies is mounted on '%s' (see 'findmnt "
				  "-t " UMBRA_MOUNTS_FSTYPE "')",
				  dir);
	return umbra_fail(err, UMBRA_E_NOT_FOUND, EINVAL,
			  "what is mounted on '%s' is no tree of shadow copies but %s (%s): "
			  "umount(8) takes it away",
			  dir, mnt_fs_get_source(fs) ? mnt_fs_get_source(fs) : "none",
			  mnt_fs_get_fstype(fs));
}

static int busy(const char *dir, struct libmnt_table *tb, struct umbra_error *err)
{
	_cleanup_free_ char *users = umbra_users_of(dir);
	struct libmnt_iter *it = mnt_new_iter(MNT_ITER_FORWARD);
	const char *below, *inside = NULL;
	struct libmnt_fs *fs;

	while (it && !inside && mnt_table_next_fs(tb, it, &fs) == 0) {
		below = umbra_path_below(mnt_fs_get_target(fs), dir);
		if (below && *below)
			inside = mnt_fs_get_target(fs);
	}
	mnt_free_iter(it);
	if (inside)
		return umbra_fail(err, UMBRA_E_BUSY, EBUSY,
				  "the tree on '%s' is in use: '%s' is mounted in it; unmount that "
				  "first, or use --lazy",
				  dir, inside);
	return umbra_fail(err, UMBRA_E_BUSY, EBUSY,
			  "the tree on '%s' is in use%s%s: end what uses it, or use --lazy", dir,
			  users ? " by " : "", users ? users : "");
}

static int as_root(const char *dir, bool lazy, struct umbra_error *err)
{
	struct libmnt_context *context = mnt_new_context();
	int r;

	if (!context || mnt_context_set_target(context, dir) < 0) {
		mnt_free_context(context);
		return umbra_oom(err);
	}
	mnt_context_disable_helpers(context, 1);
	mnt_context_disable_canonicalize(context, 1);
	mnt_context_enable_lazy(context, lazy);
	r = mnt_context_umount(context);
	if (mnt_context_syscall_called(context))
		r = -mnt_context_get_syscall_errno(context);
	mnt_free_context(context);
	return r;
}

static int as_user(const char *dir, bool lazy, struct umbra_error *err)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		execlp("fusermount3", "fusermount3", lazy ? "-quz" : "-qu", "--", dir, NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return umbra_fail_errno(err, errno, "cannot run fusermount3");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return umbra_fail(err, UMBRA_E_UNSUPPORTED, ENOENT,
				  "there is no fusermount3, which users need for unmounting: "
				  "install package fuse3");
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EBUSY;
}

/* fusermount3 does not say why it refuses. */
static int check_owner(const char *dir, struct libmnt_fs *fs, struct umbra_error *err)
{
	char *value = NULL;

	if (geteuid() == 0 || mnt_fs_get_option(fs, "user_id", &value, NULL) != 0 || !value ||
	    strtoul(value, NULL, 10) == geteuid())
		return 0;
	return umbra_fail(err, UMBRA_E_PERMISSION, EPERM,
			  "the tree on '%s' was mounted by another user: only who mounted it and "
			  "root can take it away",
			  dir);
}

static int take_away(const char *dir, bool lazy, struct libmnt_table *tb, struct umbra_error *err)
{
	int r;

	err->text[0] = '\0';
	r = geteuid() == 0 ? as_root(dir, lazy, err) : as_user(dir, lazy, err);
	if (r == 0 || err->text[0])
		return r;
	return r == -EBUSY ? busy(dir, tb, err)
			   : umbra_fail_errno(err, r, "cannot unmount '%s'", dir);
}

/*
 * A connection that lasts as long as the process behind the tree does: it is done with the state
 * directory only then. -1: not known. A state directory of somebody else's is not entered.
 */
static int connect_to(struct libmnt_fs *fs)
{
	const char *state = mnt_fs_get_source(fs);
	dev_t dev = mnt_fs_get_devno(fs);
	_cleanup_close_ int fd = -1;
	struct stat st;

	fd = state && dev ? open(state, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
	return fd >= 0 && fstat(fd, &st) == 0 && st.st_uid == geteuid() ? umbra_mounts_find(fd, dev)
									: -1;
}

static void wait_for_end(int connection, const char *dir)
{
	if (connection >= 0 && umbra_mounts_wait_end(connection, UMBRA_MOUNTS_END_MS) < 0)
		umbra_log_warning("the tree is not on '%s' any more, but its process has not ended "
				  "yet and may keep its state directory in use",
				  dir);
}

static int report(const struct umbra_cli *cli, const char *dir, struct umbra_error *err)
{
	_cleanup_json_ json_t *doc = NULL;

	if (!cli->json)
		return 0;
	doc = json_object();
	if (!doc || umbra_doc_set_path(doc, "unmounted", dir) < 0)
		return umbra_oom(err);
	return umbra_output_json(TAKE_PTR(doc), err);
}

static int run(const struct umbra_cli *cli, const struct umbra_args *args, struct umbra_error *err)
{
	_cleanup_(unref_table) struct libmnt_table *tb = NULL;
	_cleanup_free_ char *chosen = NULL, *dir = NULL, *followed = NULL;
	_cleanup_close_ int connection = -1;
	struct libmnt_fs *fs;
	const char *word, *target;
	bool lazy;
	int r = 0;

	if (args->n_words == 0)
		r = umbra_mountdir_default(&chosen, err);
	if (r < 0)
		return r;
	/* Without a look at the mount itself, which may have no daemon. */
	word = chosen ? chosen : args->words[0];
	r = umbra_absolute_name(word, &dir);
	if (r == -ENOENT)
		return no_tree(word, NULL, err);
	if (r < 0)
		return umbra_fail_errno(err, r, "cannot reach '%s'", word);
	r = umbra_mountdir_table(&tb, err);
	if (r < 0)
		return r;
	target = dir;
	fs = umbra_mountdir_find(tb, target);
	if (!fs && umbra_absolute_path(dir, false, &followed) == 0) {
		fs = umbra_mountdir_find(tb, followed);
		if (fs)
			target = followed;
	}
	if (!fs || strcmp(mnt_fs_get_fstype(fs), UMBRA_MOUNTS_FSTYPE) != 0)
		return no_tree(dir, fs, err);
	r = check_owner(target, fs, err);
	if (r < 0)
		return r;
	lazy = umbra_args_has(args, "lazy");
	connection = lazy ? -1 : connect_to(fs);
	r = take_away(target, lazy, tb, err);
	if (r == 0)
		wait_for_end(connection, target);
	if (r == 0 && chosen) /* 'umbra mount' has made it; one that is not empty stays */
		rmdir(target);
	return r < 0 ? r : report(cli, target, err);
}

static const struct umbra_option options[] = {
	{"lazy", 'l', NULL, "take it away at once, end it when nobody uses it any more",
	 UMBRA_WORD_NONE},
	{0},
};

const struct umbra_command umbra_command_umount = {
	.name = "umount",
	.words = "[DIR]",
	.summary = "Take a mounted tree of shadow copies away",
	.help = "Without DIR: the one that 'umbra mount' mounts without DIR.",
	.options = options,
	.max_words = 1,
	.word = UMBRA_WORD_DIR,
	.run = run,
};
