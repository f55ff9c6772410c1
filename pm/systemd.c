/* Speaks systemd's two small protocols: descriptors in, datagrams out.
 *
 * What was passed in is kept until the process ends, so that a group which comes back with a reload finds
 * its socket again. A notification that cannot be sent is dropped: systemd is told of the next one, and the
 * supervisor has nobody to complain to. Runs on the supervisor's only thread. */
#include "pm/systemd.h"

#include "base/err.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define FIRST_FD    3
#define SOCKETS_MAX 256
#define NAME_SIZE   256 /* FileDescriptorName= has at most 255 bytes */

static struct passed {
    int fd;
    char name[NAME_SIZE];
} sockets[SOCKETS_MAX];
static unsigned socket_count;

static struct sockaddr_un manager; /* where notifications go; sun_family 0: nowhere */
static socklen_t manager_size;
static int64_t watchdog_ms;

/* A variable of digits only that fits; -1 when there is none such. */
static int64_t number_of(const char *variable)
{
    const char *text = getenv(variable);
    if (!text || *text == '\0' || strspn(text, "0123456789") != strlen(text) || strlen(text) > 18)
        return -1;
    return strtoll(text, NULL, 10);
}

/* The names, separated by colons, in the order of the descriptors; *names moves behind the one taken. */
static void take_name(const char **names, char name[NAME_SIZE])
{
    size_t size = strcspn(*names, ":");
    snprintf(name, NAME_SIZE, "%.*s", (int)size, *names);
    *names += size + ((*names)[size] == ':');
}

static int adopt_one(int fd, const char **names, struct err *e)
{
    struct passed *p = &sockets[socket_count];
    if (fd_set_cloexec(fd, true) < 0)
        return err_errno(e, "LISTEN_FDS promises descriptor %d, which cannot be used", fd);
    take_name(names, p->name);
    p->fd = fd;
    socket_count++;
    return 0;
}

static int adopt_sockets(struct err *e)
{
    int64_t count = number_of("LISTEN_FDS");
    const char *names = getenv("LISTEN_FDNAMES");
    if (number_of("LISTEN_PID") != getpid())
        return 0;
    if (count > SOCKETS_MAX)
        return err_set(e, "systemd passes %lld sockets; %d is the most", (long long)count, SOCKETS_MAX);
    for (int i = 0; i < count; i++)
        if (adopt_one(FIRST_FD + i, names ? &names : &(const char *){"unknown"}, e) < 0)
            return -1;
    return 0;
}

static void note_manager(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    size_t size = path ? strlen(path) : 0;
    if (size < 2 || size >= sizeof manager.sun_path || (path[0] != '/' && path[0] != '@'))
        return;
    memcpy(manager.sun_path, path, size);
    if (path[0] == '@')
        manager.sun_path[0] = '\0'; /* the abstract name space: unix(7) */
    manager.sun_family = AF_UNIX;
    manager_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);
}

static void note_watchdog(void)
{
    int64_t period_us = number_of("WATCHDOG_USEC"), pid = number_of("WATCHDOG_PID");
    if (period_us > 0 && (pid < 0 || pid == getpid()))
        watchdog_ms = period_us < 2000 ? 1 : period_us / 2000;
}

int pm_systemd_adopt(struct err *e)
{
    static const char *const variables[] = {"LISTEN_PID",    "LISTEN_FDS",    "LISTEN_FDNAMES",
                                            "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"};
    int result = adopt_sockets(e);
    note_manager();
    note_watchdog();
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++)
        unsetenv(variables[i]);
    return result;
}

static bool is_listening_stream(int fd)
{
    int type = 0, listens = 0;
    socklen_t size = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_STREAM)
        return false;
    size = sizeof listens;
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens;
}

static int refuse_name(const char *name, struct err *e)
{
    char known[1024] = "";
    size_t used = 0;
    if (socket_count == 0)
        return err_set(e,
                       "systemd passed no socket in (start pyfpm through its unit, with a .socket unit that "
                       "says FileDescriptorName=%s and Service=pyfpm.service)",
                       name);
    for (unsigned i = 0; i < socket_count && used < sizeof known; i++)
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i > 0 ? ", " : "",
                                 sockets[i].name);
    return err_set(e, "systemd passed no socket of the name \"%s\" in; there are: %s", name, known);
}

int pm_systemd_take(const char *name, struct err *e)
{
    const struct passed *found = NULL;
    for (unsigned i = 0; i < socket_count; i++) {
        if (strcmp(sockets[i].name, name) != 0)
            continue;
        if (found)
            return err_set(e, "systemd passed several sockets of the name \"%s\" in; a group has one", name);
        found = &sockets[i];
    }
    if (!found)
        return refuse_name(name, e);
    if (!is_listening_stream(found->fd))
        return err_set(e,
                       "the socket \"%s\" that systemd passed in is no listening stream socket "
                       "(ListenStream=, Accept=no)",
                       name);
    int fd = fcntl(found->fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0 || fd_set_nonblocking(fd, true) < 0) {
        err_errno(e, "the socket \"%s\"", name);
        fd_close(&fd);
    }
    return fd;
}

static void send_datagram(const char *text)
{
    int fd = manager.sun_family ? socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) : -1;
    if (fd < 0)
        return;
    sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&manager, manager_size);
    close(fd);
}

void pm_systemd_notify(const char *format, ...)
{
    char text[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    send_datagram(text);
}

void pm_systemd_notify_reloading(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    pm_systemd_notify("RELOADING=1\nMONOTONIC_USEC=%lld",
                      (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
}

int64_t pm_systemd_watchdog_ms(void)
{
    return watchdog_ms;
}
