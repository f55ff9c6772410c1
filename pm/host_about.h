/* What an installed host says of itself. */
#ifndef PM_HOST_ABOUT_H
#define PM_HOST_ABOUT_H

#include <limits.h>

struct err;

struct pm_host_about {
    char version[16];           /* "3.13", "3.13t" */
    char release[32];           /* "3.13.0", of the library that it loads now */
    char flags[8];              /* the ABI's letters, or "-" */
    char stamp[64];             /* base/stamp.h */
    char interpreter[PATH_MAX]; /* that it was built for */
    char library[PATH_MAX];     /* libpython */
};

/* Runs PROGRAM --describe. 0, or -1 with *e: it does not run, or (with *about filled) it was built from other
 * sources than we were. For commands only (pm/tool.h). */
int pm_host_ask(const char *program, struct pm_host_about *about, struct err *e);

#endif
