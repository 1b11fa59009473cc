/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the target log-writes has recorded (its format: the kernel's Documentation/admin-guide/
 * device-mapper/log-writes.rst). A write is in it when the next flush has come, so that of those
 * behind the last flush before it any may have got to the disk, and others not.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum write_log_flag {
	WRITE_LOG_FLUSH = 1, /* comes after what it makes durable, also one with data */
	WRITE_LOG_FUA = 2,   /* is durable itself */
	WRITE_LOG_DISCARD = 4,
	WRITE_LOG_MARK = 8,
};

struct write_log {
	int fd;
	const char *name;
	uint64_t n_entries, sector;
	uint64_t at; /* byte of the next one */
};

struct write_log_entry {
	unsigned int flags;
	uint64_t at, len; /* bytes of the disk; of a discard, which has no data, too */
	uint64_t data;    /* where in the log it is; of a mark, its name */
	size_t name_len;  /* of a mark */
};

/* 0, or -1 with errno; 0: it is no log. */
int write_log_open(const char *name, struct write_log *log);
/* The next one. 0 or -1. */
int write_log_next(struct write_log *log, struct write_log_entry *e);
/* Reads or zeroes len bytes of what it wrote, from that byte on. 0 or -1. */
int write_log_data(const struct write_log *log, const struct write_log_entry *e, uint64_t from,
		   void *buf, size_t len);
