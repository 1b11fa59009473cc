/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Mounted trees and those who change the catalog talk over Unix sockets in STATE/mounts/, one a
 * mount, named ID.sock. A change is announced with one byte 'c' and answered with one byte 'k'
 * when the mount has read the catalog again, dropped what is gone and told the kernel. So when
 * the coordinator has announced a new set it is visible, and when it has announced a set in
 * state DELETING no mount holds anything of it.
 *
 * The mount id is in the socket's name; nobody else can enter STATE.
 */
#pragma once

#include "common/error.h"

/* The type that the table of mounts shows; their source is the state directory. */
#define UMBRA_MOUNTS_FSTYPE "fuse.umbra"

/* Mount's side: a listening socket (SOCK_SEQPACKET, nonblocking, close-on-exec); *name (free it)
 * is for umbra_mounts_close(). */
int umbra_mounts_listen(int state_fd, char **name, int *fd_out, struct umbra_error *err);
void umbra_mounts_close(int state_fd, const char *name, int fd);

/*
 * Accepts one announcer, waits at most a second for its byte. Returns a descriptor that
 * umbra_mounts_ack() answers and closes, or -EAGAIN.
 */
int umbra_mounts_accept(int fd);
void umbra_mounts_ack(int client);

/*
 * Coordinator's side: tells every mount and waits, at most timeout_ms altogether. Sockets without
 * a listener are removed. Returns how many mounts did not answer in time (0: all know it).
 */
int umbra_mounts_announce(int state_fd, int timeout_ms);
