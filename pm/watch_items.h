/* The places that one group has to watch: from its configuration, and from its environment's fingerprint. */
#ifndef PM_WATCH_ITEMS_H
#define PM_WATCH_ITEMS_H

#include <stdbool.h>
#include <stddef.h>

struct cfg_group;
struct pm_notify;
struct watch_item;

enum watch_role {
    WATCH_ENVIRONMENT, /* a change means: ask a host what the environment is now */
    WATCH_FILES        /* the script and paths of reload-on-change: a change means: reload */
};

/* Members are read by watch.c, changed here. */
struct pm_watch_items {
    struct pm_notify *notify;
    void (*stirred)(void *context);
    void *context;
    struct watch_item *list;
    char *chroot;           /* the group's; NULL: none */
    bool wants_environment; /* reload-on-change has the word */
};

/* stirred(context): something may have changed; it only records. */
void watch_items_init(struct pm_watch_items *items, struct pm_notify *notify, void (*stirred)(void *context),
                      void *context);
void watch_items_free(struct pm_watch_items *items);

/* Takes what a configuration says; a place that it had before is kept as it is. false without memory. */
bool watch_items_configure(struct pm_watch_items *items, const struct cfg_group *cfg);

/* The same with what a fingerprint says (pyhost/fingerprint.h): folders of distributions, pyvenv.cfg files,
 * the library. Comes from a host, so only sane absolute paths are taken, and not many. false when one of the
 * folders is not as the fingerprint saw it any more. */
bool watch_items_learn(struct pm_watch_items *items, const char *fingerprint);

/* Looks at all places of a role. NULL: none has changed; else "/srv/app.wsgi changed", the caller's. */
char *watch_items_look(struct pm_watch_items *items, enum watch_role role);

#endif
