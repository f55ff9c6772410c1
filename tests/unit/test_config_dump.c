/* links: base config
 *
 * The way out: dump, the group that a host is given, copies, and the documents made from the table. */
#include "test_config_common.h"

#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "base/stamp.h"
#include "config/fields.h"

/* Every kind of text that YAML, shells or we could take for something else. */
static const char *const odd_texts[] = {
    "a",
    " leading",
    "trailing ",
    "two\nlines\n",
    "\n",
    "\ttab",
    "$group",
    "${HOME}",
    "$$",
    "it's",
    "say \"hi\"",
    "back\\slash",
    "null",
    "~",
    "true",
    "off",
    "y",
    "0644",
    "1.5",
    "a: b",
    "a:",
    "- a",
    "# a",
    "a #b",
    "&a",
    "*a",
    "!a",
    "%a",
    "@a",
    "`a",
    "[a",
    "{a",
    "|",
    ">",
    "---",
    "...",
    "\x1b[31m",
    "\x7f\x01\x1f",
    "\r\n",
    "caf\xc3\xa9",
    "\xe2\x82\xac",
    "\xc2\x85",
    "\xc2\x9f",
    "\xc2\xa0x",
    "\xe2\x80\xa8",
    "\xe2\x80\xa9\xe2\x80\xae",
    "\xef\xbb\xbf",
    "\xf0\x9f\x98\x80",
    "\xf3\xa0\x80\x81",
    "\xef\xbf\xbe",
    "\xf4\x8f\xbf\xbf",
    "=",
    "<<",
};
enum { ODD_TEXT_COUNT = sizeof(odd_texts) / sizeof(odd_texts[0]) };

static char *dump_to_text(const struct cfg *c)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    cfg_dump(c, out);
    assert_int_equal(fclose(out), 0);
    return text;
}

static void assert_equal_groups(const struct cfg_group *a, const struct cfg_group *b)
{
    assert_string_equal(a->name, b->name);
    assert_true(cfg_fields_are_equal(CFG_SCOPE_GROUP, a, b));
}

static void assert_dump_reads_as_the_same(const struct cfg *c)
{
    char *text = dump_to_text(c);
    struct cfg_report report = {0};
    struct cfg *again = load_text(text, &as_root, &report);
    if (again == NULL) {
        print_message("%s", text);
        print_report(&report);
    }
    assert_non_null(again);
    assert_true(cfg_fields_are_equal(CFG_SCOPE_GLOBAL, &c->global, &again->global));
    assert_int_equal(c->group_count, again->group_count);
    for (size_t i = 0; i < c->group_count; i++)
        assert_equal_groups(c->groups[i], again->groups[i]);
    cfg_free(again);
    cfg_report_free(&report);
    free(text);
}

/* Random values by the rows ---------------------------------------------------------------------------- */

static uint32_t random_state;

static uint32_t random_below(uint32_t bound)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % bound;
}

static const char *odd_text(void)
{
    return odd_texts[random_below(ODD_TEXT_COUNT)];
}

/* A value that the row accepts. */
static void random_string(const struct cfg_directive *d, char *text, size_t size)
{
    static const char *const applications[] = {"a:b", "pkg.mod:make()", "a.b.c:d.e"};
    if (d->rule == cfg_rule_watched && random_below(2))
        snprintf(text, size, "%s", random_below(2) ? CFG_WATCH_SCRIPT : CFG_WATCH_ENVIRONMENT);
    else if (d->rule == cfg_rule_absolute || d->rule == cfg_rule_log || d->rule == cfg_rule_watched)
        snprintf(text, size, "/%s/%s", odd_text(), odd_text());
    else if (d->rule == cfg_rule_listen || d->rule == cfg_rule_control)
        snprintf(text, size, "/run/%u%s", random_below(1000000), odd_text());
    else if (d->rule == cfg_rule_application)
        snprintf(text, size, "%s", applications[random_below(3)]);
    else if (d->rule == cfg_rule_identifier)
        snprintf(text, size, "name%u", random_below(100));
    else if (d->rule == cfg_rule_python_version)
        snprintf(text, size, "3.%u%s", 8 + random_below(7), random_below(2) ? "t" : "");
    else if (d->rule == cfg_rule_client)
        snprintf(text, size, random_below(2) ? "10.%u.0.0/16" : "fe80::%x", random_below(256));
    else if (d->rule == cfg_rule_mount)
        snprintf(text, size, "/%u%s", random_below(1000000), odd_text());
    else if (d->rule == cfg_rule_request_path)
        snprintf(text, size, "/%u?%u", random_below(1000), random_below(1000));
    else if (d->rule == cfg_rule_interpreter)
        snprintf(text, size, "%u-n.a_me", random_below(100));
    else
        snprintf(text, size, "%s", odd_text());
}

