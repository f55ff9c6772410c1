/* Reads the file, then the files it includes, and makes one configuration of them.
 *
 * Walks the top of each file (global, defaults, groups) and leaves what is in a group to apply.c and the
 * rules between keys to check.c. Nothing is returned unless everything is well: a reload then simply keeps
 * what it has. Runs in a process with one thread; no state outlives a load. */
#include "config/loader.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "config/fields.h"
#include "config/report.h"
#include "config/text.h"

#define FILE_SIZE_MAX (64u << 20)
#define GROUPS_MAX    4096

/* Bytes ------------------------------------------------------------------------------------------------ */

/* Reads from offset 0 to the end, whether or not the descriptor can seek. The caller frees *bytes. */
static int read_all(int fd, char **bytes, size_t *size, struct err *e)
{
    size_t capacity = 0;
    *bytes = NULL;
    *size = 0;
    for (;;) {
        if (*size == capacity) {
            capacity = capacity == 0 ? 16384 : capacity * 2;
            char *grown = capacity > FILE_SIZE_MAX ? NULL : realloc(*bytes, capacity);
            if (grown == NULL)
                return err_set(e, capacity > FILE_SIZE_MAX ? "the file is too large" : "out of memory");
            *bytes = grown;
        }
        ssize_t got = pread(fd, *bytes + *size, capacity - *size, (off_t)*size);
        if (got < 0 && errno == ESPIPE)
            got = read(fd, *bytes + *size, capacity - *size);
        if (got < 0 && errno != EINTR)
            return err_errno(e, "cannot be read");
        if (got == 0)
            return 0;
        *size += got < 0 ? 0 : (size_t)got;
    }
}

/* An included file: opened without waiting, since a pattern may well meet a pipe, where a reload would hang.
 */
static int open_included(const char *path, struct err *e)
{
    struct stat about;
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, "cannot be opened");
    if (fstat(fd, &about) == 0 && S_ISREG(about.st_mode))
        return fd;
    fd_close(&fd);
    return err_set(e, "is not a regular file");
}

/* The file that was named may be a pipe of the shell. */
static int open_main(const char *path, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? err_errno(e, "cannot be opened") : fd;
}

/* Closes fd. An fd of -1 has set *e already. */
static int read_and_close(int fd, char **bytes, size_t *size, struct err *e)
{
    *bytes = NULL;
    if (fd < 0)
        return -1;
    int status = read_all(fd, bytes, size, e);
    fd_close(&fd);
    return status;
}

/* Groups ----------------------------------------------------------------------------------------------- */

static void report_no_memory(struct cfg_loading *l)
{
    struct cfg_place whole_file = {.file = l->cfg->files.count > 0 ? l->cfg->files.items[0] : ""};
    cfg_report_error(l->report, &whole_file, "out of memory");
}

static const struct cfg_group *find_draft(const struct cfg_loading *l, const char *name)
{
    for (size_t i = 0; i < l->group_count; i++) {
        if (strcmp(l->groups[i].group->name, name) == 0)
            return l->groups[i].group;
    }
    return NULL;
}

/* A group with every default, or NULL without memory. */
static struct cfg_group *new_group(const struct cfg_node *key)
{
    struct err ignored;
    struct cfg_group *group = calloc(1, sizeof(*group));
    if (group == NULL)
        return NULL;
    group->place = key->place;
    group->name = strdup(key->text);
    if (group->name != NULL && cfg_fields_init(CFG_SCOPE_GROUP, group, &ignored) == 0)
        return group;
    cfg_group_free(group);
    return NULL;
}

static struct cfg_draft *add_draft(struct cfg_loading *l, const struct cfg_node *key)
{
    struct cfg_draft *grown = realloc(l->groups, (l->group_count + 1) * sizeof(*grown));
    if (grown != NULL)
        l->groups = grown;
    struct cfg_group *group = grown == NULL ? NULL : new_group(key);
    if (group == NULL) {
        report_no_memory(l);
        return NULL;
    }
    struct cfg_draft *draft = &l->groups[l->group_count++];
    *draft = (struct cfg_draft){.scope = CFG_SCOPE_GROUP, .fields = group, .group = group};
    return draft;
}

