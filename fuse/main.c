/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mount.umbra: mounts the tree of all shadow copy sets, and serves it. */
#include <fcntl.h>
#include <locale.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"
#include "fuse/mountpoint.h"
#include "fuse/options.h"
#include "fuse/service.h"
#include "version.h"

static const char usage[] =
	"usage: mount.umbra SOURCE DIR [-sfnv] [-o OPTION[,OPTION…]] [--foreground]\n\n"
	"Mounts the shadow copy sets of a state directory as a read-only tree. SOURCE is the\n"
	"state directory, or 'umbra' for the default one. Called by 'umbra mount', by mount(8)\n"
	"('mount -t umbra') and for lines of fstab(5). Options:\n\n"
	"  state=DIR   the state directory, where SOURCE does not say it\n"
	"  noothers    only who mounts it sees the tree, as for users other than root\n"
	"  nonempty    DIR may have files, which the tree then hides\n"
	"  noexec, noatime, context=… and the like are the kernel's; see mount.umbra(8)\n";

/* What libfuse says last is why it failed. */
static char fuse_said[256];

__attribute__((format(printf, 2, 0))) static void note_fuse(enum fuse_log_level level,
							    const char *fmt, va_list ap)
{
	if (level <= FUSE_LOG_ERR)
		vsnprintf(fuse_said, sizeof(fuse_said), fmt, ap);
	fuse_said[strcspn(fuse_said, "\n")] = '\0';
}

/* The process that the caller waits for, and what it gets to know. */
struct daemon {
	int status_fd; /* -1: in the foreground */
	struct fuse_session *se;
	dev_t dev; /* of the mount; 0: none, or not known */
	int result;
};

static void say_ready(void *arg, const char *why_not)
{
	struct daemon *d = arg;
	const char ok = 0;
	int null;

	if (why_not) {
		umbra_log_error("%s", why_not);
		d->result = -EOPNOTSUPP;
		fuse_session_exit(d->se);
		return;
	}
	if (d->status_fd < 0)
		return;
	/* From here on nobody reads what we print, and nobody may wait for us to close it. */
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		close(null);
	}
	umbra_log_to_syslog();
	if (write(d->status_fd, &ok, 1) == 1)
		d->status_fd = umbra_close(d->status_fd);
}

/* For libfuse, whose options are parted by commas. */
static char *escape(const char *value)
{
	char *out = malloc(2 * strlen(value) + 1), *p = out;

	for (; out && *value; value++) {
		if (*value == ',' || *value == '\\')
			*p++ = '\\';
		*p++ = *value;
	}
	if (out)
		*p = '\0';
	return out;
}

static char *fuse_options(const struct umbra_mount_options *o, const char *state_dir)
{
	_cleanup_free_ char *name = escape(state_dir);

	if (!name)
		return NULL;
	return umbra_asprintf("fsname=%s,subtype=umbra,default_permissions,ro,nosuid,nodev%s%s%s",
			      name, o->others ? ",allow_other" : "", o->kernel ? "," : "",
			      o->kernel ? o->kernel : "");
}

static int new_session(const struct umbra_mount_options *o, const char *state_dir,
		       struct umbra_mount *m, struct fuse_session **out, struct umbra_error *err)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	_cleanup_free_ char *options = fuse_options(o, state_dir);

	if (!options || fuse_opt_add_arg(&args, "mount.umbra") < 0 ||
	    fuse_opt_add_arg(&args, "-o") < 0 || fuse_opt_add_arg(&args, options) < 0) {
		fuse_opt_free_args(&args);
		return umbra_oom(err);
	}
	*out = fuse_session_new(&args, &umbra_ops, sizeof(umbra_ops), m);
	fuse_opt_free_args(&args);
	if (!*out)
		return umbra_fail(err, UMBRA_E_INTERNAL, EINVAL, "cannot start FUSE: %s",
				  fuse_said);
	return 0;
}

/*
 * libfuse unmounts whatever lies on dir. Where the tree was taken away lazily and another one took
 * its place, a descriptor in error tells it that there is nothing to unmount any more.
 */
static void end_mount(struct fuse_session *se, const char *dir, dev_t dev)
{
	int fds[2];

	if (dev && umbra_mountpoint_device(dir) != dev && pipe2(fds, O_CLOEXEC) == 0) {
		close(fds[0]);
		dup3(fds[1], fuse_session_fd(se), O_CLOEXEC);
		close(fds[1]);
	}
	fuse_session_unmount(se);
}

static int serve_session(struct fuse_session *se, struct umbra_mount *m,
			 struct umbra_service *service, const char *dir, struct daemon *d,
			 struct umbra_error *err)
{
	struct fuse_loop_config config = {.clone_fd = 0, .max_idle_threads = 10};
	int r;

	if (fuse_session_mount(se, dir) < 0)
		return umbra_fail(err, UMBRA_E_UNSUPPORTED, EIO, "cannot mount on '%s': %s", dir,
				  fuse_said[0] ? fuse_said : "see the message above");
	d->se = se;
	d->dev = umbra_mountpoint_device(dir);
	/* Not before: in systemd's process group, and no other, an automount's place can be
	 * reached while it is being mounted on. */
	if (d->status_fd >= 0)
		setsid();
	r = umbra_service_start(service, m->tree, se, d->dev, err);
	if (r == 0) {
		fuse_session_loop_mt(se, &config);
		r = d->result;
	}
	return r;
}

