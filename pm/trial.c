/* Tries a group out: starts its host with --check and listens to it until it has ended.
 *
 * The host runs application code, so nothing that it says is believed beyond being text, and it is ended when
 * its time is up. One trial at a time, in the process of pyfpm check. */
#include "pm/trial.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/wire.h"
#include "config/config.h"
#include "config/venv.h"
#include "pm/child.h"
#include "pm/explain.h"
#include "pm/hosts.h"
#include "pm/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* How long an explanation may take beyond the end of its host; see EXPLAIN_PATIENCE_S of pyhost/explain.c. */
#define EXPLAIN_PATIENCE_MS 21000

struct trial {
    const struct cfg_group *group;
    const struct pm_trial_listener *listener;
    struct pm_explain *explain; /* NULL: nobody asked */
    int channel;
    int output;
    pid_t pid;
    int pidfd;
    bool ready;
    char *failure;   /* what the host said */
    char line[4096]; /* of its output, until it is whole: Python prints some of it character by character */
    size_t line_size;
};

/* The host looks at every folder that the group names; without one, this has to do. Inside a chroot pyfpm
 * itself sees nothing. */
static void add_path_problems(const struct cfg_group *group, struct err *e)
{
    struct venv v;
    struct err one;
    for (size_t i = 0; !group->chroot && i < group->python_path.count; i++) {
        if (venv_inspect(group->python_path.items[i], &v, &one) == 0)
            continue;
        err_prefix(&one, "python-path");
        err_append(e, &one);
    }
}

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
    if (pm_hosts_choose(t->group, program, sizeof program, e) < 0) {
        add_path_problems(t->group, e);
        goto out;
    }
    if (cfg_group_write(t->group, config, e) < 0 || wire_pair(&t->channel, &theirs, e) < 0)
        goto out;
    int fds[PM_SPAWN_FDS_MAX] = {-1, pipe_ends[1], pipe_ends[1], theirs, config, -1, -1, -1, -1};
    char *argv[] = {program, (char *)(t->explain ? "--explain" : "--check"), NULL};
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

static void say(const struct trial *t, enum pm_trial_kind kind, const char *text, size_t size)
{
    if (size > 0)
        t->listener->hear(t->listener->context, kind, text, size);
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
        say(t, m.flags == LOG_LEVEL_WARNING ? PM_TRIAL_WARNING : PM_TRIAL_ERROR, m.text, m.text_size);
    else if (m.type == WIRE_EXPLAIN && t->explain)
        pm_explain_take(t->explain, &m);
    return true;
}

static void hear_whole_lines(struct trial *t, bool is_last)
{
    const char *newline = memrchr(t->line, '\n', t->line_size);
    size_t size = newline ? (size_t)(newline - t->line) + 1 : 0;
    if (is_last || (size == 0 && t->line_size == sizeof t->line))
        size = t->line_size;
    say(t, PM_TRIAL_OUTPUT, t->line, size);
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
    hear_whole_lines(t, size <= 0);
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
    hear_whole_lines(t, true);
}

/* The host has ended; the process that explains may still be at it, when the application ended its own. */
static void await_explanation(struct trial *t)
{
    int64_t due = clock_now_ms() + EXPLAIN_PATIENCE_MS;
    struct pollfd set = {t->channel, POLLIN, 0};
    while (t->explain && pm_explain_is_awaited(t->explain)) {
        int64_t left = due - clock_now_ms();
        int ready = left > 0 ? poll(&set, 1, (int)left) : 0;
        if ((ready < 0 && errno != EINTR) || ready == 0 || (ready > 0 && !take_message(t)))
            return;
    }
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
    await_explanation(t);
    if (!in_time && !t->ready && !t->failure)
        t->failure = strdup("it did not become ready within startup-timeout");
    else if (!t->ready && !t->failure && pm_hosts_explain_end(wait_status, &why))
        t->failure = strdup(why.text);
    else if (!t->ready && !t->failure)
        t->failure = strdup(pm_child_describe_end(wait_status, how));
}

char *pm_trial_run(const struct cfg_group *group, struct pm_explain *explain,
                   const struct pm_trial_listener *listener)
{
    struct err e;
    struct trial t = {.group = group,
                      .listener = listener,
                      .explain = explain,
                      .channel = -1,
                      .output = -1,
                      .pid = -1,
                      .pidfd = -1};
    if (start(&t, &e) == 0)
        finish(&t, listen_until_end(&t));
    else
        t.failure = strdup(e.text);
    fd_close(&t.channel);
    fd_close(&t.pidfd);
    fd_close(&t.output);
    return t.failure;
}
