/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The thread beside those that serve the kernel. It alone reads the catalog again, tells the
 * kernel, closes idle copies and takes signals: so when it ends the session no notification is
 * under way that would wait for an answer nobody gives any more.
 */
#pragma once

#include "fuse/ops.h"

struct umbra_service;

/* Listens for announcements; blocks SIGTERM, SIGINT and SIGHUP in the calling thread and those it
 * makes; they end the session in an orderly way. Call before there are threads. */
int umbra_service_new(int state_fd, struct umbra_service **out, struct umbra_error *err);
/* The calling thread must be the one that runs the session's loop next. dev: of the mount, 0 not
 * known. */
int umbra_service_start(struct umbra_service *s, struct umbra_tree *tree, struct fuse_session *se,
			dev_t dev, struct umbra_error *err);
/* Ends the thread; NULL-safe. Who waits for the end of the mount goes on waiting for that of the
 * process. */
struct umbra_service *umbra_service_free(struct umbra_service *s);
