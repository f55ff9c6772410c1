/* The messages between the supervisor, its templates, its workers and the responder.
 *
 * Each of them has a channel of its own: a SOCK_SEQPACKET pair made by the supervisor (unix(7)). A message
 * is one datagram: a fixed head, then text. The supervisor trusts no field of what it receives: the
 * sender's pid comes from the kernel (SCM_CREDENTIALS), lengths are checked here, numbers by the caller,
 * and descriptors are accepted only by those who ask for them. */
#ifndef BASE_WIRE_H
#define BASE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct err;

#define WIRE_TEXT_MAX 16000
#define WIRE_FDS_MAX  3

/* Where a host finds what it was started with. Numbers from HOST_FD_SCORE on are missing under --check. */
enum wire_host_fd {
    HOST_FD_CHANNEL = 3,     /* SEQPACKET, to the supervisor */
    HOST_FD_CONFIG = 4,      /* memfd: the group, as cfg_group_write() wrote it */
    HOST_FD_SCORE = 5,       /* memfd: the group's scoreboard */
    HOST_FD_LISTEN = 6,      /* the group's listening socket, non-blocking */
    HOST_FD_HANDOVER_RX = 7, /* SEQPACKET pair of the group: kept connections for whoever is idle */
    HOST_FD_HANDOVER_TX = 8,
    HOST_FD_END = 9
};

/* The exit status of a host that was built from other sources than whoever started it. It says no more than
 * this: everything else here may differ between the two. */
#define HOST_EXIT_OTHER_BUILD 76

enum wire_type {
    /* supervisor → template */
    WIRE_SPAWN =
        1, /* fork a worker: slot, serial; flags: WIRE_SPAWN_CANARY; fds: its channel, its log pipe */
    /* template → supervisor */
    WIRE_TEMPLATE_READY,  /* interpreter up; flags: WIRE_PRELOADED */
    WIRE_TEMPLATE_FAILED, /* text: why; the template exits next */
    WIRE_TEMPLATE_UNSAFE, /* preload: auto met threads or sockets; text names them; the template exits next */
    WIRE_SPAWN_FAILED,    /* serial: which; text: why */
    WIRE_FINGERPRINT,     /* text: a piece of the environment's fingerprint; also of host --fingerprint */
    WIRE_EXPLAIN, /* text: a piece of a JSON object for pyfpm check --explain; flags: WIRE_EXPLAIN_* */
    /* worker → supervisor */
    WIRE_WORKER_HELLO,  /* first message of a worker: its pid is in the credentials */
    WIRE_WORKER_READY,  /* application imported, slot registered, accepting */
    WIRE_WORKER_FAILED, /* text: why (traceback); the worker exits next */
    WIRE_RETIRE,        /* text: why; serves on until a successor is ready and it is drained */
    WIRE_PRESSED, /* somebody waits, all its threads are busy, and so are its siblings'; of the responder:
                     somebody waits for the watched group in slot */
    /* supervisor → worker */
    WIRE_DRAIN, /* finish and exit; flags: WIRE_DRAIN_* */
    /* template, worker, responder → supervisor */
    WIRE_LOG, /* flags: enum log_level; text */
    /* supervisor → responder */
    WIRE_ANSWER, /* slot: which group; flags: WIRE_ANSWER_WATCH; fds: its listening socket, hand-over receiver
                    and sender */
    WIRE_RELEASE, /* slot: which group: pass its connections on, stop answering; flags: WIRE_RELEASE_LAST */
    WIRE_FINISH,  /* answer what is queued, then exit */
    WIRE_TYPE_END
};

enum {
    WIRE_SPAWN_CANARY = 1, /* the first of its generation: canary-request is for it */

    WIRE_PRELOADED = 1,

    WIRE_EXPLAIN_FILES = 0,     /* of which object: what the files say, before Python; */
    WIRE_EXPLAIN_PATH = 1,      /* sys.path; */
    WIRE_EXPLAIN_INSTALLED = 2, /* what is installed */
    WIRE_EXPLAIN_SECTIONS = 3,
    WIRE_EXPLAIN_SENDER = 3, /* no object: from here on the other two come from the process in serial only */
    WIRE_EXPLAIN_END = 256,  /* the object is complete; no text */

    WIRE_FINGERPRINT_END = 1, /* this was the last piece */
    WIRE_FINGERPRINT_HOT = 2, /* with END: files of the environment were written a moment ago */

    WIRE_ANSWER_WATCH = 1, /* answer nobody: say WIRE_PRESSED once when somebody waits */

    WIRE_RELEASE_LAST = 1, /* the group ends: answer what is queued, close what is kept */

    WIRE_DRAIN_BACKLOG = 1, /* nobody will accept on this listening socket after you: serve what is queued */
    WIRE_DRAIN_LAST = 2     /* the group ends: close idle kept connections, there is nobody to hand them to */
};

struct wire_msg {
    enum wire_type type;
    uint32_t slot;
    uint32_t flags;
    uint64_t serial;
    pid_t sender; /* received only: the kernel's word for who sent it; 0 when the socket does not ask */
    int fds[WIRE_FDS_MAX];
    unsigned fd_count;
    size_t text_size;
    char text[WIRE_TEXT_MAX + 1]; /* NUL-terminated on receipt */
};

/* Makes a channel. *ours: non-blocking, asks for credentials; *theirs: blocking. Both close-on-exec. */
int wire_pair(int *ours, int *theirs, struct err *e);

/* Starts a message of a type: everything zero, no descriptors, empty text. */
void wire_init(struct wire_msg *m, enum wire_type type);

/* Sets the text, cut to what fits. */
void wire_set_text(struct wire_msg *m, const char *text, size_t text_size);

/* Sends it; m->fds stay the caller's. 0, or -1 with errno (EAGAIN only on a non-blocking end). */
int wire_send(int fd, const struct wire_msg *m);

/* The same, but never waits: EAGAIN when the channel is full, blocking end or not. */
int wire_try_send(int fd, const struct wire_msg *m);

/* Receives one. with_fds: descriptors in it become the caller's (close-on-exec); without, the kernel drops
 * them. 1 for a message, 0 when the other end is closed, -1 with errno: EAGAIN nothing there, EPROTO not
 * a message of ours (it is gone; the channel can be read on). Check m->type all the same. */
int wire_receive(int fd, struct wire_msg *m, bool with_fds);

/* Closes the descriptors of a received message that nobody took (those not -1). */
void wire_close_fds(struct wire_msg *m);

/* The same transport without a message: moves one connection between workers. Both non-blocking.
 * 0, or -1 with errno (EAGAIN: the queue is full; ETOOMANYREFS: too many descriptors in flight). */
int wire_pass_connection(int fd, int connection, bool is_fresh);

/* Returns the connection (close-on-exec), or -1 with errno. *is_fresh: no request was served on it yet, as
 * who passed it says. */
int wire_take_connection(int fd, bool *is_fresh);

#endif
