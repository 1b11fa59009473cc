/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "coordinator/delete.h"

#include "coordinator/reconcile.h"

static int load_all(struct umbra_session *s, const char *const *ids, size_t n,
		    struct umbra_set_list *out, struct umbra_error *err)
{
	int r = 0;

	out->sets = calloc(n, sizeof(struct umbra_set *));
	if (!out->sets)
		return umbra_oom(err);
	while (r == 0 && out->n < n) {
		r = umbra_catalog_load_one(umbra_engine_catalog(s->engine), ids[out->n],
					   &out->sets[out->n], err);
		out->n += r == 0;
	}
	return r;
}

int umbra_delete(struct umbra_session *s, const char *const *ids, size_t n, struct umbra_error *err)
{
	_cleanup_set_list_ struct umbra_set_list list = {0};
	size_t i;
	int r = load_all(s, ids, n, &list, err);

	for (i = 0; r == 0 && i < list.n; i++)
		r = umbra_mark_deleting(s, list.sets[i], err);
	if (r < 0)
		return r;
	umbra_session_announce(s);
	for (i = 0; r == 0 && i < list.n; i++)
		r = umbra_remove_set(s, list.sets[i], err);
	return r;
}
