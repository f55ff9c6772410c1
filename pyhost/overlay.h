/* The overlay: the python-path of a group and its applications laid over the baseline environment. */
#ifndef PYHOST_OVERLAY_H
#define PYHOST_OVERLAY_H

struct cfg_group;
struct err;

typedef struct _object PyObject;

/* Adds every python-path entry through the current interpreter's own site.addsitedir() and brings them to the
 * front of its sys.path: those of the applications that name this interpreter, in order, then the group's. 0,
 * or -1 with *e, which names every entry that is no good. With the GIL. */
int host_overlay_apply(const struct cfg_group *group, const char *interpreter, struct err *e);

/* The rule of it, on lists of sys.path items: before and after the folders in listed were added. First what
 * is new in after, in its order; a listed folder that was there before comes along, in front of the next
 * listed one; then the rest of after, in its order. Nothing is lost and nothing comes twice. New reference,
 * or NULL with an exception. With the GIL. */
PyObject *host_overlay_order(PyObject *before, PyObject *after, PyObject *listed);

#endif
