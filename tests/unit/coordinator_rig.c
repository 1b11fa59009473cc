/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "coordinator_rig.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/util.h"
#include "snapshot/engine.h"

char rig_state[80], rig_vol_a[96], rig_vol_b[80];

void rig_begin(void)
{
	place_begin();
	snprintf(rig_state, sizeof(rig_state), "%s/state", place);
	snprintf(rig_vol_a, sizeof(rig_vol_a), "%s/a", place);
	snprintf(rig_vol_b, sizeof(rig_vol_b), "%s/b", place);
	cr_assert_eq(mkdir(rig_vol_a, 0755) | mkdir(rig_vol_b, 0755), 0);
	fake_plan = (struct fake_plan){0};
}

static int create(struct umbra_observer *o, int wait_s, struct umbra_id *id, size_t *n_warnings,
		  struct umbra_error *err)
{
	_cleanup_coordinator_ struct umbra_coordinator *c = NULL;
	const char *paths[] = {rig_vol_b, rig_vol_a};
	struct umbra_create_request request = {
		.paths = paths, .n_paths = 2, .comment = "why", .wait_s = wait_s};
	_cleanup_json_ json_t *warnings = NULL;
	int r = umbra_coordinator_connect(rig_state, &c, err);

	cr_assert_eq(r, 0);
	r = umbra_coordinator_create(c, &request, o, id, &warnings, err);
	if (n_warnings)
		*n_warnings = json_array_size(warnings);
	return r;
}

int rig_create_with(struct umbra_observer *o, int wait_s, struct umbra_id *id,
		    struct umbra_error *err)
{
	return create(o, wait_s, id, NULL, err);
}

int rig_create_warned(struct umbra_id *id, size_t *warnings, struct umbra_error *err)
{
	return create(NULL, 0, id, warnings, err);
}

int rig_create(struct umbra_id *id, struct umbra_error *err)
{
	return create(NULL, 0, id, NULL, err);
}

int rig_delete(const struct umbra_id *id, struct umbra_error *err)
{
	_cleanup_coordinator_ struct umbra_coordinator *c = NULL;
	json_t *warnings = NULL;
	int r = umbra_coordinator_connect(rig_state, &c, err);

	cr_assert_eq(r, 0);
	r = umbra_coordinator_delete(c, id, 1, 0, NULL, &warnings, err);
	json_decref(warnings);
	return r;
}

int rig_check(bool rebuild, struct umbra_error *err)
{
	_cleanup_coordinator_ struct umbra_coordinator *c = NULL;
	_cleanup_json_ json_t *report = NULL;

	cr_assert_eq(umbra_coordinator_connect(rig_state, &c, err), 0);
	if (umbra_coordinator_check(c, rebuild, 0, NULL, &report, err) < 0)
		return -1;
	return (int)json_array_size(json_object_get(report, "problems"));
}

size_t rig_entries(const char *name)
{
	_cleanup_free_ char *path = umbra_asprintf("%s/%s", rig_state, name);
	_cleanup_dir_ DIR *dir = opendir(path);
	struct dirent *d;
	size_t n = 0;

	while (dir && (d = readdir(dir)))
		n += d->d_name[0] != '.';
	return n;
}

void rig_sets(enum umbra_load depth, struct umbra_set_list *out)
{
	_cleanup_engine_ struct umbra_engine *e = NULL;

	cr_assert_eq(umbra_engine_open(rig_state, UMBRA_CATALOG_READ, &e, NULL), 0);
	cr_assert_eq(umbra_catalog_load(umbra_engine_catalog(e), depth, out, NULL), 0);
}

size_t rig_count_sets(void)
{
	_cleanup_set_list_ struct umbra_set_list list = {0};

	rig_sets(UMBRA_LOAD_FULL, &list);
	return list.n;
}

char *rig_calls(void)
{
	char *text = NULL;
	int fd = open(rig_state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	cr_assert_eq(umbra_read_file(fd, "calls", 1 << 20, &text, NULL), 0);
	close(fd);
	return text;
}

struct umbra_set *rig_load(const struct umbra_id *id)
{
	_cleanup_engine_ struct umbra_engine *e = NULL;
	struct umbra_set *set = NULL;

	cr_assert_eq(umbra_engine_open(rig_state, UMBRA_CATALOG_READ, &e, NULL), 0);
	cr_assert_eq(umbra_catalog_load_one(umbra_engine_catalog(e), id->s, &set, NULL), 0);
	return set;
}

void rig_break_at(const char *point, const char *how)
{
	_cleanup_free_ char *value = umbra_asprintf("%s:%s", point, how);

	setenv("UMBRA_TEST_FAULT", value, 1);
}

void rig_remove_catalog(void)
{
	_cleanup_free_ char *path = umbra_asprintf("%s/%s", rig_state, UMBRA_CATALOG_NAME);
	_cleanup_free_ char *journal = umbra_asprintf("%s-journal", path);

	cr_assert_eq(unlink(path), 0);
	unlink(journal);
}

void rig_make_leftover(const char *then)
{
	_cleanup_free_ char *cmd = umbra_asprintf(
		"mkdir -p '%s/fake/00000000-0000-4000-8000-000000000000' && cd '%s/fake/0'* && "
		": >data%s",
		rig_state, rig_state, then);

	cr_assert_eq(system(cmd), 0);
}
