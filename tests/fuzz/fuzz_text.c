/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names of any bytes: what is shown of them is text, what JSON carries of them comes back. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/doc.h"
#include "common/text.h"
#include "snapshot/volume.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *name = strndup((const char *)data, size), *shown = NULL, *back = NULL;
	_cleanup_free_ char *volume = NULL;
	_cleanup_json_ json_t *doc = json_object();

	shown = umbra_text_printable_dup(name);
	if (!umbra_text_is_utf8(shown, strlen(shown)) || strpbrk(shown, "\n\r\x1b\x7f"))
		abort();
	if (umbra_doc_set_path(doc, "name", name) < 0 ||
	    umbra_doc_get_path(doc, "name", &back) < 0 || strcmp(back, name) != 0)
		abort();
	volume = umbra_volume_name(name);
	if (strlen(volume) > 255 || strchr(volume, '/') || volume[0] == '.')
		abort();
	return 0;
}
