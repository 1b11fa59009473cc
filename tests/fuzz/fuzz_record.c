/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The record beside a copy, as scan() reads it from a disk that anybody may have written. */
#include <stdint.h>
#include <stdlib.h>

#include "snapshot/document.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_json_ json_t *doc = NULL, *again = NULL;
	_cleanup_set_ struct umbra_set *set = NULL;
	_cleanup_free_ char *dir = NULL;
	struct umbra_error err;

	if (umbra_doc_parse((const char *)data, size, "input", &doc, &err) < 0 ||
	    umbra_shadow_record_parse(doc, &set, &dir, NULL, &err) < 0)
		return 0;
	/* What was taken must be writable again. */
	again = umbra_shadow_record(set, set->shadows[0], dir);
	if (!again)
		abort();
	return 0;
}
