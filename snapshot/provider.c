/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "snapshot/provider.h"

#include <fcntl.h>
#include <string.h>

#include "snapshot/document.h"

const struct umbra_provider *umbra_provider_find(const char *name)
{
	const struct umbra_provider *const *table;
	size_t n, i;

	table = umbra_providers(&n);
	for (i = 0; i < n; i++)
		if (strcmp(table[i]->name, name) == 0)
			return table[i];
	return NULL;
}

static int choose_named(const struct umbra_volume *volume, const char *name,
			const struct umbra_provider **out, struct umbra_error *err)
{
	const struct umbra_provider *p = umbra_provider_find(name);
	struct umbra_error why = {0};
	int r;

	if (!p)
		return umbra_fail(err, UMBRA_E_NOT_FOUND, ENOENT,
				  "there is no provider '%s' (see 'umbra providers')", name);
	r = p->probe(volume, &why);
	if (r <= 0)
		return umbra_fail(err, UMBRA_E_UNSUPPORTED, EOPNOTSUPP,
				  "provider '%s' cannot copy '%s': %s", name, volume->path,
				  why.text[0] ? why.text : "not its kind of volume");
	*out = p;
	return 0;
}

int umbra_provider_choose(const struct umbra_volume *volume, const char *name,
			  const struct umbra_provider **out, struct umbra_error *err)
{
	const struct umbra_provider *best = NULL;
	const struct umbra_provider *const *table;
	struct umbra_error why = {0};
	int score, top = 0;
	size_t n, i;

	if (name)
		return choose_named(volume, name, out, err);
	table = umbra_providers(&n);
	for (i = 0; i < n; i++) {
		score = table[i]->probe(volume, &why);
		if (score > top) {
			top = score;
			best = table[i];
		}
	}
	if (!best)
		return umbra_fail(err, UMBRA_E_UNSUPPORTED, EOPNOTSUPP,
				  "no provider can copy '%s' (%s): %s", volume->path,
				  volume->fstype ? volume->fstype : "unknown filesystem", why.text);
	*out = best;
	return 0;
}

int umbra_provider_resolve(const struct umbra_provider *p, const struct umbra_volume *asked,
			   struct umbra_volume_list *out, struct umbra_error *err)
{
	struct umbra_volume *copy;

	if (p->resolve)
		return p->resolve(asked, out, err);
	copy = umbra_volume_dup(asked, asked->path);
	if (!copy || umbra_volume_list_add(out, copy) < 0)
		return umbra_oom(err);
	return 0;
}

int umbra_member_hold(struct umbra_member *m, struct umbra_error *err)
{
	return m->provider->hold ? m->provider->hold(m, err) : 0;
}

int umbra_member_release(struct umbra_member *m, struct umbra_error *err)
{
	return m->provider->release ? m->provider->release(m, err) : 0;
}

int umbra_member_finish(struct umbra_member *m, struct umbra_error *err)
{
	return m->provider->finish ? m->provider->finish(m, err) : 0;
}

int umbra_provider_usage(const struct umbra_provider *p, int state_fd,
			 const struct umbra_shadow *shadow, int64_t *bytes, struct umbra_error *err)
{
	if (p->usage)
		return p->usage(state_fd, shadow, bytes, err);
	*bytes = -1;
	return 0;
}

int umbra_member_open_origin(const struct umbra_member *m, struct umbra_error *err)
{
	int fd = openat(m->origin_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? umbra_fail_errno(err, errno, "cannot read '%s'", m->volume->path) : fd;
}

int umbra_watch_tick(struct umbra_watch *watch, const struct umbra_progress *progress,
		     struct umbra_error *err)
{
	static const struct umbra_progress none;

	if (!watch || watch->tick(watch, progress ? progress : &none) == 0)
		return 0;
	return umbra_fail(err, UMBRA_E_INTERRUPTED, ECANCELED, "interrupted");
}

json_t *umbra_member_record_doc(const struct umbra_member *m)
{
	return umbra_shadow_record(m->set, m->shadow, m->state_dir);
}

int umbra_member_record(const struct umbra_member *m, int dirfd, struct umbra_error *err)
{
	_cleanup_json_ json_t *doc = umbra_member_record_doc(m);
	_cleanup_free_ char *text = NULL;
	int r;

	text = doc ? json_dumps(doc, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	if (!text)
		return umbra_oom(err);
	r = umbra_replace_file(dirfd, UMBRA_RECORD_NAME, 0600, text, strlen(text));
	if (r == -ENOSPC || r == -EDQUOT)
		return umbra_fail(
			err, UMBRA_E_NO_SPACE, r,
			"no space left for the record of shadow copy '%s' of '%s': delete old "
			"sets, or make room on the filesystem that keeps the copy",
			m->shadow->id.s, m->shadow->path);
	if (r < 0)
		return umbra_fail_errno(err, r, "writing the record of shadow copy '%s' of '%s'",
					m->shadow->id.s, m->shadow->path);
	return 0;
}

int umbra_record_read(int dirfd, const char *where, json_t **out, struct umbra_error *err)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r;

	r = umbra_read_file(dirfd, UMBRA_RECORD_NAME, UMBRA_RECORD_MAX, &text, &len);
	if (r < 0)
		return umbra_fail_errno(err, r, "reading the record in '%s'", where);
	r = umbra_doc_parse(text, len, UMBRA_RECORD_NAME, out, err);
	return r < 0 ? umbra_wrap(err, r, "in '%s'", where) : 0;
}
