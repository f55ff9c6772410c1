/* Takes the fingerprint of a group's environment: reads names and times of files, never Python.
 *
 * Runs as the group's user inside its chroot, before the interpreter starts (a template) or instead of it
 * (host --fingerprint). Looks only where the interpreter will look: the baseline's site-packages, each
 * python-path item, and for an environment that includes its base, or a group without one, the
 * installation's own. Refuses nothing: what is missing or unreadable is a line or no line, because saying
 * what is wrong with an environment is python.c's and overlay.c's business. Bounded in lines, bytes and files
 * looked at. One thread. */
#include "pyhost/fingerprint.h"

#include "base/err.h"
#include "base/fd.h"
#include "base/wire.h"
#include "config/config.h"
#include "config/venv.h"
#include "pyhost/host.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINES_MAX   20000
#define BYTES_MAX   (1024 * 1024)
#define LINE_SIZE   (4 * 4096 + 1024) /* a path with every byte escaped, and the other fields */
#define FOLDERS_MAX 64
#define HASHED_MAX  65536 /* of a pyvenv.cfg or .pth; they have some hundred bytes */

/* Looking for writers: files looked at, folders deep, and what counts as a moment ago. */
#define HEAT_FILES_MAX 200000
#define HEAT_DEPTH_MAX 32
#define HEAT_NS        INT64_C(1000000000)

struct print {
    const struct host_base *base;
    char **lines;
    size_t count;
    size_t bytes;
    size_t left_out;
    bool out_of_memory;

    struct {
        dev_t device;
        ino_t inode;
    } folders[FOLDERS_MAX]; /* seen already, perhaps under another name */
    size_t folder_count;

    bool looks_for_writers;
    bool is_hot;
    int64_t now_ns; /* of the clock that file times are in */
    unsigned files_left;
};

/* ---- lines ----------------------------------------------------------------------------------------- */

static void append_line(struct print *p, const char *text)
{
    if (p->count % 256 == 0) {
        char **larger = realloc(p->lines, (p->count + 256) * sizeof *larger);
        if (!larger) {
            p->out_of_memory = true;
            return;
        }
        p->lines = larger;
    }
    char *line = strdup(text);
    if (line)
        p->lines[p->count++] = line;
    else
        p->out_of_memory = true;
}

