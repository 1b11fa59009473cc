/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opening a copy: its view, mounted for this process alone. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "snapshot/provider/dm/parts.h"
#include "snapshot/provider/dm/volume/copies.h"
#include "snapshot/provider/dm/volume/view_device.h"
#include "snapshot/sys/mountfd.h"

/* Closing may find the volume's lock taken; then whoever has it, or is next, removes the view. */
#define CLOSE_WAIT_MS 500

/* A root's data. */
struct reader {
	struct umbra_id area;
	int state_fd, mount;
};

static struct reader *free_reader(struct reader *reader)
{
	umbra_close(reader->mount);
	umbra_close(reader->state_fd);
	free(reader);
	return NULL;
}
UMBRA_DEFINE_CLEANUP(struct reader *, reader, free_reader)

static void close_root(struct umbra_root *root)
{
	_cleanup_protected_ struct umbra_protected *p = NULL;
	struct reader *reader = root->data;

	umbra_close(root->fd);
	reader->mount = umbra_close(reader->mount);
	/* Opening settles: views that nobody uses go. */
	umbra_protected_open_area(reader->state_fd, reader->area.s, CLOSE_WAIT_MS, &p, NULL);
	free_reader(reader);
	free(root);
}

/* What makes a filesystem take a device that it must not write to, not even to replay its log. */
static const struct umbra_mount_option *options_of(const char *fstype)
{
	static const struct umbra_mount_option ext4[] = {{"noload", NULL}, {0}};
	static const struct umbra_mount_option xfs[] = {
		{"norecovery", NULL}, {"nouuid", NULL}, {0}};
	static const struct umbra_mount_option none[] = {{0}};

	if (strncmp(fstype, "ext", 3) == 0)
		return ext4;
	return strcmp(fstype, "xfs") == 0 ? xfs : none;
}

/* The directory of the filesystem that was mounted. Through no link: who owns one on the way there
 * may have exchanged it before the instant, and a link leads to live files. */
static int open_below(int top, const char *root, struct umbra_error *err)
{
	_cleanup_free_ char *copy = strdup(root);
	char *at = copy, *name;
	int fd = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), next;

	if (!copy) {
		umbra_close(fd);
		return umbra_oom(err);
	}
	while (fd >= 0 && (name = strsep(&at, "/"))) {
		next = openat(fd, *name ? name : ".",
			      O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		umbra_close(fd);
		fd = next;
	}
	return fd < 0 ? umbra_fail_errno(err, errno, "cannot open '%s' in the shadow copy", root)
		      : fd;
}

static int mount_view(const struct umbra_shadow *shadow, dev_t view, struct reader *reader,
		      struct umbra_root *root, struct umbra_error *err)
{
	const char *fstype = umbra_doc_string(shadow->data, "fstype");
	_cleanup_free_ char *dir = NULL;
	_cleanup_close_ int top = -1;
	char path[UMBRA_DM_PATH_MAX];
	int r;

	if (!fstype || umbra_doc_get_path(shadow->data, "root", &dir) < 0)
		return umbra_fail(err, UMBRA_E_DAMAGED, EUCLEAN,
				  "the record of shadow copy '%s' does not say what filesystem it "
				  "has",
				  shadow->id.s);
	umbra_dm_path(view, path);
	r = umbra_mountfd_open(fstype, path, options_of(fstype), UMBRA_MOUNTFD_READ, &reader->mount,
			       &top, err);
	if (r < 0)
		return r;
	root->fd = open_below(top, dir, err);
	root->hidden = strcmp(dir, "/") == 0 ? UMBRA_AREA_DIR : NULL;
	return root->fd < 0 ? root->fd : 0;
}

static int new_reader(int state_fd, struct reader **out)
{
	_cleanup_(umbra_cleanup_reader) struct reader *reader = calloc(1, sizeof(*reader));

	if (!reader)
		return -ENOMEM;
	reader->mount = -1;
	reader->state_fd = fcntl(state_fd, F_DUPFD_CLOEXEC, 3);
	if (reader->state_fd < 0)
		return -errno;
	*out = TAKE_PTR(reader);
	return 0;
}

int umbra_dm_open_shadow(int state_fd, const struct umbra_shadow *shadow, struct umbra_root **out,
			 struct umbra_error *err)
{
	_cleanup_protected_ struct umbra_protected *p = NULL;
	_cleanup_(umbra_cleanup_reader) struct reader *reader = NULL;
	_cleanup_free_ struct umbra_root *root = calloc(1, sizeof(*root));
	dev_t view;
	int r;

	if (!root)
		return umbra_oom(err);
	r = new_reader(state_fd, &reader);
	if (r < 0)
		return umbra_fail_errno(err, r, "cannot open shadow copy '%s'", shadow->id.s);
	r = umbra_dm_find(state_fd, shadow, &p, err);
	if (r < 0)
		return r;
	reader->area = p->kernel.area;
	r = umbra_protected_awake(p, err);
	if (r == 0)
		r = umbra_view_device_make(p, &shadow->id, &view, err);
	if (r == 0)
		r = mount_view(shadow, view, reader, root, err);
	if (r < 0)
		return r;
	root->mount_fd = root->fd;
	root->handles = umbra_root_probe_handles(root->fd, root->mount_fd);
	root->close = close_root;
	root->data = TAKE_PTR(reader);
	*out = TAKE_PTR(root);
	return 0;
}
