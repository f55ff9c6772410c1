/* Owns the inotify descriptor and tells each watch of what concerns it.
 *
 * After each batch of events it stops listening for a moment and lets the next ones collect in the kernel's
 * queue: whatever is written, and however fast, wakes the supervisor a few times a second at most. A queue
 * that ran over means that anything may have happened, so everybody is told. Events of watches that are gone
 * are ignored; the kernel does not give their numbers away again. Runs on the supervisor's only thread. */
#include "pm/notify.h"

#include "base/fd.h"
#include "base/log.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define PAUSE_MS 200

/* A whole queue of the default length. Who makes events faster than they are read shall not keep us here. */
#define READS_PER_TURN 8

#define BUCKETS 512 /* some thousand watches; a power of two */

#define SELF_EVENTS (IN_DELETE_SELF | IN_MOVE_SELF)
/* Closing after writing, not each write; attributes, for touch(1) and chmod(1). */
#define CONTENT_EVENTS                                                                                       \
    (SELF_EVENTS | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_CLOSE_WRITE | IN_ATTRIB)

struct pm_notify_watch {
    struct pm_notify *notify;
    int number; /* of inotify; -1 once the kernel dropped it */
    bool only_itself;
    pm_notify_callback *callback;
    void *owner;
    struct pm_notify_watch *next; /* in its bucket */
    char folder[];
};

struct pm_notify {
    uv_loop_t *loop;
    int fd; /* -1 until somebody watches */
    bool has_warned;
    uv_poll_t poll;
    uv_timer_t pause;
    struct pm_notify_watch *buckets[BUCKETS];
};

static struct pm_notify_watch **bucket_of(struct pm_notify *n, int number)
{
    return &n->buckets[(unsigned)number & (BUCKETS - 1)];
}

struct pm_notify *pm_notify_new(uv_loop_t *loop)
{
    struct pm_notify *n = calloc(1, sizeof *n);
    if (n) {
        n->loop = loop;
        n->fd = -1;
    }
    return n;
}

void pm_notify_free(struct pm_notify *n)
{
    if (n)
        fd_close(&n->fd);
    free(n);
}

/* ---- events ---------------------------------------------------------------------------------------- */

static void tell_all(struct pm_notify *n)
{
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct pm_notify_watch *w = n->buckets[i]; w; w = w->next) {
            struct pm_notify_event event = {.folder = w->folder};
            w->callback(w->owner, &event);
        }
}

static void tell_watches(struct pm_notify *n, const struct inotify_event *raw)
{
    bool is_about_itself = raw->mask & (SELF_EVENTS | IN_IGNORED | IN_UNMOUNT);
    for (struct pm_notify_watch *w = *bucket_of(n, raw->wd); w; w = w->next) {
        if (w->number != raw->wd || (w->only_itself && !is_about_itself))
            continue;
        struct pm_notify_event event = {.folder = w->folder, .name = raw->len > 0 ? raw->name : NULL};
        event.is_new_folder = event.name && (raw->mask & IN_ISDIR) && (raw->mask & (IN_CREATE | IN_MOVED_TO));
        w->callback(w->owner, &event);
    }
}

static void forget_number(struct pm_notify *n, int number)
{
    struct pm_notify_watch **link = bucket_of(n, number);
    while (*link) {
        struct pm_notify_watch *w = *link;
        if (w->number != number) {
            link = &w->next;
            continue;
        }
        w->number = -1;
        *link = w->next;
        w->next = NULL;
    }
}

static void take_event(struct pm_notify *n, const struct inotify_event *raw)
{
    if (raw->mask & IN_Q_OVERFLOW) {
        tell_all(n);
        return;
    }
    tell_watches(n, raw);
    if (raw->mask & IN_IGNORED)
        forget_number(n, raw->wd);
}

