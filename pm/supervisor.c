/* The supervisor's loop: signals in, groups settled, until everything is gone.
 *
 * Signal and channel callbacks only record; after each batch of events the prepare watcher settles the
 * groups that are dirty. Never reads FastCGI and never links Python. One process, one thread. */
#include "pm/supervisor.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "config/config.h"
#include "pm/backoff.h"
#include "pm/child.h"
#include "pm/control.h"
#include "pm/group.h"
#include "pm/listener.h"
#include "pm/notify.h"
#include "pm/output.h"
#include "pm/pm.h"
#include "pm/reload.h"
#include "pm/responder_link.h"
#include "pm/systemd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define EXIT_FAILED 1

/* What is left to the responder at the end before it is killed. */
#define FAREWELL_MS 2000

/* A responder that cannot stay up is started again no faster than this. */
#define RESPONDER_PAUSE_MS     1000
#define RESPONDER_PAUSE_MAX_MS 60000

struct signal_row {
    int number;
    void (*act)(struct pm *pm);
};

uv_loop_t *pm_loop(struct pm *pm)
{
    return &pm->loop;
}

uint64_t pm_next_serial(struct pm *pm)
{
    return ++pm->last_serial;
}

struct pm_responder *pm_responder_of(struct pm *pm)
{
    return pm->responder_ended ? NULL : pm->responder;
}

struct pm_notify *pm_notify_of(struct pm *pm)
{
    return pm->notify;
}

const char *pm_config_path(const struct pm *pm)
{
    return pm->config_path;
}

int64_t pm_started_ms(const struct pm *pm)
{
    return pm->started_ms;
}

struct pm_group *const *pm_groups(const struct pm *pm, size_t *count)
{
    *count = pm->group_count;
    return pm->groups;
}

bool pm_is_stopping(const struct pm *pm)
{
    return pm->phase != PM_RUNNING;
}

bool pm_is_done(const struct pm *pm)
{
    return pm->phase == PM_DONE;
}

/* ---- groups ---- */

unsigned pm_room(const struct pm *pm)
{
    uint64_t count = 0, most = (uint64_t)pm->cfg->global.max_workers;
    if (most == 0)
        return UINT_MAX;
    for (size_t i = 0; i < pm->group_count; i++)
        count += pm_group_count_workers(pm->groups[i]);
    return count < most ? (unsigned)(most - count) : 0;
}

void pm_offer_room(struct pm *pm)
{
    for (size_t i = 0; i < pm->group_count && pm->cfg->global.max_workers > 0; i++)
        pm_group_offer_room(pm->groups[i]);
}

struct pm_group *pm_find_group(const struct pm *pm, const char *name)
{
    for (size_t i = 0; i < pm->group_count; i++)
        if (strcmp(pm_group_name(pm->groups[i]), name) == 0 && !pm_group_is_ending(pm->groups[i]))
            return pm->groups[i];
    return NULL;
}

int pm_add_group(struct pm *pm, const struct cfg_group *cfg, bool *has_socket, struct err *e)
{
    struct err why;
    struct pm_group **larger = realloc(pm->groups, (pm->group_count + 1) * sizeof *larger);
    if (!larger)
        return err_errno(e, "group %s", cfg->name);
    pm->groups = larger;
    struct pm_listener *listener = pm_listener_acquire(cfg, &why);
    *has_socket = listener != NULL;
    struct pm_group *g = pm_group_new(pm, cfg, listener, e);
    if (!g) {
        pm_listener_release(&listener);
        return err_prefix(e, "group %s", cfg->name);
    }
    pm->groups[pm->group_count++] = g;
    if (!listener)
        pm_group_fail_start(g, why.text);
    return 0;
}

static void forget_gone_groups(struct pm *pm)
{
    size_t kept = 0;
    for (size_t i = 0; i < pm->group_count; i++) {
        struct pm_group *g = pm->groups[i];
        if (!pm_group_is_gone(g)) {
            pm->groups[kept++] = g;
            continue;
        }
        struct log_subject subject = {pm_group_name(g), 0};
        log_write(LOG_LEVEL_NOTICE, &subject, "stopped");
        pm_group_free(g);
    }
    pm->group_count = kept;
}

/* ---- the responder ---- */

static void on_responder_ended(void *context)
{
    struct pm *pm = context;
    pm->responder_ended = true;
}

static void on_responder_pressed(void *context, uint32_t id)
{
    struct pm *pm = context;
    for (size_t i = 0; i < pm->group_count; i++)
        pm_group_ring(pm->groups[i], id);
}

static void on_responder_pause_over(uv_timer_t *timer);

