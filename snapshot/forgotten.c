/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/forgotten.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "snapshot/document.h"

int umbra_forgotten_add(int state_fd, const char *state_dir, const struct umbra_set *set,
			const struct umbra_shadow *shadow, struct umbra_error *err)
{
	_cleanup_json_ json_t *doc = umbra_shadow_record(set, shadow, state_dir);
	_cleanup_free_ char *text = doc ? json_dumps(doc, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	int r;

	if (!text)
		return umbra_oom(err);
	r = umbra_put_file(state_fd, UMBRA_FORGOTTEN_NAME, shadow->id.s, text);
	return r < 0 ? umbra_fail_errno(err, r,
					"cannot note in '%s/" UMBRA_FORGOTTEN_NAME
					"' that shadow copy '%s' is forgotten",
					state_dir, shadow->id.s)
		     : 0;
}

/* NULL: no id. */
static char *path_of(const char *shadow_id)
{
	return umbra_id_valid(shadow_id) ? umbra_asprintf(UMBRA_FORGOTTEN_NAME "/%s", shadow_id)
					 : NULL;
}

bool umbra_forgotten_has(int state_fd, const char *shadow_id)
{
	_cleanup_free_ char *path = path_of(shadow_id);

	return path && faccessat(state_fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

void umbra_forgotten_drop(int state_fd, const char *shadow_id)
{
	_cleanup_free_ char *path = path_of(shadow_id);

	if (path && unlinkat(state_fd, path, 0) == 0)
		unlinkat(state_fd, UMBRA_FORGOTTEN_NAME, AT_REMOVEDIR); /* with the last one */
}
