/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The difference of two files' contents as diff(1) shows it. */
#pragma once

#include "common/error.h"

/*
 * Prints a unified diff to standard output. Descriptors are open for reading; -1 is a file that is
 * not there. Labels stand for the names. Binary files are only said to differ.
 */
int umbra_text_diff(int from, const char *from_label, int to, const char *to_label,
		    struct umbra_error *err);