static void load_group(struct cfg_loading *l, const struct cfg_node *key, const struct cfg_node *value)
{
    struct err e;
    if (cfg_rule_group_name(key->text, &e) != 0) {
        cfg_report_error(l->report, &key->place, "%s", e.text);
        return;
    }
    const struct cfg_group *twin = find_draft(l, key->text);
    if (twin != NULL && twin->place.file == key->place.file)
        return; /* a key given twice in one file: reported with the tree */
    if (twin != NULL) {
        cfg_report_error(l->report, &key->place, "group \"%s\" is given already at %s:%d:%d", key->text,
                         twin->place.file, twin->place.line, twin->place.column);
        return;
    }
    if (l->group_count == GROUPS_MAX) {
        cfg_report_error(l->report, &key->place, "there are more than %d groups", GROUPS_MAX);
        return;
    }
    struct cfg_draft *draft = add_draft(l, key);
    if (draft == NULL)
        return;
    cfg_apply(l, draft, l->defaults, true);
    cfg_apply(l, draft, value, false);
}

static void load_groups(struct cfg_loading *l, const struct cfg_node *groups)
{
    if (cfg_node_is_null(groups))
        return;
    if (groups->kind != CFG_NODE_MAPPING) {
        cfg_report_error(l->report, &groups->place,
                         "groups: a mapping of names and groups is expected here, not %s",
                         cfg_node_kind_name(groups));
        return;
    }
    for (size_t i = 0; i < groups->count; i++)
        load_group(l, groups->keys[i], groups->items[i]);
}

/* The top of a file ------------------------------------------------------------------------------------ */

static const struct cfg_node *find_top(const struct cfg_node *root, const char *key)
{
    for (size_t i = 0; root != NULL && root->kind == CFG_NODE_MAPPING && i < root->count; i++) {
        if (strcmp(root->keys[i]->text, key) == 0)
            return root->items[i];
    }
    return NULL;
}

static void report_top_key(struct cfg_loading *l, const struct cfg_node *key, bool is_included)
{
    static const char *const known[] = {"global", "defaults", "groups"};
    if (is_included) {
        cfg_report_error(l->report, &key->place,
                         "key \"%.120s\" cannot stand in an included file, which holds groups only",
                         key->text);
        return;
    }
    if (cfg_directive_find(CFG_SCOPE_GROUP, key->text) != NULL ||
        cfg_directive_find(CFG_SCOPE_GLOBAL, key->text) != NULL) {
        cfg_report_error(l->report, &key->place,
                         "key \"%s\" cannot stand at the top of the file (it belongs in %s)", key->text,
                         cfg_directive_find(CFG_SCOPE_GROUP, key->text) != NULL ? "a group" : "global");
        return;
    }
    for (size_t i = 0; i < 3; i++) {
        if (cfg_text_distance(key->text, known[i]) <= 2) {
            cfg_report_error(l->report, &key->place,
                             "unknown key \"%s\" at the top of the file (did you mean \"%s\"?)", key->text,
                             known[i]);
            return;
        }
    }
    cfg_report_error(l->report, &key->place,
                     "unknown key \"%.120s\" at the top of the file, which holds global, defaults and groups",
                     key->text);
}

static bool is_top_key(const char *key, bool is_included)
{
    return strcmp(key, "groups") == 0 ||
           (!is_included && (strcmp(key, "global") == 0 || strcmp(key, "defaults") == 0));
}

static void check_top(struct cfg_loading *l, const struct cfg_node *root, bool is_included)
{
    if (root == NULL || cfg_node_is_null(root))
        return;
    if (root->kind != CFG_NODE_MAPPING) {
        cfg_report_error(l->report, &root->place, "the file must be a mapping%s, not %s",
                         is_included ? " with groups" : " with groups, and perhaps global and defaults",
                         cfg_node_kind_name(root));
        return;
    }
    for (size_t i = 0; i < root->count; i++) {
        if (!is_top_key(root->keys[i]->text, is_included))
            report_top_key(l, root->keys[i], is_included);
    }
}

