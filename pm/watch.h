/* Keeps an eye on what one group runs from: its environment, and what reload-on-change names.
 *
 * Says when the environment is no longer the one that the serving generation started from, and asks for a
 * reload when the group wants one. Decides nothing about generations; group.c does. */
#ifndef PM_WATCH_H
#define PM_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct cfg_group;
struct err;
struct pm_fingerprint;
struct pm_notify;
struct pm_watch;

/* What the group knows when it settles. */
struct pm_watch_situation {
    const struct cfg_group *cfg;          /* what would be started */
    const struct pm_fingerprint *serving; /* of the current generation; NULL: none serves */
    unsigned generation;                  /* its number; 0: none */
    const struct pm_fingerprint *newest;  /* of the generation that was started last; NULL: none is left */
    unsigned newest_generation;
    bool is_busy; /* a start or reload is under way: nothing is looked at before its end */
};

/* Watches nothing yet. group: its name, the owner's. wake(context) is called when pm_watch_settle() has
 * something to do; it only records. NULL with *e. */
struct pm_watch *pm_watch_new(uv_loop_t *loop, struct pm_notify *notify, const char *group,
                              void (*wake)(void *context), void *context, struct err *e);

/* Forgets everything at once and wakes nobody any more. NULL is fine. */
void pm_watch_free(struct pm_watch *w);

/* Watches what this configuration names from now on. What was watched before keeps its state. */
void pm_watch_configure(struct pm_watch *w, const struct cfg_group *cfg);

/* A generation of this configuration is about to start: the files that reload-on-change names are taken for
 * known as they are now, and what changes from here on counts as new. */
void pm_watch_begin(struct pm_watch *w, const struct cfg_group *cfg);

/* Looks at what has settled and acts on it. Returns why the group should be reloaded ("/srv/app.wsgi
 * changed"), valid until the next call, or NULL. */
const char *pm_watch_settle(struct pm_watch *w, const struct pm_watch_situation *s);

/* How the environment differs from what the serving generation started from: sentences, none when it does
 * not. Theirs until the next call of any function here. */
const char *const *pm_watch_stale(const struct pm_watch *w, size_t *count);

#endif
