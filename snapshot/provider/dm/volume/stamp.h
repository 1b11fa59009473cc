/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The stamp of a protected volume (proof.h): what is on it now, and what its pool remembers. */
#pragma once

#include "snapshot/provider/dm/volume/protected.h"

/*
 * Is it proved that nobody has written the volume since it was last seen below the layer, and is
 * nobody about to? 1, 0 or negative. For when the newest store is not live. claimed: the caller has
 * claimed it.
 */
int umbra_stamp_holds(const struct umbra_protected *p, bool claimed, struct umbra_error *err);

/* What the volume is now goes into a pool that is to be written. The layer is in. */
int umbra_stamp_put(const struct umbra_protected *p, struct umbra_pool *pool,
		    struct umbra_error *err);

/* The same, durably, when it has changed; the newest store is live. A volume that cannot be read is
 * only logged: then nothing can be proved later. */
int umbra_stamp_renew(struct umbra_protected *p, struct umbra_error *err);

/* Is the volume in use, as a stamp has it? 1, 0 or negative. name: for err. */
int umbra_stamp_used(dev_t origin, const char *name, struct umbra_error *err);

/* Would the stamp be another now? real: the volume below its layer, of so many sectors. Takes no
 * lock, and does not wait for a volume that is held. What cannot be read has not changed. */
bool umbra_stamp_differs(dev_t origin, dev_t real, uint64_t sectors, const char *stamp);

/* Is another filesystem than the stamp's on the volume, or none, or in memory to be written to it?
 * real: the volume below its layer. What cannot be read is no other. */
bool umbra_stamp_replaced(dev_t origin, dev_t real, const char *stamp);

/* Nothing is stored in the area, which may be in the way for ever: -EBADMSG (DAMAGED) where the
 * volume does not have the filesystem any more that the area is inside. Mounted it has. */
int umbra_stamp_refuse_other(const struct umbra_protected *p, struct umbra_error *err);

/* The volume is about to be what is read from fd (O_DIRECT), and may be stopped when it is. */
int umbra_stamp_expect(struct umbra_protected *p, int fd, struct umbra_error *err);

/* The volume's device, so that nobody mounts or checks it as long as it is open. -EBUSY: somebody
 * does already. A descriptor. */
int umbra_stamp_claim(const struct umbra_protected *p, struct umbra_error *err);
