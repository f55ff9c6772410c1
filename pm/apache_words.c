/* The words of an Apache directive: quotes, backslashes, NAME=VALUE.
 *
 * A quote that is not closed reaches to the end of the line, and a backslash escapes itself and the quote
 * only; both as Apache has it. Pure. */
#include "pm/apache_conf.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

bool apache_is(const char *name, const char *wanted)
{
    return strcasecmp(name, wanted) == 0;
}

static void skip_blanks(const char **at)
{
    while (isspace((unsigned char)**at))
        ++*at;
}

/* Copies up to end, without the backslashes that escape. */
static char *unescape(struct pool *pool, const char *start, const char *end, char quote)
{
    char *word = pool_copy(pool, start, (size_t)(end - start)), *to = word;
    for (const char *from = word; *from; from++) {
        if (from[0] == '\\' && (from[1] == '\\' || (quote && from[1] == quote)))
            from++;
        *to++ = *from;
    }
    *to = '\0';
    return word;
}

/* One word, which may be empty; the blanks behind it are skipped. */
static char *take_word(struct pool *pool, const char **at)
{
    char quote = **at == '"' || **at == '\'' ? **at : '\0';
    const char *start = *at + (quote ? 1 : 0), *end = start;
    while (*end && (quote ? *end != quote : !isspace((unsigned char)*end)))
        end += end[0] == '\\' && (end[1] == '\\' || (quote && end[1] == quote)) ? 2 : 1;
    char *word = unescape(pool, start, end, quote);
    *at = end + (quote && *end == quote ? 1 : 0);
    skip_blanks(at);
    return word;
}

const char *apache_word(struct pool *pool, const char **at)
{
    skip_blanks(at);
    return **at ? take_word(pool, at) : NULL;
}

bool apache_option(struct pool *pool, const char **at, const char **name, const char **value)
{
    skip_blanks(at);
    if (!**at)
        return false;
    const char *end = *at;
    while (*end && *end != '=' && !isspace((unsigned char)*end))
        end++;
    if (end == *at || *end != '=') {
        *name = take_word(pool, at);
        *value = NULL;
        return true;
    }
    *name = pool_copy(pool, *at, (size_t)(end - *at));
    *at = end + 1;
    skip_blanks(at);
    *value = take_word(pool, at);
    return true;
}
