/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "write_log.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define MAGIC      0x6a736677736872ULL
#define VERSION    1
#define SECTOR_MAX 4096U

struct super {
	uint64_t magic, version, n_entries;
	uint32_t sector;
} __attribute__((packed));

/* One sector, and behind it, but for a discard, the data. Of a mark, they are in that sector. */
struct entry {
	uint64_t sector, n_sectors, flags, data_len;
} __attribute__((packed));

static int no_log(void)
{
	errno = 0;
	return -1;
}

int write_log_open(const char *name, struct write_log *log)
{
	struct super super;

	*log = (struct write_log){.name = name, .fd = open(name, O_RDONLY | O_CLOEXEC)};
	if (log->fd < 0)
		return -1;
	if (pread(log->fd, &super, sizeof(super), 0) != (ssize_t)sizeof(super) ||
	    le64toh(super.magic) != MAGIC || le64toh(super.version) != VERSION)
		return no_log();
	log->n_entries = le64toh(super.n_entries);
	log->sector = log->at = le32toh(super.sector);
	return log->sector < 512 || log->sector > SECTOR_MAX ? no_log() : 0;
}

int write_log_next(struct write_log *log, struct write_log_entry *e)
{
	struct entry raw;

	if (pread(log->fd, &raw, sizeof(raw), (off_t)log->at) != (ssize_t)sizeof(raw))
		return no_log();
	*e = (struct write_log_entry){.flags = (unsigned int)le64toh(raw.flags),
				      .at = le64toh(raw.sector) * log->sector,
				      .len = le64toh(raw.n_sectors) * log->sector};
	if (e->flags & WRITE_LOG_MARK) {
		e->data = log->at + sizeof(raw);
		e->name_len = le64toh(raw.data_len);
		if (e->name_len >= log->sector - sizeof(raw))
			return no_log();
	} else {
		e->data = log->at + log->sector;
	}
	log->at += log->sector;
	if (!(e->flags & WRITE_LOG_DISCARD))
		log->at += e->len;
	return 0;
}

int write_log_data(const struct write_log *log, const struct write_log_entry *e, uint64_t from,
		   void *buf, size_t len)
{
	if (e->flags & WRITE_LOG_DISCARD) {
		memset(buf, 0, len);
		return 0;
	}
	return pread(log->fd, buf, len, (off_t)(e->data + from)) == (ssize_t)len ? 0 : -1;
}
