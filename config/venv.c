/* Looks at virtual environments and Python prefixes through their files, without starting Python.
 *
 * Knows pyvenv.cfg and lib/pythonX.Y; .pth files are Python's business, and why a folder cannot be reached is
 * venv_reach.c's. Used by the supervisor and, after it changed its user, by the host; any thread. */
#include "config/venv.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "config/venv_reach.h"

#define PYVENV_SIZE_MAX 16384 /* they have a few hundred bytes */

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
    char lib[VENV_PATH_SIZE], path[VENV_PATH_SIZE], version[16], user[128];
    unsigned found = 0;
    if (venv_join(lib, folder, "lib", e) != 0)
        return -1;
    DIR *entries = opendir(lib);
    if (entries == NULL)
        return errno == EACCES ? err_set(e, "%s: %s may not read it", lib, venv_describe_user(user)) : 0;
    for (struct dirent *entry; (entry = readdir(entries)) != NULL;) {
        if (!take_folder_version(entry->d_name, version) || venv_join(path, lib, entry->d_name, e) != 0 ||
            !venv_is_folder(path))
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
    else if (strcasecmp(key, "include-system-site-packages") == 0)
        v->sees_base = strcasecmp(value, "true") == 0;
    else if (strcasecmp(key, "version") == 0)
        take_version(value, said->version);
    else if (strcasecmp(key, "version_info") == 0)
        take_version(value, said->version_info);
}

/* pyvenv.cfg does not tell a free-threaded Python from another; the name of its lib folder does. */
static int mark_free_threaded(const char *folder, struct venv *v, struct err *e)
{
    char name[64], path[VENV_PATH_SIZE];
    snprintf(name, sizeof(name), "lib/python%st", v->version);
    if (venv_join(path, folder, name, e) != 0)
        return -1;
    if (venv_is_folder(path))
        strcat(v->version, "t");
    return 0;
}

/* Reopens for reading what an O_PATH descriptor stands for; -1 with errno. */
static int open_for_reading(int file, const char *path)
{
    char link[64];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", file);
    int fd = open(link, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0 || errno != ENOENT)
        return fd;
    /* a chroot without /proc, which only a host is in, as its user */
    return open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
}

/* Opens it only after it is known to be a regular file: the folder may belong to somebody who put a pipe in
 * that place, or a link to a device, and for some devices root's opening is a deed. *fd is -1 when there is
 * no such file. */
static int open_pyvenv(const char *path, int *fd, struct err *e)
{
    char user[128];
    struct stat status;
    int file = open(path, O_PATH | O_CLOEXEC);
    *fd = -1;
    if (file < 0 && errno == ENOENT)
        return 0;
    if (file >= 0 && fstat(file, &status) == 0 && !S_ISREG(status.st_mode)) {
        fd_close(&file);
        return err_set(e, "%s is not a regular file", path);
    }
    if (file >= 0)
        *fd = open_for_reading(file, path);
    int failure = errno;
    fd_close(&file);
    if (*fd >= 0)
        return 0;
    errno = failure;
    if (failure == EACCES)
        return err_set(e, "%s: %s may not read it", path, venv_describe_user(user));
    return err_errno(e, "%s cannot be opened", path);
}

/* Reads folder/pyvenv.cfg, if there is one. */
static int read_pyvenv(const char *folder, struct venv *v, struct err *e)
{
    char path[VENV_PATH_SIZE], text[PYVENV_SIZE_MAX + 1], *rest = text;
    struct said said = {.version = ""};
    int fd;
    if (venv_join(path, folder, "pyvenv.cfg", e) != 0 || open_pyvenv(path, &fd, e) != 0)
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
    if (venv_check_enterable(folder, e) != 0 || read_pyvenv(folder, v, e) != 0)
        return -1;
    return v->version[0] != '\0' ? 0 : read_lib(folder, v, e);
}

bool venv_root_of(const char *folder, char root[4096])
{
    char version[16];
    struct err ignored;
    if (venv_join(root, folder, "", &ignored) != 0)
        return false;
    venv_cut_to_parent(root); /* the slash that venv_join() put at the end */
    const char *name = strrchr(root, '/');
    if (name == NULL || strcmp(name, "/site-packages") != 0 || !venv_cut_to_parent(root))
        return false;
    name = strrchr(root, '/');
    if (name == NULL || !take_folder_version(name + 1, version) || !venv_cut_to_parent(root))
        return false;
    name = strrchr(root, '/');
    if (name == NULL || (strcmp(name, "/lib") != 0 && strcmp(name, "/lib64") != 0) ||
        !venv_cut_to_parent(root))
        return false;
    return venv_is_file(root, "pyvenv.cfg");
}

int venv_overlay_folder(const char *entry, const char *host_version, char folder[4096], struct err *e)
{
    char rest[64];
    struct venv v;
    if (venv_check_components(entry, e) != 0)
        return -1;
    if (!venv_is_file(entry, "pyvenv.cfg")) {
        if (snprintf(folder, VENV_PATH_SIZE, "%s", entry) >= VENV_PATH_SIZE)
            return err_set(e, "the path %.200s... is too long", entry);
        return venv_check_folder(folder, e);
    }
    if (venv_inspect(entry, &v, e) != 0)
        return -1;
    if (v.version[0] != '\0' && strcmp(v.version, host_version) != 0)
        return err_set(e, "%s is a virtual environment of Python %s (%s), and this is Python %s", entry,
                       v.version, v.source, host_version);
    snprintf(rest, sizeof(rest), "lib/python%.16s/site-packages", host_version);
    return venv_join(folder, entry, rest, e) == 0 ? venv_check_folder(folder, e) : -1;
}