static void start_responder(struct pm *pm)
{
    struct err e;
    pm->responder = pm_responder_start(&pm->loop, on_responder_ended, on_responder_pressed, pm, &e);
    if (pm->responder) {
        pm->responder_failures = 0;
        return;
    }
    int64_t pause = pm_backoff_delay_ms(++pm->responder_failures, RESPONDER_PAUSE_MS, RESPONDER_PAUSE_MAX_MS,
                                        (uint32_t)random());
    log_write(LOG_LEVEL_ERROR, NULL, "%s (the next try in %lld ms)", e.text, (long long)pause);
    uv_timer_start(&pm->timer, on_responder_pause_over, (uint64_t)pause, 0);
}

static void forget_responder(struct pm *pm)
{
    for (size_t i = 0; i < pm->group_count; i++)
        pm_group_forget_responder(pm->groups[i]);
}

static void on_responder_pause_over(uv_timer_t *timer)
{
    struct pm *pm = timer->data;
    if (pm->phase != PM_RUNNING)
        return;
    start_responder(pm);
    forget_responder(pm); /* it has to be told again */
}

static void settle_responder(struct pm *pm)
{
    if (!pm->responder_ended)
        return;
    pm_responder_free(pm->responder);
    pm->responder = NULL;
    pm->responder_ended = false;
    forget_responder(pm);
    if (pm->phase == PM_RUNNING)
        uv_timer_start(&pm->timer, on_responder_pause_over, RESPONDER_PAUSE_MS, 0);
}

/* ---- the global part ---- */

int pm_raise_file_limit(const struct cfg *cfg, struct err *e)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return err_errno(e, "rlimit-files");
    if (cfg->global.rlimit_files != CFG_ID_NONE) {
        limit.rlim_cur = (rlim_t)cfg->global.rlimit_files;
        if (limit.rlim_max < limit.rlim_cur)
            limit.rlim_max = limit.rlim_cur;
    } else {
        rlim_t needed = 256; /* ours, and three for each process: channel, log pipe, pidfd; some for a roll */
        for (size_t i = 0; i < cfg->group_count; i++)
            needed += 16 + (rlim_t)cfg->groups[i]->processes * 8;
        if (needed > limit.rlim_cur)
            limit.rlim_cur = needed < limit.rlim_max ? needed : limit.rlim_max;
    }
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        return err_errno(e, "cannot set rlimit-files to %lld", (long long)limit.rlim_cur);
    return 0;
}

int pm_apply_global(const struct cfg *cfg, struct err *e)
{
    if (pm_raise_file_limit(cfg, e) < 0)
        return -1;
    return log_open(cfg->global.log, (enum log_level)cfg->global.log_level, e);
}

/* ---- stopping ---- */

void pm_stop(struct pm *pm)
{
    if (pm->phase != PM_RUNNING)
        return;
    pm->phase = PM_STOPPING;
    pm_systemd_notify("STOPPING=1\nSTATUS=finishing requests");
    log_write(LOG_LEVEL_NOTICE, NULL, "stopping: finishing requests");
    for (size_t i = 0; i < pm->group_count; i++)
        if (!pm_group_is_ending(pm->groups[i]))
            pm_group_end(pm->groups[i]);
}

void pm_stop_now(struct pm *pm)
{
    pm_stop(pm);
    log_write(LOG_LEVEL_NOTICE, NULL, "stopping now");
    for (size_t i = 0; i < pm->group_count; i++)
        pm_group_kill(pm->groups[i]);
}

static void on_farewell_over(uv_timer_t *timer)
{
    struct pm *pm = timer->data;
    if (pm->responder)
        pm_responder_kill(pm->responder);
}

static void settle_stop(struct pm *pm)
{
    if (pm->phase == PM_STOPPING && pm->group_count == 0) {
        pm->phase = PM_FAREWELL;
        if (pm->responder)
            pm_responder_finish(pm->responder);
        uv_timer_start(&pm->timer, on_farewell_over, FAREWELL_MS, 0);
    }
    if (pm->phase == PM_FAREWELL && !pm->responder) {
        pm->phase = PM_DONE;
        uv_stop(&pm->loop);
    }
}

/* ---- signals ---- */

static void ask_reload(struct pm *pm)
{
    if (pm->phase == PM_RUNNING)
        pm->reload_wanted = true;
}

int pm_reopen(struct err *e)
{
    if (log_reopen(e) < 0) {
        log_write(LOG_LEVEL_ERROR, NULL, "%s", e->text);
        return -1;
    }
    log_write(LOG_LEVEL_NOTICE, NULL, "log reopened");
    return 0;
}

static void ask_reopen(struct pm *pm)
{
    (void)pm;
    struct err e;
    pm_reopen(&e); /* says itself when it cannot */
}

