/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "sync_spy.h"

#include <pthread.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX 64

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static dev_t written[MAX];
static size_t n_written, n_fsyncs;
static struct stat last;

int syncfs(int fd)
{
	struct stat st;

	pthread_mutex_lock(&lock);
	if (n_written < MAX && fstat(fd, &st) == 0)
		written[n_written++] = st.st_dev;
	pthread_mutex_unlock(&lock);
	return (int)syscall(SYS_syncfs, fd);
}

int fsync(int fd)
{
	pthread_mutex_lock(&lock);
	n_fsyncs++;
	fstat(fd, &last);
	pthread_mutex_unlock(&lock);
	return (int)syscall(SYS_fsync, fd);
}

void sync_spy_reset(void)
{
	n_written = n_fsyncs = 0;
}

size_t sync_spy_fsyncs(void)
{
	return n_fsyncs;
}

bool sync_spy_last_is(const char *path)
{
	struct stat st;

	return n_fsyncs > 0 && stat(path, &st) == 0 && st.st_dev == last.st_dev &&
	       st.st_ino == last.st_ino;
}

bool sync_spy_wrote_out(const char *path)
{
	struct stat st;
	size_t i;

	if (stat(path, &st) < 0)
		return false;
	for (i = 0; i < n_written; i++)
		if (written[i] == st.st_dev)
			return true;
	return false;
}
