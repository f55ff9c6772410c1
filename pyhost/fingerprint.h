/* The fingerprint of a group's environment: what the supervisor compares to notice that it has changed. */
#ifndef PYHOST_FINGERPRINT_H
#define PYHOST_FINGERPRINT_H

#include <stdbool.h>
#include <time.h>

struct err;
struct host;

/* The Python that this program embeds; host_python_identify() fills it. */
struct host_base {
    const char *version_xy; /* "3.11", "3.13t": as folders are named */
    char version[64];       /* of the libpython that is loaded: "3.11.2" */
    const char *library;    /* its file */
    struct timespec library_mtime;
    long long library_size;
    char prefix[4096]; /* the installation that the host was built for; "" when unknown */
};

/* Sends the fingerprint of h->group's environment in WIRE_FINGERPRINT messages, as the user that this process
 * is. looks_for_writers: marks it hot when a file was written within the last second anywhere below the
 * folders that hold distributions. Lines, sorted, each once, fields apart by one blank, the path last;
 * blanks, backslashes and control characters in other fields, and the last two in paths, are \xNN:
 *
 *     python VERSION MTIME:SIZE LIBRARY       the Python that runs
 *     folder MTIME PATH                       a folder of distributions that was looked at
 *     dist NAME VERSION MTIME FOLDER          one *.dist-info, *.egg-info, *.egg or *.egg-link in it
 *     file HASH PATH                          pyvenv.cfg, and each .pth
 *     missing PATH                            an item of python-home or python-path that is not there
 *     cut COUNT                               so many lines did not fit
 *
 * 0, or -1 with *e (no memory, or the supervisor is gone). */
int host_fingerprint_send(struct host *h, const struct host_base *base, bool looks_for_writers,
                          struct err *e);

#endif
