/* pyfpm pythons: the hosts that are installed, and what of the configuration each of them serves.
 *
 * Gathers first, then prints, as text or as JSON. Asks every host to describe itself, so that what is shown
 * is what would run; one whose library is gone, or that was built from other sources, is shown as broken.
 * Needs no configuration, but reads the one that is there or named. */
#include "base/err.h"
#include "base/stamp.h"
#include "config/config.h"
#include "pm/commands.h"
#include "pm/host_about.h"
#include "pm/hosts.h"
#include "pm/tool.h"

#include <getopt.h>
#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
    "usage: pyfpm pythons [--config FILE] [--json]\n"
    "\n"
    "Lists the Pythons that a host is installed for, with the release, the ABI flags and the path of the "
    "library\n"
    "that each embeds, and below each the groups of the configuration that it serves, with their "
    "environments.\n"
    "\n"
    "  -c, --config FILE   the configuration (default " CONFIG_DEFAULT ", if it is there)\n"
    "  -j, --json          print one JSON document\n"
    "  -h, --help          print this\n"
    "\n"
    "exit status: 0 fine; 1 a host is broken, or a group has none; 78 the file has errors\n"
    "example: pyfpm pythons --config pyfpm.yaml\n";

/* A string, or null. Paths need not be UTF-8, which JSON is: a byte that is not comes out as '?'. */
static json_t *text_or_null(const char *text)
{
    if (!text || text[0] == '\0')
        return json_null();
    json_t *string = json_string(text);
    char *ascii = string ? NULL : strdup(text);
    for (char *c = ascii; c && *c; c++)
        if ((unsigned char)*c >= 0x80)
            *c = '?';
    if (ascii)
        string = json_string(ascii);
    free(ascii);
    return string ? string : json_null();
}

/* One host as a JSON object; a new reference. */
static json_t *gather_host(const char *version)
{
    char name[64], program[PATH_MAX];
    struct pm_host_about about = {.version = ""};
    struct err e;
    snprintf(name, sizeof name, "host-%s", version);
    int result = pm_hosts_libexec(name, program, sizeof program, &e);
    if (result == 0)
        result = pm_host_ask(program, &about, &e);
    const char *flags = strcmp(about.flags, "-") == 0 ? "" : about.flags;
    return json_pack("{s:o, s:o, s:s, s:o, s:o, s:o, s:b, s:o, s:[]}", "python", text_or_null(version),
                     "release", text_or_null(about.release), "abi_flags", flags, "library",
                     text_or_null(about.library), "interpreter", text_or_null(about.interpreter), "program",
                     text_or_null(program), "default", strcmp(version, PYFPM_DEFAULT_PYTHON) == 0, "broken",
                     text_or_null(result < 0 ? e.text : NULL), "groups");
}

static json_t *gather_hosts(struct err *e)
{
    char **versions;
    size_t count;
    if (pm_hosts_list(&versions, &count, e) < 0)
        return NULL;
    json_t *hosts = json_array();
    for (size_t i = 0; i < count; i++) {
        if (!pm_tool_is_stopped())
            json_array_append_new(hosts, gather_host(versions[i]));
        free(versions[i]);
    }
    free(versions);
    return hosts;
}

static void gather_paths(const struct cfg_list *from, json_t *paths)
{
    for (size_t i = 0; i < from->count; i++)
        json_array_append_new(paths, text_or_null(from->items[i]));
}

static json_t *gather_group(const struct cfg_group *group)
{
    json_t *paths = json_array();
    gather_paths(&group->python_path, paths);
    for (size_t i = 0; i < group->applications.count; i++)
        gather_paths(&group->applications.items[i].python_path, paths);
    return json_pack("{s:o, s:o, s:o}", "name", text_or_null(group->name), "python_home",
                     text_or_null(group->python_home), "python_path", paths);
}

static const char *text_of(json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "-";
}

/* The host of that X.Y; borrowed, NULL when there is none. */
static json_t *find_host(json_t *hosts, const char *version)
{
    json_t *host;
    size_t index;
    json_array_foreach(hosts, index, host) if (strcmp(text_of(host, "python"), version) == 0) return host;
    return NULL;
}

