/* Text from others, made fit for a terminal. */
#ifndef PM_PRINTABLE_H
#define PM_PRINTABLE_H

#include <stddef.h>
#include <stdio.h>

/* Writes text with control characters, bytes that are no UTF-8, and characters that only change how others
 * are shown as escapes (\x1b, \u202e). Tabs stay. */
void printable_write(FILE *out, const char *text, size_t text_size);

/* The same for a text of several lines, each with prefix before it and a newline after it. */
void printable_write_lines(FILE *out, const char *prefix, const char *text, size_t text_size);

#endif
