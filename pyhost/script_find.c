/* Finds the script that a request names, for groups with script-root.
 *
 * SCRIPT_FILENAME comes from the web server and in part from the client, so it is believed no further than
 * this: it is an absolute path without "..", at most one of its prefixes is a regular file, and that file,
 * links resolved, lies inside a root and ends in .wsgi or .py. What follows the file is PATH_INFO of web
 * servers that do not split it off. Nothing is opened before all of that holds, so no pipe or device ever is.
 * A NUL cannot occur: fcgi/look.c refuses it.
 *
 * Resolving costs a dozen system calls. A name that was resolved before is remembered with the state of its
 * file, and as long as one stat(2) shows that very file, the answer is the same. Knows no Python; any thread.
 */
#include "pyhost/script_find.h"

#include "base/err.h"
#include "base/fd.h"
#include "config/config.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KNOWN_MAX   512                /* names remembered; a newer one takes an older one's place */
#define SOURCE_MAX  (16 * 1024 * 1024) /* bytes of a script */
#define SHOWN_BYTES "%.300s"

struct known {
    uint64_t hash;
    char *name; /* as the web server sends it; NULL: an empty place */
    char *path; /* what it led to */
    struct host_script_id id;
};

struct host_finder {
    const struct cfg_list *roots; /* borrowed */
    pthread_mutex_t lock;         /* around known */
    struct known known[KNOWN_MAX];
};

struct host_finder *host_finder_new(const struct cfg_list *roots, struct err *e)
{
    struct host_finder *f = calloc(1, sizeof *f);
    if (!f) {
        err_errno(e, "script-root");
        return NULL;
    }
    f->roots = roots;
    pthread_mutex_init(&f->lock, NULL);
    return f;
}

void host_finder_free(struct host_finder *f)
{
    if (!f)
        return;
    for (size_t i = 0; i < KNOWN_MAX; i++) {
        free(f->known[i].name);
        free(f->known[i].path);
    }
    pthread_mutex_destroy(&f->lock);
    free(f);
}

/* ---- files ---- */

static struct host_script_id id_of(const struct stat *about)
{
    return (struct host_script_id){(uint64_t)about->st_dev, (uint64_t)about->st_ino, (int64_t)about->st_size,
                                   (int64_t)about->st_mtim.tv_sec, (int64_t)about->st_mtim.tv_nsec};
}

bool host_script_id_is_equal(const struct host_script_id *a, const struct host_script_id *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size && a->mtime_s == b->mtime_s &&
           a->mtime_ns == b->mtime_ns;
}

static bool ends_with(const char *text, const char *ending)
{
    size_t size = strlen(text), ending_size = strlen(ending);
    return size >= ending_size && strcmp(text + size - ending_size, ending) == 0;
}

bool host_script_has_ending(const char *name)
{
    return ends_with(name, ".wsgi") || ends_with(name, ".py");
}

int host_script_root_check(const char *root, struct err *e)
{
    struct stat about;
    if (stat(root, &about) < 0)
        return err_errno(e, "script-root %s", root);
    if (!S_ISDIR(about.st_mode))
        return err_set(e, "script-root %s: it is no folder", root);
    if (access(root, X_OK) < 0)
        return err_errno(e, "script-root %s: the group's user cannot enter it", root);
    return 0;
}

/* O_NONBLOCK: whatever took the file's place since it was looked at, opening it does not wait. */
int host_script_open(const char *path, struct host_script_id *id, struct err *e)
{
    struct stat about;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return err_errno(e, "cannot read the script %s", path);
    if (fstat(fd, &about) < 0) {
        err_errno(e, "cannot read the script %s", path);
    } else if (!S_ISREG(about.st_mode)) {
        err_set(e, "cannot read the script %s: it is no regular file", path);
    } else {
        *id = id_of(&about);
        return fd;
    }
    fd_close(&fd);
    return -1;
}

