/* Lets callers in at the control socket, takes their lines, and sees to it that none of them can hold the
 * supervisor up or make it grow.
 *
 * A caller has one line of input and, beyond that, only what is not yet read of one job's lines; a job is
 * asked for its next line when the caller has read enough. Who is silent, does not read, or sends what is no
 * request is told so, if possible, and dropped. Callbacks only record; hearing and telling happen while the
 * supervisor settles. Runs on the supervisor's only thread; nothing here waits. */
#include "pm/control.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "config/config.h"
#include "pm/listener.h"
#include "pm/supervisor.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#define CALLERS_MAX 32

/* A caller that has this much unread is full: its job waits. */
#define UNREAD_MAX (64 * 1024)

/* For a request to come whole, and for something that was said to be read. */
#define PATIENCE_MS 10000

#define TICK_MS 500

/* Nobody is let in for so long after that failed, for want of descriptors say. */
#define PAUSE_MS 1000

/* Connections that are let in before anybody else gets a turn. */
#define ACCEPTS_PER_TURN 16

struct door {
    uv_poll_t watch;
    struct pm_listener *listener;
    struct pm_control *control;
};

struct pm_control {
    struct pm *pm;
    struct door *door; /* NULL: no socket */
    bool knocked;      /* recorded by its callback */
    bool ticked;       /* likewise */
    int64_t closed_until_ms;
    uv_pipe_t
        first_stream; /* closed at once: libuv opens a spare descriptor with the first one of its life */
    uv_timer_t *tick; /* runs while there is somebody to keep an eye on */
    struct pm_caller *callers;
    unsigned count;
};

struct pm_caller {
    struct pm_control *control;
    uv_pipe_t pipe;
    char input[PM_CONTROL_LINE_MAX];
    size_t input_size;
    bool at_end;     /* nothing more comes */
    bool is_broken;  /* reading or writing failed */
    bool is_leaving; /* closed as soon as it has read what was said */
    struct pm_job *job;
    size_t unread;    /* bytes, when last looked at */
    int64_t since_ms; /* since when it is waited for */
    struct pm_caller *next;
};

/* ---- the socket ---- */

static void on_knock(uv_poll_t *watch, int status, int events)
{
    (void)status;
    (void)events;
    struct door *door = watch->data;
    door->control->knocked = true;
}

static void on_tick(uv_timer_t *timer)
{
    struct pm_control *c = timer->data;
    c->ticked = true;
}

struct pm_control *pm_control_new(struct pm *pm, struct err *e)
{
    struct pm_control *c = calloc(1, sizeof *c);
    uv_timer_t *tick = calloc(1, sizeof *tick);
    if (!c || !tick) {
        err_errno(e, "control socket");
        free(c);
        free(tick);
        return NULL;
    }
    c->pm = pm;
    c->tick = tick;
    uv_timer_init(pm_loop(pm), tick);
    tick->data = c;
    uv_pipe_init(pm_loop(pm), &c->first_stream, 0);
    uv_close((uv_handle_t *)&c->first_stream, NULL);
    return c;
}

/* The folder of the default, which the systemd unit makes and others may forget. */
static void make_default_folder(void)
{
    static const char folder[] = "/run/pyfpm";
    if (geteuid() == 0 && mkdir(folder, 0755) == 0)
        chmod(folder, 0755); /* whatever the umask */
}

int pm_control_open(const struct cfg_global *global, struct pm_listener **door, struct err *e)
{
    /* No user and no group: the file stays the supervisor's own. */
    const struct cfg_group ours = {
        .name = (char *)"control", .listen = global->control, .listen_backlog = 128, .listen_mode = 0600};
    *door = NULL;
    if (strcmp(global->control, "none") == 0)
        return 0;
    if (!global->control_is_given)
        make_default_folder();
    *door = pm_listener_acquire(&ours, e);
    if (*door)
        return 0;
    err_prefix(e, "control socket");
    if (global->control_is_given)
        return -1;
    log_write(LOG_LEVEL_WARNING, NULL,
              "%s: pyfpm runs without it, and status, reload and stop do not reach it (global: control names "
              "another place, or none)",
              e->text);
    return 0;
}

static void free_door(uv_handle_t *watch)
{
    struct door *door = watch->data;
    pm_listener_release(&door->listener);
    free(door);
}

