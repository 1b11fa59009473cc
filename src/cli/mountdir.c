/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/mountdir.h"

#include <string.h>
#include <unistd.h>

#include "common/util.h"

int umbra_mountdir_default(char **out, struct umbra_error *err)
{
	const char *run = geteuid() == 0 ? "/run" : secure_getenv("XDG_RUNTIME_DIR");

	if (!run || run[0] != '/')
		return umbra_fail(
			err, UMBRA_E_USAGE, EINVAL,
			"XDG_RUNTIME_DIR is not set, so there is no default place for the "
			"tree: say where (a directory of yours)");
	*out = umbra_asprintf("%s/umbra/shadows", run);
	return *out ? 0 : umbra_oom(err);
}

int umbra_mountdir_table(struct libmnt_table **out, struct umbra_error *err)
{
	*out = mnt_new_table_from_file("/proc/self/mountinfo");
	if (!*out)
		return umbra_fail(err, UMBRA_E_INTERNAL, EIO,
				  "cannot read /proc/self/mountinfo: is /proc mounted?");
	return 0;
}

struct libmnt_fs *umbra_mountdir_find(struct libmnt_table *tb, const char *path)
{
	struct libmnt_iter *it = mnt_new_iter(MNT_ITER_BACKWARD);
	struct libmnt_fs *fs = NULL, *found = NULL;
	const char *target;

	while (it && !found && mnt_table_next_fs(tb, it, &fs) == 0) {
		target = mnt_fs_get_target(fs);
		if (target && strcmp(target, path) == 0)
			found = fs;
	}
	mnt_free_iter(it);
	return found;
}
