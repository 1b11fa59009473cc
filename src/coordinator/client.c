/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "coordinator/client.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/log.h"
#include "common/util.h"
#include "common/wire.h"
#include "coordinator/server.h"
#include "snapshot/engine.h"
#include "snapshot/sys/thaw.h"

#define LOOK_MS 100

struct umbra_coordinator {
	char *state_dir;
	int fd;
	pid_t child;
};

/* Each is told on its own: the two arrays, or the log. */
struct told {
	json_t *released, *problems; /* NULL: the log */
	bool trouble;
};

static void tell(void *arg, bool problem, const char *sentence)
{
	struct told *told = arg;

	told->trouble = told->trouble || problem;
	if (told->released)
		json_array_append_new(problem ? told->problems : told->released,
				      json_string(sentence));
	else if (problem)
		umbra_log_once("%s", sentence);
	else
		umbra_log_warning("%s", sentence);
}

int umbra_coordinator_thaw(json_t *released, json_t *problems, struct umbra_error *err)
{
	struct told told = {.released = released, .problems = problems};
	int r = umbra_thaw(tell, &told, err);

	return r < 0 ? r : 0;
}

bool umbra_coordinator_release_leftovers(void)
{
	struct told told = {0};
	struct umbra_error err = {0};

	if (geteuid() == 0 && umbra_thaw(tell, &told, &err) < 0)
		tell(&told, true, err.text);
	return !told.trouble;
}

static void block_signals(int how)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGQUIT);
	sigprocmask(how, &set, NULL);
}

/*
 * The coordinator must outlive its requester for as long as undoing takes: a session of its own
 * keeps the terminal's signals away; the closed socket tells it all it has to know.
 */
static _Noreturn void run_child(int fd)
{
	int null;

	umbra_fault("coordinator.forked");
	setsid();
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	block_signals(SIG_UNBLOCK);
	/* Who reads the requester's output must not have to wait for us. */
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
	}
	umbra_raise_nofile();
	umbra_fault_init();
	umbra_serve(fd);
	_exit(0);
}

int umbra_coordinator_connect(const char *state_dir, struct umbra_coordinator **out,
			      struct umbra_error *err)
{
	_cleanup_coordinator_ struct umbra_coordinator *c = calloc(1, sizeof(*c));
	int fds[2], r;

	if (!c)
		return umbra_oom(err);
	c->fd = -1;
	umbra_coordinator_release_leftovers(); /* the state may lie on what is held */
	r = umbra_state_dir(state_dir, &c->state_dir, err);
	if (r < 0)
		return r;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return umbra_fail_errno(err, errno, "cannot talk to the coordinator");
	fflush(NULL);
	/* Until the child has a session of its own, what the terminal sends would end it. */
	block_signals(SIG_BLOCK);
	c->child = fork();
	if (c->child == 0) {
		close(fds[0]);
		umbra_coordinator_close(TAKE_PTR(c));
		run_child(fds[1]);
	}
	block_signals(SIG_UNBLOCK);
	close(fds[1]);
	c->fd = fds[0];
	if (c->child < 0)
		return umbra_fail_errno(err, errno, "cannot start the coordinator");
	*out = TAKE_PTR(c);
	return 0;
}

void umbra_coordinator_hang_up(struct umbra_coordinator *c)
{
	c->fd = umbra_close(c->fd);
}

struct umbra_coordinator *umbra_coordinator_close(struct umbra_coordinator *c)
{
	if (!c)
		return NULL;
	umbra_coordinator_hang_up(c);
	if (c->child > 0)
		while (waitpid(c->child, NULL, 0) < 0 && errno == EINTR)
			;
	free(c->state_dir);
	free(c);
	return NULL;
}

