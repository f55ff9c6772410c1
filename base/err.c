/* Error sentences: set at the failing spot, given context on the way up. Allocates nothing, so it works
 * when memory is the problem. Used by every process and thread; a struct err belongs to one thread. */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int err_set(struct err *e, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(e->text, sizeof e->text, format, args);
    va_end(args);
    return -1;
}

int err_errno(struct err *e, const char *format, ...)
{
    int saved = errno;
    va_list args;
    va_start(args, format);
    vsnprintf(e->text, sizeof e->text, format, args);
    va_end(args);
    size_t used = strlen(e->text);
    snprintf(e->text + used, sizeof e->text - used, ": %s", strerror(saved));
    errno = saved;
    return -1;
}

int err_prefix(struct err *e, const char *format, ...)
{
    char context[512];
    va_list args;
    va_start(args, format);
    int wanted = vsnprintf(context, sizeof context - 2, format, args);
    va_end(args);
    if (wanted < 0)
        return -1;
    size_t context_size = strlen(context);
    memcpy(context + context_size, ": ", 2);
    context_size += 2;

    size_t text_size = strlen(e->text);
    if (text_size > sizeof e->text - 1 - context_size)
        text_size = sizeof e->text - 1 - context_size;
    memmove(e->text + context_size, e->text, text_size);
    memcpy(e->text, context, context_size);
    e->text[context_size + text_size] = '\0';
    return -1;
}

int err_append(struct err *e, const struct err *further)
{
    size_t used = strlen(e->text);
    snprintf(e->text + used, sizeof e->text - used, "%s%s", used > 0 ? "\n" : "", further->text);
    return -1;
}
