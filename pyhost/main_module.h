/* The __main__ of an embedded interpreter, for the processes that multiprocessing starts. */
#ifndef PYHOST_MAIN_MODULE_H
#define PYHOST_MAIN_MODULE_H

struct err;

/* Notes where this program is. Before a chroot, in which /proc may not exist. */
void host_main_module_locate(void);

/* Gives the current interpreter's __main__ the file that children of multiprocessing run (child_main.py,
 * beside this program), provided that the group's user can read it: otherwise children run without, and know
 * nothing of the script. sys.argv becomes the script's path, by which children find it; script may be NULL,
 * as when there are several. 0, or -1 with *e. With the GIL; for each interpreter, before its application. */
int host_main_module_prepare(const char *script, struct err *e);

#endif
