/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fuse/streams.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/util.h"
#include "fuse/nodeid.h"

#define KEPT_MAX 16

struct umbra_streams {
	pthread_mutex_t lock;
	struct umbra_stream *kept[KEPT_MAX]; /* any may be NULL */
	size_t oldest;                       /* about */
};

struct umbra_streams *umbra_streams_new(void)
{
	struct umbra_streams *s = calloc(1, sizeof(*s));

	if (s)
		pthread_mutex_init(&s->lock, NULL);
	return s;
}

struct umbra_streams *umbra_streams_free(struct umbra_streams *s)
{
	if (s) {
		umbra_streams_drop(s, -1);
		pthread_mutex_destroy(&s->lock);
		free(s);
	}
	return NULL;
}

struct umbra_stream *umbra_streams_take(struct umbra_streams *s, uint64_t id, int64_t at)
{
	struct umbra_stream *found = NULL;
	size_t i;

	pthread_mutex_lock(&s->lock);
	for (i = 0; i < KEPT_MAX && !found; i++)
		if (s->kept[i] && s->kept[i]->id == id && s->kept[i]->at == at)
			found = TAKE_PTR(s->kept[i]);
	pthread_mutex_unlock(&s->lock);
	return found;
}

void umbra_streams_keep(struct umbra_streams *s, struct umbra_stream *stream)
{
	struct umbra_stream *out;
	size_t i;

	pthread_mutex_lock(&s->lock);
	for (i = 0; i < KEPT_MAX && s->kept[i]; i++)
		;
	if (i == KEPT_MAX) {
		i = s->oldest;
		s->oldest = (s->oldest + 1) % KEPT_MAX;
	}
	out = s->kept[i];
	s->kept[i] = stream;
	pthread_mutex_unlock(&s->lock);
	umbra_stream_free(out);
}

struct umbra_stream *umbra_stream_new(uint64_t id, int fd)
{
	struct umbra_stream *stream = malloc(sizeof(*stream));

	if (!stream) {
		umbra_close(fd);
		return NULL;
	}
	stream->fd = fd;
	stream->id = id;
	stream->at = 0;
	stream->used = stream->len = 0;
	return stream;
}

struct umbra_stream *umbra_stream_free(struct umbra_stream *stream)
{
	if (stream) {
		umbra_close(stream->fd);
		free(stream);
	}
	return NULL;
}

void umbra_streams_drop(struct umbra_streams *s, int index)
{
	size_t i;

	pthread_mutex_lock(&s->lock);
	for (i = 0; i < KEPT_MAX; i++)
		if (s->kept[i] &&
		    (index < 0 || umbra_nodeid_index(s->kept[i]->id) == (unsigned int)index))
			s->kept[i] = umbra_stream_free(s->kept[i]);
	pthread_mutex_unlock(&s->lock);
}
