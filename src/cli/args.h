/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From argv to struct umbra_args, by the command's own description. */
#pragma once

#include "cli/command.h"

/*
 * argv[0] is the command's name. Options and words may be mixed; "--" ends options. Fills in cli
 * from the common options. 0, 1 when help was asked for, or UMBRA_E_USAGE.
 */
int umbra_args_parse(const struct umbra_command *command, int argc, char **argv,
		     struct umbra_cli *cli, struct umbra_args *args, struct umbra_error *err);
