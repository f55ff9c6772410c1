/* Strings as they may stand in a YAML file. Private to config/ and to the commands of pm/ that write YAML. */
#ifndef CONFIG_QUOTE_H
#define CONFIG_QUOTE_H

#include <stdbool.h>
#include <stdio.h>

/* Writes the text as a scalar that reads as this string and nothing else, quoted where it has to be, with
 * characters that are not shown as escapes. doubles_dollars: the reader will expand $group and ${NAME}. */
void cfg_quote(const char *text, bool doubles_dollars, FILE *out);

#endif
