/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/token.h"
#include "common/util.h"
#include "place.h"
#include "snapshot/mounts.h"

TestSuite(mounts, .init = place_begin, .fini = place_end, .timeout = 60);

/* Answers one announcement. */
static void *answer(void *arg)
{
	struct pollfd p = {.fd = *(int *)arg, .events = POLLIN};
	int client;

	poll(&p, 1, 5000);
	client = umbra_mounts_accept(p.fd);
	cr_assert_geq(client, 0);
	umbra_mounts_ack(client);
	return NULL;
}

Test(mounts, nobody_there_is_fine)
{
	cr_assert_eq(umbra_mounts_announce(place_fd, 1000), 0);
}

Test(mounts, every_mount_answers)
{
	pthread_t threads[3];
	char *names[3];
	int fds[3];

	for (int i = 0; i < 3; i++) {
		cr_assert_eq(umbra_mounts_listen(place_fd, &names[i], &fds[i], NULL), 0);
		pthread_create(&threads[i], NULL, answer, &fds[i]);
	}
	cr_assert_eq(umbra_mounts_announce(place_fd, 5000), 0);
	for (int i = 0; i < 3; i++) {
		pthread_join(threads[i], NULL);
		umbra_mounts_close(place_fd, names[i], fds[i]);
		free(names[i]);
	}
}

Test(mounts, a_silent_one_is_counted_and_not_waited_for_long)
{
	int64_t start;
	char *name;
	int fd;

	cr_assert_eq(umbra_mounts_listen(place_fd, &name, &fd, NULL), 0);
	start = umbra_now_us();
	cr_assert_eq(umbra_mounts_announce(place_fd, 200), 1);
	cr_assert_lt(umbra_now_us() - start, 2000000);
	umbra_mounts_close(place_fd, name, fd);
	free(name);
}

Test(mounts, those_that_are_too_many_are_counted)
{
	enum { N = 260 }; /* more than are told */
	char *names[N];
	int fds[N];

	for (int i = 0; i < N; i++)
		cr_assert_eq(umbra_mounts_listen(place_fd, &names[i], &fds[i], NULL), 0);
	cr_expect_eq(umbra_mounts_announce(place_fd, 10), N);
	for (int i = 0; i < N; i++) {
		umbra_mounts_close(place_fd, names[i], fds[i]);
		free(names[i]);
	}
}

Test(mounts, what_a_killed_mount_left_is_cleared_away)
{
	_cleanup_free_ char *path = NULL, *name = NULL;
	int fd;

	cr_assert_eq(umbra_mounts_listen(place_fd, &name, &fd, NULL), 0);
	close(fd);
	path = umbra_asprintf("%s/mounts/%s", place, name);
	cr_assert_eq(access(path, F_OK), 0);
	cr_assert_eq(umbra_mounts_announce(place_fd, 1000), 0);
	cr_assert_eq(access(path, F_OK), -1);
}

Test(mounts, works_below_a_path_longer_than_a_socket_address)
{
	char name[201] = {0}, *socket_name;
	pthread_t thread;
	int fd, deep;

	memset(name, 'x', 200);
	cr_assert_eq(mkdirat(place_fd, name, 0700), 0);
	deep = openat(place_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_eq(umbra_mounts_listen(deep, &socket_name, &fd, NULL), 0);
	pthread_create(&thread, NULL, answer, &fd);
	cr_assert_eq(umbra_mounts_announce(deep, 5000), 0);
	pthread_join(thread, NULL);
	umbra_mounts_close(deep, socket_name, fd);
	free(socket_name);
	close(deep);
}
