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

static int hear(int fd, enum umbra_mounts_word expected)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	enum umbra_mounts_word word;
	int client;

	poll(&p, 1, 5000);
	client = umbra_mounts_accept(fd, &word);
	cr_assert_geq(client, 0);
	cr_assert_eq(word, expected);
	return client;
}

/* Answers one announcement. */
static void *answer(void *arg)
{
	umbra_mounts_answer(hear(*(int *)arg, UMBRA_MOUNTS_CHANGED), UMBRA_MOUNTS_DONE);
	return NULL;
}

static void *answer_busy(void *arg)
{
	umbra_mounts_answer(hear(*(int *)arg, UMBRA_MOUNTS_CHANGED), UMBRA_MOUNTS_BUSY);
	return NULL;
}

static struct umbra_mounts_answers announce(int timeout_ms)
{
	return umbra_mounts_announce(place_fd, timeout_ms);
}

Test(mounts, nobody_there_is_fine)
{
	cr_assert_eq(announce(1000).silent, 0);
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
	cr_assert_eq(announce(5000).silent, 0);
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
	cr_assert_eq(announce(200).silent, 1);
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
	cr_expect_eq(announce(10).silent, N);
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
	cr_assert_eq(announce(1000).silent, 0);
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
	cr_assert_eq(umbra_mounts_announce(deep, 5000).silent, 0);
	pthread_join(thread, NULL);
	umbra_mounts_close(deep, socket_name, fd);
	free(socket_name);
	close(deep);
}

Test(mounts, one_that_still_reads_what_is_gone_is_busy_and_not_silent)
{
	struct umbra_mounts_answers answers;
	pthread_t thread;
	char *name;
	int fd;

	cr_assert_eq(umbra_mounts_listen(place_fd, &name, &fd, NULL), 0);
	pthread_create(&thread, NULL, answer_busy, &fd);
	answers = announce(5000);
	pthread_join(thread, NULL);
	cr_assert(answers.silent == 0 && answers.busy == 1);
	umbra_mounts_close(place_fd, name, fd);
	free(name);
}

struct asked {
	int fd, client;
};

static void *say_device(void *arg)
{
	struct asked *a = arg;

	a->client = hear(a->fd, UMBRA_MOUNTS_WAIT);
	cr_assert_eq(umbra_mounts_tell_device(a->client, 52), 0);
	return NULL;
}

Test(mounts, who_waits_for_one_mount_is_told_of_its_end)
{
	int connection, i;
	struct asked a;
	pthread_t thread;
	char *name;

	cr_assert_eq(umbra_mounts_listen(place_fd, &name, &a.fd, NULL), 0);
	for (i = 0; i < 2; i++) {
		cr_assert_eq(pthread_create(&thread, NULL, say_device, &a), 0);
		connection = umbra_mounts_find(place_fd, i == 0 ? 52 : 1 << 20);
		pthread_join(thread, NULL);
		if (i == 0) {
			cr_assert_geq(connection, 0);
			cr_assert_eq(umbra_mounts_wait_end(connection, 50), -ETIMEDOUT);
		}
		close(a.client);
		cr_assert_eq(i == 0 ? umbra_mounts_wait_end(connection, 5000) : connection,
			     i == 0 ? 0 : -ENOENT);
		umbra_close(connection);
	}
	umbra_mounts_close(place_fd, name, a.fd);
	free(name);
}
