/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * umbrad, as far as whoever creates has to know it: it must be at work before a copy is made that
 * needs to be looked after.
 */
#pragma once

#include <jansson.h>

#include "snapshot/engine.h"

/* Is one at work for this state directory? */
bool umbra_daemon_at_work(const struct umbra_engine *e);

/* Does anything of these areas, as umbra_storage_ops.list() has them, need one? */
bool umbra_daemon_is_needed(const json_t *areas);

/*
 * Does nothing when one looks after this state directory; else asks systemd for umbrad.service
 * (the default state directory only), or starts it, on its own feet, and does not wait for it.
 */
int umbra_daemon_start(const struct umbra_engine *e, struct umbra_error *err);

/* After what it is to look after can be seen, before anything depends on it: is it at work? If it
 * has ended or could not begin, another one is started, and waited for, some seconds at most. */
int umbra_daemon_need(const struct umbra_engine *e, struct umbra_error *err);