/* The connection broke without a result. */
static int died(struct umbra_coordinator *c, struct umbra_error *err)
{
	int status = 0;
	bool known = waitpid(c->child, &status, 0) == c->child;

	c->child = -1;
	umbra_coordinator_release_leftovers();
	if (known && WIFSIGNALED(status))
		return umbra_fail(err, UMBRA_E_INTERRUPTED, EPIPE,
				  "the coordinator was killed by signal %d (%s); what it left is "
				  "undone by the next create, delete or check",
				  WTERMSIG(status), strsignal(WTERMSIG(status)));
	return umbra_fail(err, UMBRA_E_INTERNAL, EPIPE,
			  "the coordinator ended without an answer (status %d)",
			  known ? WEXITSTATUS(status) : -1);
}

static enum umbra_code code_of(const char *name)
{
	int code;

	for (code = UMBRA_E_INTERNAL; name && code <= UMBRA_E_IO; code++)
		if (strcmp(name, umbra_code_name((enum umbra_code)code)) == 0)
			return (enum umbra_code)code;
	return UMBRA_E_INTERNAL;
}

static int failed(const json_t *message, struct umbra_error *err)
{
	const char *text = umbra_doc_string(message, "text");
	int64_t number = umbra_doc_int(message, "errno", EIO);

	if (number < 1 || number > 4095)
		number = EIO;
	return umbra_fail(err, code_of(umbra_doc_string(message, "code")), (int)number, "%s",
			  text ? text : "the coordinator did not say why it failed");
}

static void observe(const json_t *message, struct umbra_observer *o)
{
	const char *phase = umbra_doc_string(message, "phase");
	struct umbra_progress p = {
		.files = (uint64_t)umbra_doc_int(message, "files", 0),
		.files_total = (uint64_t)umbra_doc_int(message, "files_total", 0),
		.bytes = (uint64_t)umbra_doc_int(message, "bytes", 0),
		.bytes_total = (uint64_t)umbra_doc_int(message, "bytes_total", 0),
	};

	if (o && o->progress && phase)
		o->progress(o, phase, &p);
}

static void ask_to_stop(struct umbra_coordinator *c)
{
	_cleanup_json_ json_t *cancel = json_pack("{s:s}", "type", "cancel");

	if (cancel)
		umbra_wire_send(c->fd, cancel, false);
}

/* One message, if there is one: 1 to go on, else the end of the request. What failed may have been
 * EAGAIN itself. */
static int take_message(struct umbra_coordinator *c, struct umbra_observer *o, json_t **result,
			struct umbra_error *err)
{
	_cleanup_json_ json_t *message = NULL;
	const char *type;
	int r = umbra_wire_receive(c->fd, &message, err);

	if (r == -EAGAIN)
		return 1;
	if (r == -ECONNRESET)
		return died(c, err);
	if (r < 0)
		return r;
	type = umbra_doc_string(message, "type");
	if (type && strcmp(type, "progress") == 0) {
		observe(message, o);
		return 1;
	}
	if (!type || strcmp(type, "result") != 0)
		return failed(message, err);
	*result = TAKE_PTR(message);
	return 0;
}

static int send_request(struct umbra_coordinator *c, json_t *request, int wait_s,
			struct umbra_error *err)
{
	int r;

	if (!request || umbra_doc_set_path(request, "state_dir", c->state_dir) < 0 ||
	    json_object_set_new(request, "v", json_integer(UMBRA_PROTOCOL_VERSION)) < 0 ||
	    json_object_set_new(request, "wait_s", json_integer(wait_s)) < 0)
		return umbra_oom(err);
	r = umbra_wire_send(c->fd, request, true);
	if (r == -EMSGSIZE)
		return umbra_fail(err, UMBRA_E_USAGE, E2BIG, "too many or too long names at once");
	if (r < 0)
		return r == -EPIPE ? died(c, err)
				   : umbra_fail_errno(err, r, "cannot talk to the coordinator");
	return 0;
}

