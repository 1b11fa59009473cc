/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One error, on the caller's stack: a stable code for programs, one sentence for people.
 *
 * Every function that can fail returns 0 or a negative errno; a positive value is an outcome
 * that its header names. Where it takes a struct umbra_error it fills it in exactly when it
 * returns a negative value. What failed and on which object is said once, where it is known;
 * layers above add context with umbra_wrap(); only main() and request handlers print.
 * err may be NULL everywhere: then nothing is recorded.
 */
#pragma once

#include <errno.h>
#include <stdarg.h>

/* Stable: their names (umbra_code_name()) are part of the JSON interface. Append only. */
enum umbra_code {
	UMBRA_E_INTERNAL,    /* a bug, or the system failed in a way nobody can act on */
	UMBRA_E_USAGE,       /* the words of the command are wrong: exit status 2 */
	UMBRA_E_NOT_FOUND,   /* no such path, set, copy or provider */
	UMBRA_E_EXISTS,      /* already there, in use, or mounted */
	UMBRA_E_PERMISSION,  /* not allowed */
	UMBRA_E_UNSUPPORTED, /* this volume, filesystem or kernel cannot do it */
	UMBRA_E_BUSY,        /* somebody else is at it: try again, or --wait */
	UMBRA_E_NO_SPACE,    /* the store, or a quota, is full */
	UMBRA_E_DAMAGED,     /* catalog or copy is not what umbra wrote */
	UMBRA_E_READ_ONLY,   /* the place that must be written is read-only */
	UMBRA_E_INTERRUPTED, /* the requester asked to stop, or died */
	UMBRA_E_IO,          /* a device or filesystem returned an error */
};

#define UMBRA_ERROR_MAX 2048

struct umbra_error {
	enum umbra_code code;
	int errnum;                 /* positive errno */
	char text[UMBRA_ERROR_MAX]; /* printable: control bytes of file names are escaped */
};

/* "not-found", "no-space", … */
const char *umbra_code_name(enum umbra_code code);

/* The code that an errno means when nothing more is known. */
enum umbra_code umbra_code_from_errno(int errnum);

/*
 * Records a failure. errnum is a positive or negative errno; the text that strerror() has for
 * it is NOT added: use umbra_fail_errno() for that. Returns -errnum.
 */
int umbra_fail(struct umbra_error *err, enum umbra_code code, int errnum, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* As umbra_fail(), code from errno, text "fmt: strerror". */
int umbra_fail_errno(struct umbra_error *err, int errnum, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Out of memory, wherever it happens. Returns -ENOMEM. */
int umbra_oom(struct umbra_error *err);

/* Puts "fmt: " before the recorded text. Returns r, which must be negative. */
int umbra_wrap(struct umbra_error *err, int r, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Static analysis sees one file at a time and must be told what the contract says: negative. */
#if defined(__clang_analyzer__) && !defined(UMBRA_ERROR_IMPLEMENTATION)
#define umbra_fail(...)       (umbra_fail(__VA_ARGS__), -EIO)
#define umbra_fail_errno(...) (umbra_fail_errno(__VA_ARGS__), -EIO)
#define umbra_oom(...)        (umbra_oom(__VA_ARGS__), -ENOMEM)
#define umbra_wrap(...)       (umbra_wrap(__VA_ARGS__), -EIO)
#endif
