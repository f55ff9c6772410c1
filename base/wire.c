/* Puts messages on the channels and takes them off. The only place that knows sendmsg(2) and cmsg(3).
 * No state; any thread may send, since a datagram is atomic. */
#include "base/wire.h"

#include "base/err.h"
#include "base/fd.h"

#include <errno.h>
#include <stdalign.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define WIRE_VERSION 1

struct wire_head {
    uint32_t version;
    uint32_t type;
    uint32_t slot;
    uint32_t flags;
    uint64_t serial;
};

int wire_pair(int *ours, int *theirs, struct err *e)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return err_errno(e, "socketpair");
    int on = 1;
    if (setsockopt(pair[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0 ||
        fd_set_nonblocking(pair[0], true) < 0) {
        err_errno(e, "channel");
        close(pair[0]);
        close(pair[1]);
        return -1;
    }
    *ours = pair[0];
    *theirs = pair[1];
    return 0;
}

void wire_init(struct wire_msg *m, enum wire_type type)
{
    m->type = type;
    m->slot = 0;
    m->flags = 0;
    m->serial = 0;
    m->sender = 0;
    m->fd_count = 0;
    for (unsigned i = 0; i < WIRE_FDS_MAX; i++)
        m->fds[i] = -1;
    m->text_size = 0;
    m->text[0] = '\0';
}

void wire_set_text(struct wire_msg *m, const char *text, size_t text_size)
{
    m->text_size = text_size < WIRE_TEXT_MAX ? text_size : WIRE_TEXT_MAX;
    memcpy(m->text, text, m->text_size);
    m->text[m->text_size] = '\0';
}

static ssize_t send_with_fds(int fd, struct iovec *parts, size_t part_count, const int *fds,
                             unsigned fd_count, int flags)
{
    alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * WIRE_FDS_MAX)] = {0};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = part_count};
    if (fd_count > 0) {
        message.msg_control = control;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
        memcpy(CMSG_DATA(rights), fds, sizeof(int) * fd_count);
    }
    ssize_t sent;
    do
        sent = sendmsg(fd, &message, MSG_NOSIGNAL | flags);
    while (sent < 0 && errno == EINTR);
    return sent;
}

static int send_message(int fd, const struct wire_msg *m, int flags)
{
    struct wire_head head = {WIRE_VERSION, (uint32_t)m->type, m->slot, m->flags, m->serial};
    struct iovec parts[2] = {{&head, sizeof head}, {(void *)m->text, m->text_size}};
    return send_with_fds(fd, parts, 2, m->fds, m->fd_count, flags) < 0 ? -1 : 0;
}

int wire_send(int fd, const struct wire_msg *m)
{
    return send_message(fd, m, 0);
}

int wire_try_send(int fd, const struct wire_msg *m)
{
    return send_message(fd, m, MSG_DONTWAIT);
}

/* A socket that asks for no credentials has room for more descriptors than a message of ours carries. */
static void take_fds(struct wire_msg *m, const struct cmsghdr *c)
{
    size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
        int fd;
        memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
        if (m->fd_count < WIRE_FDS_MAX)
            m->fds[m->fd_count++] = fd;
        else
            close(fd);
    }
}

static void take_control(struct wire_msg *m, struct msghdr *message)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET)
            continue;
        if (c->cmsg_type == SCM_CREDENTIALS) {
            struct ucred sender;
            memcpy(&sender, CMSG_DATA(c), sizeof sender);
            m->sender = sender.pid;
        } else if (c->cmsg_type == SCM_RIGHTS) {
            take_fds(m, c);
        }
    }
}

int wire_receive(int fd, struct wire_msg *m, bool with_fds)
{
    struct wire_head head;
    struct iovec parts[2] = {{&head, sizeof head}, {m->text, WIRE_TEXT_MAX}};
    /* Without room for SCM_RIGHTS the kernel discards descriptors that an application might send. */
    alignas(struct cmsghdr) char
        control[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(int) * WIRE_FDS_MAX)];
    size_t control_size = with_fds ? sizeof control : (size_t)CMSG_SPACE(sizeof(struct ucred));
    struct msghdr message = {
        .msg_iov = parts, .msg_iovlen = 2, .msg_control = control, .msg_controllen = control_size};

    wire_init(m, 0);
    ssize_t size;
    do
        size = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    while (size < 0 && errno == EINTR);
    if (size < 0)
        return -1;
    take_control(m, &message);
    if (!with_fds)
        wire_close_fds(m);
    if (size == 0 && m->sender == 0)
        return 0;
    if ((size_t)size < sizeof head || head.version != WIRE_VERSION || (message.msg_flags & MSG_TRUNC) ||
        head.type == 0 || head.type >= WIRE_TYPE_END) {
        wire_close_fds(m);
        errno = EPROTO;
        return -1;
    }
    m->type = (enum wire_type)head.type;
    m->slot = head.slot;
    m->flags = head.flags;
    m->serial = head.serial;
    m->text_size = (size_t)size - sizeof head;
    m->text[m->text_size] = '\0';
    return 1;
}

void wire_close_fds(struct wire_msg *m)
{
    for (unsigned i = 0; i < WIRE_FDS_MAX; i++)
        fd_close(&m->fds[i]);
    m->fd_count = 0;
}

int wire_pass_connection(int fd, int connection, bool is_fresh)
{
    char byte = is_fresh ? 'f' : 'c';
    struct iovec part = {&byte, 1};
    return send_with_fds(fd, &part, 1, &connection, 1, MSG_DONTWAIT) < 0 ? -1 : 0;
}

int wire_take_connection(int fd, bool *is_fresh)
{
    char byte;
    struct iovec part = {&byte, 1};
    alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t size;
    do
        size = recvmsg(fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    while (size < 0 && errno == EINTR);
    if (size < 0)
        return -1;
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    if (size == 0 || !c || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(int))) {
        errno = EPROTO;
        return -1;
    }
    int connection;
    memcpy(&connection, CMSG_DATA(c), sizeof connection);
    *is_fresh = byte == 'f';
    return connection;
}
