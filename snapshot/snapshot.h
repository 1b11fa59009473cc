/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* All that users of the engine (command line, FUSE tree) need. */
#pragma once

#include "snapshot/document.h" // IWYU pragma: export
#include "snapshot/engine.h"   // IWYU pragma: export
#include "snapshot/mounts.h"   // IWYU pragma: export
#include "snapshot/root.h"     // IWYU pragma: export
#include "snapshot/set.h"      // IWYU pragma: export
#include "snapshot/volume.h"   // IWYU pragma: export
