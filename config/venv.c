/* Looks at virtual environments and Python prefixes through their files, without starting Python.
 *
 * Names the path component that is in the way, and the user for whom it is, because "permission denied" alone
 * sends people looking at the wrong folder. Knows pyvenv.cfg and lib/pythonX.Y; .pth files are Python's
 * business. Used by the supervisor and, after it changed its user, by the host; any thread. */
#include "config/venv.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"

#define PYVENV_SIZE_MAX 16384 /* they have a few hundred bytes */

enum { PATH_SIZE = sizeof(((struct venv *)NULL)->source) };

/* Paths ------------------------------------------------------------------------------------------------ */

/* "user nobody (uid 65534)". The name is left out where it cannot be looked up, as in a chroot. */
static const char *describe_user(char text[128])
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

static int join(char path[PATH_SIZE], const char *folder, const char *rest, struct err *e)
{
    size_t length = strlen(folder);
    while (length > 1 && folder[length - 1] == '/')
        length--;
    const char *slash = length == 1 && folder[0] == '/' ? "" : "/";
    if (snprintf(path, PATH_SIZE, "%.*s%s%s", (int)length, folder, slash, rest) >= PATH_SIZE)
        return err_set(e, "the path %.200s... is too long", folder);
    return 0;
}

static bool is_file(const char *folder, const char *name)
{
    char path[PATH_SIZE];
    struct stat status;
    struct err ignored;
    return join(path, folder, name, &ignored) == 0 && stat(path, &status) == 0 && S_ISREG(status.st_mode);
}

static bool is_folder(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

/* Cuts the last component off; false when none is left but the root. */
static bool cut_to_parent(char *path)
{
    char *slash = strrchr(path, '/');
    if (slash == NULL || path[1] == '\0')
        return false;
    slash[slash == path ? 1 : 0] = '\0';
    return true;
}

/* Adds to *e which virtual environment the path lies in, for those who named a folder inside of one. */
static int mention_venv_above(const char *path, struct err *e)
{
    char above[PATH_SIZE];
    snprintf(above, sizeof(above), "%s", path);
    while (cut_to_parent(above)) {
        size_t used = strlen(e->text);
        if (!is_file(above, "pyvenv.cfg"))
            continue;
        snprintf(e->text + used, sizeof(e->text) - used, " (%s is a virtual environment)", above);
        break;
    }
    return -1;
}

/* Says why a component of path cannot be used. part is the component that error is about. */
static int explain_part(const char *path, const char *part, int error, struct err *e)
{
    char user[128], parent[PATH_SIZE], target[256];
    bool is_whole = strcmp(part, path) == 0;
    const char *separator = is_whole ? "" : ": ", *context = is_whole ? "" : path;
    ssize_t length;
    switch (error) {
    case EACCES:
        snprintf(parent, sizeof(parent), "%s", part);
        cut_to_parent(parent);
        return err_set(e, "%s: %s may not enter %s", path, describe_user(user), parent);
    case ENOTDIR:
        return err_set(e, "%s%s%s is not a folder", context, separator, part);
    case ENOENT:
        length = readlink(part, target, sizeof(target) - 1);
        if (length > 0)
            err_set(e, "%s%s%s is a link to %.*s, which is missing", context, separator, part, (int)length,
                    target);
        else
            err_set(e, "%s%s%s is missing", context, separator, part);
        return mention_venv_above(path, e);
    default:
        errno = error;
        return err_errno(e, "%s%s%s cannot be used", context, separator, part);
    }
}

/* Walks from the root to the folder. 0 when every component is a folder and can be reached. */
static int check_components(const char *path, struct err *e)
{
    char part[PATH_SIZE];
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

/* A folder that can be listed and whose files can be opened. */
static int check_folder(const char *path, struct err *e)
{
    char user[128];
    if (check_components(path, e) != 0)
        return -1;
    if (faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) != 0)
        return err_set(e, "%s: %s may not enter it", path, describe_user(user));
    if (faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) != 0)
        return err_set(e, "%s: %s may not read it", path, describe_user(user));
    return 0;
}

