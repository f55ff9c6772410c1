/* Follows one path component by component, watches what it passes, and stamps what it finds.
 *
 * Events are hints; the stamp decides. It is made of what stat(2) says: which file, how large, whose,
 * modified when. Nothing is opened but folders, and nothing followed inside of a tree. Each folder is watched
 * before it is looked at, so that no change falls between. Links are resolved here and not by the kernel,
 * because the folder that holds a link is what has to be watched (a release is switched there), and because
 * inside a chroot an absolute one starts at its root. Runs on the supervisor's only thread, as the
 * supervisor. */
#include "pm/place.h"

#include "pm/notify.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINKS_MAX 40
#define DEPTH_MAX 40

/* Components of one way, those of its links included: links can wind through a folder some ten thousand
 * times, and each time would cost a watch. What lies further is taken not to be there. */
#define STEPS_MAX 256

/* Of a tree, whatever they are; beyond, its folders are not even read to their ends. */
#define ENTRIES_MAX (5 * PM_PLACE_FILES_MAX)

/* What about a watched folder matters. */
enum interest { INTEREST_ITSELF, INTEREST_NAME, INTEREST_DISTRIBUTIONS, INTEREST_TREE };

/* One folder that a place watches. */
struct hook {
    struct pm_place *place;
    struct pm_notify_watch *watch;
    enum interest interest;
    struct hook *next;
    char name[]; /* with INTEREST_NAME: of the entry */
};

struct pm_place {
    struct pm_notify *notify;
    enum pm_place_kind kind;
    char *root; /* "" without a chroot */
    char *path;
    void (*stirred)(void *context);
    void *context;

    struct hook *hooks;
    uint64_t stamp;
    struct timespec modified; /* zero: not there */
    unsigned folders;         /* of a tree; counted while it is walked */
    unsigned files;
    unsigned entries;
    bool is_cut;
    bool has_stirred; /* a distribution did, since the last look */
    char *heard_of;   /* in a tree, since the last look; NULL: nothing by name */
    char *changed;    /* the same, of the look before */
};

/* ---- stamps ---------------------------------------------------------------------------------------- */

#define STAMP_START UINT64_C(0xcbf29ce484222325)

/* FNV-1a */
static uint64_t stamp_bytes(uint64_t stamp, const void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        stamp = (stamp ^ ((const unsigned char *)bytes)[i]) * UINT64_C(0x100000001b3);
    return stamp;
}

static uint64_t stamp_number(uint64_t stamp, uint64_t number)
{
    return stamp_bytes(stamp, &number, sizeof number);
}

/* Not the time of the last status change: a backup or a new hard link is no change. */
static uint64_t stamp_status(uint64_t stamp, const struct stat *status)
{
    stamp = stamp_number(stamp, status->st_dev);
    stamp = stamp_number(stamp, status->st_ino);
    stamp = stamp_number(stamp, status->st_mode);
    stamp = stamp_number(stamp, status->st_uid);
    stamp = stamp_number(stamp, status->st_gid);
    if (S_ISDIR(status->st_mode))
        return stamp;
    stamp = stamp_number(stamp, (uint64_t)status->st_size);
    stamp = stamp_number(stamp, (uint64_t)status->st_mtim.tv_sec);
    return stamp_number(stamp, (uint64_t)status->st_mtim.tv_nsec);
}

/* ---- what matters ------------------------------------------------------------------------------------ */

static bool ends_in(const char *name, const char *suffix)
{
    size_t length = strlen(name);
    size_t suffix_length = strlen(suffix);
    return length >= suffix_length && strcmp(name + length - suffix_length, suffix) == 0;
}

static bool is_distribution(const char *name)
{
    static const char *const suffixes[] = {".dist-info", ".egg-info", ".egg", ".egg-link", ".pth"};
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++)
        if (ends_in(name, suffixes[i]))
            return true;
    return false;
}

