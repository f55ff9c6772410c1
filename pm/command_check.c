/* pyfpm check: tries everything that a start would need, in throw-away processes.
 *
 * Reads the file, then starts every group's host with --check: as the group's user, with its environment,
 * importing its application, without sockets. Says what each has to say. One group after the other. */
#include "pm/commands.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/wire.h"
#include "config/config.h"
#include "pm/child.h"
#include "pm/hosts.h"
#include "pm/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char help[] =
    "usage: pyfpm check [--config FILE] [GROUP...]\n"
    "\n"
    "Checks the file, then starts the interpreter of every group (or of those named), as its user and with "
    "its\n"
    "environment, and imports its application in a process that is thrown away. Opens no socket.\n"
    "\n"
    "exit status: 0 all fine; 1 a group's environment or application is broken; 78 the file has errors\n"
    "example: pyfpm check --config pyfpm.yaml shop\n";

struct trial {
    const struct cfg_group *group;
    int channel;
    int output;
    pid_t pid;
    int pidfd;
    bool ready;
    char *failure;   /* what the host said */
    char line[4096]; /* of its output, until it is whole: Python prints some of it character by character */
    size_t line_size;
};

static int start(struct trial *t, struct err *e)
{
    int result = -1;
    int theirs = -1;
    int pipe_ends[2] = {-1, -1};
    char program[PATH_MAX];
    int config = fd_memory("pyfpm-group");
    if (config < 0 || pipe2(pipe_ends, O_CLOEXEC) < 0) {
        err_errno(e, "cannot start the check");
        goto out;
    }
    if (pm_hosts_choose(t->group, program, sizeof program, e) < 0 ||
        cfg_group_write(t->group, config, e) < 0 || wire_pair(&t->channel, &theirs, e) < 0)
        goto out;
    int fds[PM_SPAWN_FDS_MAX] = {-1, pipe_ends[1], pipe_ends[1], theirs, config, -1, -1, -1, -1};
    char *argv[] = {program, (char *)"--check", NULL};
    t->pid = pm_spawn(program, argv, fds, e);
    if (t->pid < 0)
        goto out;
    t->pidfd = fd_of_process(t->pid);
    if (t->pidfd < 0) {
        err_errno(e, "pidfd_open");
        kill(t->pid, SIGKILL); /* our own unreaped child */
        waitpid(t->pid, NULL, 0);
        goto out;
    }
    t->output = fd_take(&pipe_ends[0]);
    result = 0;
out:
    fd_close(&config);
    fd_close(&theirs);
    fd_close(&pipe_ends[0]);
    fd_close(&pipe_ends[1]);
    return result;
}

static void print_marked(const struct trial *t, const char *mark, const char *text, size_t size)
{
    while (size > 0) {
        const char *newline = memchr(text, '\n', size);
        size_t line = newline ? (size_t)(newline - text) : size;
        printf("%s: %s", t->group->name, mark);
        for (size_t i = 0; i < line; i++) {
            unsigned char c = (unsigned char)text[i];
            if (c == '\t' || (c >= 0x20 && c != 0x7f))
                putchar(c);
            else
                printf("\\x%02x", c);
        }
        putchar('\n');
        size -= newline ? line + 1 : line;
        text += newline ? line + 1 : line;
    }
}

/* False at the end of the channel. */
static bool take_message(struct trial *t)
{
    struct wire_msg m;
    int got = wire_receive(t->channel, &m, false);
    if (got < 0)
        return errno == EAGAIN || errno == EPROTO;
    if (got == 0)
        return false;
    if (m.type == WIRE_TEMPLATE_READY)
        t->ready = true;
    else if (m.type == WIRE_TEMPLATE_FAILED && !t->failure)
        t->failure = strdup(m.text);
    else if (m.type == WIRE_LOG && m.flags < LOG_LEVEL_NOTICE)
        print_marked(t, m.flags == LOG_LEVEL_WARNING ? "warning: " : "error: ", m.text, m.text_size);
    return true;
}

static void print_whole_lines(struct trial *t, bool is_last)
{
    const char *newline = memrchr(t->line, '\n', t->line_size);
    size_t size = newline ? (size_t)(newline - t->line) + 1 : 0;
    if (is_last || (size == 0 && t->line_size == sizeof t->line))
        size = t->line_size;
    print_marked(t, "output: ", t->line, size);
    memmove(t->line, t->line + size, t->line_size - size);
    t->line_size -= size;
}

