/* Walks paths from the root and says in a sentence why a folder cannot be reached.
 *
 * Names the component that is in the way and the user for whom it is, because "permission denied" alone sends
 * people looking at the wrong folder; and where a folder is missing, the virtual environment that may have
 * been meant. Looks only, changes nothing. Any thread. */
#include "config/venv_reach.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "config/text.h"
#include "config/venv.h"

#define NEIGHBOURS_MAX     1000 /* entries of a folder that are looked at for what may have been meant */
#define NEIGHBOUR_FAR      3    /* an edit distance at which two names may still be meant for each other */
#define LINKS_FOLLOWED_MAX 16

const char *venv_describe_user(char text[128])
{
    char buffer[2048];
    struct passwd entry, *found = NULL;
    unsigned uid = (unsigned)geteuid();
    if (getpwuid_r(uid, &entry, buffer, sizeof(buffer), &found) == 0 && found != NULL)
        snprintf(text, 128, "user %.64s (uid %u)", found->pw_name, uid);
    else
        snprintf(text, 128, "uid %u", uid);
    return text;
}

int venv_join(char path[VENV_PATH_SIZE], const char *folder, const char *rest, struct err *e)
{
    size_t length = strlen(folder);
    while (length > 1 && folder[length - 1] == '/')
        length--;
    const char *slash = length == 1 && folder[0] == '/' ? "" : "/";
    if (snprintf(path, VENV_PATH_SIZE, "%.*s%s%s", (int)length, folder, slash, rest) >= VENV_PATH_SIZE)
        return err_set(e, "the path %.200s... is too long", folder);
    return 0;
}

bool venv_is_file(const char *folder, const char *name)
{
    char path[VENV_PATH_SIZE];
    struct stat status;
    struct err ignored;
    return venv_join(path, folder, name, &ignored) == 0 && stat(path, &status) == 0 &&
           S_ISREG(status.st_mode);
}

