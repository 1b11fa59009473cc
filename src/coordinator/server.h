/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The coordinator's side of a connection: requests in, progress and results out.
 *
 * A request is {"v":1,"type":"create"|"delete"|"check"|"storage","state_dir":…,"wait_s":N, …};
 * while it runs {"type":"progress",…} may be sent any number of times; it ends with exactly one
 * {"type":"result",…} or {"type":"error","code","errno","text"}.
 */
#pragma once

#define UMBRA_PROTOCOL_VERSION 1

/* Serves requests until the requester closes. */
void umbra_serve(int fd);
