/* The supervisor's own state. For supervisor.c and reload.c only; everybody else asks through supervisor.h.
 */
#ifndef PM_PM_H
#define PM_PM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct cfg;
struct cfg_group;
struct err;
struct pm_control;
struct pm_group;
struct pm_notify;
struct pm_responder;

enum pm_phase { PM_RUNNING, PM_STOPPING, PM_FAREWELL, PM_DONE };

#define PM_SIGNALS_MAX 8

struct pm {
    uv_loop_t loop;
    uv_prepare_t settle;
    uv_signal_t signals[PM_SIGNALS_MAX];
    uv_timer_t timer; /* farewell, and the responder's pause */
    uv_timer_t watchdog;
    unsigned signal_count;

    const char *config_path;
    struct cfg *cfg;
    struct pm_group **groups;
    size_t group_count;
    struct pm_control *control;
    struct pm_notify *notify;
    struct pm_responder *responder;
    bool responder_ended;        /* recorded by its callback */
    unsigned responder_failures; /* to start it, in a row */
    uint64_t last_serial;
    int64_t started_ms;

    enum pm_phase phase;
    bool announced; /* "ready" was logged */
    bool reloading; /* a reload's outcome is still to be logged */
    bool reload_wanted;
    bool term_seen;
    char reload_failures[1024]; /* names of groups, each after a blank */
    char *pid_file;             /* written, to be removed */
};

/* A new group in the list. One whose address cannot be had fails alone, as one whose application is broken:
 * then *has_socket is false. 0, or -1 with *e. */
int pm_add_group(struct pm *pm, const struct cfg_group *cfg, bool *has_socket, struct err *e);

/* Raises the supervisor's own limit of open files to what the file says, or its groups need. 0, or -1 with
 * *e. */
int pm_raise_file_limit(const struct cfg *cfg, struct err *e);

/* What of the global part takes effect at once: that limit, and the log. 0, or -1 with *e. */
int pm_apply_global(const struct cfg *cfg, struct err *e);

/* Tells systemd that we are ready, and how many groups serve. */
void pm_tell_manager(const struct pm *pm);

/* Logs the outcome of a reload once no group is moving any more. */
void pm_settle_reload(struct pm *pm);

#endif
