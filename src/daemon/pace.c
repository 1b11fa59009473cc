/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/pace.h"

int64_t umbra_pace_wait(const struct umbra_pace *p, int64_t now_us)
{
	int64_t debt = p->paid_us - now_us, most = (UMBRA_PACE_BURST - 1) * UMBRA_PACE_US;

	return debt > most ? debt - most : 0;
}

void umbra_pace_spend(struct umbra_pace *p, int64_t now_us)
{
	if (p->paid_us < now_us)
		p->paid_us = now_us;
	p->paid_us += UMBRA_PACE_US;
}
