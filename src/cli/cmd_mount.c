/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/mountdir.h"
#include "cli/output.h"
#include "common/text.h"

#define HELPER "mount.umbra"

/* The default place is made when it is missing, any other must be there. */
static int choose_dir(const struct umbra_args *args, char **out, struct umbra_error *err)
{
	_cleanup_free_ char *dir = NULL;
	int r;

	if (args->n_words > 0) {
		*out = strdup(args->words[0]);
		return *out ? 0 : umbra_oom(err);
	}
	r = umbra_mountdir_default(&dir, err);
	if (r < 0)
		return r;
	r = umbra_mkdir_all(dir, 0755);
	/* A tree without a daemon is the helper's to take away. */
	if (r < 0 && r != -ENOTCONN)
		return umbra_fail_errno(err, r, "cannot make '%s'", dir);
	*out = TAKE_PTR(dir);
	return 0;
}

/* What the helper cannot do it says itself, on our stderr. */
static int run_helper(char *const argv[], struct umbra_error *err)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		execv(argv[0], argv);
		fprintf(stderr, "umbra: cannot run '%s': %s\n", argv[0], strerror(errno));
		_exit(126);
	}
	if (pid < 0)
		return umbra_fail_errno(err, errno, "cannot start '%s'", argv[0]);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return umbra_fail_errno(err, errno, "waiting for '%s'", argv[0]);
	if (WIFSIGNALED(status))
		return umbra_fail(err, UMBRA_E_INTERNAL, EIO, "'%s' was killed by signal %d",
				  argv[0], WTERMSIG(status));
	return WEXITSTATUS(status);
}

static int report(const struct umbra_cli *cli, const char *state, const char *dir,
		  struct umbra_error *err)
{
	_cleanup_json_ json_t *doc = NULL;
	_cleanup_free_ char *text = NULL;

	if (cli->json) {
		doc = json_object();
		if (!doc || umbra_doc_set_path(doc, "mounted", dir) < 0 ||
		    umbra_doc_set_path(doc, "state_dir", state) < 0)
			return umbra_oom(err);
		return umbra_output_json(TAKE_PTR(doc), err);
	}
	text = umbra_text_printable_dup(dir);
	if (!text)
		return umbra_oom(err);
	printf("mounted on %s\n", text);
	return 0;
}

static int run(const struct umbra_cli *cli, const struct umbra_args *args, struct umbra_error *err)
{
	_cleanup_free_ char *helper = NULL, *state = NULL, *dir = NULL, *real = NULL;
	const char *options = umbra_args_value(args, "options");
	char *argv[10] = {0};
	size_t n = 0;
	/* In a build directory, or both programs copied to one place. */
	static const char *const places[] = {".", "../../fuse", "../sbin", NULL};
	int r = umbra_find_program(HELPER, places, &helper, err);

	if (r == 0)
		r = umbra_state_dir(cli->state, &state, err);
	if (r == 0)
		r = choose_dir(args, &dir, err);
	if (r < 0)
		return r;
	argv[n++] = helper;
	if (options) {
		argv[n++] = (char *)"-o";
		argv[n++] = (char *)options;
	}
	if (umbra_args_has(args, "nonempty")) {
		argv[n++] = (char *)"-o";
		argv[n++] = (char *)"nonempty";
	}
	argv[n++] = (char *)"--";
	argv[n++] = state;
	argv[n++] = dir;
	r = run_helper(argv, err);
	if (r != 0)
		return r;
	/* Not realpath(): what is mounted there now need not answer. */
	r = umbra_absolute_name(dir, &real);
	return r < 0 ? umbra_fail_errno(err, r, "cannot reach '%s'", dir)
		     : report(cli, state, real, err);
}

static const struct umbra_option options[] = {
	{"options", 'o', "LIST", "mount options, see mount.umbra(8)", UMBRA_WORD_NONE},
	{"nonempty", 0, NULL, "hide the files that DIR has", UMBRA_WORD_NONE},
	{0},
};

const struct umbra_command umbra_command_mount = {
	.name = "mount",
	.words = "[DIR]",
	.summary = "Show all shadow copy sets as a tree of files, read-only",
	.help = "Without DIR: on /run/umbra/shadows, for users other than root on\n"
		"$XDG_RUNTIME_DIR/umbra/shadows. The tree has a directory for each set, named by "
		"its\n"
		"time, 'latest', and 'by-volume'. New sets appear in it by themselves.",
	.options = options,
	.max_words = 1,
	.word = UMBRA_WORD_DIR,
	.run = run,
};
