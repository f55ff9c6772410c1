/* links: base config
 *
 * Any bytes as a configuration. When they load, the dump must load too and be equal, and every group must
 * survive the way to its host; when they do not, there must be an error. Includes are not followed. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fd.h"
#include "config/fields.h"
#include "config/loader.h"

static void require(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "fuzz_yaml: %s\n", what);
    abort();
}

static void check_dump(const struct cfg *c, const struct cfg_mode *mode)
{
    struct cfg_report report = {0};
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    require(out != NULL, "no memory");
    cfg_dump(c, out);
    fclose(out);
    struct cfg *again = cfg_load_bytes("dump", text, size, mode, &report);
    if (again == NULL)
        fprintf(stderr, "%s\n%s\n", report.count > 0 ? report.messages[0].text : "", text);
    require(again != NULL, "a dump does not load");
    require(cfg_fields_are_equal(CFG_SCOPE_GLOBAL, &c->global, &again->global),
            "a dump has other global values");
    require(c->group_count == again->group_count, "a dump has other groups");
    for (size_t i = 0; i < c->group_count; i++)
        require(cfg_fields_are_equal(CFG_SCOPE_GROUP, c->groups[i], again->groups[i]),
                "a dump has other values");
    cfg_free(again);
    cfg_report_free(&report);
    free(text);
}

static void check_way_to_host(const struct cfg_group *g)
{
    struct err e;
    int fd = fd_memory("group");
    struct cfg_group *copy = cfg_group_copy(g);
    require(fd >= 0 && copy != NULL, "no memory");
    require(cfg_group_write(copy, fd, &e) == 0, "a group cannot be written");
    struct cfg_group *received = cfg_group_read(fd, &e);
    require(received != NULL, "a group does not read");
    require(cfg_fields_are_equal(CFG_SCOPE_GROUP, g, received), "a group reads as another");
    cfg_group_free(received);
    cfg_group_free(copy);
    fd_close(&fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct cfg_mode mode = {.is_root = size % 2 == 0};
    struct cfg_report report = {0};
    struct cfg *c = cfg_load_bytes("fuzz", (const char *)bytes, size, &mode, &report);
    require((c == NULL) == (report.error_count > 0), "a load failed without an error, or worked with one");
    if (c != NULL)
        check_dump(c, &mode);
    for (size_t i = 0; c != NULL && i < c->group_count; i++)
        check_way_to_host(c->groups[i]);
    cfg_free(c);
    cfg_report_free(&report);
    return 0;
}
