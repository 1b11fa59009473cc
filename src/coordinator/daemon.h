/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * umbrad, as far as whoever creates has to know it: it must be at work before a copy is made that
 * needs to be looked after.
 */
#pragma once

#include "snapshot/engine.h"

/*
 * Sees to it that one looks after this state directory: does nothing when one does; else asks
 * systemd for umbrad.service (the default state directory only), or starts it, on its own feet.
 */
int umbra_daemon_start(const struct umbra_engine *e, struct umbra_error *err);