static void add_line(struct print *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add_line(struct print *p, const char *format, ...)
{
    char text[LINE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (size < 0 || (size_t)size >= sizeof text || p->count >= LINES_MAX ||
        p->bytes + (size_t)size + 1 > BYTES_MAX) {
        p->left_out++;
        return;
    }
    p->bytes += (size_t)size + 1;
    append_line(p, text);
}

/* Escapes what would end a line or, where a blank does, a field. */
static const char *escape(char escaped[4 * 4096], const char *text, bool blanks_too)
{
    size_t used = 0;
    for (const unsigned char *c = (const unsigned char *)text; *c && used + 5 < 4 * 4096; c++) {
        bool is_plain = *c > 0x20 && *c != 0x7f && *c != '\\';
        if (is_plain || (*c == ' ' && !blanks_too))
            escaped[used++] = (char)*c;
        else
            used += (size_t)snprintf(escaped + used, 5, "\\x%02x", *c);
    }
    escaped[used] = '\0';
    return escaped;
}

static const char *format_time(char text[48], const struct timespec *time)
{
    snprintf(text, 48, "%lld.%09ld", (long long)time->tv_sec, time->tv_nsec);
    return text;
}

static bool join(char path[4096], const char *folder, const char *name)
{
    int size = snprintf(path, 4096, "%s/%s", folder, name);
    return size > 0 && size < 4096;
}

/* ---- files ----------------------------------------------------------------------------------------- */

/* FNV-1a over the first bytes of a regular file; false when there is none that can be read. */
static bool hash_file(const char *path, uint64_t *hash)
{
    unsigned char bytes[4096];
    struct stat status;
    size_t total = 0;
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    *hash = UINT64_C(0xcbf29ce484222325);
    if (fd < 0)
        return false;
    if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode)) {
        fd_close(&fd);
        return false;
    }
    for (ssize_t size; total < HASHED_MAX && (size = read(fd, bytes, sizeof bytes)) > 0;
         total += (size_t)size)
        for (ssize_t i = 0; i < size; i++)
            *hash = (*hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    fd_close(&fd);
    return true;
}

static void add_file(struct print *p, const char *folder, const char *name)
{
    char path[4096], escaped[4 * 4096];
    uint64_t hash;
    if (join(path, folder, name) && hash_file(path, &hash))
        add_line(p, "file %016llx %s", (unsigned long long)hash, escape(escaped, path, false));
}

/* ---- distributions ----------------------------------------------------------------------------------- */

static const char *suffix_of(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot && dot != name ? dot : "";
}

/* The time of the file in it that an installer writes, so that installing the same version again shows. */
static struct timespec installed_at(const char *path)
{
    static const char *const files[] = {"RECORD", "METADATA", "PKG-INFO", "EGG-INFO/PKG-INFO"};
    char inside[4096];
    struct stat status;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        if (join(inside, path, files[i]) && stat(inside, &status) == 0)
            return status.st_mtim;
    if (stat(path, &status) == 0)
        return status.st_mtim;
    return (struct timespec){0};
}

/* NAME-VERSION.dist-info; NAME-VERSION-py3.11.egg-info, NAME.egg-info, NAME.egg-link: neither part of an
 * egg's name has a '-' of its own, and in a dist-info the version has none. "" for what has no version. */
static void split_name(const char *entry, char name[256], char version[256])
{
    const char *suffix = suffix_of(entry);
    snprintf(name, 256, "%.*s", (int)(suffix - entry), entry);
    version[0] = '\0';
    bool is_dist_info = strcmp(suffix, ".dist-info") == 0;
    char *dash = is_dist_info ? strrchr(name, '-') : strchr(name, '-');
    if (!dash)
        return;
    *dash = '\0';
    snprintf(version, 256, "%.*s", is_dist_info ? 255 : (int)strcspn(dash + 1, "-"), dash + 1);
}

static bool is_distribution(const char *entry)
{
    static const char *const suffixes[] = {".dist-info", ".egg-info", ".egg", ".egg-link"};
    if (entry[0] == '~') /* pip puts aside what it replaces under such names */
        return false;
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++)
        if (strcmp(suffix_of(entry), suffixes[i]) == 0)
            return true;
    return false;
}

static void add_distribution(struct print *p, const char *folder, const char *entry)
{
    char path[4096], name[256], version[256], time[48];
    char escaped_name[4 * 4096], escaped_version[4 * 4096], escaped_folder[4 * 4096];
    if (!join(path, folder, entry))
        return;
    split_name(entry, name, version);
    struct timespec at = installed_at(path);
    add_line(p, "dist %s %s %s %s", escape(escaped_name, name, true),
             version[0] ? escape(escaped_version, version, true) : "-", format_time(time, &at),
             escape(escaped_folder, folder, false));
}

/* ---- writers --------------------------------------------------------------------------------------- */

static bool is_recent(const struct print *p, const struct timespec *changed)
{
    int64_t changed_ns = (int64_t)changed->tv_sec * HEAT_NS + changed->tv_nsec;
    int64_t age_ns = p->now_ns - changed_ns;
    return age_ns < HEAT_NS && age_ns > -HEAT_NS; /* a server whose clock is ahead is not always writing */
}

