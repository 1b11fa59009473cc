/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common/token.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LAST_SECOND 253402300799LL /* 9999-12-31 23:59:59 */

void umbra_token_format(int64_t utc, char out[UMBRA_TOKEN_LEN + 1])
{
	struct tm tm;
	time_t t;

	if (utc < 0)
		utc = 0;
	if (utc > LAST_SECOND)
		utc = LAST_SECOND;
	t = (time_t)utc;
	gmtime_r(&t, &tm);
	strftime(out, UMBRA_TOKEN_LEN + 1, "@GMT-%Y.%m.%d-%H.%M.%S", &tm);
}

int umbra_token_parse(const char *s, int64_t *utc)
{
	static const char shape[] = "@GMT-0000.00.00-00.00.00";
	char again[UMBRA_TOKEN_LEN + 1];
	struct tm tm = {0};
	int64_t value;
	size_t i;

	if (strlen(s) != UMBRA_TOKEN_LEN)
		return -EINVAL;
	for (i = 0; i < UMBRA_TOKEN_LEN; i++)
		if (shape[i] == '0' ? !isdigit((unsigned char)s[i]) : s[i] != shape[i])
			return -EINVAL;
	if (sscanf(s, "@GMT-%4d.%2d.%2d-%2d.%2d.%2d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
		   &tm.tm_hour, &tm.tm_min, &tm.tm_sec) != 6)
		return -EINVAL;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	value = timegm(&tm);
	if (value < 0)
		return -EINVAL;
	/* timegm() takes 31 February for 3 March: only what formats back to itself is a date. */
	umbra_token_format(value, again);
	if (strcmp(again, s) != 0)
		return -EINVAL;
	*utc = value;
	return 0;
}

void umbra_time_local(int64_t utc, char *out, size_t size)
{
	time_t t = (time_t)utc;
	struct tm tm;

	if (!localtime_r(&t, &tm) || strftime(out, size, "%Y-%m-%d %H:%M:%S", &tm) == 0)
		snprintf(out, size, "?");
}

int64_t umbra_now(void)
{
	const char *fake = secure_getenv("UMBRA_TEST_NOW");
	struct timespec ts;
	char *end;
	long long v;

	if (fake && *fake) {
		v = strtoll(fake, &end, 10);
		if (*end == '\0' && v >= 0)
			return v;
	}
	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec;
}

int64_t umbra_now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}
