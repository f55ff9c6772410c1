/* The documents that follow from the table: pyfpm.yaml(5) and the annotated example file.
 *
 * What is said of a key is its row's sentence, type, range and default; only what holds for all keys is
 * written here. */
#include <stdio.h>
#include <string.h>

#include "config/directives.h"

#define EXAMPLE_WIDTH 96

/* What a row says -------------------------------------------------------------------------------------- */

static void describe_number(const struct cfg_directive *d, char *text, size_t size)
{
    static const char *const names[] = {"a number", "a duration", "a size", "an octal number"};
    char min[CFG_NUMBER_TEXT_MAX], max[CFG_NUMBER_TEXT_MAX];
    cfg_value_format(d->number, d->min, min);
    cfg_value_format(d->number, d->max, max);
    snprintf(text, size, "%s from %s to %s", names[d->number], min, max);
}

static void describe_words(const struct cfg_directive *d, char *text, size_t size)
{
    size_t used = 0;
    for (size_t i = 0; d->words[i] != NULL && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%s",
                                 i == 0                    ? ""
                                 : d->words[i + 1] == NULL ? " or "
                                                           : ", ",
                                 d->words[i]);
}

static void describe_type(const struct cfg_directive *d, char *text, size_t size)
{
    bool is_path = (d->flags & CFG_ALWAYS_ABSOLUTE) != 0;
    switch (d->type) {
    case CFG_TYPE_BOOL:
        snprintf(text, size, "true or false");
        break;
    case CFG_TYPE_NUMBER:
        describe_number(d, text, size);
        break;
    case CFG_TYPE_WORD:
        describe_words(d, text, size);
        break;
    case CFG_TYPE_STRING:
        snprintf(text, size, is_path ? "an absolute path" : "a string");
        break;
    case CFG_TYPE_LIST:
        snprintf(text, size, is_path ? "an absolute path, or a list of them" : "a string, or a list of them");
        break;
    case CFG_TYPE_MAP:
        snprintf(text, size, "a mapping of names and values");
        break;
    case CFG_TYPE_TREE:
        snprintf(text, size, "a list of mappings");
        break;
    case CFG_TYPE_HEADING:
        text[0] = '\0';
        break;
    }
}

/* "required", "default: 4", or "" for a key that is simply not given. */
static void describe_default(const struct cfg_directive *d, char *text, size_t size)
{
    if (d->flags & CFG_REQUIRED)
        snprintf(text, size, "required");
    else if (d->default_text != NULL)
        snprintf(text, size, "default: %s", d->default_text);
    else
        snprintf(text, size, "no default");
}

/* What is not available yet, as a sentence of its own; "" when all is. */
static void describe_gaps(const struct cfg_directive *d, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    if (d->flags & CFG_NOT_YET) {
        snprintf(text, size, "Not available in this version of pyfpm.");
        return;
    }
    if (d->rule == cfg_rule_listen) {
        snprintf(text, size, "Not available in this version of pyfpm: systemd:NAME.");
        return;
    }
    for (size_t i = d->words_available; d->type == CFG_TYPE_WORD && d->words[i] != NULL && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%s",
                                 used == 0 ? "Not available in this version of pyfpm: " : ", ", d->words[i]);
    if (used > 0 && used + 1 < size)
        strcpy(text + used, ".");
}

static const char *example_of(const struct cfg_directive *d)
{
    return d->example != NULL ? d->example : d->default_text;
}

/* The manual ------------------------------------------------------------------------------------------- */