/* Takes fd. Stops at the first file that was written a moment ago. */
static void look_for_writers(struct print *p, int fd, unsigned depth)
{
    struct stat status;
    DIR *entries = fdopendir(fd);
    if (!entries) {
        fd_close(&fd);
        return;
    }
    for (struct dirent *entry; !p->is_hot && p->files_left > 0 && (entry = readdir(entries)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        p->files_left--;
        if (fstatat(dirfd(entries), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        p->is_hot = is_recent(p, &status.st_ctim);
        if (!S_ISDIR(status.st_mode) || depth >= HEAT_DEPTH_MAX)
            continue;
        int below = openat(dirfd(entries), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (below >= 0)
            look_for_writers(p, below, depth + 1);
    }
    closedir(entries);
}

/* ---- folders --------------------------------------------------------------------------------------- */

static bool is_new_folder(struct print *p, const struct stat *status)
{
    for (size_t i = 0; i < p->folder_count; i++)
        if (p->folders[i].device == status->st_dev && p->folders[i].inode == status->st_ino)
            return false;
    if (p->folder_count == FOLDERS_MAX) {
        p->left_out++;
        return false;
    }
    p->folders[p->folder_count].device = status->st_dev;
    p->folders[p->folder_count++].inode = status->st_ino;
    return true;
}

/* How many distributions it holds. */
static size_t add_entries(struct print *p, const char *folder, DIR *entries)
{
    size_t found = 0;
    for (struct dirent *entry; (entry = readdir(entries)) != NULL;) {
        if (is_distribution(entry->d_name)) {
            add_distribution(p, folder, entry->d_name);
            found++;
        } else if (strcmp(suffix_of(entry->d_name), ".pth") == 0) {
            add_file(p, folder, entry->d_name);
        }
    }
    return found;
}

/* Returns false when there is no such folder. */
static bool add_folder(struct print *p, const char *folder)
{
    char time[48], escaped[4 * 4096];
    struct stat status;
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = fd >= 0 && fstat(fd, &status) == 0 ? fdopendir(fd) : NULL;
    if (!entries) {
        fd_close(&fd);
        return false;
    }
    if (is_new_folder(p, &status)) {
        add_line(p, "folder %s %s", format_time(time, &status.st_mtim), escape(escaped, folder, false));
        /* A plain folder of modules may hold anything, a log that grows among it. */
        if (add_entries(p, folder, entries) > 0 && p->looks_for_writers && !p->is_hot &&
            (fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) >= 0)
            look_for_writers(p, fd, 0);
    }
    closedir(entries);
    return true;
}

/* One that matters although it may not be there yet. */
static void add_main_folder(struct print *p, const char *folder)
{
    char escaped[4 * 4096];
    if (!add_folder(p, folder))
        add_line(p, "folder 0 %s", escape(escaped, folder, false));
}

/* The places below a prefix where its site module looks; Debian's and Fedora's own among them. */
static void add_prefix(struct print *p, const char *prefix)
{
    static const char *const places[] = {"lib64/python%s/site-packages", "lib/python%s/dist-packages",
                                         "local/lib/python%s/dist-packages",
                                         "local/lib/python%s/site-packages"};
    char rest[128], folder[4096];
    snprintf(rest, sizeof rest, "lib/python%s/site-packages", p->base->version_xy);
    if (join(folder, prefix, rest))
        add_main_folder(p, folder);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        snprintf(rest, sizeof rest, places[i], p->base->version_xy);
        if (join(folder, prefix, rest))
            add_folder(p, folder);
    }
    if (join(folder, prefix, "lib/python3/dist-packages"))
        add_folder(p, folder);
}

/* ---- the environment --------------------------------------------------------------------------------- */

/* What may not be looked at may be there. */
static bool is_there(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

static void add_missing(struct print *p, const char *path)
{
    char escaped[4 * 4096];
    add_line(p, "missing %s", escape(escaped, path, false));
}

static void add_base_of(struct print *p, const struct venv *v)
{
    char prefix[4096];
    snprintf(prefix, sizeof prefix, "%s", v->home);
    char *slash = strrchr(prefix, '/');
    if (!v->sees_base || !slash || slash == prefix)
        return;
    *slash = '\0';
    add_prefix(p, prefix);
}

static void add_baseline(struct print *p, const char *home)
{
    struct venv v;
    struct err ignored; /* python.c says what is wrong with it */
    if (!is_there(home)) {
        add_missing(p, home);
        return;
    }
    add_file(p, home, "pyvenv.cfg");
    add_prefix(p, home);
    if (venv_inspect(home, &v, &ignored) == 0)
        add_base_of(p, &v);
}

static void add_path_item(struct print *p, const char *item)
{
    char root[4096], rest[64], folder[4096];
    if (!is_there(item)) {
        add_missing(p, item);
        return;
    }
    if (join(folder, item, "pyvenv.cfg") && is_there(folder)) {
        add_file(p, item, "pyvenv.cfg");
        snprintf(rest, sizeof rest, "lib/python%s/site-packages", p->base->version_xy);
        if (join(folder, item, rest))
            add_main_folder(p, folder);
        return;
    }
    if (venv_root_of(item, root))
        add_file(p, root, "pyvenv.cfg");
    add_main_folder(p, item);
}

static void add_path(struct print *p, const struct cfg_list *items)
{
    for (size_t i = 0; i < items->count; i++)
        add_path_item(p, items->items[i]);
}

static void add_python(struct print *p)
{
    char time[48], escaped_version[4 * 4096], escaped_path[4 * 4096];
    add_line(p, "python %s %s:%lld %s", escape(escaped_version, p->base->version, true),
             format_time(time, &p->base->library_mtime), p->base->library_size,
             escape(escaped_path, p->base->library, false));
}

/* ---- sending --------------------------------------------------------------------------------------- */

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort_lines(struct print *p)
{
    size_t kept = 0;
    if (p->count > 1)
        qsort(p->lines, p->count, sizeof *p->lines, compare_lines);
    for (size_t i = 0; i < p->count; i++) {
        if (kept > 0 && strcmp(p->lines[kept - 1], p->lines[i]) == 0)
            free(p->lines[i]);
        else
            p->lines[kept++] = p->lines[i];
    }
    p->count = kept;
}

static int send_piece(struct host *h, struct wire_msg *m, const char *text, size_t size)
{
    wire_set_text(m, text, size);
    return wire_send(h->channel, m);
}

static int send_lines(struct host *h, const struct print *p)
{
    static char piece[WIRE_TEXT_MAX];
    struct wire_msg m;
    size_t used = 0;
    wire_init(&m, WIRE_FINGERPRINT);
    for (size_t i = 0; i < p->count; i++) {
        const char *line = p->lines[i];
        for (size_t left = strlen(line) + 1; left > 0;) { /* a line may be longer than a message */
            size_t fits = left < sizeof piece - used ? left : sizeof piece - used;
            memcpy(piece + used, line, fits);
            if (fits == left)
                piece[used + fits - 1] = '\n';
            used += fits;
            line += fits;
            left -= fits;
            if (used < sizeof piece)
                continue;
            if (send_piece(h, &m, piece, used) < 0)
                return -1;
            used = 0;
        }
    }
    m.flags = WIRE_FINGERPRINT_END | (p->is_hot ? WIRE_FINGERPRINT_HOT : 0);
    return send_piece(h, &m, piece, used);
}

static int64_t file_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * HEAT_NS + now.tv_nsec;
}

int host_fingerprint_send(struct host *h, const struct host_base *base, bool looks_for_writers, struct err *e)
{
    int result = 0;
    const struct cfg_group *group = h->group;
    struct print p = {.base = base,
                      .looks_for_writers = looks_for_writers,
                      .now_ns = file_clock_ns(),
                      .files_left = HEAT_FILES_MAX};
    add_python(&p);
    if (group->python_home)
        add_baseline(&p, group->python_home);
    else if (base->prefix[0])
        add_prefix(&p, base->prefix);
    add_path(&p, &group->python_path);
    for (size_t i = 0; i < group->applications.count; i++)
        add_path(&p, &group->applications.items[i].python_path);
    sort_lines(&p);
    if (p.left_out > 0) {
        char cut[48];
        snprintf(cut, sizeof cut, "cut %zu", p.left_out);
        append_line(&p, cut);
    }
    if (p.out_of_memory)
        result = err_set(e, "no memory for the environment's fingerprint");
    else if (send_lines(h, &p) < 0)
        result = err_errno(e, "cannot tell the supervisor about the environment");
    for (size_t i = 0; i < p.count; i++)
        free(p.lines[i]);
    free(p.lines);
    return result;
}
