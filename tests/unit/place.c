/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "place.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/util.h"

char place[PATH_MAX];
int place_fd = -1;

void place_begin_below(const char *dir)
{
	_cleanup_free_ char *made = umbra_asprintf("%s/umbra-unit-XXXXXX", dir);

	cr_assert_not_null(mkdtemp(made), "in '%s'", dir);
	cr_assert_not_null(realpath(made, place));
	place_fd = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_geq(place_fd, 0);
}

void place_begin(void)
{
	const char *dir = getenv("UMBRA_TEST_DIR");

	place_begin_below(dir ? dir : "/tmp");
}

void place_end(void)
{
	/* Who is not root cannot empty a directory that may not be written. */
	_cleanup_free_ char *remove =
		umbra_asprintf("rm -rf '%s' 2>/dev/null || { chmod -R u+rwX '%s' && rm -rf '%s'; }",
			       place, place, place);

	place_fd = umbra_close(place_fd);
	cr_assert_eq(chdir("/"), 0);
	cr_assert_eq(system(remove), 0, "%s", remove);
}

void place_need_root(const char *why)
{
	if (geteuid() != 0)
		place_skip("needs root %s", why);
}