/* The first SIGTERM is graceful, also after a SIGQUIT. */
static void ask_stop(struct pm *pm)
{
    bool is_second = pm->term_seen;
    pm->term_seen = true;
    if (is_second)
        pm_stop_now(pm);
    else
        pm_stop(pm);
}

static void reap(struct pm *pm)
{
    (void)pm;
    pm_child_reap_all();
}

static const struct signal_row signal_rows[] = {
    {SIGHUP, ask_reload}, {SIGUSR2, ask_reload}, {SIGUSR1, ask_reopen}, {SIGQUIT, pm_stop},
    {SIGTERM, ask_stop},  {SIGINT, pm_stop_now}, {SIGCHLD, reap},
};

static void on_signal(uv_signal_t *watch, int number)
{
    for (size_t i = 0; i < sizeof signal_rows / sizeof signal_rows[0]; i++)
        if (signal_rows[i].number == number)
            signal_rows[i].act(watch->data);
}

/* ---- settling ---- */

/* For systemctl status. */
void pm_tell_manager(const struct pm *pm)
{
    size_t serving_count = 0;
    for (size_t i = 0; i < pm->group_count; i++) {
        bool serving;
        pm_group_is_decided(pm->groups[i], &serving);
        serving_count += serving;
    }
    pm_systemd_notify("READY=1\nSTATUS=%zu of %zu groups serving%s%s", serving_count, pm->group_count,
                      pm->reload_failures[0] ? "; the reload failed for:" : "", pm->reload_failures);
}

static void announce(struct pm *pm)
{
    char others[1024] = "";
    size_t used = 0;
    size_t serving_count = 0;
    for (size_t i = 0; i < pm->group_count; i++) {
        bool serving;
        if (!pm_group_is_decided(pm->groups[i], &serving))
            return;
        serving_count += serving;
        if (!serving && used < sizeof others)
            used += (size_t)snprintf(others + used, sizeof others - used, "%s %s", used == 0 ? "; not:" : ",",
                                     pm_group_name(pm->groups[i]));
    }
    pm->announced = true;
    log_write(LOG_LEVEL_NOTICE, NULL, "pyfpm %s ready: %zu of %zu groups serving%s", PYFPM_VERSION,
              serving_count, pm->group_count, others);
    pm_tell_manager(pm);
}

static bool settle_dirty_groups(struct pm *pm)
{
    bool any = false;
    for (size_t i = 0; i < pm->group_count; i++)
        if (pm_group_is_dirty(pm->groups[i])) {
            any = true;
            pm_group_settle(pm->groups[i]);
        }
    return any;
}

static void begin_wanted_reload(struct pm *pm)
{
    struct err e;
    struct pm_reload_plan plan = {0};
    static const struct cfg_list everything;
    bool wanted = pm->reload_wanted && pm->phase == PM_RUNNING; /* a stop may have come since */
    pm->reload_wanted = false;
    if (wanted)
        pm_reload(pm, &everything, &plan, &e); /* a signal waits for no answer */
    pm_reload_plan_free(&plan);
}

static void on_settle(uv_prepare_t *watch)
{
    struct pm *pm = watch->data;
    settle_responder(pm);
    begin_wanted_reload(pm);
    do {
        pm_control_hear(pm->control);
        while (settle_dirty_groups(pm))
            ;
        forget_gone_groups(pm);
        pm_settle_reload(pm);
        if (!pm->announced && pm->phase == PM_RUNNING)
            announce(pm);
        settle_stop(pm);
    } while (pm_control_tell(pm->control));
}

/* ---- the beginning and the end ---- */

static void on_watchdog(uv_timer_t *timer)
{
    (void)timer;
    pm_systemd_notify("WATCHDOG=1");
}

static void start_watchdog(struct pm *pm)
{
    uint64_t period_ms = (uint64_t)pm_systemd_watchdog_ms();
    uv_timer_init(&pm->loop, &pm->watchdog);
    if (period_ms > 0)
        uv_timer_start(&pm->watchdog, on_watchdog, 0, period_ms);
}

static int start_watching(struct pm *pm, struct err *e)
{
    int failure = uv_loop_init(&pm->loop);
    if (failure < 0)
        return err_set(e, "event loop: %s", uv_strerror(failure));
    pm->notify = pm_notify_new(&pm->loop);
    if (!pm->notify)
        return err_errno(e, "event loop");
    uv_prepare_init(&pm->loop, &pm->settle);
    pm->settle.data = pm;
    uv_prepare_start(&pm->settle, on_settle);
    uv_timer_init(&pm->loop, &pm->timer);
    pm->timer.data = pm;
    start_watchdog(pm);
    for (size_t i = 0; i < sizeof signal_rows / sizeof signal_rows[0]; i++) {
        uv_signal_t *watch = &pm->signals[pm->signal_count++];
        uv_signal_init(&pm->loop, watch);
        watch->data = pm;
        failure = uv_signal_start(watch, on_signal, signal_rows[i].number);
        if (failure < 0)
            return err_set(e, "signal %d: %s", signal_rows[i].number, uv_strerror(failure));
    }
    return 0;
}

