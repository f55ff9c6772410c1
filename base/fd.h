/* File descriptors handed over visibly: whoever takes one writes -1 into the giver's variable. */
#ifndef BASE_FD_H
#define BASE_FD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

/* Closes *fd unless it is -1, and sets it to -1. Keeps errno. */
void fd_close(int *fd);

/* Returns the descriptor and leaves -1 behind: the visible end of an ownership. */
static inline int fd_take(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

/* Both return 0, or -1 with errno. */
int fd_set_cloexec(int fd, bool on);
int fd_set_nonblocking(int fd, bool on);

/* Writes all bytes to a blocking descriptor, resuming after signals. 0, or -1 with errno. */
int fd_write_all(int fd, const void *bytes, size_t size);

/* An anonymous file (memfd_create(2)) named after what it holds, close-on-exec, sealable.
 * Returns the descriptor, or -1 with errno. */
int fd_memory(const char *name);

/* Opens a pidfd (pidfd_open(2), Linux 5.3) for a process; -1 with errno. */
int fd_of_process(int pid);

/* Signals the process behind a pidfd (pidfd_send_signal(2)). 0, or -1 with errno. */
int fd_signal_process(int pidfd, int signal_number);

#endif