static void close_door(struct pm_control *c)
{
    if (!c->door)
        return;
    if (pm_listener_holders(c->door->listener) == 1)
        pm_listener_close_door(c->door->listener);
    uv_close((uv_handle_t *)&c->door->watch, free_door);
    c->door = NULL;
    c->knocked = false;
}

int pm_control_use(struct pm_control *c, struct pm_listener **door, struct err *e)
{
    if (!*door) {
        close_door(c);
        return 0;
    }
    if (c->door && c->door->listener == *door) {
        pm_listener_release(door);
        return 0;
    }
    struct door *made = calloc(1, sizeof *made);
    if (!made)
        return err_errno(e, "control socket");
    int failure = uv_poll_init(pm_loop(c->pm), &made->watch, pm_listener_fd(*door));
    if (failure < 0) {
        free(made);
        return err_set(e, "control socket: %s", uv_strerror(failure));
    }
    made->watch.data = made;
    made->control = c;
    made->listener = *door;
    *door = NULL;
    close_door(c);
    c->door = made;
    uv_poll_start(&made->watch, UV_READABLE, on_knock);
    return 0;
}

/* ---- a caller ---- */

static void free_caller(uv_handle_t *pipe)
{
    free(pipe->data);
}

static void end_job(struct pm_caller *caller)
{
    if (caller->job)
        caller->job->free(caller->job);
    caller->job = NULL;
    caller->since_ms = clock_now_ms();
}

static void close_caller(struct pm_caller *caller)
{
    struct pm_caller **link = &caller->control->callers;
    while (*link != caller)
        link = &(*link)->next;
    *link = caller->next;
    caller->control->count--;
    end_job(caller);
    uv_close((uv_handle_t *)&caller->pipe, free_caller);
}

static size_t unread_of(const struct pm_caller *caller)
{
    return uv_stream_get_write_queue_size((const uv_stream_t *)&caller->pipe);
}

struct line {
    uv_write_t request;
    char *text; /* jansson's */
};

static void on_written(uv_write_t *request, int status)
{
    struct pm_caller *caller = request->handle->data;
    struct line *line = request->data;
    if (status < 0)
        caller->is_broken = true;
    free(line->text);
    free(line);
}

void pm_caller_say(struct pm_caller *caller, json_t *object)
{
    struct line *line = calloc(1, sizeof *line);
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    size_t size = text ? strlen(text) : 0;
    json_decref(object);
    if (!line || !text) {
        caller->is_broken = true;
        free(line);
        free(text);
        return;
    }
    text[size] = '\n'; /* in place of the NUL: the length is known */
    line->text = text;
    line->request.data = line;
    uv_buf_t bytes = uv_buf_init(text, (unsigned)size + 1);
    if (uv_write(&line->request, (uv_stream_t *)&caller->pipe, &bytes, 1, on_written) < 0) {
        caller->is_broken = true;
        free(text);
        free(line);
    }
}

json_t *pm_control_last_line(const char *error)
{
    json_t *line = json_pack("{s:b, s:b}", "done", 1, "ok", error == NULL);
    if (line && error)
        json_object_set_new(line, "error", pm_json_text(error));
    return line;
}

/* Ends the connection with a reason. What it still sends is not looked at. */
static void dismiss(struct pm_caller *caller, const char *why)
{
    pm_caller_say(caller, pm_control_last_line(why));
    end_job(caller);
    uv_read_stop((uv_stream_t *)&caller->pipe);
    caller->is_leaving = true;
}

static void on_room(uv_handle_t *pipe, size_t suggested, uv_buf_t *room)
{
    struct pm_caller *caller = pipe->data;
    (void)suggested;
    *room = uv_buf_init(caller->input + caller->input_size,
                        (unsigned)(sizeof caller->input - caller->input_size));
}

static void on_read(uv_stream_t *pipe, ssize_t size, const uv_buf_t *room)
{
    struct pm_caller *caller = pipe->data;
    (void)room;
    if (size == UV_EOF)
        caller->at_end = true;
    else if (size < 0)
        caller->is_broken = true;
    else
        caller->input_size += (size_t)size;
    if (size < 0 || caller->input_size == sizeof caller->input)
        uv_read_stop(pipe); /* hear_caller() goes on when there is room again */
}

/* ---- letting in ---- */

/* 0, or -1 with *e. */
static int check_peer(int fd, struct err *e)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        return err_errno(e, "the kernel does not say who you are");
    if (peer.uid == 0 || peer.uid == geteuid())
        return 0;
    return err_set(e, "user %u may not control this pyfpm: only root and user %u may", (unsigned)peer.uid,
                   (unsigned)geteuid());
}