static void randomize_application(struct cfg_applications *tree);

static void randomize_field(const struct cfg_directive *d, void *fields)
{
    union cfg_field field = cfg_field_of(d, fields);
    struct err e;
    char text[256], name[128];
    switch (d->type) {
    case CFG_TYPE_BOOL:
        *field.flag = random_below(2);
        break;
    case CFG_TYPE_NUMBER:
        *field.number = d->min + (int64_t)(((uint64_t)random_below(1 << 24) << 24 | random_below(1 << 24)) %
                                           (uint64_t)(d->max - d->min + 1));
        break;
    case CFG_TYPE_WORD:
        *field.word = (int)random_below((uint32_t)d->words_available);
        break;
    case CFG_TYPE_STRING:
        random_string(d, text, sizeof(text));
        assert_int_equal(cfg_field_set(d, fields, text, &e), 0);
        break;
    case CFG_TYPE_LIST:
        for (uint32_t i = random_below(5); i > 0; i--) {
            random_string(d, text, sizeof(text));
            assert_int_equal(cfg_field_set(d, fields, text, &e), 0);
        }
        break;
    case CFG_TYPE_MAP:
        for (uint32_t i = random_below(9); i > 0; i--) {
            static const char *const names[] = {
                "A",           "a b",          "$group", "${X}", "null", "-", "#",
                "caf\xc3\xa9", "\xe2\x80\xae", "'",      "\"",   "<<",   "?", ""};
            snprintf(name, sizeof(name), "%s%s", names[random_below(14)], names[random_below(14)]);
            if (name[0] != '\0')
                assert_int_equal(
                    cfg_field_set_variable(d, fields, name, random_below(4) ? odd_text() : "", &e), 0);
        }
        break;
    case CFG_TYPE_TREE:
        for (uint32_t i = random_below(4); i > 0; i--)
            randomize_application(field.tree);
        break;
    case CFG_TYPE_HEADING:
        break;
    }
}

static void randomize(enum cfg_scope scope, void *fields)
{
    const struct cfg_directive *d = NULL;
    while ((d = cfg_directive_next(scope, d)) != NULL) {
        if (!(d->flags & (CFG_NOT_YET | CFG_USED_UP)) && ((d->flags & CFG_REQUIRED) || random_below(3) > 0))
            randomize_field(d, fields);
    }
}

/* One more, with one of script and application. */
static void randomize_application(struct cfg_applications *tree)
{
    struct err e;
    struct cfg_application *a = cfg_applications_add(tree, &e);
    assert_non_null(a);
    a->place.file = "";
    randomize(CFG_SCOPE_APPLICATION, a);
    while (cfg_rule_mount(a->mount, &e) != 0) { /* what ends in a slash, for instance */
        free(a->mount);
        a->mount = NULL;
        randomize_field(cfg_directive_find(CFG_SCOPE_APPLICATION, "mount"), a);
    }
    if (a->application == NULL && a->script == NULL)
        a->script = strdup("/app.wsgi");
    if (a->application != NULL) {
        free(a->script);
        a->script = NULL;
    }
}

static void drop_list(struct cfg_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct cfg_list){0};
}

static void keep_one_application(struct cfg_group *g)
{
    if (g->applications.count > 0 || g->application != NULL)
        drop_list(&g->script_root);
    if (g->applications.count > 0 || g->application != NULL || g->script_root.count > 0) {
        free(g->script);
        g->script = NULL;
    }
    if (g->applications.count > 0) {
        free(g->application);
        g->application = NULL;
    }
    if (g->applications.count == 0 && g->application == NULL && g->script_root.count == 0 &&
        g->script == NULL)
        g->script = strdup("/app.wsgi");
}

static struct cfg_group *random_group(unsigned number)
{
    struct err e;
    struct cfg_group *g = calloc(1, sizeof(*g));
    char name[16];
    assert_non_null(g);
    snprintf(name, sizeof(name), "g%u", number);
    g->name = strdup(name);
    g->place.file = "";
    assert_int_equal(cfg_fields_init(CFG_SCOPE_GROUP, g, &e), 0);
    randomize(CFG_SCOPE_GROUP, g);
    g->allow_root = true; /* what the rules between keys want */
    g->restart_delay_max_ms = 86400000;
    if (g->pm == CFG_PM_DYNAMIC) { /* within processes, and in order */
        g->min_spare = g->start = 1;
        g->max_spare = g->processes;
    }
    keep_one_application(g);
    return g;
}

