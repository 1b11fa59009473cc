/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Real device-mapper, in the guest. Everything there belongs to the test: when it ends, all
 * devices are resumed and removed.
 */
#pragma once

#include "common/id.h"
#include "snapshot/sys/dm.h"
#include "tests/unit/lab.h"

/* As fixtures: skips the test with the reason where this cannot be had. */
void dm_lab_begin(void);
void dm_lab_end(void);

/* Skips the test unless sh -c succeeds. */
void dm_lab_need(const char *what, const char *test);

/* A new disk of zeros: DIR/name, attached to a loop device. Its number. */
dev_t dm_lab_disk(const char *name, unsigned int mib);

/* The number of an existing device with this path below /dev. */
dev_t dm_lab_dev(const char *path);

/* dmsetup create NAME, with lines of a table; its number. */
dev_t dm_lab_create(const char *name, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A linear device NAME of one line over a new disk. */
dev_t dm_lab_linear(const char *name, unsigned int mib);

/* mkfs and mount of /dev/mapper/NAME on DIR/at. */
void dm_lab_mount(const char *name, const char *fstype, const char *at);

/* A process that writes, checks and deletes files below DIR/at until it is stopped. The first one
 * is there when this returns. */
pid_t dm_lab_writer(const char *at);
/* It must not have met an error. */
void dm_lab_writer_stop(pid_t writer);

/* Is nothing suspended but walls and what is named in spared (may be NULL)? */
bool dm_lab_flows(const char *spared);

/* Can the filesystem on DIR/at be written and read, by then? */
bool dm_lab_works(const char *at, int limit_ms);

/* fork(), fn(arg) in the child, SIGKILL right after its n-th ioctl (from 1) on device-mapper or a
 * loop device. false: it had fewer, and did not fail. */
bool dm_lab_kill_at(int n, int (*fn)(void *arg), void *arg);