/* Gives each group to its host, or to those without. */
static void gather_groups(const struct cfg *cfg, json_t *hosts, json_t *without)
{
    char program[PATH_MAX];
    struct err e;
    for (size_t i = 0; cfg && i < cfg->group_count; i++) {
        json_t *group = gather_group(cfg->groups[i]);
        int result = pm_hosts_choose(cfg->groups[i], program, sizeof program, &e);
        json_t *host = result == 0 ? find_host(hosts, strrchr(program, '-') + 1) : NULL;
        if (result < 0)
            json_object_set_new(group, "reason", text_or_null(e.text));
        json_array_append_new(host ? json_object_get(host, "groups") : without, group);
    }
}

static void print_group(json_t *group)
{
    json_t *paths = json_object_get(group, "python_path"), *path;
    size_t index;
    printf("    %s", text_of(group, "name"));
    if (json_is_string(json_object_get(group, "python_home")))
        printf("  %s", text_of(group, "python_home"));
    json_array_foreach(paths, index, path) if (json_is_string(path))
        printf("%s%s", index == 0 ? "  + " : ", ", json_string_value(path));
    putchar('\n');
}

static void print_host(json_t *host)
{
    json_t *group;
    size_t index;
    const char *flags = text_of(host, "abi_flags");
    printf("%-7s %-9s %-4s %s%s\n", text_of(host, "python"), text_of(host, "release"), flags[0] ? flags : "-",
           text_of(host, "library"), json_is_true(json_object_get(host, "default")) ? "  (default)" : "");
    if (json_is_string(json_object_get(host, "broken")))
        printf("    broken: %s\n", text_of(host, "broken"));
    json_array_foreach(json_object_get(host, "groups"), index, group) print_group(group);
}

static void print_text(json_t *all)
{
    json_t *item;
    size_t index;
    printf("%-7s %-9s %-4s %s\n", "PYTHON", "RELEASE", "ABI", "LIBRARY");
    json_array_foreach(json_object_get(all, "hosts"), index, item) print_host(item);
    json_array_foreach(json_object_get(all, "groups_without_host"), index, item)
        printf("no host for group %s: %s\n", text_of(item, "name"), text_of(item, "reason"));
}

static bool is_fine(json_t *all)
{
    json_t *hosts = json_object_get(all, "hosts"), *host;
    size_t index;
    bool fine = json_array_size(hosts) > 0 &&
                json_array_size(json_object_get(all, "groups_without_host")) == 0;
    json_array_foreach(hosts, index, host) fine = fine && json_is_null(json_object_get(host, "broken"));
    return fine;
}

static int show(const struct cfg *cfg, bool as_json)
{
    struct err e;
    json_t *hosts = gather_hosts(&e);
    if (!hosts) {
        fprintf(stderr, "pyfpm: %s\n", e.text);
        return EXIT_FAILURE;
    }
    json_t *without = json_array();
    gather_groups(cfg, hosts, without);
    json_t *all = json_pack("{s:s, s:s, s:o, s:o}", "version", PYFPM_VERSION, "stamp", stamp_of_build(),
                            "hosts", hosts, "groups_without_host", without);
    if (as_json)
        json_dumpf(all, stdout, JSON_INDENT(2)), putchar('\n');
    else
        print_text(all);
    int result = is_fine(all) ? EXIT_SUCCESS : EXIT_FAILURE;
    json_decref(all);
    return pm_tool_end(result);
}

int command_pythons(int argc, char **argv)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    const char *path = access(CONFIG_DEFAULT, R_OK) == 0 ? CONFIG_DEFAULT : NULL;
    bool as_json = false;
    int option;
    while ((option = getopt_long(argc, argv, "c:jh", options, NULL)) != -1) {
        if (option == 'c')
            path = optarg;
        else if (option == 'j')
            as_json = true;
        else if (option == 'h')
            return fputs(help, stdout) >= 0 ? EXIT_SUCCESS : EXIT_FAILURE;
        else
            return EXIT_USAGE;
    }
    if (optind < argc)
        return command_usage("this command takes no argument", argv[optind]);
    struct cfg *cfg = path ? command_load(path) : NULL;
    if (path && !cfg)
        return EXIT_CONFIG;
    int result = show(cfg, as_json);
    cfg_free(cfg);
    return result;
}
