/* Judges a group in one sentence that says what to do.
 *
 * What is wrong with an environment the host says itself, with the remedy, before Python starts; its sentence
 * is taken as it is. What is wrong with an import is an exception, and here the facts are searched for its
 * cause: a file that shadows the standard library, an extension module of another Python, a package that is
 * nowhere. Pure: facts in, text out. */
#include "pm/explain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CAUSE_SIZE_MAX 1500
#define NAME_SIZE_MAX  256

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static const json_t *first_of(const json_t *facts, const char *key)
{
    return json_array_get(json_object_get(facts, key), 0);
}

/* The interpreter whose pip installs into this environment. */
static const char *executable_of(const json_t *facts)
{
    const char *executable = text_of(json_object_get(facts, "python"), "executable");
    return executable[0] ? executable : "python";
}

static void put_shadow(const json_t *shadow, const char *certainty, FILE *out)
{
    fprintf(out, "%s shadows the standard library's %s%s: rename it, or leave its folder out of sys.path",
            text_of(shadow, "file"), text_of(shadow, "module"), certainty);
}

/* Broken ----------------------------------------------------------------------------------------------------
 */

/* X of "No module named 'X'" in the exception that the failure's first line tells; false for others. */
static bool find_missing_module(const char *failure, char name[NAME_SIZE_MAX])
{
    static const char words[] = "ModuleNotFoundError: No module named '";
    const char *at = strstr(failure, words), *newline = strchr(failure, '\n');
    if (!at || (newline && at > newline))
        return false;
    at += sizeof words - 1;
    size_t size = strcspn(at, "'\n");
    if (at[size] != '\'' || size == 0 || size >= NAME_SIZE_MAX)
        return false;
    memcpy(name, at, size);
    name[size] = '\0';
    return true;
}

static bool is_import_error(const char *failure)
{
    const char *newline = strchr(failure, '\n');
    const char *at = strstr(failure, "ImportError: ");
    char ignored[NAME_SIZE_MAX];
    return find_missing_module(failure, ignored) || (at && (!newline || at < newline));
}

/* The extension of another Python that the failure is about: of the missing module, or of a package that the
 * failure names; NULL when none is. */
static const json_t *find_blamed_extension(const json_t *facts, const char *failure)
{
    const json_t *extensions = json_object_get(facts, "extensions");
    for (size_t i = 0; i < json_array_size(extensions); i++) {
        char name[NAME_SIZE_MAX];
        const char *file = text_of(json_array_get(extensions, i), "file");
        const char *slash = strrchr(file, '/');
        int size = slash ? (int)strcspn(slash + 1, ".") : 0;
        if (size == 0 || snprintf(name, sizeof name, "%.*s", size, slash + 1) >= (int)sizeof name)
            continue;
        if (strstr(failure, name))
            return json_array_get(extensions, i);
    }
    return NULL;
}

/* The shadow that is in the traceback, or whose module the exception names. */
static const json_t *find_blamed_shadow(const json_t *facts, const char *failure)
{
    const json_t *shadows = json_object_get(facts, "stdlib_shadows");
    for (size_t i = 0; i < json_array_size(shadows); i++) {
        char quoted[NAME_SIZE_MAX];
        const json_t *shadow = json_array_get(shadows, i);
        const char *file = text_of(shadow, "file"), *module = text_of(shadow, "module");
        snprintf(quoted, sizeof quoted, "'%.200s'", module);
        if (file[0] && module[0] && (strstr(failure, file) || strstr(failure, quoted)))
            return shadow;
    }
    return NULL;
}

static void put_remedy_for_extension(const json_t *facts, const json_t *extension, FILE *out)
{
    fprintf(out,
            "; %s was built for %s, and this is %s: install its package again with %s -m pip install "
            "--force-reinstall",
            text_of(extension, "file"), text_of(extension, "built_for"),
            text_of(json_object_get(facts, "python"), "abi"), executable_of(facts));
}

/* A dotted name is missing only after the package before its last dot was imported. */
static void put_remedy_for_missing(const json_t *facts, const char *missing, FILE *out)
{
    const char *dot = strrchr(missing, '.');
    if (dot)
        fprintf(out,
                "; %.*s is there, but has no %s: perhaps it is of another release (%s -m pip show %.*s), or "
                "a folder "
                "of the same name stands before it on sys.path",
                (int)(dot - missing), missing, dot + 1, executable_of(facts), (int)strcspn(missing, "."),
                missing);
    else
        fprintf(out,
                "; no folder on sys.path has %s: install it (%s -m pip install ...), or list the folder that "
                "has it in python-path",
                missing, executable_of(facts));
}

/* The host has said already what it knows of the application's own module. */
static bool has_hint(const char *failure)
{
    return strstr(failure, "neither in python-path nor chdir") || strstr(failure, " (the package ");
}

static void put_cause_of_import_failure(const json_t *facts, const char *failure, FILE *out)
{
    char missing[NAME_SIZE_MAX];
    const json_t *shadow = find_blamed_shadow(facts, failure);
    const json_t *extension = find_blamed_extension(facts, failure);
    const json_t *suspect = first_of(facts, "stdlib_shadows");
    if (shadow) {
        fputs("; ", out);
        put_shadow(shadow, "", out);
    } else if (extension && is_import_error(failure)) {
        put_remedy_for_extension(facts, extension, out);
    } else if (find_missing_module(failure, missing) && !has_hint(failure)) {
        put_remedy_for_missing(facts, missing, out);
    } else if (suspect) {
        fputs("; ", out);
        put_shadow(suspect, ", which may be why", out);
    }
}

