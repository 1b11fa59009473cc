/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define UMBRA_ERROR_IMPLEMENTATION
#include "common/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"

static const char *const names[] = {
	[UMBRA_E_INTERNAL] = "internal",
	[UMBRA_E_USAGE] = "usage",
	[UMBRA_E_NOT_FOUND] = "not-found",
	[UMBRA_E_EXISTS] = "exists",
	[UMBRA_E_PERMISSION] = "permission",
	[UMBRA_E_UNSUPPORTED] = "unsupported",
	[UMBRA_E_BUSY] = "busy",
	[UMBRA_E_NO_SPACE] = "no-space",
	[UMBRA_E_DAMAGED] = "damaged",
	[UMBRA_E_READ_ONLY] = "read-only",
	[UMBRA_E_INTERRUPTED] = "interrupted",
	[UMBRA_E_IO] = "io",
};

const char *umbra_code_name(enum umbra_code code)
{
	if ((size_t)code >= sizeof(names) / sizeof(names[0]))
		return "internal";
	return names[code];
}

enum umbra_code umbra_code_from_errno(int errnum)
{
	switch (abs(errnum)) {
	case ENOENT:
	case ENOTDIR:
	case ENODEV:
	case ENXIO:
		return UMBRA_E_NOT_FOUND;
	case EEXIST:
	case ENOTEMPTY:
		return UMBRA_E_EXISTS;
	case EACCES:
	case EPERM:
		return UMBRA_E_PERMISSION;
	case EOPNOTSUPP:
	case ENOTTY:
	case ENOSYS:
		return UMBRA_E_UNSUPPORTED;
	case EBUSY:
	case EAGAIN:
	case ETXTBSY:
		return UMBRA_E_BUSY;
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return UMBRA_E_NO_SPACE;
	case EUCLEAN:
	case EBADMSG:
		return UMBRA_E_DAMAGED;
	case EROFS:
		return UMBRA_E_READ_ONLY;
	case EINTR:
	case ECANCELED:
		return UMBRA_E_INTERRUPTED;
	case EIO:
	case ESTALE:
		return UMBRA_E_IO;
	default:
		return UMBRA_E_INTERNAL;
	}
}

#define RAW_MAX 8192 /* two of the longest paths */

/* Of a text that is too long the middle is left out: its end says why. */
static void put(struct umbra_error *err, const char *raw)
{
	const size_t half = sizeof(err->text) / 2 - sizeof("…");
	char shown[RAW_MAX * 4];
	size_t len, head = half, tail;

	umbra_text_printable(raw, shown, sizeof(shown));
	len = strlen(shown);
	if (len < sizeof(err->text)) {
		memcpy(err->text, shown, len + 1);
		return;
	}
	tail = len - half;
	while ((shown[head] & 0xc0) == 0x80)
		head--;
	while ((shown[tail] & 0xc0) == 0x80)
		tail++;
	snprintf(err->text, sizeof(err->text), "%.*s…%s", (int)head, shown, shown + tail);
}

/* raw has fmt; ": " and what more says follow, whole. */
static void put_with(struct umbra_error *err, char raw[RAW_MAX], const char *more)
{
	size_t len = strlen(raw), room = RAW_MAX - 1 - strlen(": ") - strlen(more);

	if (len > room)
		len = room;
	snprintf(raw + len, RAW_MAX - len, ": %s", more);
	put(err, raw);
}

__attribute__((format(printf, 5, 0))) static void record(struct umbra_error *err,
							 enum umbra_code code, int errnum,
							 const char *suffix, const char *fmt,
							 va_list ap)
{
	char raw[RAW_MAX] = "";

	if (!err)
		return;
	err->code = code;
	err->errnum = abs(errnum);
	vsnprintf(raw, sizeof(raw), fmt, ap);
	if (suffix)
		put_with(err, raw, suffix);
	else
		put(err, raw);
}

int umbra_fail(struct umbra_error *err, enum umbra_code code, int errnum, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	record(err, code, errnum, NULL, fmt, ap);
	va_end(ap);
	return -abs(errnum);
}

int umbra_fail_errno(struct umbra_error *err, int errnum, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	record(err, umbra_code_from_errno(errnum), errnum, strerror(abs(errnum)), fmt, ap);
	va_end(ap);
	return -abs(errnum);
}

int umbra_oom(struct umbra_error *err)
{
	return umbra_fail(err, UMBRA_E_INTERNAL, ENOMEM, "out of memory");
}

int umbra_wrap(struct umbra_error *err, int r, const char *fmt, ...)
{
	char raw[RAW_MAX] = "", inner[UMBRA_ERROR_MAX];
	va_list ap;

	if (!err)
		return r;
	memcpy(inner, err->text, sizeof(inner));
	va_start(ap, fmt);
	vsnprintf(raw, sizeof(raw), fmt, ap);
	va_end(ap);
	put_with(err, raw, inner); /* what was made printable stays as it is when it is again */
	return r;
}