static struct cfg *random_configuration(void)
{
    struct err e;
    struct cfg *c = calloc(1, sizeof(*c));
    assert_non_null(c);
    assert_int_equal(cfg_fields_init(CFG_SCOPE_GLOBAL, &c->global, &e), 0);
    randomize(CFG_SCOPE_GLOBAL, &c->global);
    size_t count = 1 + random_below(3);
    c->groups = calloc(count, sizeof(struct cfg_group *));
    for (; c->group_count < count; c->group_count++)
        c->groups[c->group_count] = random_group((unsigned)c->group_count);
    return c;
}

/* Dump ------------------------------------------------------------------------------------------------- */

static void test_a_dump_reads_as_the_same_configuration(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 500; seed++) {
        random_state = seed * 7919u;
        struct cfg *c = random_configuration();
        assert_dump_reads_as_the_same(c);
        cfg_free(c);
    }
}

static void test_a_dump_fills_every_default_in(void **state)
{
    size_t count;
    const struct cfg_directive *rows = cfg_directives(&count);
    (void)state;
    struct cfg *c = load_well("groups: {shop: {listen: /a, script: /b}}", &as_user);
    char *text = dump_to_text(c);
    for (size_t i = 0; i < count; i++) {
        char key[64], comment[64];
        const char *indent = rows[i].scope == CFG_SCOPE_GLOBAL ? "  " : "    ";
        if (rows[i].type == CFG_TYPE_HEADING || rows[i].scope == CFG_SCOPE_APPLICATION)
            continue;
        snprintf(key, sizeof(key), "\n%s%s:", indent, rows[i].key);
        snprintf(comment, sizeof(comment), "\n%s# %s:", indent, rows[i].key);
        bool has_key = strstr(text, key) != NULL, has_comment = strstr(text, comment) != NULL;
        bool has_value = !(rows[i].flags & (CFG_NOT_YET | CFG_USED_UP)) &&
                         (rows[i].default_text != NULL || (rows[i].flags & CFG_REQUIRED) ||
                          strcmp(rows[i].key, "script") == 0);
        if (has_key != has_value || has_comment == has_value)
            fail_msg("%s is dumped wrongly:\n%s", rows[i].key, text);
    }
    assert_non_null(strstr(text, "\n    listen-mode: 0660\n"));
    assert_non_null(strstr(text, "\n    io-timeout: 1m\n"));
    assert_non_null(strstr(text, "\n    # access-format: (not available in this version of pyfpm)\n"));
    free(text);
    cfg_free(c);
}

static void test_a_dump_has_each_application_with_its_defaults(void **state)
{
    (void)state;
    struct cfg *c = load_well(
        "groups: {shop: {listen: /a, allow-root: true, applications: [{mount: /, application: 'a:b'}, "
        "{mount: /x, script: /x.wsgi, interpreter: x, callable: app, python-path: /v}]}}",
        &as_user);
    char *text = dump_to_text(c);
    const char *wanted = "\n    applications:\n"
                         "      - mount: /\n"
                         "        # script: (not given)\n"
                         "        application: a:b\n"
                         "        # callable: (not given)\n"
                         "        interpreter: main\n"
                         "        python-path: []\n"
                         "      - mount: /x\n"
                         "        script: /x.wsgi\n"
                         "        # application: (not given)\n"
                         "        callable: app\n"
                         "        interpreter: x\n"
                         "        python-path:\n"
                         "          - /v\n";
    if (strstr(text, wanted) == NULL)
        fail_msg("%s", text);
    assert_dump_reads_as_the_same(c);
    free(text);
    cfg_free(c);
}

static void test_a_dump_of_included_groups_does_not_include_again(void **state)
{
    (void)state;
    struct cfg *c = load_well("global: {include: groups.d/*}\ngroups: {shop: {listen: /a, script: /b}}",
                              &as_user);
    char *text = dump_to_text(c);
    assert_non_null(strstr(text, "\n  # include:"));
    assert_null(strstr(text, "\n  include:"));
    free(text);
    cfg_free(c);
}

/* What a host is given --------------------------------------------------------------------------------- */

