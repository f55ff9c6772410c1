/* Puts together what a host tells of its environment, in pieces, into one JSON object of a known shape.
 *
 * The sender runs the group's code and may send anything: too much, not JSON, other keys, other types. What
 * comes out has the keys and types of the tables below and nothing else, so those who read it need not ask
 * again. Plain data in the process of pyfpm check. */
#include "pm/explain.h"

#include "config/config.h"
#include "config/venv_facts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOTAL_SIZE_MAX (4 * 1024 * 1024)
#define LIST_MAX       2000
#define STRING_MAX     8192

/* The shape -----------------------------------------------------------------------------------------------
 */

enum kind { KIND_STRING, KIND_NUMBER, KIND_BOOL, KIND_OBJECT, KIND_OBJECTS, KIND_STRINGS };

struct field {
    const char *key;
    enum kind kind;
    const struct field *fields; /* of an object, or of each in a list of objects */
};

static const struct field python_fields[] = {
    {"host", KIND_STRING, NULL},
    {"version", KIND_STRING, NULL},
    {"abi", KIND_STRING, NULL},
    {"library", KIND_STRING, NULL},
    {"prefix", KIND_STRING, NULL},
    {"base_prefix", KIND_STRING, NULL},
    {"executable", KIND_STRING, NULL},
    {"executable_works", KIND_BOOL, NULL},
    {"standard_library", KIND_STRING, NULL},
    {0},
};
static const struct field baseline_fields[] = {
    {"kind", KIND_STRING, NULL},
    {"path", KIND_STRING, NULL},
    {"version", KIND_STRING, NULL},
    {"said_by", KIND_STRING, NULL},
    {"made_from", KIND_STRING, NULL},
    {"problem", KIND_STRING, NULL},
    {0},
};
static const struct field overlay_fields[] = {{"item", KIND_STRING, NULL},
                                              {"mount", KIND_STRING, NULL},
                                              {"folder", KIND_STRING, NULL},
                                              {"problem", KIND_STRING, NULL},
                                              {0}};
static const struct field closed_fields[] = {
    {"for", KIND_STRING, NULL}, {"path", KIND_STRING, NULL}, {"component", KIND_STRING, NULL}, {0}};
static const struct field path_fields[] = {
    {"entry", KIND_STRING, NULL},
    {"origin", KIND_STRING, NULL},
    {"item", KIND_NUMBER, NULL},
    {"item_text", KIND_STRING, NULL},
    {"mount", KIND_STRING, NULL},
    {"file", KIND_STRING, NULL},
    {"line", KIND_NUMBER, NULL},
    {"candidates", KIND_STRINGS, NULL},
    {"zip", KIND_BOOL, NULL},
    {"state", KIND_STRING, NULL},
    {0},
};
static const struct field pth_fields[] = {
    {"file", KIND_STRING, NULL}, {"line", KIND_NUMBER, NULL}, {"path", KIND_STRING, NULL}, {0}};
static const struct field finder_fields[] = {{"name", KIND_STRING, NULL},
                                             {"origin", KIND_STRING, NULL},
                                             {"candidates", KIND_STRINGS, NULL},
                                             {"maps", KIND_STRINGS, NULL},
                                             {0}};
static const struct field shadow_fields[] = {
    {"module", KIND_STRING, NULL}, {"file", KIND_STRING, NULL}, {"instead_of", KIND_STRING, NULL}, {0}};
static const struct field place_fields[] = {
    {"version", KIND_STRING, NULL}, {"folder", KIND_STRING, NULL}, {0}};
static const struct field duplicate_fields[] = {{"name", KIND_STRING, NULL},
                                                {"version", KIND_STRING, NULL},
                                                {"folder", KIND_STRING, NULL},
                                                {"shadows", KIND_OBJECTS, place_fields},
                                                {0}};
static const struct field extension_fields[] = {
    {"file", KIND_STRING, NULL}, {"built_for", KIND_STRING, NULL}, {0}};

