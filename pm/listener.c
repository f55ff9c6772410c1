/* Makes listening sockets for addresses and keeps them while anybody holds them.
 *
 * A unix socket is born with mode 0600 and opened up only after owner and group are set, so there is no
 * moment in which a stranger can connect. A socket file is removed only while it is still the one that we
 * made. Runs on the supervisor's only thread, before and in its loop; blocks only for name look-ups. */
#include "pm/listener.h"

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "config/config.h"
#include "pm/systemd.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* A whole request header must fit the receive buffer, because it is looked at before it is read. */
#define TCP_RECEIVE_BYTES (512 * 1024)

struct pm_listener {
    int fd;
    unsigned holders;
    char *address;    /* as the configuration says it */
    char *path;       /* of a unix socket while its file is ours, else NULL */
    bool door_closed; /* no new client can come; never found again. Others than unix sockets have no
                         door but themselves, and systemd's never close */
    dev_t device;     /* of that file */
    ino_t inode;
    struct pm_listener *next;
};

static struct pm_listener *listeners;

static int look_up_user(const char *name, uid_t *uid, gid_t *gid, struct err *e)
{
    char *end;
    unsigned long number = strtoul(name, &end, 10);
    errno = 0;
    struct passwd *user = *end == '\0' ? getpwuid((uid_t)number) : getpwnam(name);
    if (user) {
        *uid = user->pw_uid;
        *gid = user->pw_gid;
        return 0;
    }
    if (*end != '\0')
        return err_set(e, "there is no user \"%s\"", name);
    *uid = (uid_t)number;
    return 0;
}

static int look_up_group(const char *name, gid_t *gid, struct err *e)
{
    char *end;
    unsigned long number = strtoul(name, &end, 10);
    struct group *group = *end == '\0' ? NULL : getgrnam(name);
    if (*end != '\0' && !group)
        return err_set(e, "there is no group \"%s\"", name);
    *gid = group ? group->gr_gid : (gid_t)number;
    return 0;
}

int pm_listener_find_owner(const struct cfg_group *group, uid_t *uid, gid_t *gid, struct err *e)
{
    *uid = (uid_t)-1;
    *gid = (gid_t)-1;
    if (geteuid() == 0 && group->user && look_up_user(group->user, uid, gid, e) < 0)
        return err_prefix(e, "user");
    if (geteuid() == 0 && group->group && look_up_group(group->group, gid, e) < 0)
        return err_prefix(e, "group");
    gid_t primary = (gid_t)-1;
    if (group->listen_owner && look_up_user(group->listen_owner, uid, &primary, e) < 0)
        return err_prefix(e, "listen-owner");
    if (group->listen_group && look_up_group(group->listen_group, gid, e) < 0)
        return err_prefix(e, "listen-group");
    return 0;
}

/* An O_PATH descriptor of the socket file, if it is still the one that was made; else -1 with errno. The
 * group's user may own the folder: nothing that lies under the name instead may be touched. */
static int open_own_file(const struct pm_listener *l)
{
    struct stat status;
    int file = open(l->path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (file < 0)
        return -1;
    if (fstat(file, &status) == 0 && status.st_dev == l->device && status.st_ino == l->inode)
        return file;
    close(file);
    errno = ENOENT;
    return -1;
}

/* fchmod(2) refuses an O_PATH descriptor. */
static int change_mode(int file, mode_t mode)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    return chmod(path, mode);
}

static int apply_permissions(const struct pm_listener *l, const struct cfg_group *group, struct err *e)
{
    uid_t uid;
    gid_t gid;
    if (!l->path)
        return 0;
    if (pm_listener_find_owner(group, &uid, &gid, e) < 0)
        return -1;
    int file = open_own_file(l);
    if (file < 0)
        return err_errno(e, "%s is not the socket that was made there", l->path);
    int result = 0;
    if ((uid != (uid_t)-1 || gid != (gid_t)-1) && fchownat(file, "", uid, gid, AT_EMPTY_PATH) < 0)
        result = err_errno(e, "cannot change the owner of %s", l->path);
    else if (change_mode(file, (mode_t)group->listen_mode) < 0)
        result = err_errno(e, "cannot change the mode of %s", l->path);
    close(file);
    return result;
}

/* Nobody answers at a socket file that a killed process left behind. */
static bool is_stale(const struct sockaddr_un *address)
{
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (probe < 0)
        return false;
    bool stale = connect(probe, (const struct sockaddr *)address, sizeof *address) < 0 &&
                 errno == ECONNREFUSED;
    close(probe);
    return stale;
}

static int refuse_bind(const char *path, struct err *e)
{
    const char *slash = strrchr(path, '/');
    if (errno == ENOENT && slash && slash > path)
        return err_set(e, "cannot listen on %s: the folder %.*s is missing", path, (int)(slash - path), path);
    return err_errno(e, "cannot listen on %s", path);
}

static int bind_unix(int fd, const char *path, struct err *e)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, strlen(path) + 1);
    mode_t before = umask(0177);
    int bound = bind(fd, (struct sockaddr *)&address, sizeof address);
    if (bound < 0 && errno == EADDRINUSE) {
        struct stat status;
        if (lstat(path, &status) == 0 && !S_ISSOCK(status.st_mode)) {
            err_set(e, "%s exists and is no socket", path);
        } else if (!is_stale(&address)) {
            err_set(e, "%s is in use: another program is listening there", path);
        } else {
            unlink(path);
            bound = bind(fd, (struct sockaddr *)&address, sizeof address);
            if (bound < 0)
                err_errno(e, "cannot listen on %s", path);
        }
    } else if (bound < 0) {
        refuse_bind(path, e);
    }
    umask(before);
    return bound;
}

