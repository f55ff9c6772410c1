/* Keeps the list of the supervisor's processes, listens to their channels, reaps them.
 *
 * Trusts nothing that comes over a channel: pids are the kernel's, message types that a child has no
 * business sending are left to its owner to refuse, log records are marked here with the child's own group
 * and pid. Runs on the supervisor's only thread. */
#include "pm/child.h"

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* So that one child that floods its channel cannot keep the loop from the others. */
#define MESSAGES_PER_TURN 64

/* More than a channel holds: all that a process had sent when it ended. */
#define MESSAGES_AT_END 4096

static struct pm_child *children; /* all of them, for pm_child_reap_all() */

static void link_in(struct pm_child *child)
{
    child->previous = NULL;
    child->next = children;
    if (children)
        children->previous = child;
    children = child;
}

static void link_out(struct pm_child *child)
{
    if (child->previous)
        child->previous->next = child->next;
    else
        children = child->next;
    if (child->next)
        child->next->previous = child->previous;
}

static struct pm_child *find_by_pid(pid_t pid)
{
    for (struct pm_child *child = children; child; child = child->next)
        if (child->pid == pid && !child->reaped)
            return child;
    return NULL;
}

static void free_when_closed(uv_handle_t *watch)
{
    struct pm_child *child = watch->data;
    fd_close(&child->channel);
    free(child);
}

static void write_log_record(const struct pm_child *child, const struct wire_msg *m)
{
    struct log_subject subject = {child->group, child->pid};
    enum log_level level = m->flags < LOG_LEVEL_COUNT ? (enum log_level)m->flags : LOG_LEVEL_ERROR;
    log_write_text(level, &subject, NULL, m->text, m->text_size);
}

static void note_channel_closed(struct pm_child *child)
{
    child->channel_closed = true;
    uv_poll_stop(&child->channel_watch);
    if (child->pid == 0 && child->kind->lost)
        child->kind->lost(child);
}

/* Delivers what is waiting, at most that many messages. */
static void read_channel(struct pm_child *child, int most)
{
    struct log_subject subject = {child->group, child->pid};
    struct wire_msg m;
    while (most-- > 0 && !child->channel_closed) {
        int got = wire_receive(child->channel, &m, false);
        if (got < 0 && errno == EAGAIN)
            return;
        if (got < 0 && errno == ECONNRESET) /* it ended with messages of ours unread; its own follow */
            continue;
        if (got == 0 || (got < 0 && errno != EPROTO))
            note_channel_closed(child);
        else if (got < 0)
            log_write(LOG_LEVEL_ERROR, &subject, "%s sent something that is no message", child->kind->name);
        else if (m.type == WIRE_LOG)
            write_log_record(child, &m);
        else
            child->kind->message(child, &m);
    }
}

static void on_channel(uv_poll_t *watch, int status, int events)
{
    (void)events;
    struct pm_child *child = watch->data;
    /* libuv watches no further after an error. */
    read_channel(child, status < 0 ? MESSAGES_AT_END : MESSAGES_PER_TURN);
}

struct pm_child *pm_child_new(uv_loop_t *loop, const struct pm_child_kind *kind, void *owner,
                              const char *group, pid_t pid, int *channel, struct err *e)
{
    struct pm_child *child = calloc(1, sizeof *child);
    if (!child) {
        err_errno(e, "%s", kind->name);
        return NULL;
    }
    child->kind = kind;
    child->owner = owner;
    child->group = group;
    child->pid = pid;
    child->pidfd = pid != 0 ? fd_of_process(pid) : -1;
    if (pid != 0 && child->pidfd < 0) {
        err_errno(e, "%s: pidfd_open", kind->name);
        free(child);
        return NULL;
    }
    int failure = uv_poll_init(loop, &child->channel_watch, *channel);
    if (failure < 0) {
        err_set(e, "%s: cannot watch its channel: %s", kind->name, uv_strerror(failure));
        fd_close(&child->pidfd);
        free(child);
        return NULL;
    }
    child->channel = fd_take(channel);
    child->channel_watch.data = child;
    uv_poll_start(&child->channel_watch, UV_READABLE, on_channel);
    link_in(child);
    return child;
}

bool pm_child_adopt(struct pm_child *child, pid_t sender)
{
    siginfo_t info;
    if (child->pid != 0 || sender <= 0 || find_by_pid(sender))
        return false;
    /* Fails with ECHILD for a process that is not ours, and reaps nothing. */
    if (waitid(P_PID, (id_t)sender, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
        return false;
    child->pidfd = fd_of_process(sender);
    if (child->pidfd < 0)
        return false;
    child->pid = sender;
    return true;
}

int pm_child_send(struct pm_child *child, const struct wire_msg *m)
{
    return wire_send(child->channel, m);
}

void pm_child_signal(struct pm_child *child, int signal_number)
{
    if (child->pidfd >= 0 && !child->reaped)
        fd_signal_process(child->pidfd, signal_number);
}

void pm_child_hang_up(struct pm_child *child)
{
    shutdown(child->channel, SHUT_RD);
    read_channel(child, MESSAGES_AT_END);
}

void pm_child_free(struct pm_child **child)
{
    struct pm_child *c = *child;
    *child = NULL;
    if (!c)
        return;
    link_out(c);
    fd_close(&c->pidfd);
    uv_close((uv_handle_t *)&c->channel_watch, free_when_closed);
}

/* A worker may end before its hello was read: then its pid is still waiting in a channel. */
static void read_unread_hellos(void)
{
    for (struct pm_child *child = children; child; child = child->next)
        if (child->pid == 0)
            read_channel(child, MESSAGES_PER_TURN);
}

static void note_end(struct pm_child *child, int wait_status)
{
    child->reaped = true;
    child->wait_status = wait_status;
    read_channel(child, MESSAGES_AT_END);
    fd_close(&child->pidfd);
    child->kind->ended(child);
}

void pm_child_reap_all(void)
{
    for (;;) {
        siginfo_t info;
        memset(&info, 0, sizeof info);
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0)
            return;
        struct pm_child *child = find_by_pid(info.si_pid);
        if (!child) {
            read_unread_hellos();
            child = find_by_pid(info.si_pid);
        }
        int wait_status = 0;
        if (waitpid(info.si_pid, &wait_status, 0) < 0)
            return;
        if (child)
            note_end(child, wait_status);
        else
            log_write(LOG_LEVEL_DEBUG, NULL, "reaped process %d, which was not ours", (int)info.si_pid);
    }
}

const char *pm_child_describe_end(int wait_status, char text[96])
{
    if (WIFSIGNALED(wait_status))
        snprintf(text, 96, "was killed by signal %d (%s)%s", WTERMSIG(wait_status),
                 strsignal(WTERMSIG(wait_status)), WCOREDUMP(wait_status) ? ", core dumped" : "");
    else
        snprintf(text, 96, "exited with status %d", WEXITSTATUS(wait_status));
    return text;
}