/* Takes request, which may be NULL (out of memory). */
static int call(struct umbra_coordinator *c, json_t *request, int wait_s, struct umbra_observer *o,
		json_t **result, struct umbra_error *err)
{
	bool asked = false;
	int r = send_request(c, request, wait_s, err);

	json_decref(request);
	if (r < 0)
		return r;
	do {
		if (!asked && o && o->stop && o->stop(o)) {
			ask_to_stop(c);
			asked = true;
		}
		r = umbra_wire_wait(c->fd, LOOK_MS);
		if (r < 0)
			return umbra_fail_errno(err, r, "waiting for the coordinator");
		r = r > 0 ? take_message(c, o, result, err) : 1;
	} while (r > 0);
	return r;
}

static int put_paths(json_t *array, const struct umbra_create_request *request,
		     struct umbra_error *err)
{
	_cleanup_free_ char *path = NULL;
	json_t *one;
	size_t i;
	int r;

	for (i = 0; i < request->n_paths; i++) {
		r = umbra_absolute_path(request->paths[i], false, &path);
		if (r == -ENOENT)
			return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT, "'%s' does not exist",
					  request->paths[i]);
		if (r < 0)
			return umbra_fail_errno(err, r, "cannot reach '%s'", request->paths[i]);
		one = json_object();
		if (!one || umbra_doc_set_path(one, "path", path) < 0 ||
		    json_array_append_new(array, one) < 0)
			return umbra_oom(err);
		free(TAKE_PTR(path));
	}
	return 0;
}

static int take_warnings(json_t *result, json_t **warnings, struct umbra_error *err)
{
	json_t *list = json_object_get(result, "warnings");

	*warnings = json_is_array(list) ? json_incref(list) : json_array();
	return *warnings ? 0 : umbra_oom(err);
}

int umbra_coordinator_create(struct umbra_coordinator *c,
			     const struct umbra_create_request *request,
			     struct umbra_observer *observer, struct umbra_id *set,
			     json_t **warnings, struct umbra_error *err)
{
	_cleanup_json_ json_t *message = NULL, *result = NULL;
	json_t *paths = json_array();
	const char *id;
	int r;

	message = json_pack("{s:s,s:o,s:b}", "type", "create", "paths", paths, "recursive",
			    request->recursive);
	if (!message)
		return umbra_oom(err);
	r = put_paths(paths, request, err);
	if (r < 0)
		return r;
	if ((request->provider &&
	     umbra_doc_set_string(message, "provider", request->provider) < 0) ||
	    (request->comment && umbra_doc_set_path(message, "comment", request->comment) < 0))
		return umbra_oom(err);
	r = call(c, TAKE_PTR(message), request->wait_s, observer, &result, err);
	if (r < 0)
		return r;
	id = umbra_doc_string(result, "set");
	if (!id || !umbra_id_valid(id))
		return umbra_fail(err, UMBRA_E_INTERNAL, EBADMSG,
				  "the coordinator's answer names no set");
	memcpy(set->s, id, sizeof(set->s));
	return take_warnings(result, warnings, err);
}

static int call_delete(struct umbra_coordinator *c, const struct umbra_id *sets, size_t n,
		       bool forget, int wait_s, struct umbra_observer *observer, json_t **result,
		       struct umbra_error *err)
{
	json_t *message, *ids = json_array();
	size_t i;

	message = json_pack("{s:s,s:o,s:b}", "type", "delete", "sets", ids, "forget", forget);
	for (i = 0; message && i < n; i++)
		if (json_array_append_new(ids, json_string(sets[i].s)) < 0) {
			json_decref(message);
			return umbra_oom(err);
		}
	return call(c, message, wait_s, observer, result, err);
}

int umbra_coordinator_delete(struct umbra_coordinator *c, const struct umbra_id *sets, size_t n,
			     int wait_s, struct umbra_observer *observer, json_t **warnings,
			     struct umbra_error *err)
{
	_cleanup_json_ json_t *result = NULL;
	int r = call_delete(c, sets, n, false, wait_s, observer, &result, err);

	return r < 0 ? r : take_warnings(result, warnings, err);
}

