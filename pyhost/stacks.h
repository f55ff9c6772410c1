/* Python stacks of single threads, taken without the GIL, without ptrace, and without stopping anybody. */
#ifndef PYHOST_STACKS_H
#define PYHOST_STACKS_H

#include <stddef.h>
#include <sys/types.h>

struct err;

#define HOST_STACK_TEXT_MAX 12000

/* Once in a worker, before threads: registers faulthandler (docs.python.org/3/library/faulthandler.html) for
 * a real-time signal. With the GIL. 0, or -1 with *e. */
int host_stacks_prepare(struct err *e);

/* Writes the stack of a thread of this process, most recent call first, one frame a line and indented, into
 * text (NUL-terminated, at least HOST_STACK_TEXT_MAX + 1 bytes). One caller at a time; not with the GIL.
 * Waits half a second at most. 0, or -1 when the thread is gone or did not answer (stopped, or in a system
 * call that cannot be interrupted); text then says so. */
int host_stacks_dump(pid_t thread, char *text);

#endif
