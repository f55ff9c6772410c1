/* The log: one line per event, with time, level, and the group and pid it is about.
 *
 * The supervisor writes it to a file, stderr or syslog. Hosts have no log of their own: they set a sink
 * that sends the record to the supervisor (base/wire.h), which marks it with the group and the pid that
 * the kernel vouches for. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>

struct err;

enum log_level {
    LOG_LEVEL_ALERT,
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARNING,
    LOG_LEVEL_NOTICE,
    LOG_LEVEL_DEBUG,
    LOG_LEVEL_COUNT
};

/* What a line is about. group may be NULL, pid 0: then the mark is left out. */
struct log_subject {
    const char *group;
    int pid;
};

typedef void log_sink(void *context, enum log_level level, const char *text, size_t text_size);

/* "alert", "error", "warning", "notice", "debug". NULL and -1 for what is not a level. */
const char *log_level_name(enum log_level level);
int log_level_parse(const char *name);

/* Sends the log to "stderr", "syslog" or a file (opened for appending, mode 0640). The old target stays
 * in use when the new one cannot be opened. Copies target. 0 or -1 with *e. */
int log_open(const char *target, enum log_level level, struct err *e);

/* Opens the file anew (after logrotate). 0, or -1 with *e and the old file kept. */
int log_reopen(struct err *e);

/* Hands every record to a function instead; for hosts. Threads may call it at once. */
void log_set_sink(log_sink *sink, void *context);

/* True when a record of this level would be written: for callers whose text is costly. */
bool log_enabled(enum log_level level);

/* Writes a record. Text of several lines becomes several marked lines, control characters are escaped,
 * so that no text can pass for a line of its own. subject may be NULL. */
void log_write(enum log_level level, const struct log_subject *subject, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same for text that is not NUL-terminated and not ours. source is put in the mark ("output"), or NULL.
 */
void log_write_text(enum log_level level, const struct log_subject *subject, const char *source,
                    const char *text, size_t text_size);

/* How many records could not be written (disk full and the like) since the start. */
unsigned long log_lost(void);

#endif
