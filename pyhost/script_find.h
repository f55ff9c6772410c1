/* Which file a request's SCRIPT_FILENAME names, taken no further than the folders of script-root. */
#ifndef PYHOST_SCRIPT_FIND_H
#define PYHOST_SCRIPT_FIND_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cfg_list;
struct err;
struct host_finder;
struct stat;

/* What tells one state of a file from another. */
struct host_script_id {
    uint64_t device, inode;
    int64_t size, mtime_s, mtime_ns;
};

struct host_script_found {
    char path[PATH_MAX];      /* with links resolved */
    struct host_script_id id; /* of the file a moment ago */
    size_t name_size;         /* how much of SCRIPT_FILENAME names the file; what follows is a path inside */
    bool has_moved;           /* the same name led to another path before */
    char why[1024];           /* when there is none */
};

/* roots stay the caller's, and are looked at anew whenever a name is. NULL with *e. */
struct host_finder *host_finder_new(const struct cfg_list *roots, struct err *e);
void host_finder_free(struct host_finder *f);

/* The script of a request; filename may be NULL. Any thread, without the GIL: it asks the file system. False
 * with found->why. */
bool host_finder_find(struct host_finder *f, const char *filename, struct host_script_found *found);

/* Opens a path that was found: only a regular file, and never waits for one. Returns the descriptor
 * (close-on-exec) and its *id, or -1 with *e. */
int host_script_open(const char *path, struct host_script_id *id, struct err *e);

/* The bytes of such a file (malloc'd) and their number, or NULL with *e. Not with the GIL. */
char *host_script_read(int fd, size_t *size, struct err *e);

bool host_script_id_is_equal(const struct host_script_id *a, const struct host_script_id *b);

/* True for names that end in .wsgi or .py. */
bool host_script_has_ending(const char *name);

/* Whether a root is a folder that this process can enter. 0, or -1 with *e. */
int host_script_root_check(const char *root, struct err *e);

#endif
