/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fake_dm.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

struct fake_dm *fake_dm(void)
{
	static struct fake_dm *dm;
	const char *path = getenv("UMBRA_TEST_DM");
	int fd;

	if (dm)
		return dm;
	fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
	if (fd < 0 || ftruncate(fd, sizeof(*dm)) < 0)
		abort();
	dm = mmap(NULL, sizeof(*dm), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return dm;
}

void fake_dm_add(unsigned int minor, const char *name, const char *uuid)
{
	struct fake_dm_device *d = &fake_dm()->devices[minor];

	*d = (struct fake_dm_device){.known = {.major = FAKE_DM_MAJOR, .minor = minor}};
	snprintf(d->known.name, sizeof(d->known.name), "%s", name);
	snprintf(d->known.uuid, sizeof(d->known.uuid), "%s", uuid);
}

static struct fake_dm_device *find(const struct umbra_dm_device *d)
{
	struct fake_dm_device *there;

	if (d->major != FAKE_DM_MAJOR || d->minor >= FAKE_DM_MAX)
		return NULL;
	there = &fake_dm()->devices[d->minor];
	if (!there->known.name[0] || strcmp(there->known.uuid, d->uuid) != 0 ||
	    (!d->uuid[0] && strcmp(there->known.name, d->name) != 0))
		return NULL;
	return there;
}

int umbra_dm_control_open(int *control, struct umbra_error *err)
{
	(void)err;
	fake_dm();
	*control = open("/dev/null", O_RDWR | O_CLOEXEC);
	return 0;
}

int umbra_dm_device_lookup(int control, uint32_t major, uint32_t minor, struct umbra_dm_device *out,
			   struct umbra_error *err)
{
	(void)control;
	if (major != FAKE_DM_MAJOR || minor >= FAKE_DM_MAX)
		return umbra_fail(err, UMBRA_E_NOT_FOUND, ENXIO, "no device %u:%u", major, minor);
	*out = fake_dm()->devices[minor].known;
	return 0;
}

int umbra_dm_suspended(int control, const struct umbra_dm_device *d)
{
	const struct fake_dm_device *there = find(d);

	(void)control;
	return there ? there->suspended : -ENODEV;
}

int umbra_dm_hold_suspend(int control, const struct umbra_dm_device *d, unsigned int flags)
{
	struct fake_dm_device *there = find(d);
	const struct timespec forever = {.tv_sec = 1000};

	(void)control;
	(void)flags;
	if (!there || there->suspended)
		return there ? -EBUSY : -ENODEV;
	if (there->stuck && nanosleep(&forever, NULL) < 0)
		return -EINTR;
	there->suspended = 1;
	return 0;
}

int umbra_dm_hold_resume(int control, const struct umbra_dm_device *d)
{
	const struct timespec moment = {.tv_nsec = 5000000};
	struct fake_dm_device *there = find(d);

	(void)control;
	if (!there || !there->suspended)
		return there ? 1 : -ENODEV;
	if (there->unresumable)
		return -EIO;
	while (there->blocked)
		nanosleep(&moment, NULL);
	if (!there->suspended)
		return 1;
	there->order = ++fake_dm()->resumes;
	there->resumed++;
	there->suspended = 0;
	return 0;
}

bool umbra_dm_device_valid(const struct umbra_dm_device *d)
{
	return d->name[0] && !strstr(d->uuid, "-wall");
}