/* A connection that gets a sentence and nothing else. */
static void turn_away(int fd, const char *why)
{
    json_t *line = pm_control_last_line(why);
    char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;
    if (text) {
        size_t size = strlen(text);
        text[size] = '\n';
        if (send(fd, text, size + 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
            log_write(LOG_LEVEL_DEBUG, NULL, "control socket: %s", strerror(errno));
    }
    free(text);
    json_decref(line);
}

/* The one without a job that has been silent for longest makes room for another. */
static bool make_room(struct pm_control *c)
{
    struct pm_caller *longest = NULL;
    if (c->count < CALLERS_MAX)
        return true;
    for (struct pm_caller *caller = c->callers; caller; caller = caller->next)
        if (!caller->job && (!longest || caller->since_ms < longest->since_ms))
            longest = caller;
    if (longest)
        close_caller(longest);
    return longest != NULL;
}

static void add_caller(struct pm_control *c, int *fd)
{
    struct pm_caller *caller = calloc(1, sizeof *caller);
    if (!caller)
        return;
    uv_pipe_init(pm_loop(c->pm), &caller->pipe, 0);
    caller->pipe.data = caller;
    if (uv_pipe_open(&caller->pipe, *fd) < 0) {
        uv_close((uv_handle_t *)&caller->pipe, free_caller);
        return;
    }
    *fd = -1;
    caller->control = c;
    caller->since_ms = clock_now_ms();
    caller->next = c->callers;
    c->callers = caller;
    c->count++;
    if (uv_read_start((uv_stream_t *)&caller->pipe, on_room, on_read) < 0)
        caller->is_broken = true;
}

static void pause_door(struct pm_control *c, int error)
{
    log_write(LOG_LEVEL_ERROR, NULL, "control socket: cannot let anybody in: %s", strerror(error));
    c->closed_until_ms = clock_now_ms() + PAUSE_MS;
    uv_poll_stop(&c->door->watch);
}

static void let_in(struct pm_control *c)
{
    struct err e;
    for (int i = 0; c->knocked && c->door && i < ACCEPTS_PER_TURN; i++) {
        int fd = accept4(pm_listener_fd(c->door->listener), NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
            continue;
        if (fd < 0) {
            c->knocked = false;
            if (errno != EAGAIN)
                pause_door(c, errno);
            return;
        }
        if (check_peer(fd, &e) < 0)
            turn_away(fd, e.text);
        else if (!make_room(c))
            turn_away(fd, "too many callers are being served; try again");
        else
            add_caller(c, &fd);
        fd_close(&fd);
    }
    c->knocked = false; /* the poll says it again when there are more */
}

/* ---- lines ---- */

/* Takes the first size bytes out of the input. */
static void use_up(struct pm_caller *caller, size_t size)
{
    caller->input_size -= size;
    memmove(caller->input, caller->input + size, caller->input_size);
    if (!caller->at_end && !caller->is_leaving && !caller->is_broken)
        uv_read_start((uv_stream_t *)&caller->pipe, on_room, on_read); /* fine when it reads already */
}

static void hear_request(struct pm_caller *caller, const char *text, size_t size)
{
    struct err e;
    json_error_t where;
    json_t *request = json_loadb(text, size, JSON_REJECT_DUPLICATES, &where);
    if (!request) {
        err_set(&e, "this is no JSON object on a line of its own: %s", where.text);
        dismiss(caller, e.text);
        return;
    }
    caller->job = pm_control_begin(caller->control->pm, request, &e);
    if (!caller->job)
        pm_caller_say(caller, pm_control_last_line(e.text));
    caller->since_ms = clock_now_ms();
    json_decref(request);
}

static bool is_blank(const char *text, size_t size)
{
    while (size > 0 && strchr(" \t\r", text[size - 1]) && text[size - 1] != '\0')
        size--;
    return size == 0;
}

/* Begins the caller's next request, if it has come and the one before is done. True when it did anything. */
static bool hear_line(struct pm_caller *caller)
{
    if (caller->job || caller->is_leaving || caller->is_broken || caller->input_size == 0 ||
        unread_of(caller) > UNREAD_MAX)
        return false;
    const char *newline = memchr(caller->input, '\n', caller->input_size);
    size_t size = newline ? (size_t)(newline - caller->input) : caller->input_size;
    if (!newline && caller->input_size == sizeof caller->input) {
        dismiss(caller, "a request is too long");
        return false;
    }
    if (!newline && !caller->at_end)
        return false;
    if (!is_blank(caller->input, size))
        hear_request(caller, caller->input, size);
    use_up(caller, newline ? size + 1 : size);
    return true;
}

void pm_control_hear(struct pm_control *c)
{
    if (!c)
        return;
    let_in(c);
    for (struct pm_caller *caller = c->callers; caller; caller = caller->next)
        while (hear_line(caller))
            ;
}

/* ---- telling ---- */

/* A caller that has hung up altogether gives no sign but this while nothing is said to it. */
static bool has_hung_up(const struct pm_caller *caller)
{
    struct pollfd set = {.fd = -1};
    uv_os_fd_t fd;
    if (!caller->at_end || uv_fileno((const uv_handle_t *)&caller->pipe, &fd) < 0)
        return false;
    set.fd = fd;
    return poll(&set, 1, 0) > 0 && (set.revents & (POLLHUP | POLLERR));
}

static void check_patience(struct pm_caller *caller, int64_t now)
{
    size_t unread = unread_of(caller);
    if (has_hung_up(caller)) {
        caller->is_broken = true;
    } else if (unread > 0 && unread == caller->unread && now - caller->since_ms > PATIENCE_MS) {
        log_write(LOG_LEVEL_DEBUG, NULL, "control socket: a caller does not read; dropped");
        caller->is_broken = true;
    } else if (unread == 0 && !caller->job && !caller->is_leaving && now - caller->since_ms > PATIENCE_MS) {
        dismiss(caller, "no request came in time");
    }
    if (unread != caller->unread)
        caller->since_ms = now;
    caller->unread = unread;
}

/* Goes on with the caller's job. True when it may ask for something else now. */
static bool tell_caller(struct pm_caller *caller)
{
    enum pm_job_step step = PM_JOB_MORE;
    if (!caller->job)
        return false;
    while (step == PM_JOB_MORE && !caller->is_broken && unread_of(caller) <= UNREAD_MAX)
        step = caller->job->step(caller->job, caller->control->pm, caller);
    if (step != PM_JOB_DONE)
        return false;
    end_job(caller);
    return caller->input_size > 0 || caller->at_end;
}

static bool is_over(const struct pm_caller *caller)
{
    bool has_all = unread_of(caller) == 0;
    bool wants_nothing = caller->at_end && !caller->job && caller->input_size == 0;
    return caller->is_broken || (has_all && (caller->is_leaving || wants_nothing));
}

static void look_after(struct pm_control *c, int64_t now)
{
    c->ticked = false;
    for (struct pm_caller *caller = c->callers; caller; caller = caller->next)
        check_patience(caller, now);
    if (c->closed_until_ms != 0 && now >= c->closed_until_ms) {
        c->closed_until_ms = 0;
        if (c->door)
            uv_poll_start(&c->door->watch, UV_READABLE, on_knock);
    }
}

static void arm_tick(struct pm_control *c)
{
    bool wanted = c->callers || c->closed_until_ms != 0;
    if (wanted && !uv_is_active((uv_handle_t *)c->tick)) {
        uv_update_time(pm_loop(c->pm));
        uv_timer_start(c->tick, on_tick, TICK_MS, TICK_MS);
    } else if (!wanted) {
        uv_timer_stop(c->tick);
    }
}

bool pm_control_tell(struct pm_control *c)
{
    bool more = false;
    if (!c)
        return false;
    for (struct pm_caller *caller = c->callers; caller; caller = caller->next)
        more = tell_caller(caller) || more;
    if (c->ticked)
        look_after(c, clock_now_ms());
    struct pm_caller *next;
    for (struct pm_caller *caller = c->callers; caller; caller = next) {
        next = caller->next;
        if (is_over(caller))
            close_caller(caller);
    }
    arm_tick(c);
    return more;
}

/* ---- the end ---- */

static void free_tick(uv_handle_t *timer)
{
    free(timer);
}

void pm_control_close(struct pm_control *c)
{
    if (!c)
        return;
    close_door(c);
    while (c->callers)
        close_caller(c->callers);
    uv_close((uv_handle_t *)c->tick, free_tick);
    c->tick = NULL;
}

void pm_control_free(struct pm_control *c)
{
    free(c);
}
