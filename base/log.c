/* Writes log lines to a file, stderr or syslog, or hands them to a sink.
 *
 * A line is put together in one buffer and leaves in one write(2) with O_APPEND, so lines of several
 * processes never mix. What cannot be written is counted, never waited for: a full disk must not stop
 * the supervisor. Runs on the supervisor's only thread; in a host, on any thread (only the sink then). */
#include "base/log.h"

#include "base/err.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define LOG_LINE_MAX 8192

static const struct {
    const char *name;
    int syslog_priority;
} levels[LOG_LEVEL_COUNT] = {
    [LOG_LEVEL_ALERT] = {"alert", LOG_ALERT},       [LOG_LEVEL_ERROR] = {"error", LOG_ERR},
    [LOG_LEVEL_WARNING] = {"warning", LOG_WARNING}, [LOG_LEVEL_NOTICE] = {"notice", LOG_NOTICE},
    [LOG_LEVEL_DEBUG] = {"debug", LOG_DEBUG},
};

static struct {
    int fd;         /* where lines go; 2 before log_open() */
    char *path;     /* of the file, NULL for stderr and syslog */
    bool to_syslog; /* then fd is unused */
    enum log_level level;
    log_sink *sink; /* set: the rest is unused */
    void *sink_context;
    atomic_ulong lost;
} the_log = {.fd = STDERR_FILENO, .level = LOG_LEVEL_NOTICE};

const char *log_level_name(enum log_level level)
{
    return (unsigned)level < LOG_LEVEL_COUNT ? levels[level].name : NULL;
}

int log_level_parse(const char *name)
{
    for (int level = 0; level < LOG_LEVEL_COUNT; level++)
        if (strcmp(name, levels[level].name) == 0)
            return level;
    return -1;
}

static int open_file(const char *path, struct err *e)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
    if (fd < 0)
        err_errno(e, "cannot open the log file %s", path);
    return fd;
}

static void replace_target(int fd, char *path, bool to_syslog)
{
    if (the_log.path)
        close(the_log.fd);
    if (the_log.to_syslog && !to_syslog)
        closelog();
    free(the_log.path);
    the_log.fd = fd;
    the_log.path = path;
    the_log.to_syslog = to_syslog;
}

int log_open(const char *target, enum log_level level, struct err *e)
{
    if (strcmp(target, "stderr") == 0) {
        replace_target(STDERR_FILENO, NULL, false);
    } else if (strcmp(target, "syslog") == 0) {
        openlog("pyfpm", LOG_PID | LOG_NDELAY, LOG_DAEMON);
        replace_target(-1, NULL, true);
    } else {
        char *path = strdup(target);
        if (!path)
            return err_errno(e, "log");
        int fd = open_file(path, e);
        if (fd < 0) {
            free(path);
            return -1;
        }
        replace_target(fd, path, false);
    }
    the_log.level = level;
    return 0;
}

int log_reopen(struct err *e)
{
    if (!the_log.path)
        return 0;
    int fd = open_file(the_log.path, e);
    if (fd < 0)
        return -1;
    close(the_log.fd);
    the_log.fd = fd;
    return 0;
}

void log_set_sink(log_sink *sink, void *context)
{
    the_log.sink = sink;
    the_log.sink_context = context;
    the_log.level = LOG_LEVEL_DEBUG; /* the receiver filters */
}

bool log_enabled(enum log_level level)
{
    return level <= the_log.level;
}

/* Appends at most what fits, escaping what could break the line or the terminal. Returns the new length. */
static size_t append_escaped(char *line, size_t used, const char *text, size_t text_size)
{
    for (size_t i = 0; i < text_size && used + 5 < LOG_LINE_MAX; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '\t' || (c >= 0x20 && c != 0x7f))
            line[used++] = (char)c;
        else
            used += (size_t)snprintf(line + used, LOG_LINE_MAX - used, "\\x%02x", c);
    }
    return used;
}

static size_t append_mark(char *line, size_t used, const struct log_subject *subject, const char *source)
{
    if (!subject || (!subject->group && subject->pid == 0))
        return used;
    line[used++] = '[';
    if (subject->group)
        used += (size_t)snprintf(line + used, 256, "group %.200s", subject->group);
    if (subject->pid != 0)
        used += (size_t)snprintf(line + used, 64, "%spid %d", subject->group ? " " : "", subject->pid);
    if (source)
        used += (size_t)snprintf(line + used, 64, " %.32s", source);
    line[used++] = ']';
    line[used++] = ' ';
    return used;
}

static size_t append_time(char *line)
{
    struct timespec now;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    size_t used = strftime(line, 32, "%Y-%m-%dT%H:%M:%S", &parts);
    return used + (size_t)snprintf(line + used, 16, ".%03ldZ ", now.tv_nsec / 1000000);
}

static void write_line(enum log_level level, const struct log_subject *subject, const char *source,
                       const char *text, size_t text_size)
{
    char line[LOG_LINE_MAX + 1];
    size_t used = 0;
    if (!the_log.to_syslog) {
        used = append_time(line);
        used += (size_t)snprintf(line + used, 16, "%s: ", levels[level].name);
    }
    used = append_mark(line, used, subject, source);
    used = append_escaped(line, used, text, text_size);
    if (the_log.to_syslog) {
        line[used] = '\0';
        syslog(levels[level].syslog_priority, "%s", line);
        return;
    }
    line[used++] = '\n';
    ssize_t written;
    do
        written = write(the_log.fd, line, used);
    while (written < 0 && errno == EINTR);
    if (written != (ssize_t)used)
        atomic_fetch_add(&the_log.lost, 1);
}

void log_write_text(enum log_level level, const struct log_subject *subject, const char *source,
                    const char *text, size_t text_size)
{
    if (!log_enabled(level))
        return;
    if (the_log.sink) {
        the_log.sink(the_log.sink_context, level, text, text_size);
        return;
    }
    int saved = errno;
    while (text_size > 0 && text[text_size - 1] == '\n')
        text_size--;
    const char *end = text + text_size;
    do {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *line_end = newline ? newline : end;
        write_line(level, subject, source, text, (size_t)(line_end - text));
        text = newline ? newline + 1 : end;
    } while (text < end);
    errno = saved;
}

void log_write(enum log_level level, const struct log_subject *subject, const char *format, ...)
{
    if (!log_enabled(level))
        return;
    char text[ERR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    int size = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (size < 0)
        return;
    size_t text_size = (size_t)size < sizeof text ? (size_t)size : sizeof text - 1;
    log_write_text(level, subject, NULL, text, text_size);
}

unsigned long log_lost(void)
{
    return atomic_load(&the_log.lost);
}
