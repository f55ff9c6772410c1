/* UTF-8, as far as the configuration and what is printed of it need it. */
#ifndef CONFIG_TEXT_H
#define CONFIG_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decodes one code point from at least one byte. Returns its length in bytes, 0 when the bytes are not UTF-8
 * (overlong forms and surrogates included). */
size_t cfg_text_decode(const char *bytes, size_t size, uint32_t *code_point);

/* The offset of the first byte that is not UTF-8; size when all of it is. */
size_t cfg_text_find_invalid(const char *bytes, size_t size);

/* False for control characters, line separators, and characters that only change how others are shown
 * (a message or a dump that holds them would not look like what it says). */
bool cfg_text_is_shown(uint32_t code_point);

/* A copy in which everything that is not shown stands as an escape such as \n, \x1b or \u202e; the caller
 * frees it. NULL without memory. */
char *cfg_text_escape(const char *text);

/* How far apart two words are: insertions, deletions, replacements and swaps of neighbours. Words of 64
 * bytes or more are far from everything. */
unsigned cfg_text_distance(const char *a, const char *b);

#endif
