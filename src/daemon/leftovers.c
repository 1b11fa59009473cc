/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/leftovers.h"

#include "common/token.h"
#include "coordinator/client.h"

#define AGAIN_US 1000000

void umbra_release_leftovers(void)
{
	static int64_t not_before;
	int64_t now = umbra_now_us();

	if (now >= not_before && !umbra_coordinator_release_leftovers())
		not_before = now + AGAIN_US;
}