/* Whether it can be the socket file that was made a moment ago. Who owns the folder may have put something
 * else under its name since, a link to somebody's file say, which must not be given away in its place. */
static bool is_fresh_socket(const struct stat *status)
{
    return S_ISSOCK(status->st_mode) && status->st_nlink == 1;
}

static int open_unix(struct pm_listener *l, const char *path, struct err *e)
{
    struct stat status;
    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (l->fd < 0)
        return err_errno(e, "socket");
    if (bind_unix(l->fd, path, e) < 0)
        return -1;
    l->path = strdup(path);
    if (!l->path || lstat(path, &status) < 0)
        return err_errno(e, "%s", path);
    if (!is_fresh_socket(&status))
        return err_set(e, "%s is not the socket that was made there", path);
    l->device = status.st_dev;
    l->inode = status.st_ino;
    return 0;
}

static int bind_tcp(struct pm_listener *l, const struct addrinfo *found)
{
    int on = 1;
    int size = TCP_RECEIVE_BYTES;
    l->fd = socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, found->ai_protocol);
    if (l->fd < 0)
        return -1;
    setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(l->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    return bind(l->fd, found->ai_addr, found->ai_addrlen);
}

static int open_tcp(struct pm_listener *l, const struct cfg_address *address, struct err *e)
{
    struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int failure = getaddrinfo(address->host[0] ? address->host : NULL, address->port, &hints, &found);
    if (failure != 0)
        return err_set(e, "cannot resolve %s: %s", l->address, gai_strerror(failure));
    int bound = bind_tcp(l, found);
    if (bound < 0)
        err_errno(e, "cannot listen on %s", l->address);
    freeaddrinfo(found);
    return bound;
}

static int open_address(struct pm_listener *l, const struct cfg_group *group, struct err *e)
{
    struct cfg_address address;
    l->address = strdup(group->listen);
    if (!l->address)
        return err_errno(e, "listener");
    if (cfg_parse_address(group->listen, &address, e) < 0)
        return -1;
    if (address.kind == CFG_LISTEN_UNIX)
        return open_unix(l, address.path, e);
    if (address.kind == CFG_LISTEN_SYSTEMD)
        return (l->fd = pm_systemd_take(address.path, e)) < 0 ? -1 : 0;
    return open_tcp(l, &address, e);
}

/* The kernel takes the call on a socket that listens already as a change of its backlog. */
static int bring_up_to_date(struct pm_listener *l, const struct cfg_group *group, struct err *e)
{
    if (listen(l->fd, (int)group->listen_backlog) < 0)
        return err_errno(e, "cannot listen on %s", l->address);
    return apply_permissions(l, group, e);
}

/* A socket whose file somebody removed is reached by nobody: a new one takes its place. */
static bool is_reachable(const struct pm_listener *l)
{
    if (l->door_closed)
        return false;
    int file = l->path ? open_own_file(l) : -1;
    bool reachable = !l->path || file >= 0;
    fd_close(&file);
    return reachable;
}

static struct pm_listener *find(const char *address)
{
    for (struct pm_listener *l = listeners; l; l = l->next)
        if (strcmp(l->address, address) == 0 && is_reachable(l))
            return l;
    return NULL;
}

struct pm_listener *pm_listener_acquire(const struct cfg_group *group, struct err *e)
{
    struct pm_listener *l = find(group->listen);
    if (l)
        return bring_up_to_date(l, group, e) == 0 ? pm_listener_hold(l) : NULL;

    l = calloc(1, sizeof *l);
    if (!l) {
        err_errno(e, "listener");
        return NULL;
    }
    l->fd = -1;
    l->holders = 1;
    l->next = listeners;
    listeners = l;
    if (open_address(l, group, e) < 0 || bring_up_to_date(l, group, e) < 0)
        pm_listener_release(&l);
    return l;
}

struct pm_listener *pm_listener_hold(struct pm_listener *l)
{
    l->holders++;
    return l;
}

void pm_listener_close_door(struct pm_listener *l)
{
    if (!l->path)
        return;
    l->door_closed = true;
    int file = open_own_file(l);
    if (file >= 0)
        unlink(l->path);
    fd_close(&file);
    free(l->path);
    l->path = NULL;
}

static void unlist(struct pm_listener *l)
{
    struct pm_listener **link = &listeners;
    while (*link && *link != l)
        link = &(*link)->next;
    if (*link)
        *link = l->next;
}

void pm_listener_release(struct pm_listener **l)
{
    struct pm_listener *released = *l;
    *l = NULL;
    if (!released || --released->holders > 0)
        return;
    unlist(released);
    pm_listener_close_door(released);
    fd_close(&released->fd);
    free(released->address);
    free(released);
}

unsigned pm_listener_holders(const struct pm_listener *l)
{
    return l->holders;
}

int pm_listener_fd(const struct pm_listener *l)
{
    return l->fd;
}

const char *pm_listener_address(const struct pm_listener *l)
{
    return l->address;
}
