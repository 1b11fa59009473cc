/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/pool/exceptions.h"

#include <string.h>

#define DIGIT_BITS 11
#define DIGITS     (1U << DIGIT_BITS)
#define FEW        48U /* sorted by insertion */

void umbra_exceptions_finish(struct umbra_exceptions *list)
{
	free(list->e);
	*list = (struct umbra_exceptions){0};
}

static int resize(struct umbra_exceptions *list, size_t room)
{
	struct umbra_exception *e = reallocarray(list->e, room, sizeof(*e));

	if (!e)
		return -ENOMEM;
	list->e = e;
	list->room = room;
	return 0;
}

int umbra_exceptions_reserve(struct umbra_exceptions *list, size_t n)
{
	return n <= list->room - list->n ? 0 : resize(list, list->n + n);
}

int umbra_exceptions_add(struct umbra_exceptions *list, uint64_t old, uint64_t new)
{
	if (list->n == list->room && resize(list, list->room ? list->room * 2 : 64) < 0)
		return -ENOMEM;
	list->e[list->n++] = (struct umbra_exception){old, new};
	return 0;
}

static size_t digit(uint64_t old, unsigned int shift)
{
	return (old >> shift) & (DIGITS - 1);
}

/* One pass of a radix sort: from to to by the digit at shift, in the order in which they are. */
static void pass(const struct umbra_exception *from, struct umbra_exception *to, size_t n,
		 unsigned int shift)
{
	size_t start[DIGITS + 1] = {0}, i;

	for (i = 0; i < n; i++)
		start[digit(from[i].old, shift) + 1]++;
	for (i = 1; i < DIGITS; i++)
		start[i] += start[i - 1];
	for (i = 0; i < n; i++)
		to[start[digit(from[i].old, shift)]++] = from[i];
}

static bool is_sorted(const struct umbra_exceptions *list, uint64_t *largest)
{
	bool sorted = true;
	size_t i;

	*largest = 0;
	for (i = 0; i < list->n; i++) {
		if (list->e[i].old < *largest)
			sorted = false;
		else
			*largest = list->e[i].old;
	}
	return sorted;
}

static void insert_each(struct umbra_exception *e, size_t n)
{
	struct umbra_exception one;
	size_t i, j;

	for (i = 1; i < n; i++) {
		one = e[i];
		for (j = i; j > 0 && e[j - 1].old > one.old; j--)
			e[j] = e[j - 1];
		e[j] = one;
	}
}

int umbra_exceptions_sort(struct umbra_exceptions *list)
{
	struct umbra_exception *other, *swap;
	unsigned int shift;
	uint64_t largest;

	if (is_sorted(list, &largest))
		return 0;
	if (list->n <= FEW) {
		insert_each(list->e, list->n);
		return 0;
	}
	other = reallocarray(NULL, list->n, sizeof(*other));
	if (!other)
		return -ENOMEM;
	for (shift = 0; shift < 64 && largest >> shift; shift += DIGIT_BITS) {
		pass(list->e, other, list->n, shift);
		swap = list->e;
		list->e = other;
		other = swap;
	}
	free(other);
	list->room = list->n;
	return 0;
}

size_t umbra_exceptions_unique(struct umbra_exceptions *list)
{
	size_t i, n = 0, before = list->n;

	for (i = 0; i < before; i++) {
		if (n == 0 || list->e[n - 1].old != list->e[i].old)
			list->e[n++] = list->e[i];
	}
	list->n = n;
	return before - n;
}

void umbra_exceptions_trim(struct umbra_exceptions *list)
{
	if (list->n == 0)
		umbra_exceptions_finish(list);
	else if (list->n < list->room)
		resize(list, list->n);
}
