/* Prints an explanation for a person to read: one block for a group, what is not there left out.
 *
 * Takes facts in the shape of docs/check-explain.md and trusts it with nothing else: what is missing or of
 * another type is not printed, and no text reaches the terminal unescaped. No state. */
#include "pm/explain.h"

#include "pm/printable.h"

#include <stdio.h>
#include <string.h>

#define LABEL_WIDTH 14
#define ENTRY_WIDTH 64 /* of a sys.path entry; longer ones push the rest of their line */
#define LIST_SHOWN  50

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static json_int_t number_of(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static void put(FILE *out, const char *text)
{
    printable_write(out, text, strlen(text));
}

/* before TEXT after; nothing when there is no text. */
static void put_between(FILE *out, const char *before, const char *text, const char *after)
{
    if (text[0] == '\0')
        return;
    fputs(before, out);
    put(out, text);
    fputs(after, out);
}

static void put_label(FILE *out, const char *label)
{
    fprintf(out, "  %-*s ", LABEL_WIDTH, label);
}

/* The head --------------------------------------------------------------------------------------------------
 */

static const char *kind_in_words(const char *kind)
{
    if (strcmp(kind, "venv") == 0)
        return "virtual environment ";
    if (strcmp(kind, "installation") == 0)
        return "Python installation ";
    return strcmp(kind, "system") == 0 ? "the system's Python" : "unusable: ";
}

static void print_baseline(const json_t *facts, FILE *out)
{
    const json_t *baseline = json_object_get(facts, "baseline");
    const char *kind = text_of(baseline, "kind");
    bool is_system = strcmp(kind, "system") == 0;
    if (!baseline)
        return;
    put_label(out, "baseline");
    fputs(kind_in_words(kind), out);
    put_between(out, is_system ? " (" : "", text_of(baseline, "path"), is_system ? ")" : "");
    put_between(out, " of Python ", text_of(baseline, "version"), "");
    put_between(out, " (so says ", text_of(baseline, "said_by"), ")");
    put_between(out, ", made from ", text_of(baseline, "made_from"), "");
    putc('\n', out);
}

static void print_line(FILE *out, const char *label, const char *text)
{
    if (text[0] == '\0')
        return;
    put_label(out, label);
    put(out, text);
    putc('\n', out);
}

static void print_python(const json_t *facts, FILE *out)
{
    const json_t *python = json_object_get(facts, "python");
    const char *version = text_of(python, "version");
    if (!python)
        return;
    put_label(out, "host");
    put_between(out, "Python ", version[0] ? version : text_of(python, "host"), "");
    put_between(out, ", ", text_of(python, "library"), "");
    putc('\n', out);
    print_line(out, "prefix", text_of(python, "prefix"));
    print_line(out, "base prefix", text_of(python, "base_prefix"));
    print_line(out, "library", text_of(python, "standard_library"));
    if (text_of(python, "executable")[0] == '\0')
        return;
    put_label(out, "executable");
    put(out, text_of(python, "executable"));
    fputs(json_is_false(json_object_get(python, "executable_works")) ? " (cannot be run)\n" : "\n", out);
}

/* sys.path --------------------------------------------------------------------------------------------------
 */

/* "a.pth:1", or "one of a.pth:1, b.pth:2". */
static void put_candidates(const json_t *candidates, FILE *out)
{
    size_t count = json_array_size(candidates);
    fputs(count == 1 ? "" : "one of ", out);
    for (size_t i = 0; i < count; i++) {
        fputs(i > 0 ? ", " : "", out);
        const char *text = json_string_value(json_array_get(candidates, i));
        put(out, text ? text : "");
    }
}

static void put_origin(const json_t *entry, FILE *out)
{
    const char *origin = text_of(entry, "origin");
    const json_t *candidates = json_object_get(entry, "candidates");
    if (strcmp(origin, "standard-library") == 0)
        fputs("standard library", out);
    else if (strcmp(origin, "site-packages") == 0)
        fputs("baseline site-packages", out);
    else if (strcmp(origin, "python-path") == 0) {
        fprintf(out, "python-path item %lld", (long long)number_of(entry, "item"));
        put_between(out, " of ", text_of(entry, "mount"), "");
        if (strcmp(text_of(entry, "item_text"), text_of(entry, "entry")) != 0)
            put_between(out, " (", text_of(entry, "item_text"), ")");
    } else if (strcmp(origin, "pth") == 0) {
        put_between(out, "", text_of(entry, "file"), "");
        fprintf(out, ":%lld", (long long)number_of(entry, "line"));
    } else if (strcmp(origin, "pth-import") == 0) {
        fputs("added by an import line of a .pth file", out);
        if (json_array_size(candidates) > 0) {
            fputs(": ", out);
            put_candidates(candidates, out);
        }
    } else if (strcmp(origin, "finder") == 0)
        fputs("added by a finder, for itself", out);
    else if (strcmp(origin, "script") == 0)
        fputs("added while the application was imported", out);
    else if (strcmp(origin, "chdir") == 0)
        fputs("chdir", out);
    else
        fputs("added by somebody unknown", out);
}

/* Of the column of entries. */
static size_t entry_width(const json_t *path)
{
    size_t width = 0;
    for (size_t i = 0; i < json_array_size(path); i++) {
        size_t size = strlen(text_of(json_array_get(path, i), "entry"));
        if (size > width && size <= ENTRY_WIDTH)
            width = size;
    }
    return width;
}

static void print_entry(const json_t *entry, size_t number, size_t column, FILE *out)
{
    const char *path = text_of(entry, "entry"), *state = text_of(entry, "state");
    bool is_zip_of_python = strcmp(text_of(entry, "origin"), "standard-library") == 0;
    const char *shown = path[0] ? path : "\"\"";
    size_t width = strlen(shown);
    fprintf(out, "    %3zu  ", number);
    put(out, shown);
    fprintf(out, "%*s  ", width < column ? (int)(column - width) : 0, "");
    put_origin(entry, out);
    if (json_is_true(json_object_get(entry, "zip")))
        fputs("; an archive", out);
    if (strcmp(state, "missing") == 0)
        fputs(is_zip_of_python ? "; missing, as usual" : "; missing", out);
    else
        put_between(out, "; ", state, "");
    putc('\n', out);
}

/* All of it: a list with holes explains nothing. */
static void print_path(const json_t *facts, FILE *out)
{
    const json_t *path = json_object_get(facts, "path");
    size_t column = entry_width(path);
    if (json_array_size(path) > 0)
        fputs("  sys.path\n", out);
    for (size_t i = 0; i < json_array_size(path); i++)
        print_entry(json_array_get(path, i), i + 1, column, out);
}

/* Lists ---------------------------------------------------------------------------------------------- */

/* Prints the title and each object of a list by its own function; the rest of a long one is counted. */
static void print_list(const json_t *facts, const char *key, const char *title,
                       void (*print)(const json_t *object, size_t number, FILE *out), FILE *out)
{
    const json_t *list = json_object_get(facts, key);
    size_t count = json_array_size(list);
    if (count == 0)
        return;
    fprintf(out, "  %s\n", title);
    for (size_t i = 0; i < count && i < LIST_SHOWN; i++)
        print(json_array_get(list, i), i + 1, out);
    if (count > LIST_SHOWN)
        fprintf(out, "    … and %zu more\n", count - LIST_SHOWN);
}

static void print_problem(const json_t *item, size_t number, FILE *out)
{
    if (text_of(item, "problem")[0] == '\0')
        return;
    fprintf(out, "    item %zu: ", number);
    put(out, text_of(item, "problem"));
    putc('\n', out);
}

static void print_missing_line(const json_t *line, size_t number, FILE *out)
{
    (void)number;
    put_between(out, "    ", text_of(line, "file"), "");
    fprintf(out, ":%lld", (long long)number_of(line, "line"));
    put_between(out, " names ", text_of(line, "path"), "");
    putc('\n', out);
}

static void print_finder(const json_t *finder, size_t number, FILE *out)
{
    const json_t *maps = json_object_get(finder, "maps");
    (void)number;
    put_between(out, "    ", text_of(finder, "name"), "  ");
    put_origin(finder, out);
    putc('\n', out);
    for (size_t i = 0; i < json_array_size(maps) && i < LIST_SHOWN; i++) {
        const char *map = json_string_value(json_array_get(maps, i));
        put_between(out, "      ", map ? map : "", "\n");
    }
}

static void print_duplicate(const json_t *one, size_t number, FILE *out)
{
    const json_t *shadows = json_object_get(one, "shadows");
    (void)number;
    put_between(out, "    ", text_of(one, "name"), " ");
    put(out, text_of(one, "version"));
    put_between(out, " in ", text_of(one, "folder"), " wins against");
    for (size_t i = 0; i < json_array_size(shadows); i++) {
        const json_t *place = json_array_get(shadows, i);
        put_between(out, i > 0 ? ", " : " ", text_of(place, "version"), "");
        put_between(out, " in ", text_of(place, "folder"), "");
    }
    putc('\n', out);
}

static void print_shadow(const json_t *one, size_t number, FILE *out)
{
    (void)number;
    put_between(out, "    ", text_of(one, "file"), "");
    put_between(out, " is imported as ", text_of(one, "module"), "");
    put_between(out, ", not ", text_of(one, "instead_of"), "");
    putc('\n', out);
}

static void print_extension(const json_t *one, size_t number, FILE *out)
{
    (void)number;
    put_between(out, "    ", text_of(one, "file"), "");
    put_between(out, " is for ", text_of(one, "built_for"), "");
    putc('\n', out);
}

static void print_closed(const json_t *one, size_t number, FILE *out)
{
    (void)number;
    put_between(out, "    ", text_of(one, "component"), "");
    put_between(out, ", on the way to ", text_of(one, "path"), "");
    put_between(out, " (", text_of(one, "for"), ")");
    putc('\n', out);
}

static void print_problems(const json_t *facts, FILE *out)
{
    const json_t *overlay = json_object_get(facts, "overlay");
    for (size_t i = 0; i < json_array_size(overlay); i++)
        if (text_of(json_array_get(overlay, i), "problem")[0] != '\0') {
            print_list(facts, "overlay", "python-path items that cannot be used", print_problem, out);
            return;
        }
}

static void print_user(const json_t *facts, FILE *out)
{
    if (!json_object_get(facts, "uid"))
        return;
    put_label(out, "as");
    put_between(out, "user ", text_of(facts, "user"), " ");
    fprintf(out, "(uid %lld)\n", (long long)number_of(facts, "uid"));
}

static void print_notes(const json_t *facts, FILE *out)
{
    const json_t *notes = json_object_get(facts, "notes");
    for (size_t i = 0; i < json_array_size(notes) && i < LIST_SHOWN; i++) {
        const char *note = json_string_value(json_array_get(notes, i));
        print_line(out, "note", note ? note : "");
    }
}

void pm_explain_print(const json_t *facts, FILE *out)
{
    print_user(facts, out);
    print_baseline(facts, out);
    print_python(facts, out);
    print_path(facts, out);
    print_list(facts, "finders", "finders that are not Python's own", print_finder, out);
    print_list(facts, "duplicates", "distributions found twice", print_duplicate, out);
    print_list(facts, "stdlib_shadows", "shadows the standard library", print_shadow, out);
    print_list(facts, "extensions", "extension modules that this Python does not load", print_extension, out);
    if (json_is_true(json_object_get(facts, "extensions_cut")))
        print_line(out, "note", "there are too many files to look at; extension modules may be missed");
    print_list(facts, "pth_missing", ".pth lines that name nothing", print_missing_line, out);
    print_problems(facts, out);
    print_list(facts, "closed", "closed to this user", print_closed, out);
    print_notes(facts, out);
}