/* Defaults that no group reads would go unchecked. */
static void check_unused_defaults(struct cfg_loading *l)
{
    if (l->group_count > 0 || l->defaults == NULL)
        return;
    struct cfg_node nobody = {.place = l->defaults->place, .text = "nobody"};
    struct cfg_draft draft = {.scope = CFG_SCOPE_GROUP, .group = new_group(&nobody)};
    if (draft.group == NULL) {
        report_no_memory(l);
        return;
    }
    draft.fields = draft.group;
    cfg_apply(l, &draft, l->defaults, true);
    cfg_group_free(draft.group);
}

/* Includes --------------------------------------------------------------------------------------------- */

/* Two names can mean one file; reading it again would only produce errors about groups given twice. */
static bool is_read_already(const struct cfg_loading *l, const char *path)
{
    struct stat known, wanted;
    if (stat(path, &wanted) != 0)
        return false;
    for (size_t i = 0; i < l->cfg->files.count; i++) {
        if (stat(l->cfg->files.items[i], &known) == 0 && known.st_dev == wanted.st_dev &&
            known.st_ino == wanted.st_ino)
            return true;
    }
    return false;
}

static void include_file(struct cfg_loading *l, const char *path)
{
    struct err e;
    char *bytes = NULL;
    size_t size = 0;
    struct cfg_tree *tree = NULL;
    if (is_read_already(l, path))
        return;
    if (cfg_list_add(&l->cfg->files, path) != 0) {
        report_no_memory(l);
        return;
    }
    const char *file = l->cfg->files.items[l->cfg->files.count - 1];
    if (read_and_close(open_included(path, &e), &bytes, &size, &e) != 0)
        cfg_report_error(l->report, &(struct cfg_place){.file = file}, "%s", e.text);
    else
        tree = cfg_tree_parse(file, bytes, size, l->report);
    if (tree != NULL) {
        const struct cfg_node *groups = find_top(tree->root, "groups");
        check_top(l, tree->root, true);
        if (groups != NULL)
            load_groups(l, groups);
    }
    cfg_tree_free(tree);
    free(bytes);
}

/* Puts the folder of the including file, taken literally, before a relative pattern. The caller frees it. */
static char *anchor_pattern(const char *including, const char *pattern)
{
    const char *slash = strrchr(including, '/');
    if (pattern[0] == '/' || slash == NULL)
        return strdup(pattern);
    size_t folder_size = (size_t)(slash - including) + 1;
    char *anchored = malloc(folder_size * 2 + strlen(pattern) + 1), *out = anchored;
    if (anchored == NULL)
        return NULL;
    for (size_t i = 0; i < folder_size; i++) {
        if (strchr("*?[]\\", including[i]) != NULL)
            *out++ = '\\';
        *out++ = including[i];
    }
    strcpy(out, pattern);
    return anchored;
}

static int stop_at_unreadable_folder(const char *folder, int error)
{
    (void)folder;
    return error != ENOENT && error != ENOTDIR;
}

static void include_pattern(struct cfg_loading *l, const char *pattern)
{
    const struct cfg_place *place = &cfg_draft_given(&l->global, "include")->place;
    glob_t found = {0};
    char *anchored = anchor_pattern(l->cfg->files.items[0], pattern);
    int status = anchored == NULL ? GLOB_NOSPACE : glob(anchored, 0, stop_at_unreadable_folder, &found);
    if (status == GLOB_NOSPACE)
        report_no_memory(l);
    else if (status == GLOB_ABORTED)
        cfg_report_error(l->report, place, "include: a folder of \"%.200s\" cannot be read", pattern);
    else if (status == GLOB_NOMATCH && strpbrk(pattern, "*?[") == NULL)
        cfg_report_error(l->report, place, "include: there is no file \"%.200s\"", pattern);
    for (size_t i = 0; status == 0 && i < found.gl_pathc; i++)
        include_file(l, found.gl_pathv[i]);
    globfree(&found);
    free(anchored);
}

