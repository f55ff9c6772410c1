/* Python code does not fork in a process with several interpreters. */
#ifndef PYHOST_FORKS_H
#define PYHOST_FORKS_H

struct err;

/* From here on os.fork(), os.forkpty() and subprocess with preexec_fn raise a RuntimeError that says what to
 * do instead, in every interpreter, for good. Other ways of starting a program are not touched. 0, or -1 with
 * *e. Once, with the GIL. */
int host_forks_refuse(struct err *e);

#endif