/* A folder that can be entered; a baseline need not be listable. */
static int check_enterable(const char *path, struct err *e)
{
    char user[128];
    if (check_components(path, e) != 0)
        return -1;
    if (faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) != 0)
        return err_set(e, "%s: %s may not enter it", path, describe_user(user));
    return 0;
}

/* Versions --------------------------------------------------------------------------------------------- */

/* Takes X.Y from "3.12", "3.12.1" or "3.12.1.final.0"; false for anything else. */
static bool take_version(const char *text, char version[16])
{
    size_t minor = strncmp(text, "3.", 2) == 0 ? strspn(text + 2, "0123456789") : 0;
    if (minor == 0 || minor > 3 || (text[2 + minor] != '\0' && text[2 + minor] != '.'))
        return false;
    snprintf(version, 16, "%.*s", (int)(2 + minor), text);
    return true;
}

/* The same from the name of a folder: python3.12, python3.13t. */
static bool take_folder_version(const char *name, char version[16])
{
    if (strncmp(name, "python3.", 8) != 0)
        return false;
    size_t minor = strspn(name + 8, "0123456789");
    const char *rest = name + 8 + minor;
    if (minor == 0 || minor > 3 || (rest[0] != '\0' && strcmp(rest, "t") != 0))
        return false;
    snprintf(version, 16, "%s", name + 6);
    return true;
}

/* Takes the version from the only lib/python3.* folder; leaves it empty when there are several, or none. */
static int read_lib(const char *folder, struct venv *v, struct err *e)
{
    char lib[PATH_SIZE], path[PATH_SIZE], version[16], user[128];
    unsigned found = 0;
    if (join(lib, folder, "lib", e) != 0)
        return -1;
    DIR *entries = opendir(lib);
    if (entries == NULL)
        return errno == EACCES ? err_set(e, "%s: %s may not read it", lib, describe_user(user)) : 0;
    for (struct dirent *entry; (entry = readdir(entries)) != NULL;) {
        if (!take_folder_version(entry->d_name, version) || join(path, lib, entry->d_name, e) != 0 ||
            !is_folder(path))
            continue;
        found++;
        snprintf(v->version, sizeof(v->version), "%s", version);
        snprintf(v->source, sizeof(v->source), "%s", path);
    }
    closedir(entries);
    if (found != 1)
        v->version[0] = v->source[0] = '\0';
    return 0;
}

/* pyvenv.cfg ------------------------------------------------------------------------------------------- */

static char *trim(char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    for (size_t length = strlen(text); length > 0 && isspace((unsigned char)text[length - 1]); length--)
        text[length - 1] = '\0';
    return text;
}

/* What pyvenv.cfg said of versions: "version" counts before "version_info". */
struct said {
    char version[16];
    char version_info[16];
};

static void read_line(char *line, struct venv *v, struct said *said)
{
    char *equals = strchr(line, '=');
    if (equals == NULL)
        return;
    *equals = '\0';
    const char *key = trim(line), *value = trim(equals + 1);
    if (strcasecmp(key, "home") == 0)
        snprintf(v->home, sizeof(v->home), "%s", value);
    else if (strcasecmp(key, "version") == 0)
        take_version(value, said->version);
    else if (strcasecmp(key, "version_info") == 0)
        take_version(value, said->version_info);
}

/* pyvenv.cfg does not tell a free-threaded Python from another; the name of its lib folder does. */
static int mark_free_threaded(const char *folder, struct venv *v, struct err *e)
{
    char name[64], path[PATH_SIZE];
    snprintf(name, sizeof(name), "lib/python%st", v->version);
    if (join(path, folder, name, e) != 0)
        return -1;
    if (is_folder(path))
        strcat(v->version, "t");
    return 0;
}

