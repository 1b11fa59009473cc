/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/sys/scratch.h"

#include <sys/mman.h>
#include <unistd.h>

#include "common/util.h"
#include "snapshot/sys/loop.h"

int umbra_scratch_make(struct umbra_scratch *s, uint64_t bytes, struct umbra_error *err)
{
	s->memory = memfd_create("umbra", MFD_CLOEXEC);
	if (s->memory < 0 || ftruncate(s->memory, (off_t)bytes) < 0)
		return umbra_fail_errno(err, errno, "cannot have %llu bytes of memory",
					(unsigned long long)bytes);
	return 0;
}

int umbra_scratch_attach(struct umbra_scratch *s, struct umbra_error *err)
{
	return umbra_loop_attach(s->memory, false, &s->fd, &s->dev, err);
}

void umbra_scratch_finish(struct umbra_scratch *s)
{
	s->fd = umbra_close(s->fd);
	s->memory = umbra_close(s->memory);
}
