/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/uevent.h"

#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>

#include "common/util.h"

#define KERNEL_GROUP  1U
#define MESSAGE_BYTES 8192 /* the kernel's have at most 2048, and a path */

int umbra_uevent_open(struct umbra_error *err)
{
	struct sockaddr_nl own = {.nl_family = AF_NETLINK, .nl_groups = KERNEL_GROUP};
	_cleanup_close_ int fd =
		socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT);

	if (fd < 0 || bind(fd, (const struct sockaddr *)&own, sizeof(own)) < 0)
		return umbra_fail_errno(err, errno, "cannot listen to the kernel's events");
	return TAKE_FD(fd);
}

static bool number(const char *text, unsigned int *out)
{
	char *end;
	unsigned long v = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || v > INT32_MAX)
		return false;
	*out = (unsigned int)v;
	return true;
}

static const char *value_of(const char *word, const char *key)
{
	size_t n = strlen(key);

	return strncmp(word, key, n) == 0 ? word + n : NULL;
}

/* "ACTION@PATH", and then "KEY=VALUE"; a NUL ends each. */
bool umbra_uevent_parse(const char *message, size_t len, dev_t *device)
{
	unsigned int maj = 0, min = 0;
	bool block = false, has_maj = false, has_min = false;
	const char *word, *value;

	if (len == 0 || message[len - 1] != '\0')
		return false;
	for (word = message; word < message + len; word += strlen(word) + 1) {
		if ((value = value_of(word, "SUBSYSTEM=")))
			block = strcmp(value, "block") == 0;
		else if ((value = value_of(word, "MAJOR=")))
			has_maj = number(value, &maj);
		else if ((value = value_of(word, "MINOR=")))
			has_min = number(value, &min);
	}
	if (!block || !has_maj || !has_min)
		return false;
	*device = makedev(maj, min);
	return true;
}

enum umbra_uevent umbra_uevent_next(int fd, dev_t *device)
{
	char message[MESSAGE_BYTES];
	struct sockaddr_nl from = {0};
	struct iovec iov = {.iov_base = message, .iov_len = sizeof(message)};
	struct msghdr msg = {
		.msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	do
		n = recvmsg(fd, &msg, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ENOBUFS ? UMBRA_UEVENT_MISSED : UMBRA_UEVENT_NONE;
	/* udev, and whoever else may, sends to this socket too: with an address. */
	if (msg.msg_namelen != sizeof(from) || from.nl_pid != 0 || from.nl_groups != KERNEL_GROUP)
		return UMBRA_UEVENT_OTHER;
	if (msg.msg_flags & MSG_TRUNC)
		return UMBRA_UEVENT_MISSED;
	return umbra_uevent_parse(message, (size_t)n, device) ? UMBRA_UEVENT_BLOCK
							      : UMBRA_UEVENT_OTHER;
}
