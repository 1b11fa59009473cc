/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/doc.h"

#include <string.h>

#include "common/text.h"

static int set_new(json_t *obj, const char *key, json_t *value)
{
	return json_object_set_new(obj, key, value) < 0 ? -ENOMEM : 0;
}

int umbra_doc_set_string(json_t *obj, const char *key, const char *value)
{
	return set_new(obj, key, value ? json_string(value) : json_null());
}

static char *hex_key(const char *key)
{
	return umbra_asprintf("%s_hex", key);
}

int umbra_doc_set_path(json_t *obj, const char *key, const char *bytes)
{
	_cleanup_free_ char *shown = NULL, *hex = NULL, *name = NULL;
	size_t len = strlen(bytes), i;
	int r;

	if (umbra_text_is_utf8(bytes, len))
		return set_new(obj, key, json_stringn(bytes, len));
	shown = umbra_text_printable_dup(bytes);
	hex = malloc(len * 2 + 1);
	name = hex_key(key);
	if (!shown || !hex || !name)
		return -ENOMEM;
	for (i = 0; i < len; i++)
		snprintf(hex + i * 2, 3, "%02x", (unsigned char)bytes[i]);
	r = set_new(obj, key, json_string(shown));
	return r < 0 ? r : set_new(obj, name, json_string(hex));
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

static int from_hex(const char *hex, char **out)
{
	size_t len = strlen(hex), i;
	_cleanup_free_ char *buf = malloc(len / 2 + 1);
	int hi, lo;

	if (!buf)
		return -ENOMEM;
	if (len % 2)
		return -EBADMSG;
	for (i = 0; i < len; i += 2) {
		hi = hex_digit(hex[i]);
		lo = hex_digit(hex[i + 1]);
		if (hi < 0 || lo < 0 || (hi == 0 && lo == 0))
			return -EBADMSG;
		buf[i / 2] = (char)(hi << 4 | lo);
	}
	buf[len / 2] = '\0';
	*out = TAKE_PTR(buf);
	return 0;
}

int umbra_doc_get_path(const json_t *obj, const char *key, char **out)
{
	_cleanup_free_ char *name = hex_key(key);
	const char *s;

	if (!name)
		return -ENOMEM;
	s = umbra_doc_string(obj, name);
	if (s)
		return from_hex(s, out);
	if (!json_object_get(obj, key))
		return -ENOENT;
	s = umbra_doc_string(obj, key);
	if (!s)
		return -EBADMSG;
	*out = strdup(s);
	return *out ? 0 : -ENOMEM;
}

const char *umbra_doc_string(const json_t *obj, const char *key)
{
	return json_string_value(json_object_get(obj, key));
}

int64_t umbra_doc_int(const json_t *obj, const char *key, int64_t fallback)
{
	const json_t *v = json_object_get(obj, key);

	return json_is_integer(v) ? json_integer_value(v) : fallback;
}

bool umbra_doc_bool(const json_t *obj, const char *key, bool fallback)
{
	const json_t *v = json_object_get(obj, key);

	return json_is_boolean(v) ? json_boolean_value(v) : fallback;
}

int umbra_doc_parse(const char *data, size_t len, const char *what, json_t **out,
		    struct umbra_error *err)
{
	json_error_t je;
	json_t *doc = json_loadb(data, len, JSON_REJECT_DUPLICATES, &je);

	if (!doc)
		return umbra_fail(err, UMBRA_E_DAMAGED, EBADMSG, "%s is not JSON: line %d: %s",
				  what, je.line, je.text);
	if (!json_is_object(doc)) {
		json_decref(doc);
		return umbra_fail(err, UMBRA_E_DAMAGED, EBADMSG, "%s is not a JSON object", what);
	}
	*out = doc;
	return 0;
}
