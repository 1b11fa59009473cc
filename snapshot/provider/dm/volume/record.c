/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a shadow copy's record says of where it is, and its slot in the area, from which the catalog
 * can be rebuilt: le32 length, le32 CRC-32 of the text, the text.
 */
#include <string.h>
#include <zlib.h>

#include "snapshot/provider/dm/pool/le.h"
#include "snapshot/provider/dm/pool/pool_disk.h"
#include "snapshot/provider/dm/volume/record.h"

#define HEAD   8U
#define VOLUME "dm:"

const char *umbra_dm_area_of(const struct umbra_shadow *shadow)
{
	const size_t len = strlen(VOLUME);

	return strncmp(shadow->volume, VOLUME, len) == 0 ? shadow->volume + len : NULL;
}

int umbra_dm_record_origin(struct umbra_member *m, const struct umbra_protected *p,
			   struct umbra_error *err)
{
	char *volume = umbra_asprintf(VOLUME "%s", p->kernel.area.s);
	json_t *data = m->shadow->data;

	if (!volume)
		return umbra_oom(err);
	free(m->shadow->volume);
	m->shadow->volume = volume;
	if (umbra_doc_set_string(data, "area", p->kernel.area.s) < 0 ||
	    umbra_doc_set_string(data, "fstype", m->volume->fstype) < 0 ||
	    umbra_doc_set_path(data, "root", m->volume->root ? m->volume->root : "/") < 0 ||
	    (m->volume->source && umbra_doc_set_path(data, "device", m->volume->source) < 0))
		return umbra_oom(err);
	return 0;
}

/* A record has to fit: notes are the only part that can be long, and the catalog has them too.
 * Returns how long it is, which may be more than room. */
static size_t dump(const struct umbra_member *m, char *out, size_t room)
{
	const size_t flags = JSON_COMPACT | JSON_SORT_KEYS;
	_cleanup_json_ json_t *doc = umbra_member_record_doc(m);
	json_t *notes = json_object_get(doc, "notes");
	size_t len;

	while ((len = json_dumpb(doc, out, room, flags)) > room && json_array_size(notes) > 0)
		json_array_remove(notes, json_array_size(notes) - 1);
	return len;
}

static void seal_slot(char *slot, size_t len)
{
	umbra_put_le32(slot, (uint32_t)len);
	umbra_put_le32(slot + 4, (uint32_t)crc32(0, (const Bytef *)slot + HEAD, (uInt)len));
}

int umbra_dm_record_write(struct umbra_protected *p, const struct umbra_pool *pool,
			  const struct umbra_member *m, struct umbra_error *err)
{
	const struct umbra_pool_copy *copy = &pool->copies[umbra_pool_find(pool, &m->shadow->id)];
	_cleanup_free_ char *slot = calloc(1, UMBRA_POOL_RECORD_SIZE);
	size_t len = slot ? dump(m, slot + HEAD, UMBRA_POOL_RECORD_SIZE - HEAD) : 0;
	int r;

	if (len == 0)
		return umbra_oom(err);
	if (len > UMBRA_POOL_RECORD_SIZE - HEAD)
		return umbra_fail(
			err, UMBRA_E_UNSUPPORTED, E2BIG,
			"the record of shadow copy '%s' is too long (%zu bytes): a shorter "
			"comment would help",
			m->shadow->id.s, len);
	seal_slot(slot, len);
	r = umbra_area_write(p->area, umbra_pool_record_at(copy), slot, UMBRA_POOL_RECORD_SIZE,
			     err);
	return r < 0 ? r : umbra_area_flush(p->area, err);
}

int umbra_dm_record_put(struct umbra_protected *p, const struct umbra_pool_copy *copy,
			const json_t *doc, struct umbra_error *err)
{
	_cleanup_free_ char *slot = calloc(1, UMBRA_POOL_RECORD_SIZE);
	size_t len = slot ? json_dumpb(doc, slot + HEAD, UMBRA_POOL_RECORD_SIZE - HEAD,
				       JSON_COMPACT | JSON_SORT_KEYS)
			  : 0;

	if (len == 0)
		return umbra_oom(err);
	if (len > UMBRA_POOL_RECORD_SIZE - HEAD)
		return umbra_fail_errno(err, E2BIG, "the record of shadow copy '%s'", copy->id.s);
	seal_slot(slot, len);
	return umbra_area_write(p->area, umbra_pool_record_at(copy), slot, UMBRA_POOL_RECORD_SIZE,
				err);
}

int umbra_dm_record_read(const struct umbra_protected *p, const struct umbra_pool_copy *copy,
			 json_t **out, struct umbra_error *err)
{
	_cleanup_free_ char *slot = calloc(1, UMBRA_POOL_RECORD_SIZE);
	uint32_t len;
	int r;

	if (!slot)
		return umbra_oom(err);
	r = umbra_area_read(p->area, umbra_pool_record_at(copy), slot, UMBRA_POOL_RECORD_SIZE, err);
	if (r < 0)
		return r;
	len = umbra_le32(slot);
	if (len > UMBRA_POOL_RECORD_SIZE - HEAD ||
	    umbra_le32(slot + 4) != (uint32_t)crc32(0, (const Bytef *)slot + HEAD, len))
		return umbra_fail(err, UMBRA_E_DAMAGED, EBADMSG,
				  "the record of shadow copy '%s' in its diff area is damaged",
				  copy->id.s);
	return umbra_doc_parse(slot + HEAD, len, "a record", out, err);
}

char *umbra_dm_copied_as(const struct umbra_protected *p, const char *mounted)
{
	_cleanup_json_ json_t *doc = NULL;
	char *path = NULL;
	uint32_t i;

	for (i = 0; i < p->pool->n_copies && p->pool->copies[i].state != UMBRA_POOL_KEPT;)
		i++;
	if (i < p->pool->n_copies && umbra_dm_record_read(p, &p->pool->copies[i], &doc, NULL) == 0)
		umbra_doc_get_path(json_object_get(doc, "shadow"), "path", &path);
	return path ? path : strdup(mounted);
}

const char *umbra_dm_set_of(const struct umbra_protected *p, const struct umbra_pool_copy *copy,
			    char out[UMBRA_TOKEN_LEN + 1])
{
	_cleanup_json_ json_t *doc = NULL;
	const char *token = NULL;

	if (umbra_dm_record_read(p, copy, &doc, NULL) == 0)
		token = umbra_doc_string(json_object_get(doc, "set"), "timestamp");
	snprintf(out, UMBRA_TOKEN_LEN + 1, "%s", token ? token : "SET");
	return out;
}