static struct cfg_group *pass_on(const struct cfg_group *g)
{
    struct err e;
    int fd = fd_memory("group");
    assert_true(fd >= 0);
    assert_int_equal(cfg_group_write(g, fd, &e), 0);
    struct cfg_group *received = cfg_group_read(fd, &e);
    if (received == NULL)
        print_message("%s\n", e.text);
    assert_non_null(received);
    fd_close(&fd);
    return received;
}

static void test_a_host_reads_what_the_supervisor_wrote(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 500; seed++) {
        random_state = seed * 104729u;
        struct cfg_group *g = random_group(1);
        struct cfg_group *received = pass_on(g);
        assert_equal_groups(g, received);
        assert_string_equal(received->place.file, "");
        cfg_group_free(received);
        cfg_group_free(g);
    }
}

static void test_each_odd_text_survives_the_way_to_the_host(void **state)
{
    (void)state;
    for (size_t i = 0; i < ODD_TEXT_COUNT; i++) {
        struct err e;
        struct cfg_group *g = random_group(1);
        const struct cfg_directive *env = cfg_directive_find(CFG_SCOPE_GROUP, "env");
        assert_int_equal(cfg_field_set_variable(env, g, "ODD", odd_texts[i], &e), 0);
        struct cfg_group *received = pass_on(g);
        size_t at = 0;
        while (strcmp(received->env.pairs[at].name, "ODD") != 0)
            at++;
        assert_string_equal(received->env.pairs[at].value, odd_texts[i]);
        cfg_group_free(received);
        cfg_group_free(g);
    }
}

static void assert_stamp_refused(const char *text, const char *sentence)
{
    struct err e = {""};
    int fd = fd_memory("group");
    assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
    assert_int_equal(cfg_group_check_stamp(fd, &e), -1);
    if (strstr(e.text, sentence) == NULL)
        fail_msg("%s", e.text);
    fd_close(&fd);
}

static void test_a_host_of_other_sources_is_told_apart(void **state)
{
    (void)state;
    struct err e = {""};
    char line[128];
    struct cfg_group *g = random_group(1);
    int fd = fd_memory("group");
    assert_int_equal(cfg_group_write(g, fd, &e), 0);
    assert_int_equal(cfg_group_check_stamp(fd, &e), 0);
    fd_close(&fd);
    cfg_group_free(g);

    assert_stamp_refused("# pyfpm 0.0.1-000000000000\ngroups: {}\n",
                         "the pyfpm that started it from 0.0.1-0");
    assert_stamp_refused("groups: {}\n", "the pyfpm that started it from one without a stamp");
    assert_stamp_refused("", stamp_of_build());
    snprintf(line, sizeof line, "# pyfpm %sx\n", stamp_of_build());
    assert_stamp_refused(line, stamp_of_build());
    assert_int_equal(cfg_group_check_stamp(-1, &e), -1);
}

static void test_a_host_does_not_ask_for_a_user_again(void **state)
{
    (void)state;
    struct cfg *c = load_well(
        "groups: {shop: {listen: /a, script: /b, chroot: /c, user: root, allow-root: true}}", &as_root);
    c->groups[0]->allow_root = false;
    struct cfg_group *received = pass_on(c->groups[0]);
    assert_equal_groups(c->groups[0], received);
    cfg_group_free(received);
    cfg_free(c);
}

static void test_what_is_no_group_is_refused_by_a_host(void **state)
{
    static const char *const texts[] = {"", "groups: {}",
                                        "groups: {a: {listen: /a, script: /b}, b: {listen: /c, script: /b}}",
                                        "\xff", "groups: {a: {threads: x}}"};
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct err e = {""};
        int fd = fd_memory("group");
        assert_int_equal(fd_write_all(fd, texts[i], strlen(texts[i])), 0);
        assert_null(cfg_group_read(fd, &e));
        assert_non_null(strstr(e.text, "the group's configuration cannot be read: "));
        fd_close(&fd);
    }
}

/* Copies ----------------------------------------------------------------------------------------------- */

static void test_a_copy_is_equal_and_its_own(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 100; seed++) {
        random_state = seed;
        struct cfg_group *g = random_group(1);
        struct cfg_group *first = cfg_group_copy(g), *second = cfg_group_copy(g);
        assert_non_null(first);
        assert_non_null(second);
        assert_equal_groups(g, first);
        cfg_group_free(g);
        assert_equal_groups(first, second);
        assert_string_equal(first->place.file, "");
        cfg_group_free(first);
        cfg_group_free(second);
    }
}

