/* What importing an application left behind that does not survive fork(2). */
#ifndef PYHOST_LEFTOVER_H
#define PYHOST_LEFTOVER_H

#include <stdbool.h>

#define LEFTOVER_FDS_MAX     65536
#define LEFTOVER_THREADS_MAX 64
#define LEFTOVER_TEXT_MAX    2048

/* The process before the import, so that only the import is blamed. */
struct leftover_before {
    unsigned char fds[LEFTOVER_FDS_MAX / 8]; /* one bit each: open before */
    int threads[LEFTOVER_THREADS_MAX];       /* their kernel ids */
    unsigned thread_count;
};

/* Notes what is there now. */
void host_leftover_note(struct leftover_before *before);

/* Looks again: true when there are threads, connected sockets or event queues that were not there before,
 * named in text for a person; true as well when /proc is not there to be looked at. Waits a moment for
 * threads that are just ending. With the GIL. */
bool host_leftover_find(const struct leftover_before *before, char text[LEFTOVER_TEXT_MAX]);

#endif
