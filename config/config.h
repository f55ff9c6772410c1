/* The configuration as plain structs, and the way in and out of them.
 *
 * One table of directives (directives.c) is the only place that knows the keys: parser, checks, defaults,
 * "did you mean", dump, pyfpm.yaml(5) and the annotated example all follow from its rows. */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

struct err;

/* Strings, owned. items[count] is NULL, so it serves as an argv too. Empty: items may be NULL. */
struct cfg_list {
    char **items;
    size_t count;
};

/* Names and values, owned, in the order of the file; a name stands once. */
struct cfg_map {
    struct cfg_pair {
        char *name;
        char *value;
    } * pairs;
    size_t count;
};

/* Where something stands. file is owned by the struct cfg (or is "" for what no file says). Lines and
 * columns count from 1. */
struct cfg_place {
    const char *file;
    int line;
    int column;
};

/* One of several applications of a group. Strings are owned; the fields follow the order of the table. */
struct cfg_application {
    struct cfg_place place; /* of its mount, or of the whole entry without one */
    char *mount;            /* "/", or a path without a slash at its end, checked; no two are the same */
    char *script;           /* exactly one of script, application */
    char *application;
    char *callable; /* NULL: the group's */
    char *interpreter;
    struct cfg_list python_path;
};

/* In the order of the file. */
struct cfg_applications {
    struct cfg_application *items;
    size_t count;
};

#define CFG_CONTROL_DEFAULT "/run/pyfpm/control.sock"

enum cfg_pm { CFG_PM_STATIC, CFG_PM_DYNAMIC, CFG_PM_ONDEMAND };
enum cfg_preload { CFG_PRELOAD_AUTO, CFG_PRELOAD_TRUE, CFG_PRELOAD_FALSE };
enum cfg_log_format { CFG_LOG_TEXT, CFG_LOG_JSON };

#define CFG_ID_NONE       ((int64_t)-1) /* a number that was not given */
#define CFG_NAME_MAX      64 /* bytes in a group's name: [A-Za-z0-9_.-], not starting with '.' or '-' */
#define CFG_THREADS_MAX   512
#define CFG_PROCESSES_MAX 4096

#define CFG_APPLICATIONS_MAX 256    /* of one group */
#define CFG_INTERPRETER_MAIN "main" /* the interpreter that every process has */

/* The words that reload-on-change knows besides paths. */
#define CFG_WATCH_SCRIPT      "script"
#define CFG_WATCH_ENVIRONMENT "environment"

/* Strings are owned; NULL when not given. Durations are _ms, sizes _bytes. Fields follow the order of the
 * table. The field of a key that is not there yet stays zero, whatever default the manual announces. */
struct cfg_global {
    char *control;         /* "none": no control socket */
    bool control_is_given; /* by the file; else the default is tried, and done without */
    char *pid_file;
    char *log;
    int log_level;  /* enum log_level */
    int log_format; /* enum cfg_log_format */
    struct cfg_list include;
    char *status_listen;
    int64_t max_workers;
    int64_t rlimit_files; /* CFG_ID_NONE: raise to what the groups need */
};

struct cfg_group {
    char *name;
    struct cfg_place place; /* of the group's key */

    /* socket */
    char *listen;
    int64_t listen_backlog;
    char *listen_owner;
    char *listen_group;
    int64_t listen_mode;
    struct cfg_list allowed_clients; /* addresses or CIDR, checked */

    /* application: exactly one of script, application, script_root, applications */
    char *script;
    char *application; /* "package.module:callable" or "package.module:factory()", checked */
    char *callable;
    struct cfg_list script_root;
    struct cfg_applications applications;

    /* environment */
    char *python_home;
    struct cfg_list python_path;
    char *python_version; /* "auto", "3.12", "3.13t" */
    int64_t python_optimize;
    struct cfg_list python_warnings;
    bool python_dev_mode;
    struct cfg_map env;
    bool clear_env;

    /* identity */
    char *user;
    char *group;
    struct cfg_list supplementary_groups;
    bool allow_root;
    char *chroot;
    char *chdir;
    int64_t umask; /* CFG_ID_NONE: as the supervisor's */
    int64_t nice;
    int64_t rlimit_files; /* CFG_ID_NONE: as the supervisor's */
    int64_t rlimit_core_bytes;
    int64_t rlimit_as_bytes;
    bool no_new_privileges;

    /* processes */
    int pm; /* enum cfg_pm */
    int64_t processes;
    int64_t start, min_spare, max_spare;
    int64_t idle_timeout_ms, template_idle_timeout_ms;
    int64_t threads;
    int preload;          /* enum cfg_preload */
    char *canary_request; /* path and query */

