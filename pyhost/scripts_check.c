/* What can be said of a group with script-root before any request: are its roots there, do its scripts
 * compile.
 *
 * Runs no script. Looks only right inside the roots, and at a bounded number of files. Main thread, with the
 * GIL. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "pyhost/scripts.h"

#include "base/fd.h"
#include "base/log.h"
#include "config/config.h"
#include "pyhost/host.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECKED_MAX 50 /* scripts, all roots together */

static int compile_file(const char *path, struct err *e)
{
    struct host_script_id id;
    size_t size;
    int fd = host_script_open(path, &id, e);
    char *source = fd >= 0 ? host_script_read(fd, &size, e) : NULL;
    fd_close(&fd);
    if (!source)
        return -1;
    int failed = host_app_compile_script(path, source, size, e);
    free(source);
    return failed;
}

/* Compiles one entry of a root if it is a script that would be served under its own name. */
static void check_entry(struct host_finder *finder, const char *root, const char *name)
{
    static struct host_script_found found; /* 5 KiB, main thread only */
    struct err e;
    char path[PATH_MAX];
    int size = snprintf(path, sizeof path, "%s/%s", root, name);
    if (size < 0 || (size_t)size >= sizeof path)
        return;
    if (!host_finder_find(finder, path, &found))
        log_write(LOG_LEVEL_WARNING, NULL, "%s", found.why);
    else if (compile_file(found.path, &e) < 0)
        log_write(LOG_LEVEL_WARNING, NULL, "%s", e.text);
}

static int is_script(const struct dirent *entry)
{
    return host_script_has_ending(entry->d_name);
}

/* Compiles as many as *left says and takes them off; returns how many scripts there are. */
static int check_root(struct host_finder *finder, const char *root, int *left)
{
    struct dirent **entries = NULL;
    int count = scandir(root, &entries, is_script, alphasort);
    if (count < 0) {
        log_write(LOG_LEVEL_WARNING, NULL,
                  "script-root %s cannot be listed, so its scripts were not compiled: %s", root,
                  strerror(errno));
        return 0;
    }
    for (int i = 0; i < count; i++) {
        if (*left > 0) {
            check_entry(finder, root, entries[i]->d_name);
            --*left;
        }
        free(entries[i]);
    }
    free(entries);
    return count;
}

static int check_scripts(const struct cfg_list *roots, struct err *e)
{
    int left = CHECKED_MAX, count = 0;
    struct host_finder *finder = host_finder_new(roots, e);
    if (!finder)
        return -1;
    for (size_t i = 0; i < roots->count; i++)
        count += check_root(finder, roots->items[i], &left);
    host_finder_free(finder);
    if (count > CHECKED_MAX)
        log_write(LOG_LEVEL_WARNING, NULL, "only the first %d of the %d scripts in script-root were compiled",
                  CHECKED_MAX, count);
    return 0;
}

int host_scripts_check(const struct cfg_group *group, struct err *e)
{
    for (size_t i = 0; i < group->script_root.count; i++)
        if (host_script_root_check(group->script_root.items[i], e) < 0)
            return -1;
    return check_scripts(&group->script_root, e);
}

void host_scripts_warn_about_roots(const struct cfg_group *group)
{
    struct err e;
    for (size_t i = 0; i < group->script_root.count; i++)
        if (host_script_root_check(group->script_root.items[i], &e) < 0)
            log_write(LOG_LEVEL_WARNING, NULL, "%s; requests for its scripts are answered with 404", e.text);
}