static int open_groups(struct pm *pm, struct err *e)
{
    bool any_has_socket = false;
    for (size_t i = 0; i < pm->cfg->group_count; i++) {
        bool has_socket;
        if (pm_add_group(pm, pm->cfg->groups[i], &has_socket, e) < 0)
            return -1;
        any_has_socket = any_has_socket || has_socket;
    }
    return any_has_socket ? 0 : err_set(e, "no group can have its socket");
}

static int write_pid_file(struct pm *pm, struct err *e)
{
    const char *path = pm->cfg->global.pid_file;
    if (!path)
        return 0;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return err_errno(e, "cannot write the pid file %s", path);
    int printed = dprintf(fd, "%d\n", (int)getpid());
    close(fd);
    pm->pid_file = strdup(path);
    return printed > 0 && pm->pid_file ? 0 : err_set(e, "cannot write the pid file %s", path);
}

/* Workers are forked by templates and become our own children: prctl(2), PR_SET_CHILD_SUBREAPER. */
static int become_reaper(struct err *e)
{
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
        return err_errno(e, "prctl PR_SET_CHILD_SUBREAPER");
    return 0;
}

static int open_control(struct pm *pm, struct err *e)
{
    struct pm_listener *door = NULL;
    pm->control = pm_control_new(pm, e);
    if (!pm->control || pm_control_open(&pm->cfg->global, &door, e) < 0)
        return -1;
    if (pm_control_use(pm->control, &door, e) == 0)
        return 0;
    pm_listener_release(&door);
    return -1;
}

static void discard_groups(struct pm *pm)
{
    for (size_t i = 0; i < pm->group_count; i++)
        pm_group_free(pm->groups[i]);
    pm->group_count = 0;
    free(pm->groups);
    pm->groups = NULL;
}

static void close_handle(uv_handle_t *handle, void *unused)
{
    (void)unused;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void stop_watching(struct pm *pm)
{
    pm_output_close_all();
    uv_walk(&pm->loop, close_handle, NULL);
    uv_run(&pm->loop, UV_RUN_DEFAULT);
    uv_loop_close(&pm->loop);
}

/* Whoever started us may have blocked some: exec keeps that. */
static void unblock_signals(void)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static int boot(struct pm *pm, struct err *e)
{
    srandom((unsigned)(time(NULL) ^ getpid()));
    if (pm_systemd_adopt(e) < 0 || pm_apply_global(pm->cfg, e) < 0 || become_reaper(e) < 0)
        return -1;
    signal(SIGPIPE, SIG_IGN);
    unblock_signals();
    if (start_watching(pm, e) < 0)
        return -1;
    if (open_control(pm, e) < 0 || open_groups(pm, e) < 0)
        return -1;
    if (write_pid_file(pm, e) < 0)
        return -1;
    start_responder(pm);
    log_write(LOG_LEVEL_NOTICE, NULL, "pyfpm %s started, pid %d, %zu groups", PYFPM_VERSION, (int)getpid(),
              pm->group_count);
    return 0;
}

int pm_run(const char *config_path, struct cfg *cfg)
{
    struct err e;
    struct pm pm = {.config_path = config_path, .cfg = cfg, .started_ms = clock_now_ms()};
    int result = EXIT_FAILED;
    if (boot(&pm, &e) == 0) {
        uv_run(&pm.loop, UV_RUN_DEFAULT);
        log_write(LOG_LEVEL_NOTICE, NULL, "stopped");
        result = EXIT_SUCCESS;
    } else {
        log_write(LOG_LEVEL_ALERT, NULL, "cannot start: %s", e.text);
        if (strcmp(pm.cfg->global.log, "stderr") != 0)
            fprintf(stderr, "pyfpm: cannot start: %s (more in the log: %s)\n", e.text, pm.cfg->global.log);
    }
    pm_control_close(pm.control);
    discard_groups(&pm);
    if (pm.pid_file)
        unlink(pm.pid_file);
    free(pm.pid_file);
    if (pm.signal_count > 0)
        stop_watching(&pm);
    pm_notify_free(pm.notify);
    pm_control_free(pm.control);
    cfg_free(pm.cfg);
    return result;
}
