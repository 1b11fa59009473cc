/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How libdevmapper is called. For files in snapshot/sys alone. */
#pragma once

#include <libdevmapper.h>
#include <pthread.h>

#include "snapshot/sys/dm.h"

pthread_mutex_t *umbra_dm_enter(void);
void umbra_dm_leave(pthread_mutex_t **held);

/* The first thing in a function: the library, which has one state for all threads, is ours for the
 * rest of it. All of the following is for who has it. */
#define LIBRARY                                                                                    \
	_cleanup_(umbra_dm_leave) pthread_mutex_t *held __attribute__((unused)) = umbra_dm_enter()

void umbra_dm_task_destroy(struct dm_task **task);
#define _cleanup_task_ _cleanup_(umbra_dm_task_destroy)

/* verb is for messages: "resume". */
int umbra_dm_task_new(int type, const char *verb, struct umbra_dm_ref ref, struct dm_task **out,
		      struct umbra_error *err);
#define UMBRA_DM_LOAD "load a table into" /* a verb: what fails may be another device */

int umbra_dm_run(struct dm_task *task, const char *verb, struct umbra_dm_ref ref,
		 struct umbra_error *err);

/* Is it one that nobody may open (dm.h)? */
bool umbra_dm_hidden(struct umbra_dm_ref ref);

/* Of tasks on devices of ours that cause an event for udev. */
int umbra_dm_run_with_event(struct dm_task *task, const char *verb, struct umbra_dm_ref ref,
			    struct umbra_error *err);

/* What failed last, as an error; task may be NULL. */
int umbra_dm_fail(struct dm_task *task, const char *verb, struct umbra_dm_ref ref,
		  struct umbra_error *err);

/* What the library has said about that; "" when nothing. */
const char *umbra_dm_said(void);

#define UMBRA_DM_SHOWN (UMBRA_DM_NAME_MAX + 16)
const char *umbra_dm_show(struct umbra_dm_ref ref, char out[UMBRA_DM_SHOWN]);

/* Of CLOCK_MONOTONIC; these two are for anybody. */
long umbra_dm_now_ms(void);
void umbra_dm_sleep_ms(long ms);
