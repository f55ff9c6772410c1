/* Converting from text, for the test_import_*.c programs and nobody else. */
#ifndef TEST_IMPORT_COMMON_H
#define TEST_IMPORT_COMMON_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "config/directives.h"
#include "config/loader.h"
#include "pm/apache_conf.h"
#include "pm/import_mod_wsgi.h"

static inline bool is_bin(const char *path)
{
    return strcmp(path, "/srv/bin") == 0;
}

static const struct import_wishes import_wishes = {.socket_folder = "/run/pyfpm", .is_folder = is_bin};

/* The YAML, which the caller frees; NULL with *e. */
static inline char *import_text(const char *text, size_t size, struct import_result *result, struct err *e)
{
    char *yaml = NULL;
    size_t yaml_size = 0;
    struct apache_conf *conf = apache_conf_new(NULL);
    FILE *out = open_memstream(&yaml, &yaml_size);
    assert_non_null(out);
    int status = apache_conf_add(conf, "site.conf", text, size, e);
    if (status == 0)
        status = import_mod_wsgi(conf, &import_wishes, out, result, e);
    for (size_t i = 0; status == 0 && i < conf->directives.count; i++) {
        const struct apache_directive *d = conf->directives.items[i];
        if (strncasecmp(d->name, "WSGI", 4) == 0 && !d->is_told)
            fail_msg("line %d, %s %s is told nowhere", d->line, d->name, d->arguments);
    }
    fclose(out);
    apache_conf_free(conf);
    if (status == 0)
        return yaml;
    free(yaml);
    return NULL;
}

/* What is converted loads, started as root or not; or there is no group, and it says so. */
static inline struct cfg *load_imported(const char *yaml, const struct import_result *result, bool is_root)
{
    struct cfg_report report = {0};
    const struct cfg_mode mode = {.is_root = is_root};
    struct cfg *c = cfg_load_bytes("imported", yaml, strlen(yaml), &mode, &report);
    if ((c != NULL) != (result->groups > 0)) {
        for (size_t i = 0; i < report.count; i++)
            print_message("%s\n", report.messages[i].text);
        fail_msg("%zu groups, but:\n%s", result->groups, yaml);
    }
    if (c)
        assert_int_equal(c->group_count, result->groups);
    cfg_report_free(&report);
    return c;
}

#endif
