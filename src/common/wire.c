/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/wire.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>

int umbra_wire_send(int fd, const json_t *doc, bool wait)
{
	_cleanup_free_ char *text = json_dumps(doc, JSON_COMPACT);
	size_t len;

	if (!text)
		return -ENOMEM;
	len = strlen(text);
	if (len > UMBRA_WIRE_MAX)
		return -EMSGSIZE;
	while (send(fd, text, len, MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT)) < 0) {
		if (errno != EINTR)
			return errno == ECONNRESET ? -EPIPE : -errno;
	}
	return 0;
}

int umbra_wire_receive(int fd, json_t **out, struct umbra_error *err)
{
	_cleanup_free_ char *buf = malloc(UMBRA_WIRE_MAX);
	ssize_t n;

	if (!buf)
		return umbra_oom(err);
	do {
		n = recv(fd, buf, UMBRA_WIRE_MAX, MSG_DONTWAIT | MSG_TRUNC);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return -EAGAIN;
	if (n <= 0)
		return umbra_fail(err, UMBRA_E_IO, ECONNRESET, "the connection was closed");
	if ((size_t)n > UMBRA_WIRE_MAX)
		return umbra_fail(err, UMBRA_E_DAMAGED, EBADMSG, "a message has %zd bytes, over %u",
				  n, UMBRA_WIRE_MAX);
	return umbra_doc_parse(buf, (size_t)n, "a message", out, err);
}

int umbra_wire_wait(int fd, int timeout_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int r = poll(&p, 1, timeout_ms);

	if (r < 0)
		return errno == EINTR ? 0 : -errno;
	return r;
}
