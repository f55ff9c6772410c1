/* Runs host --fingerprint for one group and collects its answer.
 *
 * The host becomes the group's user, looks at the environment without Python and ends; the supervisor itself
 * lists no folder that somebody else can fill. A host that hangs, on a network file system say, is killed
 * after a while and, if it cannot be, forgotten. Runs on the supervisor's only thread; nothing here waits. */
#include "pm/ask.h"

#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/wire.h"
#include "config/config.h"
#include "pm/child.h"
#include "pm/hosts.h"
#include "pm/spawn.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AT_ONCE_MAX 4
#define PATIENCE_MS 30000

static unsigned running; /* that have a place */

bool pm_ask_has_room(void)
{
    return running < AT_ONCE_MAX;
}

static void give_place_back(struct pm_ask *ask)
{
    if (ask->has_place)
        running--;
    ask->has_place = false;
}

static void set_failure(struct pm_ask *ask, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void set_failure(struct pm_ask *ask, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (!ask->failure && vasprintf(&ask->failure, format, arguments) < 0)
        ask->failure = NULL;
    va_end(arguments);
}

static void end(struct pm_ask *ask)
{
    if (ask->is_over)
        return;
    ask->is_over = true;
    uv_timer_stop(&ask->timer);
    give_place_back(ask);
    ask->over(ask->context);
}

static void on_message(struct pm_child *child, const struct wire_msg *m)
{
    struct pm_ask *ask = child->owner;
    if (m->type == WIRE_FINGERPRINT)
        pm_fingerprint_take(&ask->answer, m);
    else if (m->type == WIRE_TEMPLATE_FAILED)
        set_failure(ask, "%s", m->text);
    else
        set_failure(ask, "it sent message %d instead of a fingerprint", (int)m->type);
}

static void on_ended(struct pm_child *child)
{
    struct pm_ask *ask = child->owner;
    struct err why;
    char how[96];
    if (pm_hosts_explain_end(child->wait_status, &why))
        set_failure(ask, "%s", why.text);
    else if (!pm_fingerprint_is_known(&ask->answer))
        set_failure(ask, "host --fingerprint %s without an answer",
                    pm_child_describe_end(child->wait_status, how));
    end(ask);
}

static const struct pm_child_kind fingerprint_kind = {"fingerprint", on_message, on_ended, NULL};

static void on_patience_over(uv_timer_t *timer)
{
    struct pm_ask *ask = timer->data;
    pm_child_signal(ask->child, SIGKILL);
    set_failure(ask, "host --fingerprint did not answer within %d s", PATIENCE_MS / 1000);
    end(ask);
}

static pid_t start_host(const char *program, const struct cfg_group *group, int *ours, struct err *e)
{
    pid_t pid = -1;
    int theirs = -1;
    int config = fd_memory("pyfpm-group");
    if (config < 0) {
        err_errno(e, "memfd_create");
        return -1;
    }
    if (cfg_group_write(group, config, e) == 0 && wire_pair(ours, &theirs, e) == 0) {
        int fds[PM_SPAWN_FDS_MAX] = {-1, -1, -1, theirs, config, -1, -1, -1, -1};
        char *argv[] = {(char *)program, (char *)"--fingerprint", NULL};
        pid = pm_spawn(program, argv, fds, e);
    }
    fd_close(&config);
    fd_close(&theirs);
    return pid;
}

struct pm_ask *pm_ask_start(uv_loop_t *loop, const char *program, const struct cfg_group *group,
                            void (*over)(void *context), void *context, struct err *e)
{
    int channel = -1;
    struct pm_ask *ask = calloc(1, sizeof *ask);
    if (!ask) {
        err_errno(e, "fingerprint");
        return NULL;
    }
    snprintf(ask->group, sizeof ask->group, "%s", group->name);
    ask->over = over;
    ask->context = context;
    pid_t pid = start_host(program, group, &channel, e);
    if (pid > 0)
        ask->child = pm_child_new(loop, &fingerprint_kind, ask, ask->group, pid, &channel, e);
    if (!ask->child) {
        if (pid > 0)
            kill(pid, SIGKILL); /* our own unreaped child */
        fd_close(&channel);
        free(ask);
        return NULL;
    }
    ask->has_place = true;
    running++;
    uv_timer_init(loop, &ask->timer);
    ask->timer.data = ask;
    uv_update_time(loop);
    uv_timer_start(&ask->timer, on_patience_over, PATIENCE_MS, 0);
    return ask;
}

static void free_when_closed(uv_handle_t *timer)
{
    free(timer->data);
}

void pm_ask_free(struct pm_ask **ask)
{
    struct pm_ask *a = *ask;
    *ask = NULL;
    if (!a)
        return;
    give_place_back(a);
    pm_child_signal(a->child, SIGKILL);
    pm_child_free(&a->child);
    pm_fingerprint_clear(&a->answer);
    free(a->failure);
    uv_close((uv_handle_t *)&a->timer, free_when_closed);
}
