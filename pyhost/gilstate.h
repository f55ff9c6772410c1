/* Which of a thread's states PyGILState_Ensure() takes. */
#ifndef PYHOST_GILSTATE_H
#define PYHOST_GILSTATE_H

typedef struct _ts PyThreadState;

/* Learns how to tell CPython; without effect from 3.12 on, and when it cannot be found out. After the last
 * fork, before other threads have states; on the main thread, with the GIL. */
void host_gilstate_init(void);

/* From now on PyGILState_Ensure() on the calling thread means this state of it. With or without the GIL. */
void host_gilstate_bind(PyThreadState *state);

#endif
