/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Between who holds volumes and its guards: packets of a SOCK_SEQPACKET pair, and one page that
 * both have mapped. Both ends are of the same build and trust each other.
 *
 *	guard -> holder		READY, or FAILED with why, once after its start
 *	holder -> guard		ARM with what will be held and until when
 *	guard -> holder		ARMED, or FAILED: its timer runs
 *	holder -> guard		DISARM: all is released
 *	guard -> holder		DISARMED; from here on it can be armed again
 */
#pragma once

#include <stdatomic.h>

#include "snapshot/sys/held.h"

/* Descriptors that a guard starts with. */
enum { UMBRA_GUARD_SOCKET = 3, UMBRA_GUARD_PAGE, UMBRA_GUARD_HOLDER, UMBRA_GUARD_DIR };

struct umbra_guard_page {
	/* Set before the first device is resumed by anybody but the holder: what was committed
	 * while this was 0 was held. */
	atomic_bool fired;
};

enum umbra_guard_word {
	UMBRA_GUARD_READY,
	UMBRA_GUARD_FAILED,
	UMBRA_GUARD_ARM,
	UMBRA_GUARD_ARMED,
	UMBRA_GUARD_DISARM,
	UMBRA_GUARD_DISARMED,
};

struct umbra_guard_order {
	enum umbra_guard_word word; /* ARM or DISARM */
	char file[UMBRA_HELD_NAME_MAX];
	struct umbra_held held; /* DISARM: not sent */
};

struct umbra_guard_answer {
	enum umbra_guard_word word;
	char why[256]; /* FAILED */
};
