/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Messages between requester and coordinator: one JSON object a packet of a SOCK_SEQPACKET
 * socket, at most UMBRA_WIRE_MAX bytes, UTF-8.
 */
#pragma once

#include "common/doc.h"

/* Below the default socket buffer (net.core.wmem_default), which bounds a packet. */
#define UMBRA_WIRE_MAX (128U << 10)

/* Sends doc; waits for room when wait, else -EAGAIN. -EMSGSIZE: too large. -EPIPE: peer gone. */
int umbra_wire_send(int fd, const json_t *doc, bool wait);

/*
 * One message if there is one: 0 and *out (new reference), -EAGAIN when there is none (fd may be
 * blocking or not, this never waits), -ECONNRESET when the peer has closed, -EBADMSG for
 * anything that is not one object.
 */
int umbra_wire_receive(int fd, json_t **out, struct umbra_error *err);

/* Waits until something can be received, at most timeout_ms (-1: for ever). 1, 0 or -errno. */
int umbra_wire_wait(int fd, int timeout_ms);
