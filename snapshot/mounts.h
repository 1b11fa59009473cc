/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Mounted trees and those who change the catalog talk over Unix sockets in STATE/mounts/, one a
 * mount, named ID.sock. A change is announced with one byte 'c' and answered with one byte when
 * the mount has read the catalog again, dropped what is gone and told the kernel: 'k' when no
 * descriptor of what is gone is open any more, 'b' when some request is still at work on it. So
 * when the coordinator has announced a new set it is visible, and when it has announced a set in
 * state DELETING no mount shows it.
 *
 * Who wants to know when a mount has ended asks 'w', is told its device and waits for the end of
 * the connection.
 *
 * The mount id is in the socket's name; nobody else can enter STATE.
 */
#pragma once

#include <sys/types.h>

#include "common/error.h"

/* The type that the table of mounts shows; their source is the state directory. */
#define UMBRA_MOUNTS_FSTYPE "fuse.umbra"

/* Mount's side: a listening socket (SOCK_SEQPACKET, nonblocking, close-on-exec); *name (free it)
 * is for umbra_mounts_close(). */
int umbra_mounts_listen(int state_fd, char **name, int *fd_out, struct umbra_error *err);
void umbra_mounts_close(int state_fd, const char *name, int fd);

/*
 * Who waits for whom, in milliseconds. A mount waits for the byte of who connected, then for the
 * requests that are at work on deleted sets; a coordinator waits for all mounts together. So a
 * mount that is well answers in time.
 */
#define UMBRA_MOUNTS_ASK_MS    250
#define UMBRA_MOUNTS_DRAIN_MS  1000
#define UMBRA_MOUNTS_ANSWER_MS 2000
/* Who unmounted waits for the end of the mount's process. */
#define UMBRA_MOUNTS_END_MS 5000

_Static_assert(UMBRA_MOUNTS_ASK_MS + UMBRA_MOUNTS_DRAIN_MS < UMBRA_MOUNTS_ANSWER_MS,
	       "a mount that has to wait itself can still answer");

enum umbra_mounts_word {
	UMBRA_MOUNTS_CHANGED = 'c',
	UMBRA_MOUNTS_WAIT = 'w',
	UMBRA_MOUNTS_DONE = 'k',
	UMBRA_MOUNTS_BUSY = 'b',
};

/* Accepts one who has something to say and waits for it. A descriptor (close it), *word is
 * CHANGED or WAIT; or -EAGAIN. */
int umbra_mounts_accept(int fd, enum umbra_mounts_word *word);

/* To CHANGED: DONE or BUSY. Closes client. */
void umbra_mounts_answer(int client, enum umbra_mounts_word word);

/* To WAIT: which mount this is. Keep client open until nothing is in use any more. 0 or -errno. */
int umbra_mounts_tell_device(int client, dev_t dev);

/*
 * Coordinator's side: tells every mount and waits, at most timeout_ms altogether. Sockets without
 * a listener are removed. silent: how many mounts did not answer in time (0: all know it); busy:
 * how many still read what is gone.
 */
struct umbra_mounts_answers {
	int silent, busy;
};
struct umbra_mounts_answers umbra_mounts_announce(int state_fd, int timeout_ms);

/* The mount with this device: a connection that ends when it does. -ENOENT: there is none that
 * answers. */
int umbra_mounts_find(int state_fd, dev_t dev);
/* 0; -ETIMEDOUT. */
int umbra_mounts_wait_end(int connection, int timeout_ms);
