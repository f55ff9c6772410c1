/* Chooses host programs by X.Y. Reads pyvenv.cfg files and the libexec folder; starts nothing. */
#include "pm/hosts.h"

#include "base/err.h"
#include "config/config.h"
#include "config/venv.h"

#include <dirent.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Build tree and install tree have the same shape: bin/pyfpm (or sbin/pyfpm) beside libexec/pyfpm/. */
static int libexec_folder(char folder[PATH_MAX], struct err *e)
{
    char self[PATH_MAX];
    ssize_t size = readlink("/proc/self/exe", self, sizeof self - 1);
    if (size < 0)
        return err_errno(e, "/proc/self/exe");
    self[size] = '\0';
    for (int level = 0; level < 2; level++) {
        char *slash = strrchr(self, '/');
        if (slash)
            *slash = '\0';
    }
    int wanted = snprintf(folder, PATH_MAX, "%s/libexec/pyfpm", self);
    return wanted < PATH_MAX ? 0 : err_set(e, "the path of %s is too long", self);
}

int pm_hosts_libexec(const char *name, char *path, size_t path_size, struct err *e)
{
    char folder[PATH_MAX];
    if (libexec_folder(folder, e) < 0)
        return -1;
    int wanted = snprintf(path, path_size, "%s/%s", folder, name);
    return wanted >= 0 && (size_t)wanted < path_size ? 0 : err_set(e, "the path of %s is too long", name);
}

static int compare_names(const void *a, const void *b)
{
    return strverscmp(*(char *const *)a, *(char *const *)b);
}

int pm_hosts_list(char ***versions, size_t *count, struct err *e)
{
    char folder[PATH_MAX];
    *count = 0;
    *versions = NULL;
    if (libexec_folder(folder, e) < 0)
        return -1;
    DIR *d = opendir(folder);
    if (!d)
        return err_errno(e, "%s", folder);
    for (struct dirent *entry; (entry = readdir(d)) != NULL;) {
        char **larger = strncmp(entry->d_name, "host-", 5) == 0
                            ? realloc(*versions, (*count + 1) * sizeof **versions)
                            : NULL;
        if (!larger)
            continue;
        *versions = larger;
        if ((larger[*count] = strdup(entry->d_name + 5)) != NULL)
            ++*count;
    }
    closedir(d);
    if (*count > 0)
        qsort(*versions, *count, sizeof **versions, compare_names);
    return 0;
}

/* "3.8, 3.11, 3.13", or "none". */
static void describe_hosts(char *text, size_t text_size)
{
    char **versions;
    size_t count;
    struct err ignored; /* without the folder the list is empty, which is the answer */
    pm_hosts_list(&versions, &count, &ignored);
    size_t used = (size_t)snprintf(text, text_size, "%s", count == 0 ? "none" : "");
    for (size_t i = 0; i < count; i++) {
        if (used < text_size)
            used += (size_t)snprintf(text + used, text_size - used, "%s%s", i > 0 ? ", " : "", versions[i]);
        free(versions[i]);
    }
    free(versions);
}

/* Fills version and where it comes from. An empty version: nothing says any. */
static int wanted_version(const struct cfg_group *group, struct venv *v, struct err *e)
{
    memset(v, 0, sizeof *v);
    if (strcmp(group->python_version, "auto") != 0) {
        snprintf(v->version, sizeof v->version, "%s", group->python_version);
        snprintf(v->source, sizeof v->source, "python-version");
        return 0;
    }
    if (group->python_home) {
        if (venv_inspect(group->python_home, v, e) < 0)
            return err_prefix(e, "python-home");
        if (v->version[0] != '\0')
            return 0;
    }
    for (size_t i = 0; i < group->python_path.count; i++) {
        char root[4096];
        struct err ignored; /* the host looks at each entry again and says what is wrong with it */
        const char *entry = group->python_path.items[i];
        const char *folder = venv_root_of(entry, root) ? root : entry;
        if (venv_inspect(folder, v, &ignored) == 0 && v->is_venv && v->version[0] != '\0')
            return 0;
    }
    memset(v, 0, sizeof *v);
    return 0;
}

static bool is_supported(const char *version)
{
    int minor;
    return sscanf(version, "3.%d", &minor) == 1 && minor >= 8;
}

static int refuse_version(const struct venv *v, const char *version, struct err *e)
{
    char installed[512];
    const char *source = v->source[0] != '\0' ? v->source : "the default";
    if (!is_supported(version))
        return err_set(e, "Python %s, which %s asks for, is not supported: pyfpm needs 3.8 or later", version,
                       source);
    describe_hosts(installed, sizeof installed);
    return err_set(
        e,
        "there is no host for Python %s, which %s asks for; hosts are installed for: %s (configure the "
        "build with -DPYFPM_PYTHONS naming every Python wanted, python%s among them)",
        version, source, installed, version);
}

int pm_hosts_choose(const struct cfg_group *group, char *path, size_t path_size, struct err *e)
{
    struct venv v;
    char name[32];
    if (wanted_version(group, &v, e) < 0)
        return -1;
    const char *version = v.version[0] != '\0' ? v.version : PYFPM_DEFAULT_PYTHON;
    snprintf(name, sizeof name, "host-%s", version);
    if (pm_hosts_libexec(name, path, path_size, e) < 0)
        return -1;
    if (access(path, X_OK) == 0)
        return 0;
    return refuse_version(&v, version, e);
}