static const struct field facts_fields[] = {
    {"uid", KIND_NUMBER, NULL},
    {"user", KIND_STRING, NULL},
    {"baseline", KIND_OBJECT, baseline_fields},
    {"python", KIND_OBJECT, python_fields},
    {"overlay", KIND_OBJECTS, overlay_fields},
    {"path", KIND_OBJECTS, path_fields},
    {"pth_missing", KIND_OBJECTS, pth_fields},
    {"finders", KIND_OBJECTS, finder_fields},
    {"duplicates", KIND_OBJECTS, duplicate_fields},
    {"stdlib_shadows", KIND_OBJECTS, shadow_fields},
    {"extensions", KIND_OBJECTS, extension_fields},
    {"extension_count", KIND_NUMBER, NULL},
    {"extensions_cut", KIND_BOOL, NULL},
    {"closed", KIND_OBJECTS, closed_fields},
    {"notes", KIND_STRINGS, NULL},
    {0},
};

/* Pieces ---------------------------------------------------------------------------------------------------
 */

/* The application could send these as well, had it not been told of in time who does. The kernel says who
 * sent m. */
static bool is_forged(const struct pm_explain *x, const struct wire_msg *m, uint32_t section)
{
    return section != WIRE_EXPLAIN_FILES && (x->sender == 0 || m->sender != x->sender);
}

void pm_explain_take(struct pm_explain *x, const struct wire_msg *m)
{
    uint32_t number = m->flags & ~(uint32_t)WIRE_EXPLAIN_END;
    if (number == WIRE_EXPLAIN_SENDER && x->sender == 0)
        x->sender = (pid_t)m->serial;
    if (number >= WIRE_EXPLAIN_SECTIONS || is_forged(x, m, number))
        return;
    struct pm_explain_section *section = &x->sections[number];
    size_t total = m->text_size;
    for (size_t i = 0; i < WIRE_EXPLAIN_SECTIONS; i++)
        total += x->sections[i].size;
    if (section->is_complete)
        return;
    char *larger = total > TOTAL_SIZE_MAX ? NULL : realloc(section->text, section->size + m->text_size + 1);
    if (!larger) {
        x->is_too_long = true;
    } else {
        memcpy(larger + section->size, m->text, m->text_size);
        section->text = larger;
        section->size += m->text_size;
    }
    section->is_complete = m->flags & WIRE_EXPLAIN_END;
}

bool pm_explain_is_awaited(const struct pm_explain *x)
{
    for (size_t i = 0; i < WIRE_EXPLAIN_SECTIONS; i++)
        if (!x->sections[i].is_complete)
            return true;
    return false;
}

void pm_explain_free(struct pm_explain *x)
{
    for (size_t i = 0; i < WIRE_EXPLAIN_SECTIONS; i++)
        free(x->sections[i].text);
    memset(x, 0, sizeof *x);
}

/* Into shape ----------------------------------------------------------------------------------------- */

static json_t *shape_string(json_t *value)
{
    size_t size = json_string_length(value);
    const char *text = json_string_value(value);
    if (!text)
        return NULL;
    if (size <= STRING_MAX)
        return json_incref(value);
    size = STRING_MAX;
    while (size > 0 && ((unsigned char)text[size] & 0xc0) == 0x80)
        size--;
    return json_stringn(text, size);
}

static json_t *shape_object(json_t *object, const struct field *fields);

static json_t *shape_list(json_t *list, const struct field *fields)
{
    json_t *shaped = json_is_array(list) ? json_array() : NULL;
    for (size_t i = 0; shaped && i < json_array_size(list) && i < LIST_MAX; i++) {
        json_t *item = json_array_get(list, i);
        json_t *good = fields ? shape_object(item, fields) : shape_string(item);
        if (good)
            json_array_append_new(shaped, good);
    }
    return shaped;
}

