/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* In what two files differ. */
#pragma once

#include "snapshot/view.h"

enum {
	UMBRA_DIFFERS_TYPE = 1 << 0,    /* nothing else is compared then */
	UMBRA_DIFFERS_CONTENT = 1 << 1, /* data, link target, device number */
	UMBRA_DIFFERS_MODE = 1 << 2,
	UMBRA_DIFFERS_OWNER = 1 << 3,
	UMBRA_DIFFERS_XATTRS = 1 << 4, /* ACLs too */
	UMBRA_DIFFERS_TIME = 1 << 5,   /* last modification; not of directories */
};

enum umbra_compare_how {
	UMBRA_COMPARE_EXACT,    /* data is read unless it is known to be the same */
	UMBRA_COMPARE_READABLE, /* the same, but content of b that cannot be read differs */
	UMBRA_COMPARE_QUICK,    /* the same size and time of modification is the same data */
};

/*
 * A sum of UMBRA_DIFFERS_*, 0 when there is no difference, or negative. path is for messages. The
 * content of directories is not compared.
 */
int umbra_compare(const struct umbra_node *a, const struct umbra_node *b,
		  enum umbra_compare_how how, const char *path, struct umbra_error *err);

/*
 * Only the content of two files of the same type. 1: the same; 0: not, or that of b cannot be read;
 * negative: that of a cannot. Where both lie on one filesystem that shares blocks, sameness is seen
 * without reading.
 */
int umbra_compare_content(const struct umbra_node *a, const struct umbra_node *b, const char *path,
			  struct umbra_error *err);

/* "type", "content", …: the word for 1 << bit; NULL beyond the last. */
const char *umbra_differs_word(unsigned int bit);

/* "content, mode"; NULL: out of memory. */
char *umbra_differs_text(int differs);
