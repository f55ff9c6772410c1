/* Tells the application's own prefix from the path inside it.
 *
 * Web servers fill SCRIPT_NAME for files, and an application is none: nginx's fastcgi_params puts the whole
 * path there and sends no PATH_INFO, many sites send the whole path as both, and lighttpd at "/" adds a
 * slash. The rule: find the request's whole path (DOCUMENT_URI, else REQUEST_URI decoded, as it is or
 * normalized), and choose the reading under which SCRIPT_NAME + PATH_INFO is that path; what fits no reading
 * stays as it was sent. Pure; any thread. */
#include "pyhost/wsgi_path.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct piece {
    const char *bytes;
    size_t size;
};

static struct piece piece_of(const char *text)
{
    return (struct piece){text ? text : "", text ? strlen(text) : 0};
}

static bool is_equal(struct piece a, struct piece b)
{
    return a.size == b.size && memcmp(a.bytes, b.bytes, a.size) == 0;
}

static bool is_prefix(struct piece prefix, struct piece whole)
{
    return prefix.size <= whole.size && memcmp(prefix.bytes, whole.bytes, prefix.size) == 0;
}

static struct piece skip(struct piece p, size_t size)
{
    return (struct piece){p.bytes + size, p.size - size};
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* The path of "/path?query" or "http://host/path?query". */
static struct piece path_of_uri(const char *uri)
{
    struct piece path = {uri, strcspn(uri, "?#")};
    const char *authority = path.size > 0 && uri[0] != '/' ? strstr(uri, "://") : NULL;
    if (!authority || authority >= uri + path.size)
        return path;
    size_t start = (size_t)(authority + 3 - uri);
    start += strcspn(uri + start, "/?#");
    return start < path.size ? skip(path, start) : (struct piece){"/", 1};
}

/* Writes at most as many bytes as it reads. */
static struct piece decode(struct piece in, char *out)
{
    size_t size = 0;
    for (size_t i = 0; i < in.size; i++) {
        int high = in.bytes[i] == '%' && i + 2 < in.size ? hex_digit(in.bytes[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(in.bytes[i + 2]) : -1;
        if (low >= 0) {
            out[size++] = (char)(high << 4 | low);
            i += 2;
        } else {
            out[size++] = in.bytes[i];
        }
    }
    return (struct piece){out, size};
}

/* Merges slashes and resolves "." and "..", as web servers do before they match a path. Writes at most as
 * many bytes as it reads. */
static struct piece normalize(struct piece in, char *out)
{
    size_t size = 0, i = 0;
    while (i < in.size) {
        size_t end = i;
        while (end < in.size && in.bytes[end] != '/')
            end++;
        size_t length = end - i;
        bool is_dot = length == 1 && in.bytes[i] == '.';
        bool is_up = length == 2 && in.bytes[i] == '.' && in.bytes[i + 1] == '.';
        if (is_up) {
            if (size > 0)
                size--; /* the slash before */
            while (size > 0 && out[size - 1] != '/')
                size--;
        } else if (!is_dot) {
            memmove(out + size, in.bytes + i, length);
            size += length;
        }
        if (end < in.size && (size == 0 || out[size - 1] != '/'))
            out[size++] = '/';
        i = end + 1;
    }
    return (struct piece){out, size};
}

/* nginx's fastcgi_index: a path that ends in a slash had a file's name appended. */
static bool is_with_index(struct piece script, struct piece whole)
{
    return whole.size > 0 && whole.bytes[whole.size - 1] == '/' && is_prefix(whole, script) &&
           !memchr(script.bytes + whole.size, '/', script.size - whole.size);
}

/* A prefix that the web server was told to set, though it sends the whole path as PATH_INFO all the same. */
static bool is_mount(struct piece script, struct piece whole)
{
    return script.size > 0 && script.size < whole.size && is_prefix(script, whole) &&
           script.bytes[script.size - 1] != '/' && whole.bytes[script.size] == '/';
}

/* Tries whole as the request's path. True when a reading fits; then script and info are set right. */
static bool fit(struct piece whole, struct piece *script, struct piece *info)
{
    if (whole.size == 0 || whole.bytes[0] != '/')
        return false;
    if (info->size == 0) {
        if (script->size == 0 || is_equal(*script, whole) || is_with_index(*script, whole)) {
            *info = whole;
            script->size = 0;
            return true;
        }
        bool is_inside = is_prefix(*script, whole) &&
                         (whole.bytes[script->size] == '/' || script->bytes[script->size - 1] == '/');
        if (is_inside) {
            *info = skip(whole, script->size);
            script->bytes = whole.bytes;
        }
        return is_inside;
    }
    if (script->size + info->size == whole.size && is_prefix(*script, whole) &&
        is_equal(*info, skip(whole, script->size))) {
        *info = skip(whole, script->size);
        script->bytes = whole.bytes;
        return true;
    }
    if (!is_equal(*info, whole))
        return false;
    if (is_mount(*script, whole))
        *info = skip(whole, script->size);
    else
        script->size = 0;
    return true;
}

static int fit_uri(const char *request_uri, struct piece *script, struct piece *info, char **memory)
{
    struct piece raw = path_of_uri(request_uri);
    *memory = malloc(2 * raw.size + 1);
    if (!*memory)
        return -1;
    struct piece decoded = decode(raw, *memory);
    if (fit(decoded, script, info))
        return 0;
    fit(normalize(decoded, *memory + raw.size), script, info);
    return 0;
}

/* A prefix has no slash at its end, a path inside it has one at its start. */
static void move_slash(struct piece *script, struct piece *info)
{
    if (script->size == 0 || script->bytes[script->size - 1] != '/')
        return;
    bool is_adjacent = script->bytes + script->size == info->bytes;
    bool needs_slash = info->size == 0 || info->bytes[0] != '/';
    script->size--;
    if (!needs_slash)
        return;
    if (info->size == 0)
        *info = (struct piece){"/", 1};
    else if (is_adjacent)
        *info = (struct piece){info->bytes - 1, info->size + 1};
    else
        script->size++;
}

int host_path_split(const char *script_name, const char *path_info, const char *document_uri,
                    const char *request_uri, struct host_path *path)
{
    struct piece script = piece_of(script_name), info = piece_of(path_info);
    path->memory = NULL;
    if (!fit(piece_of(document_uri), &script, &info) && request_uri &&
        fit_uri(request_uri, &script, &info, &path->memory) < 0)
        return -1;
    move_slash(&script, &info);
    path->script_name = script.bytes;
    path->script_name_size = script.size;
    path->path_info = info.bytes;
    path->path_info_size = info.size;
    return 0;
}