int umbra_coordinator_forget(struct umbra_coordinator *c, const struct umbra_id *sets, size_t n,
			     int wait_s, struct umbra_observer *observer, json_t **forgotten,
			     json_t **warnings, struct umbra_error *err)
{
	_cleanup_json_ json_t *result = NULL;
	int r = call_delete(c, sets, n, true, wait_s, observer, &result, err);

	if (r == 0)
		r = take_warnings(result, warnings, err);
	if (r == 0)
		*forgotten = json_incref(json_object_get(result, "forgotten"));
	return r;
}

int umbra_coordinator_check(struct umbra_coordinator *c, bool rebuild, int wait_s,
			    struct umbra_observer *observer, json_t **report,
			    struct umbra_error *err)
{
	json_t *message = json_pack("{s:s,s:b}", "type", "check", "rebuild", rebuild);

	return call(c, message, wait_s, observer, report, err);
}

int umbra_coordinator_activate(struct umbra_coordinator *c, const struct umbra_activate_call *a,
			       struct umbra_observer *observer, json_t **report,
			       struct umbra_error *err)
{
	json_t *message = json_pack("{s:s,s:b,s:b}", "type", "activate", "early", a->early,
				    "present", a->present);

	return call(c, message, a->wait_s, observer, report, err);
}

static int put_absolute(json_t *message, const char *key, const char *path, struct umbra_error *err)
{
	_cleanup_free_ char *absolute = NULL;
	int r;

	if (!path)
		return 0;
	r = umbra_absolute_path(path, true, &absolute);
	if (r < 0)
		return umbra_fail_errno(err, r, "cannot reach '%s'", path);
	return umbra_doc_set_path(message, key, absolute) < 0 ? umbra_oom(err) : 0;
}

int umbra_coordinator_storage(struct umbra_coordinator *c, const struct umbra_storage_call *asked,
			      struct umbra_observer *observer, json_t **report, json_t **warnings,
			      struct umbra_error *err)
{
	_cleanup_json_ json_t *message = NULL, *result = NULL;
	int r;

	message = json_pack("{s:s,s:s,s:I,s:i,s:b}", "type", "storage", "verb", asked->verb, "size",
			    (json_int_t)asked->size, "percent", asked->percent, "force",
			    asked->force);
	if (!message)
		return umbra_oom(err);
	if (asked->path && umbra_id_valid(asked->path))
		r = umbra_doc_set_string(message, "area", asked->path) < 0 ? umbra_oom(err) : 0;
	else
		r = put_absolute(message, "path", asked->path, err);
	if (r == 0)
		r = put_absolute(message, "place", asked->place, err);
	if (r == 0)
		r = call(c, TAKE_PTR(message), asked->wait_s, observer, &result, err);
	if (r < 0)
		return r;
	if (!json_is_array(json_object_get(result, "areas")))
		return umbra_fail(err, UMBRA_E_INTERNAL, EBADMSG,
				  "the coordinator's answer names no diff areas");
	r = take_warnings(result, warnings, err);
	if (r == 0)
		*report = TAKE_PTR(result);
	return r;
}

int umbra_coordinator_revert(struct umbra_coordinator *c, const struct umbra_revert_call *asked,
			     struct umbra_observer *observer, json_t **report, json_t **warnings,
			     struct umbra_error *err)
{
	_cleanup_json_ json_t *message = NULL, *result = NULL;
	int r;

	message = json_pack("{s:s,s:s,s:b,s:b}", "type", "revert", "set", asked->set.s, "force",
			    asked->force, "unmount", asked->unmount);
	if (!message || umbra_doc_set_path(message, "path", asked->path) < 0)
		return umbra_oom(err);
	r = call(c, TAKE_PTR(message), asked->wait_s, observer, &result, err);
	if (r == 0)
		r = take_warnings(result, warnings, err);
	if (r == 0)
		*report = TAKE_PTR(result);
	return r;
}