bool venv_is_folder(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

bool venv_cut_to_parent(char *path)
{
    char *slash = strrchr(path, '/');
    if (slash == NULL || path[1] == '\0')
        return false;
    slash[slash == path ? 1 : 0] = '\0';
    return true;
}

/* Closed folders ------------------------------------------------------------------------------------- */

static bool find_closed(const char *path, char component[VENV_PATH_SIZE], int links);

/* Where the link leads: is something on that way closed? */
static bool find_closed_behind(const char *link, char component[VENV_PATH_SIZE], int links)
{
    char target[VENV_PATH_SIZE], folder[VENV_PATH_SIZE], path[VENV_PATH_SIZE];
    struct err ignored;
    ssize_t length = readlink(link, target, sizeof(target) - 1);
    if (length <= 0 || links >= LINKS_FOLLOWED_MAX)
        return false;
    target[length] = '\0';
    snprintf(folder, sizeof(folder), "%s", link);
    venv_cut_to_parent(folder);
    if (venv_join(path, target[0] == '/' ? "/" : folder, target + (target[0] == '/'), &ignored) != 0)
        return false;
    return find_closed(path, component, links + 1);
}

static void name_folder_above(const char *part, char component[VENV_PATH_SIZE])
{
    char parent[VENV_PATH_SIZE], real[PATH_MAX];
    snprintf(parent, sizeof(parent), "%s", part);
    venv_cut_to_parent(parent);
    snprintf(component, VENV_PATH_SIZE, "%s", realpath(parent, real) != NULL ? real : parent);
}

static bool find_closed(const char *path, char component[VENV_PATH_SIZE], int links)
{
    char part[VENV_PATH_SIZE];
    struct stat status;
    size_t length = strlen(path);
    if (length >= sizeof(part))
        return false;
    for (size_t i = 1; i <= length; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (lstat(part, &status) != 0) {
            if (errno != EACCES)
                return false;
            name_folder_above(part, component);
            return true;
        }
        if (S_ISLNK(status.st_mode) && stat(part, &status) != 0)
            return find_closed_behind(part, component, links);
    }
    int wanted = stat(path, &status) == 0 && S_ISDIR(status.st_mode) ? R_OK | X_OK : R_OK;
    snprintf(component, VENV_PATH_SIZE, "%s", path);
    return faccessat(AT_FDCWD, path, wanted, AT_EACCESS) != 0 && errno == EACCES;
}

bool venv_find_closed(const char *path, char component[4096])
{
    return find_closed(path, component, 0);
}

/* What may have been meant --------------------------------------------------------------------------- */

/* Adds to *e which virtual environment the path lies in, for those who named a folder inside of one. */
static bool mention_venv_above(const char *path, struct err *e)
{
    char above[VENV_PATH_SIZE];
    snprintf(above, sizeof(above), "%s", path);
    while (venv_cut_to_parent(above)) {
        size_t used = strlen(e->text);
        if (!venv_is_file(above, "pyvenv.cfg"))
            continue;
        snprintf(e->text + used, sizeof(e->text) - used, " (%s is a virtual environment)", above);
        return true;
    }
    return false;
}

static bool may_be_meant(const char *name, const char *missing)
{
    if (cfg_text_distance(name, missing) <= NEIGHBOUR_FAR)
        return true;
    return strcasestr(name, "env") != NULL && strcasestr(missing, "env") != NULL;
}

/* The virtual environment that is there when the component part of path is taken for a misspelling of its
 * neighbour's name; false when there is none. */
static bool find_neighbour(const char *path, const char *part, char found[VENV_PATH_SIZE])
{
    char parent[VENV_PATH_SIZE], candidate[VENV_PATH_SIZE];
    struct err ignored;
    unsigned nearest = UINT_MAX;
    const char *rest = path + strlen(part), *missing = strrchr(part, '/');
    snprintf(parent, sizeof(parent), "%s", part);
    if (missing == NULL || !venv_cut_to_parent(parent))
        return false;
    DIR *entries = opendir(parent);
    struct dirent *entry;
    for (int seen = 0; entries != NULL && seen < NEIGHBOURS_MAX && (entry = readdir(entries)) != NULL;
         seen++) {
        if (strspn(entry->d_name, ".") == strlen(entry->d_name) ||
            !may_be_meant(entry->d_name, missing + 1) ||
            venv_join(candidate, parent, entry->d_name, &ignored) != 0 ||
            strlen(candidate) + strlen(rest) >= sizeof(candidate))
            continue;
        strcat(candidate, rest);
        /* of two that are equally near, the one that starts alike */
        unsigned distance = 2 * cfg_text_distance(entry->d_name, missing + 1) +
                            (entry->d_name[0] != missing[1]);
        if (distance >= nearest || !venv_is_file(candidate, "pyvenv.cfg"))
            continue;
        nearest = distance;
        snprintf(found, VENV_PATH_SIZE, "%s", candidate);
    }
    if (entries != NULL)
        closedir(entries);
    return nearest != UINT_MAX;
}

static void mention_neighbour(const char *path, const char *part, struct err *e)
{
    char found[VENV_PATH_SIZE];
    struct venv v;
    struct err ignored;
    size_t used = strlen(e->text);
    if (!find_neighbour(path, part, found))
        return;
    bool has_version = venv_inspect(found, &v, &ignored) == 0 && v.version[0] != '\0';
    snprintf(e->text + used, sizeof(e->text) - used, "; %s beside it is a virtual environment%s%s", found,
             has_version ? " of Python " : "", has_version ? v.version : "");
}

/* Sentences ------------------------------------------------------------------------------------------ */

/* Nobody is told to open the home folder of root, which is where pyenv and uv put the Pythons that root
 * installs. */
static int refuse_closed(const char *path, const char *part, struct err *e)
{
    char user[128], component[VENV_PATH_SIZE];
    if (!venv_find_closed(path, component))
        name_folder_above(part, component);
    venv_describe_user(user);
    if (strcmp(component, "/root") == 0)
        return err_set(e,
                       "%s: %s may not enter /root, which is for root alone; move what it needs elsewhere, "
                       "below /opt or /srv",
                       path, user);
    return err_set(e, "%s: %s may not enter %s; let it in (chmod o+x %s) or move what it needs elsewhere",
                   path, user, component, component);
}

/* Says why a component of path cannot be used. part is the component that error is about. */
static int explain_part(const char *path, const char *part, int error, struct err *e)
{
    char target[256];
    bool is_whole = strcmp(part, path) == 0;
    const char *separator = is_whole ? "" : ": ", *context = is_whole ? "" : path;
    ssize_t length;
    switch (error) {
    case EACCES:
        return refuse_closed(path, part, e);
    case ENOTDIR:
        err_set(e, "%s%s%s is not a folder", context, separator, part);
        mention_venv_above(path, e);
        return -1;
    case ENOENT:
        length = readlink(part, target, sizeof(target) - 1);
        if (length > 0)
            err_set(e, "%s%s%s is a link to %.*s, which is missing", context, separator, part, (int)length,
                    target);
        else
            err_set(e, "%s%s%s is missing", context, separator, part);
        if (!mention_venv_above(path, e))
            mention_neighbour(path, part, e);
        return -1;
    default:
        errno = error;
        return err_errno(e, "%s%s%s cannot be used", context, separator, part);
    }
}

int venv_check_components(const char *path, struct err *e)
{
    char part[VENV_PATH_SIZE];
    struct stat status;
    size_t length = strlen(path);
    if (length >= sizeof(part))
        return err_set(e, "the path %.200s... is too long", path);
    for (size_t i = 1; i <= length; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (stat(part, &status) != 0)
            return explain_part(path, part, errno, e);
        if (!S_ISDIR(status.st_mode))
            return explain_part(path, part, ENOTDIR, e);
    }
    return 0;
}

int venv_check_enterable(const char *path, struct err *e)
{
    char user[128];
    if (venv_check_components(path, e) != 0)
        return -1;
    if (faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) != 0 && strcmp(path, "/root") == 0)
        return refuse_closed(path, path, e);
    if (faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) != 0)
        return err_set(e, "%s: %s may not enter it; let it in (chmod o+x %s)", path, venv_describe_user(user),
                       path);
    return 0;
}

int venv_check_folder(const char *path, struct err *e)
{
    char user[128];
    if (venv_check_enterable(path, e) != 0)
        return -1;
    if (faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) != 0)
        return err_set(e, "%s: %s may not read it; let it (chmod o+r %s)", path, venv_describe_user(user),
                       path);
    return 0;
}