/* What is queued, within bounds. False when there was nothing. */
static bool take_events(struct pm_notify *n)
{
    static char bytes[65536] __attribute__((aligned(__alignof__(struct inotify_event))));
    bool any = false;
    ssize_t size;
    for (int i = 0; i < READS_PER_TURN && (size = read(n->fd, bytes, sizeof bytes)) > 0; i++) {
        any = true;
        for (char *at = bytes; at < bytes + size;) {
            const struct inotify_event *raw = (const struct inotify_event *)(const void *)at;
            take_event(n, raw);
            at += sizeof *raw + raw->len;
        }
        if ((size_t)size < sizeof bytes - sizeof(struct inotify_event) - NAME_MAX - 1)
            break;
    }
    return any;
}

static void on_readable(uv_poll_t *poll, int status, int events);

static void on_pause_over(uv_timer_t *timer)
{
    struct pm_notify *n = timer->data;
    if (take_events(n))
        uv_timer_start(&n->pause, on_pause_over, PAUSE_MS, 0);
    else
        uv_poll_start(&n->poll, UV_READABLE, on_readable);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    struct pm_notify *n = poll->data;
    take_events(n);
    uv_poll_stop(&n->poll);
    uv_timer_start(&n->pause, on_pause_over, PAUSE_MS, 0);
}

/* ---- watches --------------------------------------------------------------------------------------- */

static void warn_once(struct pm_notify *n, const char *what, const char *limit)
{
    int failure = errno;
    if (n->has_warned)
        return;
    n->has_warned = true;
    log_write(LOG_LEVEL_WARNING, NULL,
              "%s: %s (raise %s); changes of environments and files that are not watched go unnoticed", what,
              strerror(failure), limit);
}

static bool open_inotify(struct pm_notify *n)
{
    if (n->fd >= 0)
        return true;
    n->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (n->fd < 0) {
        warn_once(n, "cannot watch any folder", "fs.inotify.max_user_instances");
        return false;
    }
    if (uv_poll_init(n->loop, &n->poll, n->fd) < 0) {
        fd_close(&n->fd);
        return false;
    }
    n->poll.data = n;
    uv_timer_init(n->loop, &n->pause);
    n->pause.data = n;
    uv_poll_start(&n->poll, UV_READABLE, on_readable);
    return true;
}

struct pm_notify_watch *pm_notify_add(struct pm_notify *n, const char *folder, bool only_itself,
                                      pm_notify_callback *callback, void *owner)
{
    if (!open_inotify(n))
        return NULL;
    /* MASK_ADD: somebody else may want more of the same folder. */
    uint32_t mask = (only_itself ? SELF_EVENTS : CONTENT_EVENTS) | IN_ONLYDIR | IN_DONT_FOLLOW | IN_MASK_ADD;
    int number = inotify_add_watch(n->fd, folder, mask);
    if (number < 0) {
        if (errno == ENOSPC || errno == ENOMEM)
            warn_once(n, "cannot watch more folders", "fs.inotify.max_user_watches");
        return NULL;
    }
    size_t size = strlen(folder) + 1;
    struct pm_notify_watch *w = malloc(sizeof *w + size);
    if (!w)
        return NULL; /* the kernel's stays, and its events find nobody */
    struct pm_notify_watch **bucket = bucket_of(n, number);
    *w = (struct pm_notify_watch){.notify = n,
                                  .number = number,
                                  .only_itself = only_itself,
                                  .callback = callback,
                                  .owner = owner,
                                  .next = *bucket};
    memcpy(w->folder, folder, size);
    *bucket = w;
    return w;
}

static bool is_watched(struct pm_notify *n, int number)
{
    for (const struct pm_notify_watch *w = *bucket_of(n, number); w; w = w->next)
        if (w->number == number)
            return true;
    return false;
}

void pm_notify_drop(struct pm_notify_watch **watch)
{
    struct pm_notify_watch *w = *watch;
    *watch = NULL;
    if (!w)
        return;
    if (w->number >= 0) {
        struct pm_notify_watch **link = bucket_of(w->notify, w->number);
        while (*link != w)
            link = &(*link)->next;
        *link = w->next;
        if (!is_watched(w->notify, w->number))
            inotify_rm_watch(w->notify->fd, w->number); /* fails when the folder went first */
    }
    free(w);
}
