/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* File names are bytes; people and JSON want text. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Valid UTF-8 of len bytes without NUL? (jansson's own rule: no surrogates, no overlong forms) */
bool umbra_text_is_utf8(const char *s, size_t len);

/*
 * Copies s to out (size bytes, always terminated, cut if need be) so that a terminal can show
 * it: control bytes and bytes that are not UTF-8 become \xNN. Nothing else changes.
 */
void umbra_text_printable(const char *s, char *out, size_t size);

/* As above, allocated; free() it. NULL when out of memory. */
char *umbra_text_printable_dup(const char *s);

/* 1536 -> "1.5K"; powers of 1024, as ls -h. */
void umbra_text_size(unsigned long long bytes, char *out, size_t size);

/* "1 set", "3 sets": UMBRA_COUNT(n, "set", "sets"), valid to the end of the block. */
#define UMBRA_COUNT(n, one, many) umbra_text_count((char[64]){""}, 64, n, one, many)
const char *umbra_text_count(char *out, size_t size, unsigned long long n, const char *one,
			     const char *many);

/* A path as a word for the shell, in a command that is advised: what would mean something there has
 * a backslash before it. UMBRA_WORD(path), valid to the end of the block; one that does not fit
 * stays as it is. */
#define UMBRA_WORD_MAX   1024
#define UMBRA_WORD(path) umbra_text_word((char[UMBRA_WORD_MAX]){""}, UMBRA_WORD_MAX, path)
const char *umbra_text_word(char *out, size_t size, const char *path);
