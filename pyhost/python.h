/* The interpreter: checked against the environment, then started. */
#ifndef PYHOST_PYTHON_H
#define PYHOST_PYTHON_H

struct cfg_group;
struct err;
struct host_base;

/* Refuses environments of another Python, then starts the interpreter on the group's baseline. On return the
 * calling thread holds the GIL. 0, or -1 with *e: a sentence that says what is wrong with which folder. */
int host_python_start(const struct cfg_group *group, struct err *e);

/* The path of the libpython that this program embeds, or "-". Before or after the start. */
const char *host_python_library(void);

/* Says which Python this program runs, without starting it. Before host_identity_assume(): behind a chroot
 * the library's file cannot be seen. */
void host_python_identify(struct host_base *base);

/* Prints what this program embeds, on one line with tabs between: X.Y, X.Y.Z of the library that is loaded,
 * the ABI's letters or "-", the stamp (base/stamp.h), the interpreter that it was built for, the library. For
 * `pyfpm pythons` (pm/host_about.h). */
int host_python_describe(void);

#endif
