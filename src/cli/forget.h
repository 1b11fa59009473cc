/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "cli/command.h"

/* umbra delete --forget SET…, as the run() of a command. */
int umbra_cli_forget(const struct umbra_cli *cli, const struct umbra_args *args,
		     struct umbra_error *err);
