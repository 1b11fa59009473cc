/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is in the store. */
#include "snapshot/provider/copy/scan.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "snapshot/provider/copy/store.h"

/* err: why it is strange or another's. */
static int judge(const json_t *record, struct umbra_found *found, const char *state_dir,
		 struct umbra_error *err)
{
	const char *id = umbra_doc_string(json_object_get(record, "shadow"), "shadow");
	_cleanup_free_ char *owner = NULL;
	int r = umbra_doc_get_path(record, "state_dir", &owner);

	if (r == -ENOMEM)
		return umbra_oom(err);
	found->record = record;
	found->kind = UMBRA_FOUND_COPY;
	if (r < 0 || !id || strcmp(id, found->id) != 0) {
		found->kind = UMBRA_FOUND_STRANGE;
		umbra_fail(err, UMBRA_E_DAMAGED, EUCLEAN, "its record is that of another one");
	} else if (strcmp(owner, state_dir) != 0) {
		found->kind = UMBRA_FOUND_FOREIGN;
		found->here = true;
		umbra_fail(err, UMBRA_E_EXISTS, EEXIST,
			   "its record says that it belongs to the state directory '%s', which is "
			   "there, too",
			   owner);
	}
	return 0;
}

static int scan_one(int store, const char *id, const char *state_dir, umbra_scan_fn fn, void *arg)
{
	_cleanup_close_ int copy = umbra_store_open_copy(store, id);
	_cleanup_json_ json_t *record = NULL;
	struct umbra_error why = {0};
	char where[64];
	struct umbra_found found = {.id = id, .where = where, .why = why.text};
	int r;

	if (copy < 0)
		return 0;
	snprintf(where, sizeof(where), UMBRA_STORE_COPIES "/%s", id);
	r = umbra_record_read(copy, where, &record, &why);
	if (r == -ENOMEM)
		return r;
	if (r == -ENOENT && umbra_store_in_use(copy))
		return 0;
	if (r == 0)
		r = judge(record, &found, state_dir, &why);
	else
		found.kind = r == -ENOENT ? UMBRA_FOUND_LEFTOVER : UMBRA_FOUND_STRANGE;
	return r == -ENOMEM ? r : fn(arg, &found);
}

int umbra_copy_scan(int state_fd, const char *state_dir, umbra_scan_fn fn, void *arg,
		    struct umbra_error *err)
{
	_cleanup_close_ int store = umbra_store_open(state_fd, false);
	_cleanup_dir_ DIR *dir = NULL;
	struct dirent *de;
	int fd, r = 0;

	if (store == -ENOENT)
		return 0;
	fd = store < 0 ? -1 : fcntl(store, F_DUPFD_CLOEXEC, 0);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		r = store < 0 ? store : -errno;
		umbra_close(fd);
		return umbra_fail_errno(err, r, "cannot list the store '%s/" UMBRA_STORE_COPIES "'",
					state_dir);
	}
	while (r == 0 && (de = readdir(dir)))
		if (umbra_id_valid(de->d_name))
			r = scan_one(store, de->d_name, state_dir, fn, arg);
	return r;
}
