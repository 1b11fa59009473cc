/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider/dm/device/layer_check.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "snapshot/provider/dm/device/names.h"
#include "snapshot/sys/suspended.h"

/* Targets that hold no state of their own, so that two of them over the same sectors are one. */
static const char *const good[] = {"linear", "striped", "crypt", "delay", "flakey", "dust"};

struct refusal {
	const char *target; /* a last '*' stands for any end */
	const char *why;
};

static const struct refusal refusals[] = {
	{"multipath",
	 "the table of a multipath device cannot be replaced while it is in use: put a "
	 "partition or a logical volume on it and copy that"},
	{"verity", "a verity device never changes, so there is nothing to copy"},
	{"snapshot-origin",
	 "it has snapshots of somebody else already: remove those (lvremove), or "
	 "use them"},
	{"snapshot*", "it is a snapshot itself: copy its origin"},
	{"thin*", "thin volumes have snapshots of their own: lvcreate -s"},
	{"raid",
	 "its table cannot be made a second time: a logical volume or a partition on a RAID "
	 "device below (mdadm) can be copied"},
	{"mirror",
	 "its table cannot be made a second time: convert it with lvconvert --type linear "
	 "or put it on a RAID device (mdadm)"},
	{"cache", "a cache cannot be there twice: detach it with lvconvert --uncache"},
	{"writecache", "a cache cannot be there twice: detach it with lvconvert --uncache"},
	{"integrity",
	 "its journal cannot be there twice: put a logical volume on it and copy that"},
	{"vdo", "its table cannot be made a second time: put a logical volume on it and copy that"},
};

static bool is(const char *target, const char *pattern)
{
	size_t len = strcspn(pattern, "*");

	return strncmp(target, pattern, len) == 0 && (pattern[len] == '*' || target[len] == '\0');
}

static bool is_good(const char *target)
{
	size_t i;

	for (i = 0; i < UMBRA_ARRAY_SIZE(good); i++)
		if (strcmp(target, good[i]) == 0)
			return true;
	return false;
}

static const char *why_not(const char *target)
{
	size_t i;

	for (i = 0; i < UMBRA_ARRAY_SIZE(refusals); i++)
		if (is(target, refusals[i].target))
			return refusals[i].why;
	return "it is not known that its table may be there twice: copy a device that is made of "
	       "linear or crypt targets";
}

/* "CIPHER KEY IV_OFFSET DEVICE OFFSET …"; a key in the keyring is ":SIZE:TYPE:NAME". */
static bool key_in_keyring(const char *params)
{
	const char *key = strchr(params, ' ');

	return key && key[1] == ':';
}

/* A layer of umbra's that this state directory does not know. */
static bool is_our_origin(const struct umbra_dm_line *line)
{
	struct umbra_dm_info info;
	unsigned int maj, min;

	return strcmp(line->target, "snapshot-origin") == 0 &&
	       sscanf(line->params, "%u:%u", &maj, &min) == 2 &&
	       umbra_dm_info(umbra_dm_numbered(makedev(maj, min)), &info, NULL) == 0 &&
	       strncmp(info.uuid, UMBRA_DEVICE_PREFIX, strlen(UMBRA_DEVICE_PREFIX)) == 0;
}

static int check_line(const struct umbra_dm_info *info, const struct umbra_dm_line *line,
		      struct umbra_error *err)
{
	if (is_our_origin(line))
		return umbra_fail(err, UMBRA_E_BUSY, EBUSY,
				  "'%s' has shadow copies in another state directory of umbra: "
				  "use that one (--state), or delete them there",
				  info->name);
	if (!is_good(line->target))
		return umbra_fail(err,
				  is(line->target, "snapshot-origin") ? UMBRA_E_BUSY
								      : UMBRA_E_UNSUPPORTED,
				  EOPNOTSUPP, "'%s' is a device-mapper device of type %s: %s",
				  info->name, line->target, why_not(line->target));
	if (strcmp(line->target, "crypt") == 0 && key_in_keyring(line->params))
		return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOKEY,
				  "the key of '%s' is in the kernel's keyring, where no second "
				  "table finds it: run 'cryptsetup refresh --disable-keyring %s'",
				  info->name, info->name);
	return 0;
}

static int check_info(const struct umbra_dm_info *info, struct umbra_error *err)
{
	int r;

	if (strncmp(info->uuid, UMBRA_DEVICE_PREFIX, strlen(UMBRA_DEVICE_PREFIX)) == 0)
		return umbra_fail(err, UMBRA_E_UNSUPPORTED, EOPNOTSUPP,
				  "'%s' is a device of umbra itself", info->name);
	if (!info->live)
		return umbra_fail(err, UMBRA_E_UNSUPPORTED, EOPNOTSUPP, "'%s' has no table",
				  info->name);
	r = umbra_refuse_suspended(info->dev, 0, err);
	if (r < 0)
		return r;
	if (info->loaded)
		return umbra_fail(err, UMBRA_E_BUSY, EBUSY,
				  "somebody is changing the table of '%s': wait, or run 'dmsetup "
				  "clear %s'",
				  info->name, info->name);
	return 0;
}

/* Programs write to persistent memory past the block layer, and with the layer in the kernel would
 * give them errors. */
static int check_dax(const struct umbra_dm_info *info, struct umbra_error *err)
{
	_cleanup_free_ char *dax = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/queue/dax", major(info->dev),
		 minor(info->dev));
	if (umbra_read_file(AT_FDCWD, path, 4096, &dax, NULL) < 0 || *dax != '1')
		return 0;
	return umbra_fail(err, UMBRA_E_UNSUPPORTED, EOPNOTSUPP,
			  "'%s' is on persistent memory with DAX, which is written past the block "
			  "layer: put it on a namespace of mode 'sector' (ndctl)",
			  info->name);
}

int umbra_layer_examine(dev_t dev, struct umbra_dm_info *info, struct umbra_dm_table *table,
			struct umbra_error *err)
{
	_cleanup_dm_table_ struct umbra_dm_table own = {0};
	size_t i;
	int r = umbra_dm_info(umbra_dm_numbered(dev), info, err);

	if (r == UMBRA_DM_NONE)
		return umbra_fail(
			err, UMBRA_E_UNSUPPORTED, EOPNOTSUPP,
			"device %u:%u is not a device-mapper device: only logical volumes "
			"and the like can be slid under",
			major(dev), minor(dev));
	if (r == 0)
		r = check_info(info, err);
	if (r == 0)
		r = check_dax(info, err);
	if (r == 0)
		r = umbra_dm_table(umbra_dm_numbered(dev), UMBRA_DM_LIVE, &own, err);
	for (i = 0; r == 0 && i < own.n; i++)
		r = check_line(info, &own.v[i], err);
	if (r < 0)
		return r;
	*table = own;
	own = (struct umbra_dm_table){0};
	return 0;
}
