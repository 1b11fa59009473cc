/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/observe.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "common/log.h"
#include "common/text.h"

#define WIPE "\r\033[K"

static volatile sig_atomic_t asked;

static void on_signal(int sig)
{
	(void)sig;
	asked = 1;
}

static int stop(struct umbra_observer *o)
{
	(void)o;
	return asked;
}

static void draw(struct umbra_observer *o, const char *phase, const struct umbra_progress *p)
{
	struct umbra_terminal *t = (struct umbra_terminal *)o;
	char size[16], total[16];

	umbra_text_size(p->bytes, size, sizeof(size));
	umbra_text_size(p->bytes_total, total, sizeof(total));
	if (p->files_total > 0)
		fprintf(stderr, WIPE "%s: %llu of about %llu files, %s", phase,
			(unsigned long long)p->files, (unsigned long long)p->files_total, size);
	else if (p->files > 0)
		fprintf(stderr, WIPE "%s: %llu files, %s", phase, (unsigned long long)p->files,
			size);
	else if (p->bytes_total > 0)
		fprintf(stderr, WIPE "%s: %s of %s", phase, size, total);
	else
		fprintf(stderr, WIPE "%s…", phase);
	fflush(stderr);
	t->drawn = true;
}

void umbra_terminal_init(struct umbra_terminal *t)
{
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};

	*t = (struct umbra_terminal){.observer.stop = stop};
	if (isatty(STDERR_FILENO))
		t->observer.progress = draw;
	asked = 0;
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
}

void umbra_terminal_finish(struct umbra_terminal *t)
{
	struct sigaction sa = {.sa_handler = on_signal,
			       .sa_flags = (int)(SA_RESETHAND | SA_RESTART)};

	/* What was done has yet to be told: only who asks twice does not want to hear it. */
	if (!asked)
		sigaction(SIGINT, &sa, NULL);
	signal(SIGTERM, SIG_DFL);
	if (t->drawn)
		fputs(WIPE, stderr);
}

void umbra_terminal_warnings(json_t *warnings)
{
	const json_t *one;
	size_t i;

	json_array_foreach (warnings, i, one)
		umbra_log_warning("%s", json_string_value(one));
	json_decref(warnings);
}
