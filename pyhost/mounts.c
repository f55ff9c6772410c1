/* Chooses the application for a path, and moves its mount from PATH_INFO to SCRIPT_NAME.
 *
 * Compares bytes: web servers decode the path and resolve "..", and mounts in the configuration have no odd
 * components. Pure; any thread. */
#include "pyhost/mounts.h"

#include "pyhost/wsgi_path.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Bytes that may lie in two places. */
struct joined {
    const char *first, *second;
    size_t first_size, second_size;
};

static char byte_at(const struct joined *j, size_t index)
{
    return index < j->first_size ? j->first[index] : j->second[index - j->first_size];
}

/* True when the path is the mount, or is below it. */
static bool is_under(const struct joined *path, const struct host_mount *mount)
{
    size_t size = path->first_size + path->second_size;
    if (mount->size > size || (mount->size < size && byte_at(path, mount->size) != '/'))
        return false;
    size_t in_first = mount->size < path->first_size ? mount->size : path->first_size;
    if (in_first > 0 && memcmp(path->first, mount->prefix, in_first) != 0)
        return false;
    return memcmp(path->second, mount->prefix + in_first, mount->size - in_first) == 0;
}

/* The longest mount that the path is under, the root excepted. */
static int find_longest(const struct host_mount *mounts, size_t count, const struct joined *path)
{
    int found = HOST_MOUNT_NONE;
    for (size_t i = 0; i < count; i++) {
        bool is_longer = mounts[i].size > (found < 0 ? 0 : mounts[found].size);
        if (is_longer && is_under(path, &mounts[i]))
            found = (int)i;
    }
    return found;
}

static int find_root(const struct host_mount *mounts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (mounts[i].size == 0)
            return (int)i;
    }
    return HOST_MOUNT_NONE;
}

/* Brings both parts into one piece of memory; false without any. */
static bool join(struct host_path *path)
{
    if (path->script_name_size == 0 || path->script_name + path->script_name_size == path->path_info)
        return true;
    size_t size = path->script_name_size + path->path_info_size;
    char *whole = malloc(size + 1);
    if (!whole)
        return false;
    memcpy(whole, path->script_name, path->script_name_size);
    memcpy(whole + path->script_name_size, path->path_info, path->path_info_size);
    free(path->memory);
    path->memory = whole;
    path->script_name = whole;
    path->path_info = whole + path->script_name_size;
    return true;
}

/* Splits the whole of a joined path anew. */
static void split_at(struct host_path *path, size_t script_name_size)
{
    size_t size = path->script_name_size + path->path_info_size;
    if (path->script_name_size == 0)
        path->script_name = path->path_info;
    path->path_info = path->script_name + script_name_size;
    path->path_info_size = size - script_name_size;
    path->script_name_size = script_name_size;
}

int host_mount_find(const struct host_mount *mounts, size_t count, struct host_path *path)
{
    struct joined info = {.first = "", .second = path->path_info, .second_size = path->path_info_size};
    struct joined whole = {path->script_name, path->path_info, path->script_name_size, path->path_info_size};
    size_t script_name_size = path->script_name_size;
    int found = find_longest(mounts, count, &info);
    if (found >= 0) {
        script_name_size += mounts[found].size;
    } else {
        found = path->script_name_size > 0 ? find_longest(mounts, count, &whole) : HOST_MOUNT_NONE;
        if (found >= 0)
            script_name_size = mounts[found].size;
        else
            return find_root(mounts, count);
    }
    if (!join(path))
        return HOST_MOUNT_NO_MEMORY;
    split_at(path, script_name_size);
    return found;
}
