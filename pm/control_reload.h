/* A reload that somebody waits for. */
#ifndef PM_CONTROL_RELOAD_H
#define PM_CONTROL_RELOAD_H

struct cfg_list;
struct err;
struct pm;
struct pm_job;

/* Begins a reload (pm_reload()) of the named groups, or of everything. Its job tells what the file's errors
 * are, how each group comes along, and how each of them ended. NULL with *e: nobody can follow it, for want
 * of memory. */
struct pm_job *pm_control_reload(struct pm *pm, const struct cfg_list *names, struct err *e);

#endif
