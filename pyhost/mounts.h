/* Which of several applications a path belongs to. */
#ifndef PYHOST_MOUNTS_H
#define PYHOST_MOUNTS_H

#include <stddef.h>

struct host_path;

/* Where an application is in the URL. */
struct host_mount {
    const char *prefix; /* "/shop"; "" is the root, for whatever no other mount is for */
    size_t size;
};

enum { HOST_MOUNT_NONE = -1, HOST_MOUNT_NO_MEMORY = -2 };

/* The index of the mount that a path, as host_path_split() made it, is under; then the mount is the end of
 * script_name in *path. The longest one that path_info begins with; else the longest one that script_name
 * and path_info together begin with (the web server moved the prefix itself); else the root. A mount ends
 * where a component does. HOST_MOUNT_NONE, *path unchanged; HOST_MOUNT_NO_MEMORY. path->memory is the
 * caller's to free in every case. */
int host_mount_find(const struct host_mount *mounts, size_t count, struct host_path *path);

#endif
