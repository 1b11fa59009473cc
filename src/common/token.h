/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The name of a set: its UTC second in the form that SMB clients know (MS-SMB2 2.2.32.2, "@GMT"
 * tokens). Times are UTC in names and local in tables.
 */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define UMBRA_TOKEN_LEN 24 /* "@GMT-2026.11.20-03.10.00" */

/* Years 1970 to 9999; anything else is clamped. */
void umbra_token_format(int64_t utc, char out[UMBRA_TOKEN_LEN + 1]);

/* 0 and *utc, or -EINVAL when s is not exactly one token of a real date. */
int umbra_token_parse(const char *s, int64_t *utc);

/* "2026-11-20 04:10:00" in the zone of TZ. */
void umbra_time_local(int64_t utc, char *out, size_t size);

/* Seconds of CLOCK_REALTIME; UMBRA_TEST_NOW (seconds since 1970) in the environment overrides
 * it, so that tests can move the clock without touching the machine's. */
int64_t umbra_now(void);

/* Microseconds of CLOCK_MONOTONIC. */
int64_t umbra_now_us(void);
