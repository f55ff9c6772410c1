/* Hears of changes in folders: one inotify(7) instance, shared by everybody who watches.
 *
 * Not libuv's own file events: those report every write to every file in a folder, so an application that
 * logs beside its script would keep the supervisor busy, and they say nothing of an overflow. */
#ifndef PM_NOTIFY_H
#define PM_NOTIFY_H

#include <stdbool.h>
#include <uv.h>

struct err;
struct pm_notify;
struct pm_notify_watch;

/* What happened in a folder. Only a hint: it may have happened long ago, or be undone since. */
struct pm_notify_event {
    const char *folder; /* as it was given to pm_notify_add() */
    const char *name;   /* of the entry; NULL: the folder itself, or anything in it */
    bool is_new_folder; /* the entry is a folder that came here */
};

/* Records; may call pm_notify_add(), nothing else of this file. */
typedef void pm_notify_callback(void *owner, const struct pm_notify_event *event);

/* Costs nothing until somebody watches. NULL without memory. */
struct pm_notify *pm_notify_new(uv_loop_t *loop);

/* After every watch was dropped and the loop has closed its handles. NULL is fine. */
void pm_notify_free(struct pm_notify *n);

/* Watches a folder, which is not followed if it is a link: entries that come, go or are closed after writing
 * and the folder's own end; with only_itself just the latter. NULL when there is no such folder, or no more
 * can be watched; the latter is warned about once. Several watches of one folder cost the kernel one. */
struct pm_notify_watch *pm_notify_add(struct pm_notify *n, const char *folder, bool only_itself,
                                      pm_notify_callback *callback, void *owner);

/* *watch becomes NULL; NULL is fine. Not from a callback. */
void pm_notify_drop(struct pm_notify_watch **watch);

#endif
