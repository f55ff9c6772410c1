/* sys.stdout and sys.stderr of the current interpreter. With the GIL. */
#ifndef PYHOST_STREAMS_H
#define PYHOST_STREAMS_H

struct err;

/* Output goes to pipes; without this a print() would wait for 8 KiB more of it. 0, or -1 with *e. */
int host_streams_buffer_lines(struct err *e);

/* Writes out what is buffered there and in C's own streams; errors are dropped. */
void host_streams_flush(void);

#endif