static const char manual_head[] =
    ".TH PYFPM.YAML 5 \"\" \"pyfpm\" \"File formats\"\n"
    ".SH NAME\n"
    "pyfpm.yaml \\- configuration of pyfpm, the FastCGI process manager for Python\n"
    ".SH SYNOPSIS\n"
    ".I /etc/pyfpm/pyfpm.yaml\n"
    ".SH DESCRIPTION\n"
    "The file is YAML, in UTF\\-8, with one document. Its top holds three keys:\n"
    ".TP\n\\fBglobal\\fR\nkeys of the supervisor (see GLOBAL KEYS).\n"
    ".TP\n\\fBdefaults\\fR\nkeys that every group starts from. All keys of a group may stand here, "
    "\\fBlisten\\fR with $group in it.\n"
    ".TP\n\\fBgroups\\fR\na mapping of names and groups, at least one (see GROUP KEYS). A name has letters, "
    "digits, "
    "\\(dq_\\(dq, \\(dq.\\(dq and \\(dq\\-\\(dq, at most 64 of them, and does not start with \\(dq.\\(dq or "
    "\\(dq\\-\\(dq.\n"
    ".PP\n"
    "What a group says replaces what defaults say, a list as a whole; only the variables of \\fBenv\\fR are "
    "kept "
    "one by one. Files named by \\fBinclude\\fR hold \\fBgroups\\fR only, and are subject to the same "
    "defaults. A "
    "group\\(aqs name may stand once in all files.\n"
    ".PP\n"
    "Unknown keys, keys given twice, tags, merge keys, several documents, and values of the wrong type or "
    "out of "
    "range are errors. All errors are reported, as file:line:column. With any error pyfpm does not start "
    "(exit "
    "status 78), and a reload changes nothing.\n"
    ".SS Values\n"
    ".TP\nDurations\nare \\fB500ms\\fR, \\fB30s\\fR, \\fB5m\\fR or \\fB1h\\fR; a bare number is seconds.\n"
    ".TP\nSizes\nare \\fB4096\\fR, \\fB64K\\fR, \\fB512M\\fR or \\fB1G\\fR, in powers of 1024; a bare number "
    "is "
    "bytes.\n"
    ".TP\nModes and masks\nare octal, with or without quotes or a leading 0.\n"
    ".TP\nTrue and false\nmay also be written yes and no, or on and off.\n"
    ".TP\nLists\nof one string may be written as that string.\n"
    ".PP\n"
    "In every value \\fB$group\\fR stands for the name of the group, \\fB${NAME}\\fR for the environment "
    "variable "
    "NAME of the supervisor, which must be set, and \\fB$$\\fR for one dollar.\n";

static const char manual_tail[] =
    ".SH FILES\n"
    ".TP\n.I /etc/pyfpm/pyfpm.yaml\nthe file that is read unless \\fB\\-\\-config\\fR names another.\n"
    ".SH NOTES\n"
    "\\fBpyfpm check\\fR reads the file, starts the Python of every group and imports its application. "
    "\\fBpyfpm "
    "dump\\fR prints the effective configuration, with all defaults filled in.\n"
    ".SH SEE ALSO\n"
    ".BR pyfpm (8), pyfpm\\-control (7)\n";

/* Text for man(7): no character of it is taken for a request or an escape. */
static void print_roff(FILE *out, const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        switch (*c) {
        case '\\':
            fputs("\\e", out);
            break;
        case '-':
            fputs("\\-", out);
            break;
        case '"':
            fputs("\\(dq", out);
            break;
        case '\'':
            fputs("\\(aq", out);
            break;
        default:
            fputc(*c, out);
        }
    }
}

static void print_manual_row(FILE *out, const struct cfg_directive *d)
{
    char type[256], preset[256], gaps[256];
    describe_type(d, type, sizeof(type));
    describe_default(d, preset, sizeof(preset));
    describe_gaps(d, gaps, sizeof(gaps));
    fputs(".TP\n\\fB", out);
    print_roff(out, d->key);
    fputs("\\fR (", out);
    print_roff(out, type);
    fputs("; ", out);
    print_roff(out, preset);
    fputs(")\n", out);
    print_roff(out, d->sentence);
    fputc('\n', out);
    print_roff(out, gaps);
    if (gaps[0] != '\0')
        fputc('\n', out);
}

static void print_manual_scope(FILE *out, enum cfg_scope scope)
{
    size_t count;
    const struct cfg_directive *rows = cfg_directives(&count);
    for (size_t i = 0; i < count; i++) {
        if (rows[i].scope != scope)
            continue;
        if (rows[i].type == CFG_TYPE_HEADING)
            fprintf(out, ".SS %s\n", rows[i].key);
        else
            print_manual_row(out, &rows[i]);
    }
}

/* The smallest file that serves: the example's values of the keys that the example sets. */
static void print_manual_example(FILE *out)
{
    const struct cfg_directive *d = NULL;
    fputs(".SH EXAMPLE\n.nf\n.RS\ngroups:\n  shop:\n", out);
    while ((d = cfg_directive_next(CFG_SCOPE_GROUP, d)) != NULL) {
        if (!(d->flags & CFG_IN_EXAMPLE))
            continue;
        fputs("    ", out);
        print_roff(out, d->key);
        fputs(": ", out);
        print_roff(out, example_of(d));
        fputc('\n', out);
    }
    fputs(".RE\n.fi\n", out);
}

