/* pyfpm pythons: the hosts that are installed, and what of the configuration each of them serves.
 *
 * Asks every host to describe itself (host-X.Y --describe), so that what is shown is what would run; one
 * whose library is gone is shown as broken. Needs no configuration, but reads the one that is there or named.
 */
#include "base/err.h"
#include "base/fd.h"
#include "config/config.h"
#include "pm/commands.h"
#include "pm/hosts.h"
#include "pm/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char help[] =
    "usage: pyfpm pythons [--config FILE]\n"
    "\n"
    "Lists the Pythons that a host is installed for, with the library each embeds and its ABI flags, and "
    "below each\n"
    "the groups of the configuration that it serves, with their environments.\n"
    "\n"
    "exit status: 0 fine; 1 a host is broken, or a group has none; 78 the file has errors\n"
    "example: pyfpm pythons --config pyfpm.yaml\n";

/* What the host says of itself, without the newline. 0, or -1 with *e. */
static int describe(const char *program, char *text, size_t text_size, struct err *e)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_errno(e, "pipe");
    int fds[PM_SPAWN_FDS_MAX] = {-1, ends[1], STDERR_FILENO, -1, -1, -1, -1, -1, -1};
    char *argv[] = {(char *)program, (char *)"--describe", NULL};
    pid_t pid = pm_spawn(program, argv, fds, e);
    fd_close(&ends[1]);
    size_t used = 0;
    ssize_t got = 0;
    while (pid > 0 && used + 1 < text_size && (got = read(ends[0], text + used, text_size - 1 - used)) != 0)
        if (got > 0)
            used += (size_t)got;
        else if (errno != EINTR)
            break;
    fd_close(&ends[0]);
    text[used] = '\0';
    text[strcspn(text, "\n")] = '\0';
    int wait_status = 0;
    if (pid < 0)
        return -1;
    waitpid(pid, &wait_status, 0);
    return wait_status == 0 && used > 0 ? 0 : err_set(e, "it does not run");
}

static void print_environment(const struct cfg_group *group)
{
    printf("    %s", group->name);
    if (group->python_home)
        printf("  %s", group->python_home);
    for (size_t i = 0; i < group->python_path.count; i++)
        printf("%s%s", i == 0 ? "  + " : ", ", group->python_path.items[i]);
    putchar('\n');
}

/* 0, or -1 when the host is broken. */
static int show_host(const char *version, const struct cfg *cfg)
{
    char name[64], program[PATH_MAX], text[PATH_MAX + 64], chosen[PATH_MAX];
    struct err e;
    snprintf(name, sizeof name, "host-%s", version);
    int result = pm_hosts_libexec(name, program, sizeof program, &e);
    if (result == 0)
        result = describe(program, text, sizeof text, &e);
    printf("%s%s\n", result == 0 ? text : version,
           strcmp(version, PYFPM_DEFAULT_PYTHON) == 0 ? "  (default)" : "");
    if (result < 0)
        printf("    broken: %s\n", e.text);
    for (size_t i = 0; cfg && i < cfg->group_count; i++)
        if (pm_hosts_choose(cfg->groups[i], chosen, sizeof chosen, &e) == 0 && strcmp(chosen, program) == 0)
            print_environment(cfg->groups[i]);
    return result;
}

/* 0, or -1 when there are any. */
static int show_groups_without_host(const struct cfg *cfg)
{
    int result = 0;
    char chosen[PATH_MAX];
    struct err e;
    for (size_t i = 0; cfg && i < cfg->group_count; i++)
        if (pm_hosts_choose(cfg->groups[i], chosen, sizeof chosen, &e) < 0) {
            printf("no host for group %s: %s\n", cfg->groups[i]->name, e.text);
            result = -1;
        }
    return result;
}

static int show(const struct cfg *cfg)
{
    struct err e;
    char **versions;
    int result = 0;
    size_t count;
    if (pm_hosts_list(&versions, &count, &e) < 0) {
        fprintf(stderr, "pyfpm: %s\n", e.text);
        return EXIT_FAILURE;
    }
    for (size_t i = 0; i < count; i++) {
        result |= show_host(versions[i], cfg);
        free(versions[i]);
    }
    free(versions);
    result |= show_groups_without_host(cfg);
    return result == 0 && count > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int command_pythons(int argc, char **argv)
{
    const char *path = NULL;
    int done = command_take_config(argc, argv, help, &path);
    if (done != COMMAND_GO_ON)
        return done;
    if (!path && access(CONFIG_DEFAULT, R_OK) == 0)
        path = CONFIG_DEFAULT;
    struct cfg *cfg = path ? command_load(path) : NULL;
    if (path && !cfg)
        return EXIT_CONFIG;
    int result = show(cfg);
    cfg_free(cfg);
    return result;
}
