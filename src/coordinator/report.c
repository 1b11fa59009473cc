/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "coordinator/report.h"

int umbra_report(json_t *list, const char *fmt, ...)
{
	struct umbra_error shown; /* makes it printable */
	char raw[UMBRA_ERROR_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(raw, sizeof(raw), fmt, ap);
	va_end(ap);
	umbra_fail(&shown, UMBRA_E_DAMAGED, 0, "%s", raw);
	return json_array_append_new(list, json_string(shown.text)) < 0 ? -ENOMEM : 0;
}
