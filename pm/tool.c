/* Runs programs for the commands, and leaves nothing of them behind.
 *
 * A tool has a process group of its own, so that Ctrl-C reaches pyfpm alone, which then ends the whole group;
 * and pyfpm is its subreaper, so that nothing of it still writes when its folder is removed. Programs get a
 * clean environment: no variable of the caller's steers a compiler or a Python. Runs in commands, never in
 * the supervisor. */
#include "pm/tool.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

static int stop_signal;

struct tool {
    pid_t pid; /* and its process group */
    int pidfd;
    int output;  /* the reading end of its pipe, non-blocking */
    int signals; /* signalfd */
};

/* Blocks the signals that would end us and returns a descriptor that reads them; -1 with errno. */
static int watch_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -1;
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* The environment of a tool, in static memory. */
static char **clean_environment(void)
{
    static char path[16384], home[4096], locale[] = "LC_ALL=C.UTF-8";
    static char *environment[] = {path, home, locale, NULL};
    const char *given_path = getenv("PATH"), *given_home = getenv("HOME");
    snprintf(path, sizeof path, "PATH=%s", given_path ? given_path : "/usr/local/bin:/usr/bin:/bin");
    snprintf(home, sizeof home, "HOME=%s", given_home ? given_home : "/");
    return environment;
}

static pid_t spawn(char *const argv[], int output_end, struct err *e)
{
    pid_t pid = -1;
    sigset_t none, all;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t files;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, output_end, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&files, output_end, STDERR_FILENO);
    int failure = posix_spawnp(&pid, argv[0], &files, &attributes, argv, clean_environment());
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    errno = failure;
    return failure == 0 ? pid : err_errno(e, "%s cannot be started", argv[0]);
}

static int start(struct tool *t, char *const argv[], struct err *e)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_errno(e, "pipe");
    t->output = ends[0];
    t->signals = watch_signals();
    signal(SIGCHLD, SIG_DFL); /* ignored, as some callers leave it, nobody's exit status is kept */
    if (t->signals < 0 || fd_set_nonblocking(t->output, true) < 0 ||
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
        err_errno(e, "%s cannot be watched", argv[0]);
    else
        t->pid = spawn(argv, ends[1], e);
    fd_close(&ends[1]);
    if (t->pid < 0)
        return -1;
    t->pidfd = fd_of_process(t->pid);
    return t->pidfd < 0 ? err_errno(e, "pidfd_open") : 0;
}

/* Keeps the end of it. False when nothing is there now, or nothing more comes. */
static bool take_output(struct tool *t, struct pm_tool_output *output)
{
    size_t half = sizeof output->text / 2;
    if (output->size > half) {
        memmove(output->text, output->text + output->size - half, half);
        output->size = half;
    }
    ssize_t got = read(t->output, output->text + output->size, sizeof output->text - 1 - output->size);
    if (got < 0 && errno == EINTR)
        return true;
    if (got == 0)
        fd_close(&t->output);
    output->size += got > 0 ? (size_t)got : 0;
    return got > 0;
}

/* 0 when the program has ended by itself; -1 with *e when it has to be ended. */
static int listen_until_end(struct tool *t, const char *name, int64_t patience_ms,
                            struct pm_tool_output *output, struct err *e)
{
    int64_t due_ms = clock_now_ms() + patience_ms;
    for (;;) {
        struct pollfd set[3] = {
            {t->pidfd, POLLIN, 0}, {t->signals, POLLIN, 0}, {t->output, POLLIN, 0}}; /* -1: not watched */
        int64_t left_ms = due_ms - clock_now_ms();
        if (patience_ms > 0 && left_ms <= 0)
            return err_set(e, "%s did not end within %lld s", name, (long long)(patience_ms / 1000));
        if (poll(set, 3, patience_ms > 0 ? (int)left_ms : -1) < 0 && errno != EINTR)
            return err_errno(e, "poll");
        struct signalfd_siginfo about;
        if (set[1].revents != 0 && read(t->signals, &about, sizeof about) == sizeof about) {
            stop_signal = (int)about.ssi_signo;
            return err_set(e, "stopped by %s", strsignal(stop_signal));
        }
        if (set[2].revents != 0)
            take_output(t, output);
        if (set[0].revents != 0)
            return 0;
    }
}

/* Ends what is left of its process group. Each that dies hands its children to us before we can reap it, so
 * when none is left to wait for, none is left. */
static int end_group(struct tool *t)
{
    int wait_status = 0, ignored;
    kill(-t->pid, SIGKILL); /* its leader is not reaped yet: the number is nobody else's */
    while (waitpid(t->pid, &wait_status, 0) < 0 && errno == EINTR)
        ;
    while (waitpid(-t->pid, &ignored, 0) > 0 || errno == EINTR)
        ;
    return wait_status;
}

static void finish_output(struct tool *t, struct pm_tool_output *output)
{
    while (t->output >= 0 && take_output(t, output))
        ;
    while (output->size > 0 && output->text[output->size - 1] == '\n')
        output->size--;
    output->text[output->size] = '\0';
}

int pm_tool_run(char *const argv[], int64_t patience_ms, struct pm_tool_output *output, struct err *e)
{
    struct tool t = {.pid = -1, .pidfd = -1, .output = -1, .signals = -1};
    output->size = 0;
    output->text[0] = '\0';
    int result = start(&t, argv, e);
    if (result == 0)
        result = listen_until_end(&t, argv[0], patience_ms, output, e);
    if (t.pid > 0) {
        int wait_status = end_group(&t);
        finish_output(&t, output);
        if (result == 0 && WIFEXITED(wait_status))
            result = WEXITSTATUS(wait_status);
        else if (result == 0)
            result = err_set(e, "%s was killed by signal %d (%s)", argv[0], WTERMSIG(wait_status),
                             strsignal(WTERMSIG(wait_status)));
    }
    fd_close(&t.pidfd);
    fd_close(&t.output);
    fd_close(&t.signals);
    return result;
}

bool pm_tool_is_stopped(void)
{
    return stop_signal != 0;
}

int pm_tool_end(int exit_code)
{
    sigset_t set;
    if (stop_signal == 0)
        return exit_code;
    fflush(stdout);
    sigemptyset(&set);
    sigaddset(&set, stop_signal);
    signal(stop_signal, SIG_DFL);
    raise(stop_signal);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    return exit_code;
}

const char *pm_tool_first_line(struct pm_tool_output *output)
{
    output->text[strcspn(output->text, "\n")] = '\0';
    return output->text[0] != '\0' ? output->text : "nothing";
}
