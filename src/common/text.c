/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/text.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Length of the UTF-8 sequence at s (1 to 4), or 0 when there is none. */
static size_t sequence(const unsigned char *s, size_t len)
{
	uint32_t c;
	size_t n, i;

	if (s[0] < 0x80)
		return 1;
	if (s[0] >= 0xc2 && s[0] <= 0xdf) {
		n = 2;
		c = s[0] & 0x1f;
	} else if ((s[0] & 0xf0) == 0xe0) {
		n = 3;
		c = s[0] & 0x0f;
	} else if (s[0] >= 0xf0 && s[0] <= 0xf4) {
		n = 4;
		c = s[0] & 0x07;
	} else {
		return 0;
	}
	if (n > len)
		return 0;
	for (i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	if (n == 3 && (c < 0x800 || (c >= 0xd800 && c <= 0xdfff)))
		return 0;
	if (n == 4 && (c < 0x10000 || c > 0x10ffff))
		return 0;
	return n;
}

bool umbra_text_is_utf8(const char *s, size_t len)
{
	const unsigned char *p = (const unsigned char *)s;
	size_t n;

	while (len > 0) {
		n = *p ? sequence(p, len) : 0;
		if (n == 0)
			return false;
		p += n;
		len -= n;
	}
	return true;
}

void umbra_text_printable(const char *s, char *out, size_t size)
{
	const unsigned char *p = (const unsigned char *)s;
	size_t left = strlen(s), used = 0, n;
	bool control;

	if (size == 0)
		return;
	while (left > 0) {
		n = sequence(p, left);
		/* C0, DEL and C1: what could steer a terminal. */
		control = (n == 1 && (*p < 0x20 || *p == 0x7f)) ||
			  (n == 2 && p[0] == 0xc2 && p[1] < 0xa0);
		if (n == 0 || control) {
			if (used + 4 >= size)
				break;
			snprintf(out + used, 5, "\\x%02x", *p);
			used += 4;
			n = 1;
		} else {
			if (used + n >= size)
				break;
			memcpy(out + used, p, n);
			used += n;
		}
		p += n;
		left -= n;
	}
	out[used] = '\0';
}

char *umbra_text_printable_dup(const char *s)
{
	size_t size = strlen(s) * 4 + 1;
	char *out = malloc(size);

	if (out)
		umbra_text_printable(s, out, size);
	return out;
}

void umbra_text_size(unsigned long long bytes, char *out, size_t size)
{
	static const char units[] = "BKMGTPE";
	double value = (double)bytes;
	size_t unit = 0;

	while (value >= 1024 && unit < sizeof(units) - 2) {
		value /= 1024;
		unit++;
	}
	if (unit == 0)
		snprintf(out, size, "%lluB", bytes);
	else
		snprintf(out, size, "%.1f%c", value, units[unit]);
}

const char *umbra_text_count(char *out, size_t size, unsigned long long n, const char *one,
			     const char *many)
{
	snprintf(out, size, "%llu %s", n, n == 1 ? one : many);
	return out;
}

/* Control bytes are shown as \xNN in the end: such a command cannot be copied in any case. */
static bool is_plain(unsigned char c)
{
	return c < ' ' || c >= 0x7f || isalnum(c) || strchr("/._-+,:@%=", c);
}

const char *umbra_text_word(char *out, size_t size, const char *path)
{
	const char *p = path;
	size_t n = 0;

	for (; *p && n + 2 < size; p++) {
		if (!is_plain((unsigned char)*p))
			out[n++] = '\\';
		out[n++] = *p;
	}
	out[n] = '\0';
	return *p ? path : out;
}
