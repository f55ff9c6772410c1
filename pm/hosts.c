/* Chooses host programs by X.Y. Reads pyvenv.cfg files and the libexec folder; starts nothing. */
#include "pm/hosts.h"

#include "base/err.h"
#include "base/stamp.h"
#include "base/wire.h"
#include "config/config.h"
#include "config/venv.h"
#include "pm/trust.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the kernel adds to the path of a program that is running and no longer there. */
static const char deleted_mark[] = " (deleted)";

static int own_program(char self[PATH_MAX], struct err *e)
{
    ssize_t size = readlink("/proc/self/exe", self, PATH_MAX - 1);
    if (size < 0)
        return err_errno(e, "/proc/self/exe");
    self[size] = '\0';
    return 0;
}

/* Build tree and install tree have the same shape: bin/pyfpm (or sbin/pyfpm) beside libexec/pyfpm/ and
 * share/pyfpm/. */
static int path_below_prefix(const char *folder, const char *name, char *path, size_t path_size,
                             struct err *e)
{
    char prefix[PATH_MAX];
    if (own_program(prefix, e) < 0)
        return -1;
    for (int level = 0; level < 2; level++) {
        char *slash = strrchr(prefix, '/');
        if (slash)
            *slash = '\0';
    }
    int wanted = snprintf(path, path_size, "%s/%s%s%s", prefix, folder, name[0] ? "/" : "", name);
    return wanted >= 0 && (size_t)wanted < path_size ? 0 : err_set(e, "the path of %s is too long", name);
}

int pm_hosts_libexec(const char *name, char *path, size_t path_size, struct err *e)
{
    return path_below_prefix("libexec/pyfpm", name, path, path_size, e);
}

int pm_hosts_kit(const char *name, char *path, size_t path_size, struct err *e)
{
    return path_below_prefix("share/pyfpm/host", name, path, path_size, e);
}

bool pm_hosts_explain_end(int wait_status, struct err *e)
{
    char self[PATH_MAX];
    struct err ignored; /* then it is not known to be replaced */
    if (!WIFEXITED(wait_status) || WEXITSTATUS(wait_status) != HOST_EXIT_OTHER_BUILD)
        return false;
    size_t size = own_program(self, &ignored) == 0 ? strlen(self) : 0, mark = sizeof deleted_mark - 1;
    if (size > mark && strcmp(self + size - mark, deleted_mark) == 0)
        err_set(e,
                "its host was built from other sources than this pyfpm (%s), which has been replaced "
                "since it was started: start it again",
                stamp_of_build());
    else
        err_set(e,
                "its host was built from other sources than this pyfpm (%s); `pyfpm pythons` says which, "
                "and `pyfpm add-python --force` builds it again",
                stamp_of_build());
    return true;
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
    if (pm_hosts_libexec("", folder, sizeof folder, e) < 0)
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

/* Where a path of the group is for us, who are not in its chroot. */
static const char *path_from_here(const struct cfg_group *group, const char *path, char from_here[PATH_MAX])
{
    snprintf(from_here, PATH_MAX, "%s%s", group->chroot ? group->chroot : "", path);
    return from_here;
}

/* Fills *v from the first virtual environment in a python-path that says its version. */
static bool find_venv(const struct cfg_group *group, const struct cfg_list *entries, struct venv *v)
{
    for (size_t i = 0; i < entries->count; i++) {
        char root[4096], path[PATH_MAX];
        struct err ignored; /* the host looks at each entry again and says what is wrong with it */
        const char *entry = path_from_here(group, entries->items[i], path);
        const char *folder = venv_root_of(entry, root) ? root : entry;
        if (venv_inspect(folder, v, &ignored) == 0 && v->is_venv && v->version[0] != '\0')
            return true;
    }
    return false;
}

/* Fills version and where it comes from. An empty version: nothing says any. */
static int wanted_version(const struct cfg_group *group, struct venv *v, struct err *e)
{
    char path[PATH_MAX];
    memset(v, 0, sizeof *v);
    if (strcmp(group->python_version, "auto") != 0) {
        snprintf(v->version, sizeof v->version, "%s", group->python_version);
        snprintf(v->source, sizeof v->source, "python-version");
        return 0;
    }
    if (group->python_home) {
        if (venv_inspect(path_from_here(group, group->python_home, path), v, e) < 0)
            return err_prefix(e, "python-home");
        if (v->version[0] != '\0')
            return 0;
    }
    if (find_venv(group, &group->python_path, v))
        return 0;
    for (size_t i = 0; i < group->applications.count; i++)
        if (find_venv(group, &group->applications.items[i].python_path, v))
            return 0;
    memset(v, 0, sizeof *v);
    return 0;
}

static bool is_supported(const char *version)
{
    int minor;
    return sscanf(version, "3.%d", &minor) == 1 && minor >= 8;
}

/* Whether the path says the same in a shell, in a log and here. */
static bool is_plain_path(const char *path)
{
    return path[0] == '/' && path[strspn(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                               "0123456789/._+-")] == '\0';
}

/* The interpreter to add a host for: the one that the environment was made from. pyvenv.cfg may be the work
 * of a group's user and the reader of the sentence is often root, so one that others could change is not
 * proposed. */
static void propose_interpreter(const struct venv *v, const char *version, char path[PATH_MAX])
{
    const char *const folders[] = {v->home, "/usr/bin", "/usr/local/bin"};
    char real[PATH_MAX];
    struct err ignored;
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        if (snprintf(path, PATH_MAX, "%s/python%s", folders[i], version) < PATH_MAX &&
            access(path, X_OK) == 0 && realpath(path, real) && is_plain_path(real) &&
            pm_trust_check(real, &ignored) == 0) {
            snprintf(path, PATH_MAX, "%s", real);
            return;
        }
    }
    snprintf(path, PATH_MAX, "/path/to/python%s", version);
}

static int refuse_version(const struct venv *v, const char *version, struct err *e)
{
    char installed[512], interpreter[PATH_MAX];
    const char *source = v->source[0] != '\0' ? v->source : "the default";
    if (!is_supported(version))
        return err_set(e, "Python %s, which %s asks for, is not supported: pyfpm needs 3.8 or later", version,
                       source);
    describe_hosts(installed, sizeof installed);
    propose_interpreter(v, version, interpreter);
    return err_set(e,
                   "there is no host for Python %s, which %s asks for; hosts are installed for: %s (add one: "
                   "pyfpm add-python %s)",
                   version, source, installed, interpreter);
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