static json_t *shape_value(json_t *value, const struct field *field)
{
    switch (field->kind) {
    case KIND_STRING:
        return shape_string(value);
    case KIND_NUMBER:
        return json_is_integer(value) ? json_incref(value) : NULL;
    case KIND_BOOL:
        return json_is_boolean(value) ? json_incref(value) : NULL;
    case KIND_OBJECT:
        return shape_object(value, field->fields);
    case KIND_OBJECTS:
    case KIND_STRINGS:
        return shape_list(value, field->fields);
    }
    return NULL;
}

/* New reference, or NULL when it is no object. */
static json_t *shape_object(json_t *object, const struct field *fields)
{
    json_t *shaped = json_is_object(object) ? json_object() : NULL;
    for (; shaped && fields->key; fields++) {
        json_t *good = shape_value(json_object_get(object, fields->key), fields);
        if (good)
            json_object_set_new(shaped, fields->key, good);
    }
    return shaped;
}

/* Together ------------------------------------------------------------------------------------------- */

/* Adds to facts: objects grow key by key, lists at their end, anything else is replaced. */
static void merge(json_t *facts, json_t *more)
{
    const char *key;
    json_t *value;
    json_object_foreach(more, key, value)
    {
        json_t *there = json_object_get(facts, key);
        if (json_is_object(there) && json_is_object(value))
            json_object_update(there, value);
        else if (json_is_array(there) && json_is_array(value))
            json_array_extend(there, value);
        else
            json_object_set(facts, key, value);
    }
}

static void add_note(json_t *facts, const char *note)
{
    json_t *notes = json_object_get(facts, "notes");
    if (!notes) {
        notes = json_array();
        json_object_set_new(facts, "notes", notes);
    }
    json_array_append_new(notes, json_string(note));
}

/* False when it is nothing that can be read. */
static bool merge_text(json_t *facts, const char *text, size_t size)
{
    json_error_t ignored; /* where it is wrong helps nobody: a program wrote it */
    json_t *sent = json_loadb(text, size, 0, &ignored);
    json_t *shaped = shape_object(sent, facts_fields);
    if (shaped)
        merge(facts, shaped);
    json_decref(sent);
    json_decref(shaped);
    return shaped != NULL;
}

static void merge_own_view(json_t *facts, const struct cfg_group *group)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return;
    venv_write_facts(group, NULL, out);
    if (fclose(out) == 0)
        merge_text(facts, text, size);
    free(text);
    json_object_del(facts, "uid");
    json_object_del(facts, "user");
    add_note(facts, "no host told of this group; this is what pyfpm itself sees, as its own user");
}

static void merge_section(json_t *facts, const struct pm_explain_section *section, const char *what)
{
    char note[256];
    if (section->is_complete && section->text && merge_text(facts, section->text, section->size))
        return;
    snprintf(note, sizeof note, "the host did not tell %s%s", what,
             section->size > 0 ? ": what came cannot be read" : "");
    add_note(facts, note);
}

json_t *pm_explain_facts(const struct pm_explain *x, const struct cfg_group *group)
{
    json_t *facts = json_object();
    const struct pm_explain_section *files = &x->sections[WIRE_EXPLAIN_FILES];
    if (!facts)
        return NULL;
    if (!files->is_complete || !merge_text(facts, files->text, files->size)) {
        merge_own_view(facts, group);
        return facts;
    }
    const struct pm_explain_section *path = &x->sections[WIRE_EXPLAIN_PATH];
    const struct pm_explain_section *installed = &x->sections[WIRE_EXPLAIN_INSTALLED];
    if (path->size > 0 || installed->size > 0) {
        merge_section(facts, path, "what makes up sys.path");
        merge_section(facts, installed, "what is installed");
    } else {
        add_note(facts, "it did not get as far as sys.path");
    }
    if (x->is_too_long)
        add_note(facts, "the host told more than 4 MiB; the rest was left out");
    return facts;
}