/* Version control, caches, compiled files, and what editors leave. */
static bool is_ignored(const char *name)
{
    return name[0] == '.' || strcmp(name, "__pycache__") == 0 || strcmp(name, "node_modules") == 0 ||
           ends_in(name, ".pyc") || ends_in(name, "~");
}

static bool concerns(const struct hook *h, const char *name)
{
    if (!name)
        return true;
    switch (h->interest) {
    case INTEREST_NAME:
        return strcmp(name, h->name) == 0;
    case INTEREST_DISTRIBUTIONS:
        return is_distribution(name);
    case INTEREST_TREE:
        return !is_ignored(name);
    default:
        return false;
    }
}

/* ---- watching ---------------------------------------------------------------------------------------- */

static void watch_tree(struct pm_place *p, const char *folder, unsigned depth, uint64_t *stamp);

static void note_name(struct pm_place *p, const struct pm_notify_event *event)
{
    char name[PATH_MAX];
    size_t root = strlen(p->root);
    if (p->heard_of || !event->name)
        return;
    bool is_inside = strncmp(event->folder, p->root, root) == 0;
    int size = snprintf(name, sizeof name, "%s/%s", event->folder + (is_inside ? root : 0), event->name);
    if (size > 0 && (size_t)size < sizeof name)
        p->heard_of = strdup(name);
}

static void on_event(void *owner, const struct pm_notify_event *event)
{
    const struct hook *h = owner;
    struct pm_place *p = h->place;
    char below[PATH_MAX];
    if (!concerns(h, event->name))
        return;
    if (h->interest == INTEREST_DISTRIBUTIONS)
        p->has_stirred = true;
    if (h->interest == INTEREST_TREE) {
        note_name(p, event);
        int size = snprintf(below, sizeof below, "%s/%s", event->folder, event->name ? event->name : "");
        if (event->is_new_folder && size > 0 && (size_t)size < sizeof below)
            watch_tree(p, below, 0, NULL); /* to hear when it has settled as well */
    }
    p->stirred(p->context);
}

/* False when it cannot be watched. */
static bool add_hook(struct pm_place *p, const char *folder, enum interest interest, const char *name)
{
    size_t size = strlen(name) + 1;
    struct hook *h = malloc(sizeof *h + size);
    if (!h)
        return false;
    *h = (struct hook){.place = p, .interest = interest, .next = p->hooks};
    memcpy(h->name, name, size);
    h->watch = pm_notify_add(p->notify, folder, interest == INTEREST_ITSELF, on_event, h);
    if (!h->watch) {
        free(h);
        return false;
    }
    p->hooks = h;
    return true;
}

static void drop_hooks(struct hook **hooks)
{
    while (*hooks) {
        struct hook *h = *hooks;
        *hooks = h->next;
        pm_notify_drop(&h->watch);
        free(h);
    }
}

/* ---- trees ------------------------------------------------------------------------------------------- */

static void stamp_entry(const char *folder, const char *name, const struct stat *status, uint64_t *stamp)
{
    if (!stamp || (!S_ISREG(status->st_mode) && !S_ISLNK(status->st_mode)))
        return;
    uint64_t one = stamp_bytes(STAMP_START, folder, strlen(folder) + 1);
    one = stamp_bytes(one, name, strlen(name));
    *stamp += stamp_status(one, status); /* a sum, because entries come in any order */
}

/* Whether an entry is worth a stat(2): there are trees of millions of files, and nobody else is served
 * meanwhile. */
static bool is_looked_at(struct pm_place *p, const struct dirent *entry)
{
    if (is_ignored(entry->d_name))
        return false;
    if (entry->d_type == DT_DIR || ++p->files <= PM_PLACE_FILES_MAX)
        return true;
    p->is_cut = true;
    return false;
}

/* False at the end of the folder, or of what may be read. */
static bool read_entry(struct pm_place *p, DIR *entries, struct dirent **entry)
{
    if (!entries || !(*entry = readdir(entries)))
        return false;
    if (++p->entries <= ENTRIES_MAX)
        return true;
    p->is_cut = true;
    return false;
}