void cfg_print_manual(FILE *out)
{
    fputs(manual_head, out);
    fputs(".SH GLOBAL KEYS\n", out);
    print_manual_scope(out, CFG_SCOPE_GLOBAL);
    fputs(".SH GROUP KEYS\n", out);
    print_manual_scope(out, CFG_SCOPE_GROUP);
    fputs(".SH APPLICATION KEYS\nEach entry of a group\\(aqs \\fBapplications\\fR is a mapping of these. Two "
          "entries "
          "cannot have the same mount.\n",
          out);
    print_manual_scope(out, CFG_SCOPE_APPLICATION);
    print_manual_example(out);
    fputs(manual_tail, out);
}

/* The example file ------------------------------------------------------------------------------------- */

static const char example_head[] = "# Configuration of pyfpm, with every key it knows. A key that is "
                                   "commented out shows its default, or an example\n"
                                   "# where it has none. pyfpm.yaml(5) says what holds for all of them; "
                                   "\"pyfpm check\" tries the file out.\n\n";

/* A comment, broken between words. */
static void print_comment(FILE *out, int indent, const char *text)
{
    while (*text != '\0') {
        size_t width = (size_t)(EXAMPLE_WIDTH - indent), length = strlen(text);
        if (length > width) {
            for (length = width; length > 0 && text[length] != ' '; length--)
                ;
            length = length > 0 ? length : strcspn(text, " ");
        }
        fprintf(out, "%*s# %.*s\n", indent, "", (int)length, text);
        text += length;
        text += strspn(text, " ");
    }
}

/* The keys of the mappings in a list of them. */
static void print_example_keys(FILE *out, int indent, enum cfg_scope scope)
{
    const struct cfg_directive *d = NULL;
    fprintf(out, "%*s# Its keys:\n", indent, "");
    while ((d = cfg_directive_next(scope, d)) != NULL) {
        char comment[2048], type[256], preset[256];
        describe_type(d, type, sizeof(type));
        describe_default(d, preset, sizeof(preset));
        snprintf(comment, sizeof(comment), "%s: %s (%s; %s)", d->key, d->sentence, type, preset);
        print_comment(out, indent, comment);
    }
}

static void print_example_row(FILE *out, int indent, const struct cfg_directive *d)
{
    char comment[2048], type[256], gaps[256];
    describe_type(d, type, sizeof(type));
    describe_gaps(d, gaps, sizeof(gaps));
    snprintf(comment, sizeof(comment), "%s (%s%s)%s%s", d->sentence, type,
             d->default_text == NULL && !(d->flags & CFG_REQUIRED) ? "; no default" : "",
             gaps[0] == '\0' ? "" : " ", gaps);
    print_comment(out, indent, comment);
    if (d->type == CFG_TYPE_TREE)
        print_example_keys(out, indent, CFG_SCOPE_APPLICATION);
    fprintf(out, "%*s%s%s: %s\n\n", indent, "", d->flags & CFG_IN_EXAMPLE ? "" : "# ", d->key, example_of(d));
}

static void print_example_scope(FILE *out, int indent, enum cfg_scope scope)
{
    size_t count;
    const struct cfg_directive *rows = cfg_directives(&count);
    for (size_t i = 0; i < count; i++) {
        if (rows[i].scope != scope)
            continue;
        if (rows[i].type == CFG_TYPE_HEADING)
            fprintf(out, "%*s# ---- %s ----\n\n", indent, "", rows[i].key);
        else
            print_example_row(out, indent, &rows[i]);
    }
}

void cfg_print_example(FILE *out)
{
    fputs(example_head, out);
    fputs("global:\n", out);
    print_example_scope(out, 2, CFG_SCOPE_GLOBAL);
    fputs("# What every group starts from: any key of a group.\n# defaults:\n#   listen: "
          "/run/pyfpm/$group.sock\n#   listen-group: www-data\n\n",
          out);
    fputs("groups:\n  shop: # the group's name, which is also $group in its values\n", out);
    print_example_scope(out, 4, CFG_SCOPE_GROUP);
}