/* An exception that the application's import raised? All other failures are sentences of the host. */
static bool is_of_application(const char *failure)
{
    static const char *const deeds[] = {"cannot run ", "cannot import ", "cannot get "};
    const char *at = strncmp(failure, "application at ", 15) == 0 ? strstr(failure, ": ") : NULL;
    failure = at ? at + 2 : failure;
    for (size_t i = 0; i < sizeof deeds / sizeof deeds[0]; i++)
        if (strncmp(failure, deeds[i], strlen(deeds[i])) == 0)
            return true;
    return false;
}

static void put_broken(const json_t *facts, const char *failure, FILE *out)
{
    int size = (int)strcspn(failure, "\n");
    fprintf(out, "broken: %.*s", size < CAUSE_SIZE_MAX ? size : CAUSE_SIZE_MAX, failure);
    if (is_of_application(failure))
        put_cause_of_import_failure(facts, failure, out);
}

/* Fine ----------------------------------------------------------------------------------------------- */

static void put_environment(const json_t *facts, FILE *out)
{
    const json_t *baseline = json_object_get(facts, "baseline");
    const char *version = text_of(json_object_get(facts, "python"), "version"),
               *path = text_of(baseline, "path");
    size_t items = json_array_size(json_object_get(facts, "overlay"));
    bool is_system = strcmp(text_of(baseline, "kind"), "system") == 0;
    if (version[0]) /* else Python told nothing */
        fprintf(out, "Python %s on %s", version, is_system ? "the system's libraries" : path);
    if (version[0] && items > 0)
        fprintf(out, ", with %zu python-path item%s in front", items, items == 1 ? "" : "s");
    fprintf(out, "%simports the application", version[0] ? ", " : "");
}

/* The host's warning about the Python that python-home was made from, else NULL: nothing else matters as
 * much. */
static const char *find_base_warning(const json_t *warnings)
{
    for (size_t i = 0; i < json_array_size(warnings); i++) {
        const char *warning = json_string_value(json_array_get(warnings, i));
        if (warning && strncmp(warning, "python-home ", 12) == 0)
            return warning;
    }
    return NULL;
}

/* The most important thing that deserves a look, if there is any. Returns how many kinds of things were
 * found. */
static unsigned put_first_trouble(const json_t *facts, const json_t *warnings, FILE *out)
{
    const json_t *shadow = first_of(facts, "stdlib_shadows"), *extension = first_of(facts, "extensions");
    const json_t *closed = first_of(facts, "closed"), *python = json_object_get(facts, "python");
    const char *base = find_base_warning(warnings), *warning = json_string_value(json_array_get(warnings, 0));
    bool has_no_executable = json_is_false(json_object_get(python, "executable_works"));
    if (base)
        fprintf(out, "%.*s", (int)strcspn(base, "\n"), base);
    else if (has_no_executable)
        fprintf(out,
                "%s cannot be run, so subprocesses and multiprocessing cannot start Python: make the "
                "environment anew",
                executable_of(facts));
    else if (shadow)
        put_shadow(shadow, "", out);
    else if (extension)
        fprintf(out,
                "%lld extension module%s cannot be loaded, as %s, built for %s: install again with %s -m pip "
                "install "
                "--force-reinstall",
                (long long)json_integer_value(json_object_get(facts, "extension_count")),
                json_integer_value(json_object_get(facts, "extension_count")) == 1 ? "" : "s",
                text_of(extension, "file"), text_of(extension, "built_for"), executable_of(facts));
    else if (closed)
        fprintf(out, "%s is closed to its user: let it in (chmod o+rx %s), or take %s out",
                text_of(closed, "component"), text_of(closed, "component"), text_of(closed, "path"));
    else if (warning)
        fprintf(out, "%.*s", (int)strcspn(warning, "\n"), warning);
    /* the host's warning of a shadow is that shadow, and that of the base explains the executable */
    return (base || has_no_executable) + (shadow != NULL) + (extension != NULL) + (closed != NULL) +
           (warning && !base && !shadow);
}

static void put_fine(const json_t *facts, const json_t *warnings, FILE *out)
{
    char *trouble = NULL;
    size_t size = 0;
    FILE *text = open_memstream(&trouble, &size);
    unsigned kinds = text ? put_first_trouble(facts, warnings, text) : 0;
    if (text)
        fclose(text);
    fputs(kinds > 0 ? "fine, but " : "fine: ", out);
    if (kinds > 0)
        fprintf(out, "%s%s", trouble, kinds > 1 ? "; and see what else stands above" : "");
    else
        put_environment(facts, out);
    free(trouble);
}

char *pm_explain_verdict(const json_t *facts, const char *failure, const json_t *warnings)
{
    char *verdict = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&verdict, &size);
    if (!out)
        return NULL;
    if (failure)
        put_broken(facts, failure, out);
    else
        put_fine(facts, warnings, out);
    if (fclose(out) != 0) {
        free(verdict);
        return NULL;
    }
    return verdict;
}