/* A whole load ----------------------------------------------------------------------------------------- */

static void load_main(struct cfg_loading *l, const struct cfg_node *root)
{
    const struct cfg_node *groups = find_top(root, "groups");
    l->defaults = find_top(root, "defaults");
    check_top(l, root, false);
    cfg_apply(l, &l->global, find_top(root, "global"), false);
    l->cfg->global.control_is_given = cfg_draft_given(&l->global, "control")->place.line != 0;
    if (groups != NULL)
        load_groups(l, groups);
    for (size_t i = 0; l->mode.follows_includes && i < l->cfg->global.include.count; i++)
        include_pattern(l, l->cfg->global.include.items[i]);
    check_unused_defaults(l);
    cfg_check(l);
}

/* Moves the groups from the drafts into the configuration. */
static bool adopt_groups(struct cfg_loading *l)
{
    struct cfg *c = l->cfg;
    c->groups = calloc(l->group_count, sizeof(struct cfg_group *));
    if (c->groups == NULL)
        return false;
    for (size_t i = 0; i < l->group_count; i++) {
        c->groups[c->group_count++] = l->groups[i].group;
        l->groups[i].group = NULL;
    }
    return true;
}

struct cfg *cfg_load_bytes(const char *name, const char *bytes, size_t size, const struct cfg_mode *mode,
                           struct cfg_report *report)
{
    struct err e;
    struct cfg_tree *tree = NULL;
    struct cfg_loading l = {.report = report, .mode = *mode};
    struct cfg_place whole_file = {.file = name};
    cfg_report_free(report);

    l.cfg = calloc(1, sizeof(*l.cfg));
    if (l.cfg == NULL || cfg_list_add(&l.cfg->files, name) != 0) {
        cfg_report_error(report, &whole_file, "out of memory");
        goto out;
    }
    l.global = (struct cfg_draft){.scope = CFG_SCOPE_GLOBAL, .fields = &l.cfg->global};
    if (cfg_fields_init(CFG_SCOPE_GLOBAL, &l.cfg->global, &e) != 0) {
        cfg_report_error(report, &whole_file, "%s", e.text);
        goto out;
    }
    tree = cfg_tree_parse(l.cfg->files.items[0], bytes, size, report);
    if (tree == NULL)
        goto out;
    load_main(&l, tree->root);
    if (report->error_count == 0 && !adopt_groups(&l))
        report_no_memory(&l);

out:
    for (size_t i = 0; i < l.group_count; i++)
        cfg_group_free(l.groups[i].group);
    free(l.groups);
    cfg_tree_free(tree);
    if (report->error_count == 0)
        return l.cfg;
    cfg_free(l.cfg);
    return NULL;
}

struct cfg *cfg_load(const char *path, struct cfg_report *report)
{
    struct cfg_mode mode = {.is_root = geteuid() == 0, .follows_includes = true};
    struct cfg *c = NULL;
    struct err e;
    char *bytes;
    size_t size;
    cfg_report_free(report);
    if (read_and_close(open_main(path, &e), &bytes, &size, &e) == 0)
        c = cfg_load_bytes(path, bytes, size, &mode, report);
    else
        cfg_report_error(report, &(struct cfg_place){.file = path}, "%s", e.text);
    free(bytes);
    return c;
}

/* The value of global: control alone is applied, as if the file held nothing else. */
static void load_control(struct cfg_loading *l, const struct cfg_node *root)
{
    const struct cfg_node *global = find_top(root, "global");
    for (size_t i = 0; global != NULL && global->kind == CFG_NODE_MAPPING && i < global->count; i++) {
        if (strcmp(global->keys[i]->text, "control") != 0)
            continue;
        struct cfg_node alone = *global;
        alone.keys += i;
        alone.items += i;
        alone.count = 1;
        cfg_apply(l, &l->global, &alone, false);
    }
}

