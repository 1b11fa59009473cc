/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The superblock of a diff area, with its checksum made right, so that what lies behind it is
 * reached. What is taken must be consistent, stay so through what can be done with it, and be the
 * same when it is written and read again.
 */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "snapshot/provider/dm/pool/le.h"
#include "snapshot/provider/dm/pool/pool_disk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool true_)
{
	if (!true_)
		abort();
}

/* The length as it is and the sum that belongs to it. */
static void seal(unsigned char *data, size_t size)
{
	if (size < UMBRA_POOL_BLOCK / 8 || memcmp(data, "umbraDIF", 8) != 0)
		return;
	umbra_put_le32(data + 8, UMBRA_POOL_VERSION);
	umbra_put_le64(data + 16, size);
	umbra_put_le32(data + 12, 0);
	umbra_put_le32(data + 12, (uint32_t)crc32_z(0, data, size));
}

static void write_again(const struct umbra_pool *pool)
{
	_cleanup_pool_ struct umbra_pool *again = NULL;
	_cleanup_free_ void *one = NULL, *two = NULL;
	size_t len, n;

	must(umbra_pool_encode(pool, &one, &len, NULL) == 0);
	must(len <= UMBRA_POOL_SLOT_BYTES && umbra_pool_encoded_length(one) == len);
	must(umbra_pool_load(one, len, one, len, &again, NULL) == 0);
	again->generation--;
	must(umbra_pool_encode(again, &two, &n, NULL) == 0);
	must(n == len && memcmp(one, two, n) == 0);
}

/* Whatever is refused is refused; nothing makes it inconsistent. */
static void change(struct umbra_pool *pool)
{
	const struct umbra_id id = {"f1234567-89ab-4def-8123-456789abcdef"};
	uint32_t granted, i;

	while (umbra_pool_unfinished(pool)) {
		if (pool->copies[pool->n_copies - 1].state == UMBRA_POOL_PREPARED)
			must(umbra_pool_hide(pool, &pool->copies[pool->n_copies - 1].id, NULL) ==
			     0);
		if (pool->n_stores > 1 && !pool->stores[pool->n_stores - 2].sealed)
			must(umbra_pool_seal(pool, pool->stores[pool->n_stores - 2].number, 3,
					     NULL) == 0);
		must(umbra_pool_check(pool, NULL) == 0);
	}
	if (umbra_pool_prepare(pool, &id, umbra_pool_keep(pool, 3, 8), NULL) == 0)
		must(umbra_pool_discard(pool, &id, NULL) == 0);
	if (umbra_pool_live(pool))
		(void)umbra_pool_grant(pool, umbra_pool_live(pool)->number, 7, &granted, NULL);
	must(umbra_pool_check(pool, NULL) == 0);
	for (i = 0; i < pool->n_copies; i += 2)
		(void)umbra_pool_remove(pool, &pool->copies[i].id, NULL);
	must(umbra_pool_check(pool, NULL) == 0);
	must(umbra_pool_lose(pool, NULL, NULL) == 0 && pool->n_stores == 0);
	must(umbra_pool_check(pool, NULL) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_pool_ struct umbra_pool *pool = NULL, *other = NULL;
	_cleanup_free_ unsigned char *copy = malloc(size + 1);

	if (!copy)
		return 0;
	memcpy(copy, data, size);
	seal(copy, size);
	if (umbra_pool_load(copy, size, data, size, &pool, NULL) < 0)
		return 0;
	must(umbra_pool_check(pool, NULL) == 0);
	write_again(pool);
	must(umbra_pool_dup(pool, &other, NULL) == 0);
	change(other);
	write_again(other);
	return 0;
}