/* stamp: added to; NULL: only watch. */
static void watch_tree(struct pm_place *p, const char *folder, unsigned depth, uint64_t *stamp)
{
    if (p->folders >= PM_PLACE_FOLDERS_MAX || depth > DEPTH_MAX) {
        p->is_cut = true;
        return;
    }
    p->folders++;
    add_hook(p, folder, INTEREST_TREE, "");
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *entries = fd >= 0 ? fdopendir(fd) : NULL;
    for (struct dirent *entry; read_entry(p, entries, &entry);) {
        char path[PATH_MAX];
        struct stat status;
        int size = snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (!is_looked_at(p, entry) || size < 0 || (size_t)size >= sizeof path ||
            fstatat(fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if (S_ISDIR(status.st_mode))
            watch_tree(p, path, depth + 1, stamp);
        else
            stamp_entry(folder, entry->d_name, &status, stamp);
    }
    if (entries)
        closedir(entries);
    else if (fd >= 0)
        close(fd);
}

/* ---- paths ------------------------------------------------------------------------------------------- */

/* A walk from the root along what is left of the path. */
struct walk {
    char at[PATH_MAX]; /* a folder without links, "" for / */
    size_t fence;      /* at never gets shorter */
    char rest[2 * PATH_MAX];
    unsigned links;
    unsigned steps;
};

/* Takes the next component off the rest; false at its end, or when there were too many. */
static bool take_component(struct walk *w, char name[NAME_MAX + 1])
{
    char *from = w->rest + strspn(w->rest, "/");
    size_t length = strcspn(from, "/");
    if (length == 0 || length > NAME_MAX || ++w->steps > STEPS_MAX)
        return false;
    memcpy(name, from, length);
    name[length] = '\0';
    memmove(w->rest, from + length, strlen(from + length) + 1);
    return true;
}

static bool is_last(const struct walk *w)
{
    return w->rest[strspn(w->rest, "/")] == '\0';
}

static void go_up(struct walk *w)
{
    char *slash = strrchr(w->at, '/');
    if (slash && strlen(w->at) > w->fence)
        *slash = '\0';
}

static bool join(char path[PATH_MAX], const char *folder, const char *name)
{
    int size = snprintf(path, PATH_MAX, "%s/%s", folder, name);
    return size > 0 && size < PATH_MAX;
}

/* Puts the link's target in front of the rest. */
static bool follow(struct walk *w, const char *link)
{
    char target[PATH_MAX];
    char rest[2 * PATH_MAX];
    ssize_t size = readlink(link, target, sizeof target - 1);
    if (size <= 0 || ++w->links > LINKS_MAX)
        return false;
    target[size] = '\0';
    if (target[0] == '/')
        w->at[w->fence] = '\0';
    int wanted = snprintf(rest, sizeof rest, "%s/%s", target, w->rest);
    if (wanted < 0 || (size_t)wanted >= sizeof rest)
        return false;
    memcpy(w->rest, rest, (size_t)wanted + 1);
    return true;
}

static const char *folder_of(const struct walk *w)
{
    return w->at[0] ? w->at : "/";
}

/* One component further. False where the walk ends before a folder: *found tells whether at a file. */
static bool step(struct pm_place *p, struct walk *w, const char *name, struct stat *status, bool *found)
{
    char next[PATH_MAX];
    if (!join(next, w->at, name))
        return false;
    bool is_there = lstat(next, status) == 0;
    if (!is_there || !S_ISDIR(status->st_mode) || is_last(w)) {
        add_hook(p, folder_of(w), INTEREST_NAME, name);
        is_there = lstat(next, status) == 0; /* it may have come, or changed, before the watch */
    }
    if (!is_there)
        return false;
    if (S_ISLNK(status->st_mode))
        return follow(w, next);
    if (!S_ISDIR(status->st_mode)) {
        *found = is_last(w);
        return false;
    }
    add_hook(p, next, INTEREST_ITSELF, "");
    memcpy(w->at, next, strlen(next) + 1);
    return true;
}

/* Walks as far as there is something; true at the end of the path, with what lies there. w->at is the folder
 * when it is one. */
static bool walk(struct pm_place *p, struct walk *w, const char *path, struct stat *status)
{
    char name[NAME_MAX + 1];
    bool found = false;
    if ((size_t)snprintf(w->rest, sizeof w->rest, "%s", path) >= sizeof w->rest)
        return false;
    while (take_component(w, name)) {
        if (strcmp(name, ".") == 0)
            continue;
        if (strcmp(name, "..") == 0)
            go_up(w);
        else if (!step(p, w, name, status, &found))
            return found;
    }
    return is_last(w) && stat(folder_of(w), status) == 0;
}

static uint64_t look(struct pm_place *p)
{
    struct walk w = {.fence = 0};
    struct stat status;
    uint64_t stamp = STAMP_START;
    p->folders = p->files = p->entries = 0;
    p->is_cut = false;
    p->modified = (struct timespec){0};
    if (p->root[0]) {
        bool is_there = walk(p, &w, p->root, &status) && S_ISDIR(status.st_mode);
        if (!is_there)
            return stamp;
        w.fence = strlen(w.at);
    }
    if (!walk(p, &w, p->path, &status))
        return stamp;
    p->modified = status.st_mtim;
    if (S_ISDIR(status.st_mode) && p->kind == PM_PLACE_DISTRIBUTIONS) {
        add_hook(p, folder_of(&w), INTEREST_DISTRIBUTIONS, "");
        if (stat(folder_of(&w), &status) == 0) /* as it is since it is watched */
            p->modified = status.st_mtim;
        stamp = stamp_number(stamp, (uint64_t)p->modified.tv_sec);
        stamp = stamp_number(stamp, (uint64_t)p->modified.tv_nsec);
    }
    stamp = stamp_status(stamp, &status);
    if (S_ISDIR(status.st_mode) && p->kind == PM_PLACE_TREE)
        watch_tree(p, folder_of(&w), 0, &stamp);
    return stamp;
}

/* ---- places ------------------------------------------------------------------------------------------ */

bool pm_place_look(struct pm_place *p)
{
    struct hook *before = p->hooks;
    uint64_t last = p->stamp;
    bool has_stirred = p->has_stirred; /* a .pth file that is rewritten leaves the folder as it was */
    p->has_stirred = false;
    p->hooks = NULL;
    p->stamp = look(p);
    drop_hooks(&before); /* only now: a folder that both watch stays watched all the time */
    free(p->changed);
    p->changed = p->heard_of;
    p->heard_of = NULL;
    return p->stamp != last || has_stirred;
}

struct pm_place *pm_place_new(struct pm_notify *notify, enum pm_place_kind kind, const char *root,
                              const char *path, void (*stirred)(void *context), void *context)
{
    struct pm_place *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->notify = notify;
    p->kind = kind;
    p->stirred = stirred;
    p->context = context;
    p->root = strdup(root ? root : "");
    p->path = strdup(path);
    if (!p->root || !p->path) {
        pm_place_free(p);
        return NULL;
    }
    pm_place_look(p);
    return p;
}

void pm_place_free(struct pm_place *p)
{
    drop_hooks(&p->hooks);
    free(p->heard_of);
    free(p->changed);
    free(p->root);
    free(p->path);
    free(p);
}

const char *pm_place_name(const struct pm_place *p)
{
    return p->changed ? p->changed : p->path;
}

bool pm_place_is_cut(const struct pm_place *p)
{
    return p->is_cut;
}

bool pm_place_is_from(const struct pm_place *p, const char *time)
{
    char text[48];
    if (p->modified.tv_sec == 0 && p->modified.tv_nsec == 0)
        return strcmp(time, "0") == 0;
    snprintf(text, sizeof text, "%lld.%09ld", (long long)p->modified.tv_sec, p->modified.tv_nsec);
    return strcmp(time, text) == 0;
}
