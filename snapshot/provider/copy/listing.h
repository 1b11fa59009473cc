/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* All names of one directory, as they are listed. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct umbra_listed {
	uint64_t ino; /* d_ino */
	uint32_t at;  /* offset in text; a NUL follows the name */
	uint16_t len;
	unsigned char type; /* DT_*, never DT_UNKNOWN */
};

struct umbra_listing {
	struct umbra_listed *list;
	size_t n;
	char *text;
	uint32_t text_len;
};

/*
 * Lists the directory fd, from where it stands, without "." and "..". umbra_listing_finish() also
 * after a failure: then out has what came before it. -EOVERFLOW: more than 4 GiB of names.
 */
int umbra_listing_read(int fd, struct umbra_listing *out);
void umbra_listing_finish(struct umbra_listing *names);