char *host_script_read(int fd, size_t *size, struct err *e)
{
    size_t capacity = 64 * 1024;
    char *bytes = NULL;
    *size = 0;
    for (;;) {
        char *larger = bytes && *size < capacity ? bytes : realloc(bytes, capacity *= 2);
        if (!larger) {
            err_errno(e, "cannot read the script");
            break;
        }
        bytes = larger;
        ssize_t got = read(fd, bytes + *size, capacity - *size);
        if (got == 0)
            return bytes;
        if (got < 0 && errno != EINTR) {
            err_errno(e, "cannot read the script");
            break;
        }
        *size += got > 0 ? (size_t)got : 0;
        if (*size > SOURCE_MAX) {
            err_set(e, "the script is larger than %d bytes", SOURCE_MAX);
            break;
        }
    }
    free(bytes);
    return NULL;
}

/* ---- names that were resolved before ---- */

#define HASH_START UINT64_C(14695981039346656037)

static uint64_t hash_byte(uint64_t hash, char byte) /* FNV-1a */
{
    return (hash ^ (unsigned char)byte) * UINT64_C(1099511628211);
}

/* With the lock. */
static const struct known *known_at(const struct host_finder *f, uint64_t hash, const char *name, size_t size)
{
    const struct known *k = &f->known[hash % KNOWN_MAX];
    bool is_it = k->name && k->hash == hash && strncmp(k->name, name, size) == 0 && k->name[size] == '\0';
    return is_it ? k : NULL;
}

/* Copies what is known of the prefix that is a known name. */
static bool recall(struct host_finder *f, const char *filename, struct host_script_found *found)
{
    const struct known *k = NULL;
    uint64_t hash = HASH_START;
    pthread_mutex_lock(&f->lock);
    for (size_t size = 0; !k && size < PATH_MAX; size++) {
        if (size > 0 && (filename[size] == '/' || filename[size] == '\0'))
            k = known_at(f, hash, filename, size);
        if (filename[size] == '\0')
            break;
        hash = hash_byte(hash, filename[size]);
    }
    if (k) {
        found->name_size = strlen(k->name);
        found->id = k->id;
        memcpy(found->path, k->path, strlen(k->path) + 1); /* shorter than PATH_MAX: realpath(3) */
    }
    pthread_mutex_unlock(&f->lock);
    return k != NULL;
}

/* Notes whether the name led elsewhere before. Without memory it is resolved again next time. */
static void remember(struct host_finder *f, const char *name, struct host_script_found *found)
{
    uint64_t hash = HASH_START;
    for (const char *c = name; *c; c++)
        hash = hash_byte(hash, *c);
    char *own_name = strdup(name), *own_path = strdup(found->path);
    pthread_mutex_lock(&f->lock);
    const struct known *before = known_at(f, hash, name, strlen(name));
    found->has_moved = before && strcmp(before->path, found->path) != 0;
    struct known *k = &f->known[hash % KNOWN_MAX];
    free(k->name);
    free(k->path);
    *k = (struct known){0};
    if (own_name && own_path) {
        *k = (struct known){hash, own_name, own_path, found->id};
        own_name = own_path = NULL;
    }
    pthread_mutex_unlock(&f->lock);
    free(own_name);
    free(own_path);
}

/* A file that was inside a root is the same file still. */
static bool is_unchanged(const char *filename, const struct host_script_found *found)
{
    char name[PATH_MAX];
    struct stat about;
    memcpy(name, filename, found->name_size);
    name[found->name_size] = '\0';
    if (stat(name, &about) < 0)
        return false;
    struct host_script_id id = id_of(&about);
    return host_script_id_is_equal(&id, &found->id);
}

/* ---- resolving ---- */

/* Always false. The reason stays one line, whatever the client put into the name. */
static bool __attribute__((format(printf, 2, 3)))
refuse(struct host_script_found *found, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(found->why, sizeof found->why, format, args);
    va_end(args);
    for (char *c = found->why; *c; c++)
        if (*c == '\n' || *c == '\r')
            *c = '?';
    return false;
}

static bool has_parent_component(const char *path)
{
    for (const char *p = path; (p = strstr(p, "..")) != NULL; p += 2)
        if ((p == path || p[-1] == '/') && (p[2] == '/' || p[2] == '\0'))
            return true;
    return false;
}