static void test_a_difference_in_any_field_is_seen(void **state)
{
    const struct cfg_directive *d = NULL;
    (void)state;
    random_state = 42;
    while ((d = cfg_directive_next(CFG_SCOPE_GROUP, d)) != NULL) {
        if (d->flags & CFG_NOT_YET)
            continue;
        struct err e;
        struct cfg_group a = {0}, b = {0};
        assert_int_equal(cfg_fields_init(CFG_SCOPE_GROUP, &a, &e), 0);
        assert_int_equal(cfg_fields_init(CFG_SCOPE_GROUP, &b, &e), 0);
        assert_true(cfg_fields_are_equal(CFG_SCOPE_GROUP, &a, &b));
        for (int tries = 0; tries < 100 && cfg_fields_are_equal(CFG_SCOPE_GROUP, &a, &b); tries++)
            randomize_field(d, &b);
        if (d->type != CFG_TYPE_WORD || d->words_available > 1)
            assert_false(cfg_fields_are_equal(CFG_SCOPE_GROUP, &a, &b));
        cfg_fields_free(CFG_SCOPE_GROUP, &a);
        cfg_fields_free(CFG_SCOPE_GROUP, &b);
    }
}

/* Documents -------------------------------------------------------------------------------------------- */

static char *document(void (*print)(FILE *))
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    print(out);
    assert_int_equal(fclose(out), 0);
    return text;
}

static void test_the_example_is_a_configuration(void **state)
{
    (void)state;
    char *text = document(cfg_print_example);
    struct cfg *c = load_well(text, &as_root);
    assert_string_equal(c->groups[0]->name, "shop");
    assert_string_equal(c->groups[0]->listen, "/run/pyfpm/shop.sock");
    cfg_free(c);
    cfg_free(load_well(text, &as_user));
    free(text);
}

/* Appends the key as man(7) source has it. */
static void print_roff_key(char *text, const char *key)
{
    strcpy(text, "\n\\fB");
    for (char *out = text + strlen(text); *key != '\0'; key++) {
        if (*key == '-')
            *out++ = '\\';
        *out++ = *key;
        *out = '\0';
    }
    strcat(text, "\\fR (");
}

static void test_every_key_is_in_the_documents(void **state)
{
    size_t count;
    const struct cfg_directive *rows = cfg_directives(&count);
    (void)state;
    char *manual = document(cfg_print_manual), *example = document(cfg_print_example);
    for (size_t i = 0; i < count; i++) {
        char text[128];
        if (rows[i].type == CFG_TYPE_HEADING)
            continue;
        print_roff_key(text, rows[i].key);
        assert_non_null(strstr(manual, text));
        snprintf(text, sizeof(text), " %s: ", rows[i].key);
        assert_non_null(strstr(example, text));
    }
    free(manual);
    free(example);
}

static void test_rows_are_whole(void **state)
{
    size_t count;
    const struct cfg_directive *rows = cfg_directives(&count);
    (void)state;
    for (size_t i = 0; i < count; i++) {
        const struct cfg_directive *d = &rows[i];
        if (d->type == CFG_TYPE_HEADING)
            continue;
        assert_ptr_equal(cfg_directive_find(d->scope, d->key), d); /* no key stands twice */
        assert_non_null(d->sentence);
        assert_int_equal(d->sentence[strlen(d->sentence) - 1], '.');
        assert_true(d->example != NULL || d->default_text != NULL);
        assert_true(d->type != CFG_TYPE_NUMBER || d->min < d->max);
        assert_true(d->type != CFG_TYPE_WORD || d->words_available > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_dump_reads_as_the_same_configuration),
        cmocka_unit_test(test_a_dump_fills_every_default_in),
        cmocka_unit_test(test_a_dump_has_each_application_with_its_defaults),
        cmocka_unit_test(test_a_dump_of_included_groups_does_not_include_again),
        cmocka_unit_test(test_a_host_reads_what_the_supervisor_wrote),
        cmocka_unit_test(test_each_odd_text_survives_the_way_to_the_host),
        cmocka_unit_test(test_a_host_of_other_sources_is_told_apart),
        cmocka_unit_test(test_a_host_does_not_ask_for_a_user_again),
        cmocka_unit_test(test_what_is_no_group_is_refused_by_a_host),
        cmocka_unit_test(test_a_copy_is_equal_and_its_own),
        cmocka_unit_test(test_a_difference_in_any_field_is_seen),
        cmocka_unit_test(test_the_example_is_a_configuration),
        cmocka_unit_test(test_every_key_is_in_the_documents),
        cmocka_unit_test(test_rows_are_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