    /* timeouts; 0 is off */
    int64_t startup_timeout_ms, request_timeout_ms, interrupt_timeout_ms, graceful_timeout_ms;
    int64_t shutdown_timeout_ms, deadlock_timeout_ms, queue_timeout_ms;
    int64_t keepalive_timeout_ms, io_timeout_ms, slowlog_timeout_ms;

    /* recycling */
    int64_t max_requests, max_requests_jitter;
    int64_t max_lifetime_ms, max_lifetime_jitter_ms;
    int64_t max_rss_bytes;
    int64_t restart_delay_ms, restart_delay_max_ms;

    /* output */
    char *access_log;
    char *access_format;
    char *status_path;
    char *ping_path;
    bool catch_output;
    struct cfg_list reload_on_change; /* absolute paths and the two words */
};

struct cfg {
    struct cfg_global global;
    struct cfg_group **groups; /* owned, in the order of the files */
    size_t group_count;
    struct cfg_list files; /* every file read, the main one first */
};

/* What reading found: errors and warnings, each with its place, in the order met. */
enum cfg_severity { CFG_WARNING, CFG_ERROR };
struct cfg_report {
    struct cfg_message {
        enum cfg_severity severity;
        char *text; /* "file:line:column: sentence", owned */
    } * messages;
    size_t count;
    size_t error_count;
};

/* Reads a file and its includes. Reports all errors, not only the first; *report must be zeroed or from an
 * earlier call, and is freed with cfg_report_free() in any case. Returns the configuration, or NULL when
 * there was an error. Opens no socket, looks up no user, changes nothing. */
struct cfg *cfg_load(const char *path, struct cfg_report *report);

/* Reads from a file where its control socket is, and nothing else: what is wrong with the rest of the file,
 * or cannot be expanded in the environment of whoever asks, does not matter; of a file that is no YAML a
 * guess is made. *control is the caller's, NULL for none. 0, or -1 with *report saying why it cannot be
 * known. *report as in cfg_load(). */
int cfg_load_control(const char *path, char **control, struct cfg_report *report);

/* NULL is fine. */
void cfg_free(struct cfg *c);
void cfg_report_free(struct cfg_report *report);

/* A deep copy of one group, or NULL without memory; free with cfg_group_free(). A reload keeps generations
 * whose file is gone. The copy's place.file is "" (it would dangle otherwise). */
struct cfg_group *cfg_group_copy(const struct cfg_group *g);
void cfg_group_free(struct cfg_group *g);

/* True when a dump of one would read as the other. */
bool cfg_group_is_equal(const struct cfg_group *a, const struct cfg_group *b);
bool cfg_global_is_equal(const struct cfg_global *a, const struct cfg_global *b);

/* NULL when there is none of that name. The result belongs to c. */
struct cfg_group *cfg_find_group(const struct cfg *c, const char *name);

/* Prints the effective configuration as YAML, every default filled in; reading it again gives the same. Keys
 * whose behaviour is not there yet come as comments. */
void cfg_dump(const struct cfg *c, FILE *out);

/* The supervisor writes one group to a memfd, its host reads it from there: the dump of one group, read by
 * the same loader, but without expanding $group and ${NAME} again. 0 or -1 with *e; NULL with *e. fd stays
 * the caller's; reading starts at offset 0. */
int cfg_group_write(const struct cfg_group *g, int fd, struct err *e);
struct cfg_group *cfg_group_read(int fd, struct err *e);

/* The dump begins with the writer's stamp (base/stamp.h). 0 when this program has the same one; -1 with *e, a
 * sentence with both: then nothing else that the writer says can be relied on. */
int cfg_group_check_stamp(int fd, struct err *e);

/* Prints pyfpm.yaml(5) as man(7) source, and the annotated example file; both from the table. */
void cfg_print_manual(FILE *out);
void cfg_print_example(FILE *out);

/* The callable that an application's script is looked up for. */
const char *cfg_callable_of(const struct cfg_group *g, const struct cfg_application *a);

/* How listen: was meant. */
enum cfg_listen_kind { CFG_LISTEN_UNIX, CFG_LISTEN_TCP, CFG_LISTEN_SYSTEMD };
struct cfg_address {
    enum cfg_listen_kind kind;
    char path[108]; /* unix, NUL-terminated */
    char host[256]; /* TCP: without brackets; "" is every address */
    char port[8];   /* TCP */
};

/* Takes a listen value apart; 0, or -1 with *e: a sentence without the place. */
int cfg_parse_address(const char *listen, struct cfg_address *address, struct err *e);

#endif
