/* The text of one value to a number, a switch or a word, and back. Private to config/. */
#ifndef CONFIG_VALUE_H
#define CONFIG_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;

#define CFG_NUMBER_TEXT_MAX 32

enum cfg_number {
    CFG_NUMBER_PLAIN,    /* 42, -5 */
    CFG_NUMBER_DURATION, /* 500ms, 30s, 5m, 1h; bare is seconds; held in milliseconds */
    CFG_NUMBER_SIZE,     /* 64K, 512M, 1G; bare is bytes; powers of 1024 */
    CFG_NUMBER_OCTAL     /* 0660, 660 or 0o660: always octal */
};

/* All return 0, or -1 with *e: a sentence without key or place. */
int cfg_value_number(enum cfg_number kind, const char *text, int64_t min, int64_t max, int64_t *out,
                     struct err *e);
int cfg_value_bool(const char *text, bool *out, struct err *e);

/* The index of text in words, which ends with NULL. A list that has "true" and "false" takes the other words
 * for them as well. */
int cfg_value_word(const char *text, const char *const *words, int *out, struct err *e);

/* The shortest text that reads as the same number. */
void cfg_value_format(enum cfg_number kind, int64_t number, char text[CFG_NUMBER_TEXT_MAX]);

#endif
