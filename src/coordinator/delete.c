/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "coordinator/delete.h"

#include <errno.h>

#include "common/fault.h"
#include "common/text.h"
#include "coordinator/reconcile.h"
#include "coordinator/revert.h"

/* Some may have gone since they were chosen: umbrad makes room. */
static int load_all(struct umbra_session *s, const char *const *ids, size_t n,
		    struct umbra_set_list *out, struct umbra_error *err)
{
	size_t i;
	int r = 0;

	out->sets = calloc(n, sizeof(struct umbra_set *));
	if (!out->sets)
		return umbra_oom(err);
	for (i = 0; i < n && (r == 0 || r == -ENOENT); i++) {
		r = umbra_catalog_load_one(umbra_engine_catalog(s->engine), ids[i],
					   &out->sets[out->n], err);
		out->n += r == 0;
	}
	return r == -ENOENT && out->n > 0 ? 0 : r;
}

/* One that cannot be deleted now does not keep the others. */
static int remove_all(struct umbra_session *s, const struct umbra_set_list *list,
		      struct umbra_error *err)
{
	_cleanup_free_ char *advice = NULL;
	struct umbra_error first = {0};
	const struct umbra_set *failed = NULL;
	size_t i, left = list->n;
	int r, result = 0;

	for (i = 0; i < list->n; i++) {
		struct umbra_error why = {0};

		r = umbra_remove_set(s, list->sets[i], &why);
		if (r == 0)
			left--;
		else if (result == 0 || r == -ECANCELED) {
			first = why;
			result = r;
			failed = list->sets[i];
		}
		if (r == -ECANCELED)
			break;
	}
	if (left == 0)
		return 0;
	advice = umbra_forget_advice(failed, result);
	return umbra_fail(err, first.code, result,
			  "%zu of %s could not be deleted now, and %s out of sight; the next "
			  "create, delete or "
			  "check goes on with it: %s%s",
			  left, UMBRA_COUNT(list->n, "set", "sets"), left == 1 ? "is" : "are",
			  first.text, advice ? advice : "");
}

int umbra_delete(struct umbra_session *s, const char *const *ids, size_t n, struct umbra_error *err)
{
	_cleanup_set_list_ struct umbra_set_list list = {0};
	size_t i;
	int r = load_all(s, ids, n, &list, err);

	for (i = 0; r == 0 && i < list.n; i++)
		r = umbra_revert_permits(s, list.sets[i], err);
	for (i = 0; r == 0 && i < list.n; i++) {
		r = umbra_mark_deleting(s, list.sets[i], err);
		if (r == 0)
			r = umbra_fault_fail("delete.marked", err);
	}
	if (r < 0)
		return r;
	if (umbra_session_announce(s) > 0)
		umbra_session_warn(s, "what is deleted is still being read through a mounted tree: "
				      "its space is free when that has ended");
	r = umbra_fault_fail("delete.announced", err);
	return r < 0 ? r : remove_all(s, &list, err);
}
