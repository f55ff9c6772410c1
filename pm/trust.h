/* Whether somebody else can change a file. */
#ifndef PM_TRUST_H
#define PM_TRUST_H

struct err;

/* 0 when the file, once links are resolved, and every folder above it belong to root or to us and are not
 * writable for everybody (but for folders with the sticky bit). -1 with *e, which names the first that is not
 * so, or cannot be looked at. */
int pm_trust_check(const char *path, struct err *e);

#endif
