/* One process of ours: its channel, its pid as the kernel told it, and how it ended.
 *
 * Templates, workers and the responder are children. A child's owner learns what it says and that it ended
 * through callbacks; these only record (the owner marks its group dirty), they start and free nothing.
 * Before "ended" is called everything that the child had sent has been delivered. */
#ifndef PM_CHILD_H
#define PM_CHILD_H

#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>

#include "base/wire.h"

struct err;
struct pm_child;

struct pm_child_kind {
    const char *name; /* "template", "worker", "responder": for the log */
    void (*message)(struct pm_child *child, const struct wire_msg *m);
    void (*ended)(struct pm_child *child); /* reaped; child->wait_status is set */
    void (*lost)(struct pm_child *child);  /* the channel closed while the pid was unknown; or NULL */
};

struct pm_child {
    const struct pm_child_kind *kind;
    void *owner;
    const char *group; /* for marks in the log, the owner's; NULL for the responder */
    pid_t pid;         /* 0: not known yet (a worker before its hello) */
    int pidfd;         /* -1 until the pid is known */
    bool reaped;
    int wait_status; /* waitpid(2), once reaped */
    int channel;     /* our end; -1 when closed */

    /* private to child.c */
    uv_poll_t channel_watch;
    bool channel_closed; /* nothing more will come */
    struct pm_child *next;
    struct pm_child *previous;
};

/* Makes a child that talks over *channel, which it takes. pid 0: it will be adopted by its first message.
 * NULL with *e, the channel still the caller's. */
struct pm_child *pm_child_new(uv_loop_t *loop, const struct pm_child_kind *kind, void *owner,
                              const char *group, pid_t pid, int *channel, struct err *e);

/* Checks that the sender of a first message is a process of ours that nobody is known for, and makes it the
 * child's pid. The pid comes from the kernel's credentials; one that an application with CAP_SYS_ADMIN
 * forged names at most another child, which is known already. false: it is not. */
bool pm_child_adopt(struct pm_child *child, pid_t sender);

/* Sends over the channel. 0, or -1 with errno. */
int pm_child_send(struct pm_child *child, const struct wire_msg *m);

/* Signals through the pidfd. Nothing happens when the pid is unknown or the child is reaped. */
void pm_child_signal(struct pm_child *child, int signal_number);

/* Hears what it has sent; whatever it says after that fails on its side, and nobody can be adopted through
 * this channel any more. */
void pm_child_hang_up(struct pm_child *child);

/* Stops listening to it and frees it, once libuv has let go. The process itself is not touched; when it
 * still runs it will be reaped unnoticed. *child becomes NULL; NULL is fine. */
void pm_child_free(struct pm_child **child);

/* Reaps every process that has ended, ours and adopted strangers. For SIGCHLD. */
void pm_child_reap_all(void);

/* "exited with status 1", "was killed by signal 9 (Killed)": into text, which is returned. */
const char *pm_child_describe_end(int wait_status, char text[96]);

#endif