/* In a file that is no YAML the first line that gives control is taken for the one in global. The caller
 * frees it; NULL when there is none. */
static char *guess_control(const char *bytes, size_t size)
{
    static const char key[] = "control";
    const char *end = bytes + size;
    for (const char *line = bytes; line < end; line++) {
        while (line < end && strchr(" \t\"'", *line) && *line != '\0')
            line++;
        const char *value = line + sizeof(key) - 1;
        bool is_it = end - line > (ptrdiff_t)sizeof(key) && memcmp(line, key, sizeof(key) - 1) == 0;
        while (is_it && value < end && strchr(" \t\"':", *value) && *value != '\0')
            value++;
        const char *last = value;
        while (is_it && last < end && !strchr(" \t\r\n\"',#}", *last))
            last++;
        if (last > value && (value[0] == '/' || (last - value == 4 && memcmp(value, "none", 4) == 0)))
            return strndup(value, (size_t)(last - value));
        line = memchr(line, '\n', (size_t)(end - line));
        if (line == NULL)
            break;
    }
    return NULL;
}

/* Fills global->control from the bytes of a file. */
static void find_control(const char *path, const char *bytes, size_t size, struct cfg *cfg,
                         struct cfg_report *report)
{
    struct cfg_report ignored = {0};
    struct cfg_loading l = {.cfg = cfg, .report = report};
    l.global = (struct cfg_draft){.scope = CFG_SCOPE_GLOBAL, .fields = &cfg->global};
    struct cfg_tree *tree = cfg_tree_parse(path, bytes, size, &ignored);
    char *guess = tree == NULL ? guess_control(bytes, size) : NULL;
    if (tree != NULL)
        load_control(&l, tree->root);
    if (guess != NULL) {
        free(cfg->global.control);
        cfg->global.control = guess;
    }
    cfg_tree_free(tree);
    cfg_report_free(&ignored);
}

int cfg_load_control(const char *path, char **control, struct cfg_report *report)
{
    struct err e;
    struct cfg cfg = {0};
    struct cfg_place whole_file = {.file = path};
    char *bytes = NULL;
    size_t size;
    cfg_report_free(report);
    *control = NULL;
    if (cfg_fields_init(CFG_SCOPE_GLOBAL, &cfg.global, &e) != 0 ||
        read_and_close(open_main(path, &e), &bytes, &size, &e) != 0)
        cfg_report_error(report, &whole_file, "%s", e.text);
    else
        find_control(path, bytes, size, &cfg, report);
    if (report->error_count == 0 && strcmp(cfg.global.control, "none") != 0) {
        *control = strdup(cfg.global.control);
        if (*control == NULL)
            cfg_report_error(report, &whole_file, "out of memory");
    }
    cfg_fields_free(CFG_SCOPE_GLOBAL, &cfg.global);
    free(bytes);
    return report->error_count == 0 ? 0 : -1;
}

struct cfg_group *cfg_group_read(int fd, struct err *e)
{
    static const struct cfg_mode mode = {.is_trusted = true};
    struct cfg_report report = {0};
    struct cfg_group *group = NULL;
    struct cfg *c = NULL;
    char *bytes = NULL;
    size_t size;
    if (read_all(fd, &bytes, &size, e) != 0)
        goto out;
    c = cfg_load_bytes("", bytes, size, &mode, &report);
    if (c == NULL || c->group_count != 1) {
        err_set(e, "%s", report.count > 0 ? report.messages[0].text : "it does not hold one group");
        goto out;
    }
    group = c->groups[0];
    c->group_count = 0;
    group->place = (struct cfg_place){.file = ""};

out:
    if (group == NULL)
        err_prefix(e, "the group's configuration cannot be read");
    cfg_free(c);
    cfg_report_free(&report);
    free(bytes);
    return group;
}
