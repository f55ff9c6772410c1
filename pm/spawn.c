/* fork and exec of hosts and the responder.
 *
 * Signals are blocked over the fork: one that arrived in the child before its handlers were reset would
 * run the supervisor's handler and end up in the supervisor's own loop through the shared pipe. The child
 * makes only async-signal-safe calls. An exec that fails comes back through a close-on-exec pipe. */
#include "pm/spawn.h"

#include "base/err.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Above every number that a program is given, so that moving one never overwrites another. */
#define PARKING_FLOOR 64

static void reset_signals(void)
{
    struct sigaction by_default;
    memset(&by_default, 0, sizeof by_default);
    by_default.sa_handler = SIG_DFL;
    for (int number = 1; number < NSIG; number++)
        sigaction(number, &by_default, NULL); /* fails for KILL, STOP and libc's own: nothing to reset */
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static int park(int fd)
{
    int parked = fcntl(fd, F_DUPFD_CLOEXEC, PARKING_FLOOR);
    if (parked < 0 && errno == EINVAL)
        errno = EMFILE; /* the floor lies beyond RLIMIT_NOFILE */
    return parked;
}

static int place_descriptors(const int fds[PM_SPAWN_FDS_MAX], int *report)
{
    int parked[PM_SPAWN_FDS_MAX];
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null_fd < 0)
        return -1;
    int report_parked = park(*report);
    if (report_parked < 0)
        return -1;
    *report = report_parked;
    for (int number = 0; number < PM_SPAWN_FDS_MAX; number++) {
        int wanted = fds[number] < 0 && number <= STDERR_FILENO ? null_fd : fds[number];
        parked[number] = wanted < 0 ? -1 : park(wanted);
        if (wanted >= 0 && parked[number] < 0)
            return -1;
    }
    for (int number = 0; number < PM_SPAWN_FDS_MAX; number++) {
        if (parked[number] < 0)
            close(number);
        else if (dup2(parked[number], number) < 0)
            return -1;
    }
    return 0;
}

static void close_others(int report)
{
    /* close_range(2) is from Linux 5.9; before it, close-on-exec on all of ours has to do. */
    if (report > PM_SPAWN_FDS_MAX)
        syscall(SYS_close_range, PM_SPAWN_FDS_MAX, report - 1, 0);
    syscall(SYS_close_range, report + 1, ~0U, 0);
}

static void become_program(const char *program, char *const argv[], const int fds[PM_SPAWN_FDS_MAX],
                           int report)
{
    reset_signals();
    if (place_descriptors(fds, &report) == 0) {
        close_others(report);
        execv(program, argv);
    }
    int failure = errno;
    ssize_t told = write(report, &failure, sizeof failure);
    _exit(told == sizeof failure ? 127 : 126);
}

static pid_t wait_for_exec(pid_t pid, int report, const char *program, struct err *e)
{
    int failure;
    ssize_t size;
    do
        size = read(report, &failure, sizeof failure);
    while (size < 0 && errno == EINTR);
    if (size == 0)
        return pid;
    waitpid(pid, NULL, 0);
    errno = size == sizeof failure ? failure : EIO;
    return err_errno(e, "cannot start %s", program);
}

pid_t pm_spawn(const char *program, char *const argv[], const int fds[PM_SPAWN_FDS_MAX], struct err *e)
{
    int report[2];
    if (pipe2(report, O_CLOEXEC) < 0)
        return err_errno(e, "cannot start %s: pipe", program);
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    if (pid == 0)
        become_program(program, argv, fds, report[1]);
    sigprocmask(SIG_SETMASK, &before, NULL);
    fd_close(&report[1]);
    if (pid < 0)
        err_errno(e, "cannot start %s: fork", program);
    else
        pid = wait_for_exec(pid, report[0], program, e);
    fd_close(&report[0]);
    return pid;
}
