/* Tells in JSON what the files of a group's environment say of themselves.
 *
 * The host writes it as the group's user, in its chroot, before it starts Python; pyfpm check writes it
 * itself for a group that no host can be started for. Hosts do not link a JSON library, and these few objects
 * need none. Only looks; any thread. */
#include "config/venv_facts.h"

#include <pwd.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "config/config.h"
#include "config/text.h"
#include "config/venv.h"

/* JSON ----------------------------------------------------------------------------------------------- */

static void put_code_point(uint32_t c, FILE *out)
{
    if (c == '"' || c == '\\')
        fprintf(out, "\\%c", (char)c);
    else if (c >= 0x20 && c < 0x7f)
        putc((int)c, out);
    else if (c < 0x10000)
        fprintf(out, "\\u%04x", (unsigned)c);
    else
        fprintf(out, "\\u%04x\\u%04x", 0xd800 + (unsigned)((c - 0x10000) >> 10),
                0xdc00 + (unsigned)((c - 0x10000) & 0x3ff));
}

static void put_string(const char *text, FILE *out)
{
    size_t left = strlen(text);
    putc('"', out);
    while (left > 0) {
        uint32_t code_point;
        size_t length = cfg_text_decode(text, left, &code_point);
        if (length == 0)
            fprintf(out, "\\\\x%02x", (unsigned char)*text);
        else
            put_code_point(code_point, out);
        text += length == 0 ? 1 : length;
        left -= length == 0 ? 1 : length;
    }
    putc('"', out);
}

/* separator, "key": "text"; nothing without a text. */
static void put_pair(const char *separator, const char *key, const char *text, FILE *out)
{
    if (text == NULL || text[0] == '\0')
        return;
    fprintf(out, "%s\"%s\": ", separator, key);
    put_string(text, out);
}

/* The parts ------------------------------------------------------------------------------------------ */

static void put_user(FILE *out)
{
    char buffer[2048];
    struct passwd entry, *found = NULL;
    fprintf(out, "\"uid\": %u", (unsigned)geteuid());
    if (getpwuid_r(geteuid(), &entry, buffer, sizeof(buffer), &found) == 0 && found != NULL)
        put_pair(", ", "user", found->pw_name, out);
}

/* What python-home is; of a folder that has no library for the host nothing good is said. */
static const char *name_kind(const char *home, const struct venv *v, const struct venv_host *host)
{
    char path[4096];
    if (v->is_venv)
        return "venv";
    if (host == NULL)
        return v->version[0] != '\0' ? "installation" : "unusable";
    return snprintf(path, sizeof(path), "%s/lib/python%s", home, host->version) < (int)sizeof(path) &&
                   access(path, F_OK) == 0
               ? "installation"
               : "unusable";
}

static void put_baseline(const struct cfg_group *group, const struct venv_host *host, FILE *out)
{
    struct venv v;
    struct err e = {""};
    fputs(", \"baseline\": {", out);
    if (group->python_home == NULL) {
        put_pair("", "kind", "system", out);
        put_pair(", ", "path", host != NULL ? host->executable : NULL, out);
    } else {
        int looked = venv_inspect(group->python_home, &v, &e);
        put_pair("", "kind", looked != 0 ? "unusable" : name_kind(group->python_home, &v, host), out);
        put_pair(", ", "path", group->python_home, out);
        put_pair(", ", "version", v.version, out);
        put_pair(", ", "said_by", v.source, out);
        put_pair(", ", "made_from", v.home, out);
        put_pair(", ", "problem", looked != 0 ? e.text : "", out);
    }
    putc('}', out);
}

/* The items of one python-path; mount: of the application that has it, or NULL. Returns whether any was put.
 */
static bool put_items(const struct cfg_list *items, const char *mount, const struct venv_host *host,
                      bool has_one, FILE *out)
{
    for (size_t i = 0; i < items->count; i++) {
        char folder[4096] = "";
        struct err e = {""};
        fputs(has_one ? ", {" : "{", out);
        has_one = true;
        put_pair("", "item", items->items[i], out);
        put_pair(", ", "mount", mount, out);
        if (host != NULL && venv_overlay_folder(items->items[i], host->version, folder, &e) == 0)
            put_pair(", ", "folder", folder, out);
        put_pair(", ", "problem", e.text, out);
        putc('}', out);
    }
    return has_one;
}

static void put_overlay(const struct cfg_group *group, const struct venv_host *host, FILE *out)
{
    bool has_one = false;
    fputs(", \"overlay\": [", out);
    for (size_t i = 0; i < group->applications.count; i++) {
        const struct cfg_application *a = &group->applications.items[i];
        has_one = put_items(&a->python_path, a->mount, host, has_one, out);
    }
    put_items(&group->python_path, NULL, host, has_one, out);
    putc(']', out);
}

static bool put_closed(const char *path, const char *key, const char *separator, FILE *out)
{
    char component[4096];
    if (path == NULL || path[0] != '/' || !venv_find_closed(path, component))
        return false;
    fprintf(out, "%s{", separator);
    put_pair("", "for", key, out);
    put_pair(", ", "path", path, out);
    put_pair(", ", "component", component, out);
    putc('}', out);
    return true;
}

static bool put_closed_items(const struct cfg_list *items, bool has_one, FILE *out)
{
    for (size_t i = 0; i < items->count; i++)
        has_one |= put_closed(items->items[i], "python-path", has_one ? ", " : "", out);
    return has_one;
}

static void put_all_closed(const struct cfg_group *group, FILE *out)
{
    struct venv v = {.is_venv = false};
    struct err ignored;
    if (group->python_home != NULL)
        venv_inspect(group->python_home, &v, &ignored);
    const char *const paths[][2] = {
        {group->python_home, "python-home"},
        {v.home, "the Python that python-home was made from"},
        {group->script, "script"},
        {group->chdir, "chdir"},
    };
    bool has_one = false;
    fputs(", \"closed\": [", out);
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        has_one |= put_closed(paths[i][0], paths[i][1], has_one ? ", " : "", out);
    has_one |= put_closed_items(&group->python_path, has_one, out);
    for (size_t i = 0; i < group->applications.count; i++) {
        const struct cfg_application *a = &group->applications.items[i];
        has_one |= put_closed(a->script, "script", has_one ? ", " : "", out);
        has_one |= put_closed_items(&a->python_path, has_one, out);
    }
    putc(']', out);
}

void venv_write_facts(const struct cfg_group *group, const struct venv_host *host, FILE *out)
{
    putc('{', out);
    put_user(out);
    put_baseline(group, host, out);
    if (host != NULL) {
        fputs(", \"python\": {", out);
        put_pair("", "host", host->version, out);
        put_pair(", ", "library", host->library, out);
        putc('}', out);
    }
    put_overlay(group, host, out);
    put_all_closed(group, out);
    putc('}', out);
}
