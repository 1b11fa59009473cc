/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How often something is done that others cause: at once, as long as that is seldom; else in steps
 * of a fixed time. Pure; times are umbra_now_us().
 */
#pragma once

#include <stdint.h>

#define UMBRA_PACE_US    50000
#define UMBRA_PACE_BURST 20 /* so many at once */

/* Zeros: nothing was done yet. */
struct umbra_pace {
	int64_t paid_us; /* what was done is paid for by then */
};

/* 0: it may be done now; else in how many microseconds. */
int64_t umbra_pace_wait(const struct umbra_pace *p, int64_t now_us);
/* It is done. */
void umbra_pace_spend(struct umbra_pace *p, int64_t now_us);
