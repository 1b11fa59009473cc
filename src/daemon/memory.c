/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/memory.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "common/log.h"
#include "common/urgent.h"
#include "common/util.h"

void umbra_lock_memory(void)
{
	umbra_be_spared();
	umbra_urgent_usual();
	if (mlockall(MCL_CURRENT | MCL_FUTURE) < 0)
		umbra_log_warning("cannot lock memory: %s", strerror(errno));
}