/* Opens it without waiting: the folder may belong to somebody who put a pipe in that place. *fd is -1 when
 * there is no such file. */
static int open_pyvenv(const char *path, int *fd, struct err *e)
{
    char user[128];
    struct stat status;
    *fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (*fd < 0 && errno == ENOENT)
        return 0;
    if (*fd < 0 && errno == EACCES)
        return err_set(e, "%s: %s may not read it", path, describe_user(user));
    if (*fd < 0)
        return err_errno(e, "%s cannot be opened", path);
    if (fstat(*fd, &status) == 0 && S_ISREG(status.st_mode))
        return 0;
    fd_close(fd);
    return err_set(e, "%s is not a regular file", path);
}

/* Reads folder/pyvenv.cfg, if there is one. */
static int read_pyvenv(const char *folder, struct venv *v, struct err *e)
{
    char path[PATH_SIZE], text[PYVENV_SIZE_MAX + 1], *rest = text;
    struct said said = {.version = ""};
    int fd;
    if (join(path, folder, "pyvenv.cfg", e) != 0 || open_pyvenv(path, &fd, e) != 0)
        return -1;
    if (fd < 0)
        return 0;
    ssize_t size = read(fd, text, PYVENV_SIZE_MAX);
    int status = size < 0 ? err_errno(e, "%s cannot be read", path) : 0;
    fd_close(&fd);
    if (status != 0)
        return -1;
    text[size] = '\0';
    v->is_venv = true;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;)
        read_line(line, v, &said);
    if (said.version[0] == '\0' && said.version_info[0] == '\0')
        return 0;
    snprintf(v->version, sizeof(v->version), "%s",
             said.version[0] != '\0' ? said.version : said.version_info);
    snprintf(v->source, sizeof(v->source), "%s", path);
    return mark_free_threaded(folder, v, e);
}

/* The three questions ---------------------------------------------------------------------------------- */

int venv_inspect(const char *folder, struct venv *v, struct err *e)
{
    memset(v, 0, sizeof(*v));
    if (check_enterable(folder, e) != 0 || read_pyvenv(folder, v, e) != 0)
        return -1;
    return v->version[0] != '\0' ? 0 : read_lib(folder, v, e);
}

bool venv_root_of(const char *folder, char root[4096])
{
    char version[16];
    struct err ignored;
    if (join(root, folder, "", &ignored) != 0)
        return false;
    cut_to_parent(root); /* the slash that join() put at the end */
    const char *name = strrchr(root, '/');
    if (name == NULL || strcmp(name, "/site-packages") != 0 || !cut_to_parent(root))
        return false;
    name = strrchr(root, '/');
    if (name == NULL || !take_folder_version(name + 1, version) || !cut_to_parent(root))
        return false;
    name = strrchr(root, '/');
    if (name == NULL || (strcmp(name, "/lib") != 0 && strcmp(name, "/lib64") != 0) || !cut_to_parent(root))
        return false;
    return is_file(root, "pyvenv.cfg");
}

int venv_overlay_folder(const char *entry, const char *host_version, char folder[4096], struct err *e)
{
    char rest[64];
    struct venv v;
    if (check_components(entry, e) != 0)
        return -1;
    if (!is_file(entry, "pyvenv.cfg")) {
        if (snprintf(folder, PATH_SIZE, "%s", entry) >= PATH_SIZE)
            return err_set(e, "the path %.200s... is too long", entry);
        return check_folder(folder, e);
    }
    if (venv_inspect(entry, &v, e) != 0)
        return -1;
    if (v.version[0] != '\0' && strcmp(v.version, host_version) != 0)
        return err_set(e, "%s is a virtual environment of Python %s (%s), and this is Python %s", entry,
                       v.version, v.source, host_version);
    snprintf(rest, sizeof(rest), "lib/python%.16s/site-packages", host_version);
    return join(folder, entry, rest, e) == 0 ? check_folder(folder, e) : -1;
}
