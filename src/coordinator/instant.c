/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "coordinator/instant.h"

#include "common/fault.h"
#include "snapshot/sys/guard.h"

struct instant {
	struct umbra_set *set;
	struct umbra_member *members; /* set->n_shadows */
	int64_t recorded_us;
	int64_t held_us;           /* when all that can be held was, after that */
	struct umbra_guard *guard; /* NULL: nothing that a guard could release is held */
	/* The members that can be held, in this order, and released in the reverse one. */
	size_t order[UMBRA_SET_VOLUMES_MAX], n_order;
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

static int check(const struct instant *n, struct umbra_error *err)
{
	return n->guard ? umbra_guard_check(n->guard, err) : 0;
}

/* Whoever resumes devices by hand, or changes their tables, does not ask us. */
static int not_held(const struct instant *n, struct umbra_error *err)
{
	int r = check(n, err);

	return r < 0 ? r
		     : umbra_fail(
			       err, UMBRA_E_BUSY, EBUSY,
			       "somebody else has resumed it while it was held, so that there is "
			       "no one instant: try again");
}

/* The first so many of the order are released, whatever happened, before anything else. */
static int release(struct instant *n, size_t end, int r, struct umbra_error *err)
{
	struct umbra_member *m;
	int one;

	while (end-- > 0) {
		m = &n->members[n->order[end]];
		one = umbra_member_release(m, r < 0 ? NULL : err);
		if (one > 0 && r == 0)
			one = not_held(n, err);
		if (one == 0)
			one = umbra_fault_fail("create.released", r < 0 ? NULL : err);
		if (one < 0 && r == 0)
			r = umbra_in_member(m, one, err);
	}
	return r;
}

static int hold_one(struct umbra_member *m, struct umbra_error *err)
{
	int r = umbra_member_hold(m, err);

	if (r == 0 && (r = umbra_fault_fail("create.held", err)) < 0)
		umbra_member_release(m, NULL);
	return umbra_in_member(m, r, err);
}

/* A suspend that was interrupted does not know that its time was over. */
static int hold_all(struct instant *n, struct umbra_error *err)
{
	size_t i;
	int r = 0;

	for (i = 0; r == 0 && i < n->n_order; i++)
		r = hold_one(&n->members[n->order[i]], err);
	if (r < 0) {
		r = release(n, i - 1, r, err);
		return r == -EINTR && check(n, NULL) == -ETIME ? check(n, err) : r;
	}
	n->held_us = since_recorded(n);
	return 0;
}

/* All of it before the first is committed, all released right after the last. From the first hold
 * on nothing here allocates, waits or opens anything. What was committed is a copy of one instant
 * if nobody else released anything until the last was. */
static int hold(struct instant *n, struct umbra_error *err)
{
	int64_t start = umbra_now_us();
	int r = hold_all(n, err);

	if (r < 0)
		return r;
	r = check(n, err);
	if (r == 0)
		r = commit(n, true, err);
	if (r == 0)
		r = check(n, err);
	r = release(n, n->n_order, r, err);
	n->set->hold_us = umbra_now_us() - start;
	return r;
}

/* In the order of release. */
static size_t list_devices(const struct instant *n, struct umbra_dm_device *out, size_t max)
{
	const struct umbra_member *m;
	size_t count = 0, i, k;

	for (i = n->n_order; i-- > 0;) {
		m = &n->members[n->order[i]];
		for (k = 0; k < m->n_held && count < max; k++)
			out[count++] = m->held[k];
	}
	return count;
}

static int arm(struct instant *n, struct umbra_error *err)
{
	const size_t max = UMBRA_SET_VOLUMES_MAX * (size_t)UMBRA_MEMBER_HELD_MAX;
	_cleanup_free_ struct umbra_dm_device *devices = calloc(max, sizeof(*devices));
	size_t count;
	int r;

	_Static_assert(UMBRA_SET_VOLUMES_MAX * UMBRA_MEMBER_HELD_MAX <= UMBRA_HELD_MAX,
		       "a guard can watch every set");
	if (!devices)
		return umbra_oom(err);
	count = list_devices(n, devices, max);
	if (count == 0)
		return 0;
	r = umbra_guard_start(&n->guard, err);
	return r < 0 ? r : umbra_guard_arm(n->guard, devices, count, err);
}

static int hold_guarded(struct instant *n, struct umbra_error *err)
{
	int r = arm(n, err), lost;

	if (r == 0)
		r = umbra_fault_fail("create.guarded", err);
	if (r == 0)
		r = hold(n, err);
	lost = n->guard ? umbra_guard_disarm(n->guard) : 0;
	if (r == 0)
		r = umbra_fault_fail("create.disarmed", err);
	n->guard = umbra_guard_stop(n->guard);
	return r < 0 ? r : lost;
}

/* --- the order ------------------------------------------------------------------------------- */

static int lies_on(const struct umbra_member *m, const struct umbra_member *below,
		   struct umbra_error *err)
{
	if (!m->provider->lies_on || m->provider != below->provider)
		return 0;
	return m->provider->lies_on(m, below, err);
}

/* Does no other of those that are left, n->order from `from` on, lie on that one? 1, 0, negative */
static int is_free(const struct instant *n, size_t from, size_t i, struct umbra_error *err)
{
	size_t k;
	int r = 0;

	for (k = from; r == 0 && k < n->n_order; k++)
		if (k != i)
			r = lies_on(&n->members[n->order[k]], &n->members[n->order[i]], err);
	return r < 0 ? r : r == 0;
}

/* The next of the order to n->order[at]; the others keep theirs. */
static int choose(struct instant *n, size_t at, struct umbra_error *err)
{
	size_t i = at, chosen;
	int r = 0;

	while (i < n->n_order && (r = is_free(n, at, i, err)) == 0)
		i++;
	if (r < 0)
		return r;
	if (i == n->n_order)
		return umbra_fail(err, UMBRA_E_UNSUPPORTED, ELOOP,
				  "'%s' and another volume of the set lie on each other, or their "
				  "diff areas do: they cannot be held at once",
				  n->members[n->order[at]].shadow->path);
	for (chosen = n->order[i]; i > at; i--)
		n->order[i] = n->order[i - 1];
	n->order[at] = chosen;
	return 0;
}

/* Those that lie on others first, to be released last: a filesystem writes when it is thawed, too,
 * and whoever resumed it before what it lies on would wait for ever, with the guards behind him. */
static int put_in_order(struct instant *n, struct umbra_error *err)
{
	size_t i;
	int r = 0;

	for (i = 0; i < n->set->n_shadows; i++)
		if (has_hold(n, i))
			n->order[n->n_order++] = i;
	for (i = 0; r == 0 && i + 1 < n->n_order; i++)
		r = choose(n, i, err);
	return r;
}

int umbra_instant(struct umbra_set *set, struct umbra_member *members, int64_t recorded_us,
		  struct umbra_error *err)
{
	struct instant n = {.set = set, .members = members, .recorded_us = recorded_us};
	int r, lost = put_in_order(&n, err);

	if (lost == 0 && n.n_order > 0)
		lost = hold_guarded(&n, err);
	r = lost < 0 ? lost : commit(&n, false, err);
	return r < 0 ? r : lost;
}