/* False at its end. */
static bool take_output(struct trial *t)
{
    ssize_t size = read(t->output, t->line + t->line_size, sizeof t->line - t->line_size);
    if (size < 0 && errno == EINTR)
        return true;
    t->line_size += size > 0 ? (size_t)size : 0;
    print_whole_lines(t, size <= 0);
    return size > 0;
}

/* Until the host has ended, or its time is up. Not until its channel closes: a process that the import left
 * behind may hold a copy of that. */
static bool listen_until_end(struct trial *t)
{
    int64_t patience = t->group->startup_timeout_ms;
    int64_t due = clock_now_ms() + patience;
    struct pollfd set[3] = {{t->channel, POLLIN, 0}, {t->output, POLLIN, 0}, {t->pidfd, POLLIN, 0}};
    for (;;) {
        int64_t left = due - clock_now_ms();
        if (patience > 0 && left <= 0)
            return false;
        int ready = poll(set, 3, patience > 0 ? (int)left : -1);
        if (ready < 0 && errno != EINTR)
            return false;
        if (ready > 0 && set[1].revents != 0 && !take_output(t))
            set[1].fd = -1;
        if (ready > 0 && set[0].revents != 0 && !take_message(t))
            set[0].fd = -1;
        else if (ready > 0 && set[0].revents == 0 && set[2].revents != 0)
            return true;
    }
}

/* What it printed last; not what a process that it left behind may still print. */
static void take_last_output(struct trial *t)
{
    struct pollfd set = {t->output, POLLIN, 0};
    while (poll(&set, 1, 0) > 0 && take_output(t))
        ;
    print_whole_lines(t, true);
}

static void finish(struct trial *t, bool in_time)
{
    char how[96];
    struct err why;
    int wait_status = 0;
    if (!in_time)
        kill(t->pid, SIGKILL); /* our own unreaped child */
    waitpid(t->pid, &wait_status, 0);
    take_last_output(t);
    if (!in_time && !t->ready && !t->failure)
        t->failure = strdup("it did not become ready within startup-timeout");
    else if (!t->ready && !t->failure && pm_hosts_explain_end(wait_status, &why))
        t->failure = strdup(why.text);
    else if (!t->ready && !t->failure)
        t->failure = strdup(pm_child_describe_end(wait_status, how));
}

static bool try_group(const struct cfg_group *group)
{
    struct err e;
    struct trial t = {.group = group, .channel = -1, .output = -1, .pid = -1, .pidfd = -1};
    if (start(&t, &e) == 0)
        finish(&t, listen_until_end(&t));
    else
        t.failure = strdup(e.text);
    bool fine = !t.failure;
    if (fine)
        printf("%s: fine\n", group->name);
    else
        print_marked(&t, "error: ", t.failure, strlen(t.failure));
    fflush(stdout);
    fd_close(&t.channel);
    fd_close(&t.pidfd);
    fd_close(&t.output);
    free(t.failure);
    return fine;
}

static bool is_named(const struct cfg_group *group, char **names)
{
    if (!names[0])
        return true;
    for (; *names; names++)
        if (strcmp(*names, group->name) == 0)
            return true;
    return false;
}

static int check_groups(const struct cfg *cfg, char **names)
{
    bool fine = true;
    for (char **name = names; *name; name++)
        if (!cfg_find_group(cfg, *name))
            return command_usage("the configuration has no group", *name);
    for (size_t i = 0; i < cfg->group_count; i++)
        if (is_named(cfg->groups[i], names))
            fine = try_group(cfg->groups[i]) && fine;
    return fine ? EXIT_SUCCESS : EXIT_FAILURE;
}

int command_check(int argc, char **argv)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"test", no_argument, NULL, 't'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    const char *path = CONFIG_DEFAULT;
    int option;
    optind = 1; /* the run command may have read some of them */
    while ((option = getopt_long(argc, argv, "c:th", options, NULL)) != -1) {
        if (option == 'c')
            path = optarg;
        else if (option == 'h')
            return fputs(help, stdout) >= 0 ? EXIT_SUCCESS : EXIT_FAILURE;
        else if (option != 't')
            return EXIT_USAGE;
    }
    struct cfg *cfg = command_load(path);
    if (!cfg)
        return EXIT_CONFIG;
    int result = check_groups(cfg, argv + optind);
    cfg_free(cfg);
    return result;
}