static int serve_tree(const struct umbra_mount_options *o, const char *state_dir, int state_fd,
		      const char *dir, struct daemon *d, struct umbra_error *err)
{
	struct umbra_tree_options options = {
		.state_dir = state_dir,
		.paths = secure_getenv("UMBRA_TEST_PATHS") != NULL,
	};
	struct umbra_mount m = {.others = o->others, .ready = say_ready, .arg = d};
	struct umbra_service *service = NULL;
	struct fuse_session *se = NULL;
	int r;

	/* Listening comes before reading: what is announced in between waits. */
	r = umbra_service_new(state_fd, &service, err);
	if (r == 0)
		r = umbra_tree_new(&options, &m.tree, err);
	if (r == 0)
		r = new_session(o, state_dir, &m, &se, err);
	if (r == 0)
		r = serve_session(se, &m, service, dir, d, err);
	umbra_service_free(service);
	if (se) {
		end_mount(se, dir, d->dev);
		fuse_session_destroy(se);
	}
	umbra_tree_free(m.tree);
	return r;
}

/* Makes the default state directory, so that sets made later are seen; one that is read-only will
 * do. */
static int open_state(const char *state_dir, int *fd, struct umbra_error *err)
{
	_cleanup_engine_ struct umbra_engine *e = NULL;
	int r = umbra_engine_open(state_dir, UMBRA_CATALOG_WRITE, &e, err);

	if (r == -EROFS)
		r = umbra_engine_open(state_dir, UMBRA_CATALOG_READ, &e, err);
	if (r < 0)
		return r;
	*fd = fcntl(umbra_engine_state_fd(e), F_DUPFD_CLOEXEC, 0);
	return *fd < 0 ? umbra_fail_errno(err, errno, "cannot open '%s'", state_dir) : 0;
}

static int serve(const struct umbra_mount_options *o, const char *state_dir, const char *dir,
		 struct daemon *d)
{
	struct umbra_error err = {0};
	_cleanup_close_ int state_fd = -1;
	int r = open_state(state_dir, &state_fd, &err);

	if (r == 0)
		r = serve_tree(o, state_dir, state_fd, dir, d, &err);
	if (r < 0 && err.text[0])
		umbra_log_error("%s", err.text);
	return r < 0 ? 1 : 0;
}

/* What the caller sees: the child's status when it ends, or 0 once it says that it serves. */
static int wait_ready(int fd, pid_t pid)
{
	int status;
	char c;

	if (read(fd, &c, 1) == 1)
		return 0;
	if (waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) != 0)
		return WEXITSTATUS(status);
	umbra_log_error("the daemon ended before the tree was usable");
	return 1;
}

static int start(const struct umbra_mount_options *o, const char *state_dir, const char *dir)
{
	struct daemon d = {.status_fd = -1};
	int fds[2];
	pid_t pid;

	if (o->foreground) {
		if (chdir("/") < 0) /* perhaps below dir */
			return 1;
		return serve(o, state_dir, dir, &d);
	}
	if (pipe2(fds, O_CLOEXEC) < 0 || (pid = fork()) < 0) {
		umbra_log_error("cannot start the daemon: %s", strerror(errno));
		return 1;
	}
	if (pid > 0) {
		close(fds[1]);
		return wait_ready(fds[0], pid);
	}
	close(fds[0]);
	d.status_fd = fds[1];
	if (chdir("/") < 0)
		return 1;
	return serve(o, state_dir, dir, &d);
}

static int prepare(const struct umbra_mount_options *o, char **state_dir, char **dir,
		   struct umbra_error *err)
{
	int r = umbra_state_dir(o->state, state_dir, err);

	if (r == 0)
		r = umbra_state_known(*state_dir, err);
	if (r == 0)
		r = umbra_mountpoint_check(o->dir, *state_dir, o->nonempty, dir, err);
	return r < 0 ? r : umbra_mountpoint_fuse(err);
}

int main(int argc, char **argv)
{
	_cleanup_mount_options_ struct umbra_mount_options o = {0};
	_cleanup_free_ char *state_dir = NULL, *dir = NULL;
	struct umbra_error err = {0};
	int r;

	umbra_hold_standard_fds();
	/* A lock or a pipe of the caller's would be held as long as the tree is there. */
	close_range(STDERR_FILENO + 1, ~0U, 0);
	setlocale(LC_ALL, "");
	umbra_log_init("mount.umbra", UMBRA_LOG_INFO);
	fuse_set_log_func(note_fuse);
	r = umbra_mount_options_parse(argc, argv, &o, &err);
	if (r == 0 && (o.help || o.version)) {
		fputs(o.help ? usage : "mount.umbra " UMBRA_VERSION "\n", stdout);
		return 0;
	}
	if (r == 0)
		r = prepare(&o, &state_dir, &dir, &err);
	if (r < 0) {
		umbra_log_error("%s", err.text);
		return err.code == UMBRA_E_USAGE ? 2 : 1;
	}
	if (o.verbose)
		umbra_log_info("shadow copies of '%s' on '%s'", state_dir, dir);
	return o.fake ? 0 : start(&o, state_dir, dir);
}
