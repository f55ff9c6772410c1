/* Says which directive holds for an application: Apache's merging of sections, as far as a file can tell.
 *
 * Server, virtual host, folders from short to long, files, locations in their order: what comes later wins,
 * as in Apache. Sections that are decided for each request (If, patterns) are never taken to hold. Pure. */
#include "pm/import_model.h"

#include <fnmatch.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

bool import_scope_is_below(const char *path, const char *prefix)
{
    size_t length = strlen(prefix);
    while (length > 0 && prefix[length - 1] == '/')
        length--;
    return strncmp(path, prefix, length) == 0 && (path[length] == '\0' || path[length] == '/');
}

const char *import_scope_trim(struct pool *pool, const char *path)
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    return pool_copy(pool, path, length);
}

struct import_target import_scope_target(struct import *i, const struct apache_section *host,
                                         const char *script, const char *location)
{
    struct import_target target = {.host = host, .script = script, .location = location};
    char *folder = script ? pool_copy(i->pool, script, strlen(script)) : NULL;
    for (char *slash = folder ? strrchr(folder, '/') : NULL; slash; slash = strrchr(folder, '/')) {
        *slash = '\0';
        pool_list_add(i->pool, &target.folders, pool_copy(i->pool, folder, (size_t)(slash - folder)));
    }
    return target;
}

/* As fnmatch(), which takes forever over patterns with many stars: those match nothing. */
static bool matches(const char *pattern, const char *text, int flags)
{
    enum { STARS_MAX = 4 };
    int stars = 0;
    for (const char *c = pattern; *c; c++)
        stars += *c == '*';
    return stars <= STARS_MAX && fnmatch(pattern, text, flags) == 0;
}

/* True when the pattern of <Directory> matches a folder that the script is in. */
static bool is_in_folder(const char *pattern, const struct import_target *target)
{
    char bare[PATH_MAX];
    size_t length = strlen(pattern);
    while (length > 0 && pattern[length - 1] == '/')
        length--;
    if (length >= sizeof bare)
        return false;
    memcpy(bare, pattern, length);
    bare[length] = '\0';
    for (size_t k = 0; k < target->folders.count; k++)
        if (matches(bare, target->folders.items[k], FNM_PATHNAME))
            return true;
    return false;
}

static bool is_file(const char *pattern, const char *script)
{
    const char *slash = script ? strrchr(script, '/') : NULL;
    return script && matches(pattern, slash ? slash + 1 : script, 0);
}

/* How late in Apache's merging one section comes; 0: it adds nothing, -1: it does not hold. */
static long section_rank(const struct apache_section *section, const struct import_target *target)
{
    const long kind_step = 1 << 20;
    const char *word = section->word;
    switch (section->kind) {
    case APACHE_TRANSPARENT:
        return 0;
    case APACHE_VIRTUAL_HOST:
        return section == target->host ? 1 : -1;
    case APACHE_DIRECTORY:
        return is_in_folder(word, target) ? kind_step + 2 * (long)strlen(word) : -1;
    case APACHE_FILES:
        return is_file(word, target->script) ? 64 * kind_step : -1;
    case APACHE_LOCATION:
        return target->location && import_scope_is_below(target->location, word) ? 65 * kind_step : -1;
    case APACHE_PATTERN:
    case APACHE_CONDITION:
    case APACHE_INTERPRETER:
        break;
    }
    return -1;
}

static long rank(const struct apache_directive *d, const struct import_target *target)
{
    long sum = 0;
    for (const struct apache_section *section = d->section; section; section = section->parent) {
        long one = section_rank(section, target);
        if (one < 0)
            return -1;
        sum += one;
    }
    return sum;
}

struct apache_directive *import_scope_find(struct import *i, enum import_name name,
                                           const struct import_target *target)
{
    struct apache_directive *found = NULL;
    long highest = -1;
    for (size_t k = 0; k < i->named[name].count; k++) {
        struct apache_directive *d = i->named[name].items[k];
        long one = rank(d, target);
        if (one >= 0 && one >= highest) {
            highest = one;
            found = d;
        }
    }
    if (found)
        found->is_told = true;
    return found;
}

/* The argument of <VirtualHost>, from its last colon on: ":8080", or "". */
static const char *port_of(const struct apache_section *host)
{
    const char *address = host ? host->word : "";
    const char *colon = strrchr(address, ':');
    const char *bracket = strrchr(address, ']');
    return colon && colon > bracket && strspn(colon + 1, "0123456789") == strlen(colon + 1) ? colon : "";
}

const char *import_scope_port(const struct apache_section *host)
{
    const char *port = port_of(host);
    return strcmp(port, ":80") == 0 || strcmp(port, ":443") == 0 ? "" : port;
}

const char *import_scope_server(struct import *i, const struct apache_section *host)
{
    const struct import_target target = import_scope_target(i, host, NULL, NULL);
    struct apache_directive *d = import_scope_find(i, IMPORT_SERVER_NAME, &target);
    if (!d)
        return NULL;
    const char *at = d->arguments;
    const char *name = apache_word(i->pool, &at);
    const char *scheme = name ? strstr(name, "://") : NULL;
    if (!name || !name[0])
        return NULL;
    if (scheme)
        name = scheme + 3;
    return pool_copy(i->pool, name, strcspn(name, ":/"));
}
