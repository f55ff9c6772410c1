/* The __main__ of an embedded interpreter, for the processes that multiprocessing starts. */
#ifndef PYHOST_MAIN_MODULE_H
#define PYHOST_MAIN_MODULE_H

struct cfg_group;
struct err;

/* Notes where this program is. Before a chroot, in which /proc may not exist. */
void host_main_module_locate(void);

/* Gives the current interpreter's __main__ the file that children of multiprocessing run (child_main.py,
 * beside this program), provided that the group's user can read it: otherwise children run without, and know
 * nothing of the script. When the interpreter of that name is to have one script, sys.argv becomes its path,
 * by which children find it. 0, or -1 with *e. With the GIL; for each interpreter, before its applications.
 */
int host_main_module_prepare(const struct cfg_group *group, const char *interpreter, struct err *e);

#endif
