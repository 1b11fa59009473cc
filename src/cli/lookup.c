/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/lookup.h"

#include "common/log.h"
#include "common/util.h"

int umbra_lookup_begin(struct umbra_lookup *l, const struct umbra_cli *cli, struct umbra_error *err)
{
	int r;

	umbra_raise_nofile();
	r = umbra_cli_engine(cli, UMBRA_CATALOG_READ, &l->engine, err);
	if (r == 0)
		r = umbra_engine_sets(l->engine, UMBRA_LOAD_BRIEF, &l->sets, err);
	if (r == 0)
		l->opener = umbra_engine_opener(l->engine);
	return r;
}

void umbra_lookup_finish(struct umbra_lookup *l)
{
	umbra_set_list_finish(&l->sets);
	l->engine = umbra_engine_close(l->engine);
}

void umbra_lookup_warn(void *arg, const struct umbra_error *why)
{
	(void)arg;
	umbra_log_warning("%s", why->text);
}
