/* Collects errors and warnings as sentences with places.
 *
 * Prints nothing: whoever asked for the load decides where the sentences go. */
#include "config/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "config/text.h"

#define MESSAGES_MAX 1000

/* Writes "file:line:column: " and returns its length. */
static size_t print_place(char *text, size_t size, const struct cfg_place *place)
{
    int length = 0;
    if (place->file[0] != '\0' && place->line == 0)
        length = snprintf(text, size, "%s: ", place->file);
    else if (place->file[0] != '\0')
        length = snprintf(text, size, "%s:%d:%d: ", place->file, place->line, place->column);
    return length < 0 ? 0 : (size_t)length < size ? (size_t)length : size - 1;
}

static bool is_known(const struct cfg_report *r, const char *text)
{
    for (size_t i = 0; i < r->count; i++) {
        if (strcmp(r->messages[i].text, text) == 0)
            return true;
    }
    return false;
}

static bool make_room(struct cfg_report *r)
{
    if ((r->count & (r->count - 1)) != 0)
        return true;
    size_t capacity = r->count == 0 ? 1 : r->count * 2;
    struct cfg_message *grown = realloc(r->messages, capacity * sizeof(*grown));
    if (grown == NULL)
        return false;
    r->messages = grown;
    return true;
}

static void keep(struct cfg_report *r, enum cfg_severity severity, const char *sentence)
{
    char *text = cfg_text_escape(sentence);
    if (text != NULL && r->count <= MESSAGES_MAX && !is_known(r, text) && make_room(r)) {
        r->messages[r->count++] = (struct cfg_message){.severity = severity, .text = text};
        return;
    }
    free(text);
}

static void add(struct cfg_report *r, enum cfg_severity severity, const struct cfg_place *place,
                const char *format, va_list arguments)
{
    char sentence[ERR_TEXT_MAX];
    size_t count_before = r->count;
    size_t used = print_place(sentence, sizeof(sentence), place);
    vsnprintf(sentence + used, sizeof(sentence) - used, format, arguments);
    keep(r, severity, r->count == MESSAGES_MAX ? "there are more errors, which are not shown" : sentence);
    /* An error counts even when its text found no memory; one that is there already counts once. */
    if (severity == CFG_ERROR && (r->count > count_before || r->error_count == 0))
        r->error_count++;
}

void cfg_report_error(struct cfg_report *r, const struct cfg_place *place, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    add(r, CFG_ERROR, place, format, arguments);
    va_end(arguments);
}

void cfg_report_warning(struct cfg_report *r, const struct cfg_place *place, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    add(r, CFG_WARNING, place, format, arguments);
    va_end(arguments);
}

void cfg_report_free(struct cfg_report *report)
{
    for (size_t i = 0; i < report->count; i++)
        free(report->messages[i].text);
    free(report->messages);
    *report = (struct cfg_report){0};
}
