/* Replaces $group, ${NAME} and $$.
 *
 * Refuses what it does not know rather than leaving it in: a socket called "/run/$gruop.sock" helps nobody.
 * What a variable holds is not looked into again. Runs where the file is read, in a process with one thread.
 */
#include "config/expand.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "config/text.h"

#define EXPANDED_MAX (1u << 20)

/* Appends what ${NAME} stands for; *at stands on the "$", and behind the "}" afterwards. */
static int expand_variable(const char **at, FILE *out, struct err *e)
{
    char name[256];
    const char *start = *at + 2, *end = strchr(start, '}');
    if (end == NULL)
        return err_set(e, "\"%.60s\" has no closing brace; write $$ for a dollar", *at);
    size_t length = (size_t)(end - start);
    if (length == 0 || length >= sizeof(name))
        return err_set(e, "\"%.60s\" does not name a variable; write $$ for a dollar", *at);
    memcpy(name, start, length);
    name[length] = '\0';

    const char *value = getenv(name);
    if (value == NULL)
        return err_set(e, "the environment variable ${%s} is not set%s", name,
                       strcmp(name, "group") == 0 ? " (the group's name is $group)" : "");
    if (cfg_text_find_invalid(value, strlen(value)) != strlen(value))
        return err_set(e, "the environment variable ${%s} does not hold UTF-8", name);
    fputs(value, out);
    *at = end + 1;
    return 0;
}

/* Appends what the "$" at *at and what follows it stand for. */
static int expand_dollar(const char **at, const char *group, FILE *out, struct err *e)
{
    static const char word[] = "$group";
    if ((*at)[1] == '{')
        return expand_variable(at, out, e);
    if ((*at)[1] == '$') {
        fputc('$', out);
        *at += 2;
        return 0;
    }
    if (strncmp(*at, word, strlen(word)) != 0)
        return err_set(e, "\"%.20s\" is not known: write $group, ${NAME} for a variable, or $$ for a dollar",
                       *at);
    if (group == NULL)
        return err_set(e, "$group has a meaning in groups and defaults only");
    fputs(group, out);
    *at += strlen(word);
    return 0;
}

char *cfg_expand(const char *text, const char *group, struct err *e)
{
    char *expanded = NULL;
    size_t size = 0;
    int status = 0;
    FILE *out = open_memstream(&expanded, &size);
    if (out == NULL) {
        err_set(e, "out of memory");
        return NULL;
    }
    while (status == 0 && *text != '\0') {
        if (*text == '$')
            status = expand_dollar(&text, group, out, e);
        else
            fputc(*text++, out);
    }
    if (fclose(out) != 0 && status == 0)
        status = err_set(e, "out of memory");
    if (status == 0 && size > EXPANDED_MAX)
        status = err_set(e, "the value has more than %u bytes", EXPANDED_MAX);
    if (status == 0)
        return expanded;
    free(expanded);
    return NULL;
}
