/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/reserve.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/util.h"

static bool have(int state_fd)
{
	struct stat st;

	return fstatat(state_fd, UMBRA_RESERVE_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       S_ISREG(st.st_mode) && st.st_blocks >= UMBRA_RESERVE_SIZE / 512;
}

/* Bytes that no filesystem compresses away, where fallocate() is not known. */
static int write_noise(int fd)
{
	unsigned int i, x = 2463534242U, block[1024];
	int r = 0;

	for (unsigned int done = 0; r == 0 && done < UMBRA_RESERVE_SIZE; done += sizeof(block)) {
		for (i = 0; i < UMBRA_ARRAY_SIZE(block); i++) {
			x ^= x << 13;
			x ^= x >> 17;
			x ^= x << 5;
			block[i] = x;
		}
		r = umbra_write_all(fd, block, sizeof(block));
	}
	return r;
}

void umbra_reserve_make(int state_fd)
{
	_cleanup_close_ int fd = -1;
	int r;

	if (have(state_fd))
		return;
	fd = openat(state_fd, UMBRA_RESERVE_NAME,
		    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return;
	r = posix_fallocate(fd, 0, UMBRA_RESERVE_SIZE) == 0 ? 0 : write_noise(fd);
	if (r < 0)
		unlinkat(state_fd, UMBRA_RESERVE_NAME, 0);
}

int umbra_reserve_spend(int state_fd)
{
	return unlinkat(state_fd, UMBRA_RESERVE_NAME, 0) == 0;
}
