/* One path that is watched: a file, a folder of distributions, or whatever the user named.
 *
 * The path may be missing, lead through links, or be swapped as a whole; everything on the way to it is
 * watched that could make it lead elsewhere. */
#ifndef PM_PLACE_H
#define PM_PLACE_H

#include <stdbool.h>

struct pm_notify;
struct pm_place;

enum pm_place_kind {
    PM_PLACE_FILE,          /* what the path leads to; if that is a folder, only which one */
    PM_PLACE_DISTRIBUTIONS, /* a folder: its *.dist-info and the like, and its .pth files */
    PM_PLACE_TREE           /* a file, or a folder with everything below it */
};

/* Begins to watch. root: where the path starts (a chroot), or NULL; links cannot lead out of it.
 * stirred(context) is called when something may have changed; it only records. NULL without memory. */
struct pm_place *pm_place_new(struct pm_notify *notify, enum pm_place_kind kind, const char *root,
                              const char *path, void (*stirred)(void *context), void *context);

void pm_place_free(struct pm_place *p);

/* Looks: true when it is another, or otherwise, than at the last look (or the beginning). Watches what is
 * there now. Blocks as long as the file system does. */
bool pm_place_look(struct pm_place *p);

/* The path as given; of a tree, what in it was heard of first since the last look but one. */
const char *pm_place_name(const struct pm_place *p);

/* True when a tree is so large that not all of it is watched. */
bool pm_place_is_cut(const struct pm_place *p);

/* True when it was last modified at that time, "SECONDS.NANOSECONDS"; "0" when it is not there. */
bool pm_place_is_from(const struct pm_place *p, const char *time);

#define PM_PLACE_FOLDERS_MAX 2000
#define PM_PLACE_FILES_MAX   20000

#endif
