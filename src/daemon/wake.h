/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What umbrad waits for between two looks: a signal, an alarm of a provider, what the kernel tells
 * (notices.h), or that it is time. */
#pragma once

#include <stdbool.h>

struct umbra_wake;

/* signals: a signalfd, borrowed. NULL: no memory. */
struct umbra_wake *umbra_wake_new(int signals);
struct umbra_wake *umbra_wake_free(struct umbra_wake *w);

enum umbra_wake_reason { UMBRA_WAKE_TIME, UMBRA_WAKE_LOOK, UMBRA_WAKE_SIGNAL };

/* For ms at most. *mounts is set when there were changes of mounts, else left alone. */
enum umbra_wake_reason umbra_wake_wait(struct umbra_wake *w, int ms, bool *mounts);