static bool is_acceptable(const char *filename, struct host_script_found *found)
{
    if (!filename || !*filename)
        return refuse(found,
                      "the web server sends no SCRIPT_FILENAME, which names the script in a group with "
                      "script-root; for nginx: fastcgi_param SCRIPT_FILENAME "
                      "$document_root$fastcgi_script_name;");
    if (filename[0] != '/')
        return refuse(found, "SCRIPT_FILENAME \"" SHOWN_BYTES "\" is no absolute path", filename);
    if (has_parent_component(filename))
        return refuse(found, "SCRIPT_FILENAME " SHOWN_BYTES " has a \"..\" in it", filename);
    return true;
}

/* What can be asked of the file system: all of it, or up to the last slash within PATH_MAX. */
static size_t askable_size(const char *filename)
{
    size_t size = strlen(filename);
    if (size < PATH_MAX)
        return size;
    const char *slash = memrchr(filename, '/', PATH_MAX - 1);
    return slash ? (size_t)(slash - filename) : 0;
}

/* True when there may be a file at a shorter path: this one does not exist, or is too long to. */
static bool is_just_missing(int error)
{
    return error == ENOENT || error == ENOTDIR || error == ENAMETOOLONG;
}

/* The one prefix that can be a file: beyond it nothing exists, before it there are only folders. Into name.
 */
static bool find_file(const char *filename, char name[PATH_MAX], struct host_script_found *found)
{
    struct stat about;
    size_t size = askable_size(filename), whole = strlen(filename);
    memcpy(name, filename, size);
    for (;;) {
        while (size > 0 && name[size - 1] == '/')
            size--;
        name[size] = '\0';
        if (size == 0)
            return refuse(found, "there is no file " SHOWN_BYTES, filename);
        if (stat(name, &about) == 0)
            break;
        if (!is_just_missing(errno))
            return refuse(found, SHOWN_BYTES ": %s", name, strerror(errno));
        while (size > 0 && name[size - 1] != '/')
            size--;
    }
    if (S_ISDIR(about.st_mode) && size + 1 >= whole)
        return refuse(found, SHOWN_BYTES " is a folder, no script", name);
    if (S_ISDIR(about.st_mode))
        return refuse(found, "there is no file " SHOWN_BYTES, filename);
    if (!S_ISREG(about.st_mode))
        return refuse(found, SHOWN_BYTES " is no regular file", name);
    found->name_size = size;
    return true;
}

/* root has its links resolved, and no slash at its end unless it is "/". */
static bool is_below(const char *path, const char *root)
{
    size_t size = strcmp(root, "/") == 0 ? 0 : strlen(root);
    return strncmp(path, root, size) == 0 && path[size] == '/';
}

static bool is_inside_a_root(const struct host_finder *f, const char *name, struct host_script_found *found)
{
    for (size_t i = 0; i < f->roots->count; i++) {
        char root[PATH_MAX];
        if (realpath(f->roots->items[i], root) && is_below(found->path, root))
            return true;
    }
    if (strcmp(name, found->path) == 0)
        return refuse(found, SHOWN_BYTES " lies in no folder of script-root", name);
    return refuse(found, SHOWN_BYTES " leads to " SHOWN_BYTES ", which lies in no folder of script-root",
                  name, found->path);
}

static bool resolve(const struct host_finder *f, const char *name, struct host_script_found *found)
{
    struct stat about;
    if (!realpath(name, found->path) || lstat(found->path, &about) < 0)
        return refuse(found, SHOWN_BYTES ": %s", name, strerror(errno));
    if (!is_inside_a_root(f, name, found))
        return false;
    if (!host_script_has_ending(found->path))
        return refuse(found, SHOWN_BYTES " ends neither in .wsgi nor in .py", found->path);
    if (!S_ISREG(about.st_mode))
        return refuse(found, SHOWN_BYTES " is no regular file", found->path);
    if (access(found->path, R_OK) < 0)
        return refuse(found, "the group's user cannot read " SHOWN_BYTES ": %s", found->path,
                      strerror(errno));
    found->id = id_of(&about);
    return true;
}

bool host_finder_find(struct host_finder *f, const char *filename, struct host_script_found *found)
{
    char name[PATH_MAX];
    found->has_moved = false;
    if (!is_acceptable(filename, found))
        return false;
    if (recall(f, filename, found) && is_unchanged(filename, found))
        return true;
    if (!find_file(filename, name, found) || !resolve(f, name, found))
        return false;
    remember(f, name, found);
    return true;
}
