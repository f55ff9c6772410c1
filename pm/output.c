/* Reads the log pipes.
 *
 * A pipe belongs to one process and is made here, so the mark of a line says who wrote it, whatever the
 * line says. A line longer than the buffer is logged in pieces. Runs on the supervisor's only thread. */
#include "pm/output.h"

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUFFER_SIZE    4096
#define READS_PER_TURN 16

struct pm_output {
    uv_poll_t watch;
    int fd;
    bool owned;   /* somebody still holds a pointer to it */
    bool at_end;  /* end of file was seen, or it is being closed */
    bool closing; /* uv_close() was called */
    char *group;
    pid_t pid;
    size_t used;
    char buffer[BUFFER_SIZE];
    struct pm_output *next;
    struct pm_output *previous;
};

static struct pm_output *outputs; /* all that are open, for pm_output_close_all() */

static void log_line(const struct pm_output *o, const char *line, size_t size)
{
    struct log_subject subject = {o->group, o->pid};
    log_write_text(LOG_LEVEL_NOTICE, &subject, "output", line, size);
}

static void log_whole_lines(struct pm_output *o)
{
    size_t start = 0;
    char *newline;
    while ((newline = memchr(o->buffer + start, '\n', o->used - start)) != NULL) {
        size_t end = (size_t)(newline - o->buffer);
        log_line(o, o->buffer + start, end - start);
        start = end + 1;
    }
    if (start == 0 && o->used == BUFFER_SIZE) {
        log_line(o, o->buffer, o->used);
        start = o->used;
    }
    memmove(o->buffer, o->buffer + start, o->used - start);
    o->used -= start;
}

static void free_when_closed(uv_handle_t *watch)
{
    struct pm_output *o = watch->data;
    fd_close(&o->fd);
    free(o->group);
    free(o);
}

static void close_unless_needed(struct pm_output *o)
{
    if (!o->at_end || o->owned || o->closing)
        return;
    o->closing = true;
    if (o->previous)
        o->previous->next = o->next;
    else
        outputs = o->next;
    if (o->next)
        o->next->previous = o->previous;
    uv_close((uv_handle_t *)&o->watch, free_when_closed);
}

static void read_pipe(struct pm_output *o, int most)
{
    while (most-- > 0 && !o->at_end) {
        ssize_t size = read(o->fd, o->buffer + o->used, BUFFER_SIZE - o->used);
        if (size < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (size <= 0) {
            if (o->used > 0)
                log_line(o, o->buffer, o->used);
            o->used = 0;
            o->at_end = true;
            uv_poll_stop(&o->watch);
            return;
        }
        o->used += (size_t)size;
        log_whole_lines(o);
    }
}

static void on_readable(uv_poll_t *watch, int status, int events)
{
    (void)events;
    struct pm_output *o = watch->data;
    if (status < 0)
        o->at_end = true;
    else
        read_pipe(o, READS_PER_TURN);
    close_unless_needed(o);
}

struct pm_output *pm_output_new(uv_loop_t *loop, const char *group, int *write_end, struct err *e)
{
    int ends[2] = {-1, -1};
    struct pm_output *o = calloc(1, sizeof *o);
    if (!o || !(o->group = strdup(group)) || pipe2(ends, O_CLOEXEC) < 0) {
        err_errno(e, "cannot make a log pipe");
        goto fail;
    }
    int failure = uv_poll_init(loop, &o->watch, ends[0]); /* makes this end non-blocking */
    if (failure < 0) {
        err_set(e, "cannot watch a log pipe: %s", uv_strerror(failure));
        goto fail;
    }
    o->fd = ends[0];
    o->owned = true;
    o->watch.data = o;
    o->next = outputs;
    if (outputs)
        outputs->previous = o;
    outputs = o;
    uv_poll_start(&o->watch, UV_READABLE, on_readable);
    *write_end = ends[1];
    return o;
fail:
    fd_close(&ends[0]);
    fd_close(&ends[1]);
    if (o)
        free(o->group);
    free(o);
    return NULL;
}

void pm_output_set_pid(struct pm_output *o, pid_t pid)
{
    o->pid = pid;
}

void pm_output_release(struct pm_output **o)
{
    struct pm_output *released = *o;
    *o = NULL;
    if (!released)
        return;
    released->owned = false;
    close_unless_needed(released);
}

void pm_output_flush(struct pm_output *o)
{
    if (o && !o->closing)
        read_pipe(o, READS_PER_TURN);
}

void pm_output_close_all(void)
{
    while (outputs) {
        struct pm_output *o = outputs;
        read_pipe(o, READS_PER_TURN);
        o->at_end = true;
        o->owned = false;
        close_unless_needed(o);
    }
}
