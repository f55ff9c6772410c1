/* links: base config pm
 *
 * Any bytes as an Apache configuration. What is converted must load, as root and not, with as many groups as
 * it says; every directive of mod_wsgi must have been told; what is refused must have a sentence with a
 * place. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "config/loader.h"
#include "pm/apache_conf.h"
#include "pm/import_mod_wsgi.h"

static void require(bool holds, const char *what, const char *detail)
{
    if (holds)
        return;
    fprintf(stderr, "fuzz_apache: %s\n%s\n", what, detail ? detail : "");
    abort();
}

static bool is_folder(const char *path)
{
    return strlen(path) % 5 == 0;
}

static const char *variable(const char *name)
{
    return name[0] == 'H' ? "/home" : NULL;
}

static void check_loads(const char *yaml, const struct import_result *result, bool is_root)
{
    struct cfg_report report = {0};
    const struct cfg_mode mode = {.is_root = is_root};
    struct cfg *c = cfg_load_bytes("imported", yaml, strlen(yaml), &mode, &report);
    if ((c != NULL) != (result->groups > 0) && report.count > 0)
        fprintf(stderr, "%s\n", report.messages[0].text);
    require((c != NULL) == (result->groups > 0), "what was converted does not load", yaml);
    require(!c || c->group_count == result->groups, "another number of groups loads", yaml);
    cfg_free(c);
    cfg_report_free(&report);
}

static void check_told(const struct apache_conf *conf)
{
    for (size_t i = 0; i < conf->directives.count; i++) {
        const struct apache_directive *d = conf->directives.items[i];
        require(strncasecmp(d->name, "WSGI", 4) != 0 || d->is_told, "a directive is told nowhere", d->name);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    const struct apache_outside outside = {.variable = variable};
    const struct import_wishes wishes = {.socket_folder = "/run/pyfpm", .is_folder = is_folder};
    struct import_result result;
    struct err e = {.text = ""};
    char *yaml = NULL;
    size_t yaml_size = 0;
    struct apache_conf *conf = apache_conf_new(&outside);
    FILE *out = open_memstream(&yaml, &yaml_size);
    require(out != NULL, "no memory", NULL);
    int status = apache_conf_add(conf, "fuzz.conf", (const char *)bytes, size, &e);
    if (status == 0)
        status = import_mod_wsgi(conf, &wishes, out, &result, &e);
    fclose(out);
    if (status == 0) {
        check_told(conf);
        check_loads(yaml, &result, true);
        check_loads(yaml, &result, false);
    }
    require((status == 0) == (e.text[0] == '\0'), "refused without a sentence, or converted with one",
            e.text);
    apache_conf_free(conf);
    free(yaml);
    return 0;
}
