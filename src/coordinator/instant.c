/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "coordinator/instant.h"

#include "common/fault.h"

struct instant {
	struct umbra_set *set;
	struct umbra_member *members; /* set->n_shadows */
	int64_t recorded_us;
	int64_t held_us; /* when all that can be held was, after that */
};

int umbra_in_member(const struct umbra_member *m, int r, struct umbra_error *err)
{
	return r < 0 && r != -ECANCELED ? umbra_wrap(err, r, "copying '%s'", m->shadow->path) : r;
}

static bool has_hold(const struct instant *n, size_t i)
{
	return n->members[i].provider->hold != NULL;
}

static int64_t since_recorded(const struct instant *n)
{
	return umbra_now_us() - n->recorded_us;
}

static int commit_one(struct umbra_member *m, struct umbra_error *err)
{
	int r = m->provider->commit(m, err);

	if (r == 0)
		r = umbra_fault_fail("create.committed", err);
	return umbra_in_member(m, r, err);
}

/* Members that are held together are of one instant; the others have one, or a span, each. */
static int commit(struct instant *n, bool held, struct umbra_error *err)
{
	struct umbra_shadow *shadow;
	size_t i;
	int r = 0;

	for (i = 0; r == 0 && i < n->set->n_shadows; i++) {
		if (has_hold(n, i) != held)
			continue;
		shadow = n->set->shadows[i];
		shadow->begin_us = held ? n->held_us : since_recorded(n);
		r = commit_one(&n->members[i], err);
		shadow->end_us = held ? n->held_us : since_recorded(n);
	}
	return r;
}

/* Those before end that were held are released, whatever happened, before anything else. */
static int release(struct instant *n, size_t end, int r, struct umbra_error *err)
{
	int one;

	while (end-- > 0) {
		if (!has_hold(n, end))
			continue;
		one = umbra_member_release(&n->members[end], r < 0 ? NULL : err);
		if (one == 0)
			one = umbra_fault_fail("create.released", r < 0 ? NULL : err);
		if (one < 0 && r == 0)
			r = umbra_in_member(&n->members[end], one, err);
	}
	return r;
}

static int hold_one(struct umbra_member *m, struct umbra_error *err)
{
	int r = umbra_member_hold(m, err);

	if (r == 0 && umbra_fault("create.held") < 0) {
		umbra_member_release(m, NULL);
		r = umbra_fail(err, UMBRA_E_IO, EIO, "told to fail at 'create.held'");
	}
	return umbra_in_member(m, r, err);
}

/* All of it before the first is committed, all released right after the last. From the first hold
 * on nothing here allocates, waits or opens anything. */
static int hold(struct instant *n, struct umbra_error *err)
{
	int64_t start = umbra_now_us();
	size_t i;
	int r = 0;

	for (i = 0; r == 0 && i < n->set->n_shadows; i++)
		if (has_hold(n, i))
			r = hold_one(&n->members[i], err);
	if (r < 0)
		return release(n, i - 1, r, err);
	n->held_us = since_recorded(n);
	r = release(n, i, commit(n, true, err), err);
	n->set->hold_us = umbra_now_us() - start;
	return r;
}

static bool can_be_held(const struct instant *n)
{
	size_t i;

	for (i = 0; i < n->set->n_shadows; i++)
		if (has_hold(n, i))
			return true;
	return false;
}

int umbra_instant(struct umbra_set *set, struct umbra_member *members, int64_t recorded_us,
		  struct umbra_error *err)
{
	struct instant n = {.set = set, .members = members, .recorded_us = recorded_us};
	int r = 0;

	if (can_be_held(&n))
		r = hold(&n, err);
	return r < 0 ? r : commit(&n, false, err);
}
