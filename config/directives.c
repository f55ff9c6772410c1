/* The table of directives: the one place that knows the keys.
 *
 * Everything else follows from the rows: parser, checks of type and range, defaults, "did you mean", dump,
 * copy, pyfpm.yaml(5) and the example file. Constant data and searches in it; any thread. */
#include "config/directives.h"

#include <stddef.h>
#include <string.h>

#include "config/text.h"

/* The field's offset; does not compile when the field has another type than the row says. */
#define FIELD(STRUCT, NAME, TYPE)                                                                            \
    (offsetof(struct STRUCT, NAME) + 0 * sizeof(char[_Generic(((struct STRUCT *)0)->NAME, TYPE : 1)]))
#define FIELD_GLOBAL(NAME, TYPE)      FIELD(cfg_global, NAME, TYPE)
#define FIELD_GROUP(NAME, TYPE)       FIELD(cfg_group, NAME, TYPE)
#define FIELD_APPLICATION(NAME, TYPE) FIELD(cfg_application, NAME, TYPE)

#define HEADING(SCOPE, TITLE)                                                                                \
    {                                                                                                        \
        .scope = CFG_SCOPE_##SCOPE, .type = CFG_TYPE_HEADING, .key = TITLE                                   \
    }

/* key, field, default, flags, sentence */
#define CFG_BOOL(SCOPE, KEY, NAME, DEFAULT, FLAGS, SENTENCE)                                                 \
    {                                                                                                        \
        .scope = CFG_SCOPE_##SCOPE, .type = CFG_TYPE_BOOL, .key = KEY, .offset = FIELD_##SCOPE(NAME, bool),  \
        .default_text = DEFAULT, .flags = FLAGS, .sentence = SENTENCE                                        \
    }

/* key, field, default, least, most, flags, example, sentence */
#define NUMBER(SCOPE, KIND, KEY, NAME, DEFAULT, MIN, MAX, FLAGS, EXAMPLE, SENTENCE)                          \
    {                                                                                                        \
        .scope = CFG_SCOPE_##SCOPE, .type = CFG_TYPE_NUMBER, .number = KIND, .key = KEY,                     \
        .offset = FIELD_##SCOPE(NAME, int64_t), .default_text = DEFAULT, .min = MIN, .max = MAX,             \
        .flags = FLAGS, .example = EXAMPLE, .sentence = SENTENCE                                             \
    }
#define CFG_INT(SCOPE, ...)      NUMBER(SCOPE, CFG_NUMBER_PLAIN, __VA_ARGS__)
#define CFG_DURATION(SCOPE, ...) NUMBER(SCOPE, CFG_NUMBER_DURATION, __VA_ARGS__)
#define CFG_SIZE(SCOPE, ...)     NUMBER(SCOPE, CFG_NUMBER_SIZE, __VA_ARGS__)
#define CFG_OCTAL(SCOPE, ...)    NUMBER(SCOPE, CFG_NUMBER_OCTAL, __VA_ARGS__)

/* key, field, default, words, how many of them are available, flags, sentence */
#define CFG_WORD(SCOPE, KEY, NAME, DEFAULT, WORDS, AVAILABLE, FLAGS, SENTENCE)                               \
    {                                                                                                        \
        .scope = CFG_SCOPE_##SCOPE, .type = CFG_TYPE_WORD, .key = KEY, .offset = FIELD_##SCOPE(NAME, int),   \
        .default_text = DEFAULT, .words = WORDS, .words_available = AVAILABLE, .flags = FLAGS,               \
        .sentence = SENTENCE                                                                                 \
    }

/* key, field, default, rule, flags, example, sentence */
#define CFG_STRING(SCOPE, KEY, NAME, DEFAULT, RULE, FLAGS, EXAMPLE, SENTENCE)                                \
    {                                                                                                        \
        .scope = CFG_SCOPE_##SCOPE, .type = CFG_TYPE_STRING, .key = KEY,                                     \
        .offset = FIELD_##SCOPE(NAME, char *), .default_text = DEFAULT, .rule = RULE, .flags = FLAGS,        \
        .example = EXAMPLE, .sentence = SENTENCE                                                             \
    }
#define CFG_PATH(SCOPE, KEY, NAME, DEFAULT, FLAGS, EXAMPLE, SENTENCE)                                        \
    CFG_STRING(SCOPE, KEY, NAME, DEFAULT, cfg_rule_absolute, (FLAGS) | CFG_ALWAYS_ABSOLUTE, EXAMPLE, SENTENCE)

/* key, field, rule, flags, example, sentence */
#define CFG_LIST(SCOPE, KEY, NAME, RULE, FLAGS, EXAMPLE, SENTENCE)                                           \
    {                                                                                                        \
        .scope = CFG_SCOPE_##SCOPE, .type = CFG_TYPE_LIST, .key = KEY,                                       \
        .offset = FIELD_##SCOPE(NAME, struct cfg_list), .default_text = "[]", .rule = RULE, .flags = FLAGS,  \
        .example = EXAMPLE, .sentence = SENTENCE                                                             \
    }
#define CFG_PATHS(SCOPE, KEY, NAME, FLAGS, EXAMPLE, SENTENCE)                                                \
    CFG_LIST(SCOPE, KEY, NAME, cfg_rule_absolute, (FLAGS) | CFG_ALWAYS_ABSOLUTE, EXAMPLE, SENTENCE)

/* key, field, flags, example, sentence */
#define CFG_MAP(SCOPE, KEY, NAME, FLAGS, EXAMPLE, SENTENCE)                                                  \
    {                                                                                                        \
        .scope = CFG_SCOPE_##SCOPE, .type = CFG_TYPE_MAP, .key = KEY,                                        \
        .offset = FIELD_##SCOPE(NAME, struct cfg_map), .default_text = "{}", .rule = cfg_rule_variable_name, \
        .flags = FLAGS, .example = EXAMPLE, .sentence = SENTENCE                                             \
    }
#define CFG_TREE(SCOPE, KEY, NAME, FLAGS, EXAMPLE, SENTENCE)                                                 \
    {                                                                                                        \
        .scope = CFG_SCOPE_##SCOPE, .type = CFG_TYPE_TREE, .key = KEY,                                       \
        .offset = FIELD_##SCOPE(NAME, struct cfg_applications), .flags = FLAGS, .example = EXAMPLE,          \
        .sentence = SENTENCE                                                                                 \
    }

#define MS          INT64_C(1)
#define SECOND      (1000 * MS)
#define HOUR        (3600 * SECOND)
#define DAY         (24 * HOUR) /* the most for anything that ends in an int of milliseconds */
#define MEBIBYTE    (INT64_C(1) << 20)
#define PEBIBYTE    (INT64_C(1) << 50)
#define MILLION     INT64_C(1000000)
#define NR_OPEN_MAX INT64_C(1073741816) /* the kernel's own upper bound of fs.nr_open */

/* In the order of enum log_level, cfg_log_format, cfg_pm and cfg_preload. */
static const char *const log_levels[] = {"alert", "error", "warning", "notice", "debug", NULL};
static const char *const log_formats[] = {"text", "json", NULL};
static const char *const pm_words[] = {"static", "dynamic", "ondemand", NULL};
static const char *const preload_words[] = {"auto", "true", "false", NULL};

/* clang-format off */
static const struct cfg_directive directives[] = {
    HEADING(GLOBAL, "Supervisor"),
    CFG_STRING(GLOBAL, "control", control, CFG_CONTROL_DEFAULT, cfg_rule_control, 0, NULL,
        "The control socket, mode 0600, through which the commands reach the supervisor: an absolute path, "
        "or none. When it cannot be made, pyfpm does not start if the key is given, and runs without it if "
        "not."),
    CFG_PATH(GLOBAL, "pid-file", pid_file, NULL, 0, "/run/pyfpm/pyfpm.pid",
        "A file that holds the supervisor's pid, written once all sockets are bound."),
    CFG_STRING(GLOBAL, "log", log, "stderr", cfg_rule_log, 0, NULL,
        "Where the log goes: the path of a file, stderr or syslog."),
    CFG_WORD(GLOBAL, "log-level", log_level, "notice", log_levels, 5, 0,
        "The least important records that are logged."),
    CFG_WORD(GLOBAL, "log-format", log_format, "text", log_formats, 1, 0,
        "How a record is written."),
    CFG_LIST(GLOBAL, "include", include, NULL, CFG_USED_UP, "groups.d/*.yaml",
        "A glob, or a list of globs, of further files, which may hold groups only; relative to the "
        "folder of the file that includes them, read in the order of their names."),
    CFG_STRING(GLOBAL, "status-listen", status_listen, NULL, cfg_rule_listen, CFG_NOT_YET,
        "/run/pyfpm/status.sock",
        "A FastCGI socket on which the supervisor itself answers /status and /ping, busy workers or "
        "not."),
    CFG_INT(GLOBAL, "max-workers", max_workers, "0", 0, MILLION, 0, NULL,
        "The most workers of all groups together; 0 is no limit."),
    CFG_INT(GLOBAL, "rlimit-files", rlimit_files, NULL, 16, NR_OPEN_MAX, 0, "65536",
        "The most open files of the supervisor itself; without it, the limit is raised to what the "
        "groups need."),

    HEADING(GROUP, "Socket"),
    CFG_STRING(GROUP, "listen", listen, NULL, cfg_rule_listen,
        CFG_REQUIRED | CFG_IN_EXAMPLE, "/run/pyfpm/$group.sock",
        "The FastCGI socket: an absolute path, host:port, [v6]:port, or systemd:NAME for a socket that "
        "systemd passes in."),
    CFG_INT(GROUP, "listen-backlog", listen_backlog, "511", 1, 65535, 0, NULL,
        "How many connections may wait to be accepted."),
    CFG_STRING(GROUP, "listen-owner", listen_owner, NULL, NULL, CFG_UNIX_ONLY, "www-data",
        "The owner of the socket's file; without it, the group's user."),
    CFG_STRING(GROUP, "listen-group", listen_group, NULL, NULL, CFG_UNIX_ONLY, "www-data",
        "The unix group of the socket's file; without it, the group's unix group."),
    CFG_OCTAL(GROUP, "listen-mode", listen_mode, "0660", 0, 0777, CFG_UNIX_ONLY, NULL,
        "The mode of the socket's file, always in octal."),
    CFG_LIST(GROUP, "allowed-clients", allowed_clients, cfg_rule_client, CFG_TCP_ONLY,
        "[127.0.0.1, \"10.0.0.0/8\", \"::1\"]",
        "Addresses and networks (CIDR) that may connect to a TCP socket; without it, every address may."),

    HEADING(GROUP, "Application"),
    CFG_PATH(GROUP, "script", script, NULL, CFG_APPLICATION, "/srv/shop/app.wsgi",
        "A WSGI script file, whose callable is served."),
    CFG_STRING(GROUP, "application", application, NULL, cfg_rule_application,
        CFG_APPLICATION | CFG_IN_EXAMPLE, "shop.wsgi:application",
        "The application as package.module:callable, or package.module:factory() to serve what a "
        "factory returns."),
    CFG_STRING(GROUP, "callable", callable, "application", cfg_rule_identifier, 0, NULL,
        "The name that is looked up in script, and in the scripts of script-root."),
    CFG_PATHS(GROUP, "script-root", script_root, CFG_APPLICATION, "[/srv/scripts]",
        "Folders in which the request's SCRIPT_FILENAME picks the script: a file inside one of them, links "
        "resolved, that ends in .wsgi or .py. It is run at its first request, and again when it has changed."),
    CFG_TREE(GROUP, "applications", applications, CFG_APPLICATION,
        "[{mount: /, application: \"site.wsgi:application\"}, {mount: /shop, script: /srv/shop/app.wsgi, interpreter: shop}]",
        "Several applications in each process of the group, each under its mount and, with interpreter, in "
        "an interpreter of its own."),

    HEADING(GROUP, "Python environment"),
    CFG_PATH(GROUP, "python-home", python_home, NULL, CFG_IN_EXAMPLE, "/srv/shop/venv",
        "A virtual environment, or the prefix of a Python installation: the baseline."),
    CFG_PATHS(GROUP, "python-path", python_path, CFG_IN_EXAMPLE, "[/srv/shop/src]",
        "Folders, or virtual environments, that are added by site.addsitedir() and moved in front of "
        "sys.path, in this order."),
    CFG_STRING(GROUP, "python-version", python_version, "auto", cfg_rule_python_version, 0, NULL,
        "The Python to run, as 3.12 or 3.13t; auto takes it from python-home, else from the first "
        "virtual environment in python-path, or in that of the applications, else the default."),
    CFG_INT(GROUP, "python-optimize", python_optimize, "0", 0, 2, 0, NULL,
        "As the interpreter's -O (1) and -OO (2)."),
    CFG_LIST(GROUP, "python-warnings", python_warnings, NULL, 0, "[\"error::DeprecationWarning\"]",
        "Warning filters, as the interpreter's -W."),
    CFG_BOOL(GROUP, "python-dev-mode", python_dev_mode, "false", 0,
        "As the interpreter's -X dev."),
    CFG_MAP(GROUP, "env", env, 0, "{DJANGO_SETTINGS_MODULE: shop.settings}",
        "Environment variables of the group's processes; those of defaults are kept unless the group "
        "gives the same name."),
    CFG_BOOL(GROUP, "clear-env", clear_env, "true", 0,
        "Give the processes PATH, LANG, LC_*, TZ, HOME, USER, LOGNAME and env only, and not what the "
        "supervisor was started with."),

    HEADING(GROUP, "Identity and limits"),
    CFG_STRING(GROUP, "user", user, NULL, NULL, CFG_ROOT_ONLY | CFG_IN_EXAMPLE, "www-data",
        "The user, by name or number, that the processes run as; required when the supervisor is root."),
    CFG_STRING(GROUP, "group", group, NULL, NULL, CFG_ROOT_ONLY, "www-data",
        "The unix group, by name or number; without it, the user's own."),
    CFG_LIST(GROUP, "supplementary-groups", supplementary_groups, NULL, CFG_ROOT_ONLY, "[ssl-cert]",
        "Further unix groups, by name or number."),
    CFG_BOOL(GROUP, "allow-root", allow_root, "false", 0,
        "Let the processes run as root."),
    CFG_PATH(GROUP, "chroot", chroot, NULL, 0, "/srv/jail",
        "The folder that becomes the root of the processes' file system; needs root."),
    CFG_PATH(GROUP, "chdir", chdir, NULL, 0, "/srv/shop",
        "The working folder, inside of chroot when there is one."),
    CFG_OCTAL(GROUP, "umask", umask, NULL, 0, 0777, 0, "0022",
        "The file mode creation mask, always in octal; without it, the supervisor's."),
    CFG_INT(GROUP, "nice", nice, "0", -20, 19, 0, NULL,
        "The priority, from -20 (first served, needs root) to 19."),
    CFG_INT(GROUP, "rlimit-files", rlimit_files, NULL, 16, NR_OPEN_MAX, 0, "4096",
        "The most open files of a process; without it, the supervisor's limit."),
    CFG_SIZE(GROUP, "rlimit-core", rlimit_core_bytes, NULL, 0, PEBIBYTE, 0, "0",
        "The largest core dump; without it, the supervisor's limit."),
    CFG_SIZE(GROUP, "rlimit-as", rlimit_as_bytes, NULL, MEBIBYTE, PEBIBYTE, 0, "4G",
        "The most address space of a process; without it, the supervisor's limit."),
    CFG_BOOL(GROUP, "no-new-privileges", no_new_privileges, "true", 0,
        "Keep the processes and what they start from gaining privileges, by setuid programs for "
        "instance."),

    HEADING(GROUP, "Processes"),
    CFG_WORD(GROUP, "pm", pm, "static", pm_words, 3, 0,
        "How the number of processes is decided."),
    CFG_INT(GROUP, "processes", processes, "1", 1, CFG_PROCESSES_MAX, CFG_IN_EXAMPLE, "4",
        "The most worker processes that the group may have."),
    CFG_INT(GROUP, "start", start, NULL, 1, CFG_PROCESSES_MAX, 0, "2",
        "How many processes pm: dynamic starts with."),
    CFG_INT(GROUP, "min-spare", min_spare, NULL, 1, CFG_PROCESSES_MAX, 0, "1",
        "The fewest idle processes that pm: dynamic keeps."),
    CFG_INT(GROUP, "max-spare", max_spare, NULL, 1, CFG_PROCESSES_MAX, 0, "3",
        "The most idle processes that pm: dynamic keeps."),
    CFG_DURATION(GROUP, "idle-timeout", idle_timeout_ms, "10s", 0, DAY, 0, NULL,
        "How long a process may be idle before pm: ondemand ends it."),
    CFG_DURATION(GROUP, "template-idle-timeout", template_idle_timeout_ms, "10m", 0, DAY, 0,
        NULL,
        "How long pm: ondemand keeps the template without a connection."),
    CFG_INT(GROUP, "threads", threads, "1", 1, CFG_THREADS_MAX, CFG_IN_EXAMPLE, "2",
        "Python threads in each process."),
    CFG_WORD(GROUP, "preload", preload, "auto", preload_words, 3, 0,
        "Import the application once, in the template that workers are forked from; auto does so, but "
        "imports in each worker when the import left threads or connected sockets behind."),
    CFG_STRING(GROUP, "canary-request", canary_request, NULL, cfg_rule_request_path, 0, "/health",
        "A path that the first worker of a new generation must answer with 2xx or 3xx before it serves; "
        "else the reload has failed and the old workers stay."),

    HEADING(GROUP, "Timeouts"),
    CFG_DURATION(GROUP, "startup-timeout", startup_timeout_ms, "60s", 0, DAY, 0, NULL,
        "How long a process may take until it is ready; 0 is off."),
    CFG_DURATION(GROUP, "request-timeout", request_timeout_ms, "0", 0, DAY, 0, NULL,
        "How long a request may take before its process is replaced; 0 is off."),
    CFG_DURATION(GROUP, "interrupt-timeout", interrupt_timeout_ms, "0", 0, DAY, 0, NULL,
        "How long a request may take before an exception interrupts it; 0 is off."),
    CFG_DURATION(GROUP, "graceful-timeout", graceful_timeout_ms, "30s", 0, DAY, 0, NULL,
        "How long requests may go on in a process that is asked to end; 0 is off."),
    CFG_DURATION(GROUP, "shutdown-timeout", shutdown_timeout_ms, "5s", 0, DAY, 0, NULL,
        "How long a process may take to end after that, before it is killed; 0 is off."),
    CFG_DURATION(GROUP, "deadlock-timeout", deadlock_timeout_ms, "60s", 0, DAY, 0, NULL,
        "How long the interpreter lock may be held before the process is replaced; 0 is off."),
    CFG_DURATION(GROUP, "queue-timeout", queue_timeout_ms, "0", 0, DAY, 0, NULL,
        "How long a request may have waited before it is refused; 0 is off."),
    CFG_DURATION(GROUP, "keepalive-timeout", keepalive_timeout_ms, "75s", 0, DAY, 0, NULL,
        "How long a kept connection may be idle, longer than the web server's own; 0 is off."),
    CFG_DURATION(GROUP, "io-timeout", io_timeout_ms, "60s", 0, DAY, 0, NULL,
        "How long one read or write on a connection may take; 0 is off."),
    CFG_DURATION(GROUP, "slowlog-timeout", slowlog_timeout_ms, "10s", 0, DAY, 0, NULL,
        "How long a request may take before its Python stack is logged; 0 is off."),

    HEADING(GROUP, "Recycling and recovery"),
    CFG_INT(GROUP, "max-requests", max_requests, "0", 0, MILLION *MILLION, 0, NULL,
        "Replace a process after so many requests; 0 is off."),
    CFG_INT(GROUP, "max-requests-jitter", max_requests_jitter, "0", 0, MILLION *MILLION, 0, NULL,
        "Up to so many requests more, at random."),
    CFG_DURATION(GROUP, "max-lifetime", max_lifetime_ms, "0", 0, 365 * DAY, 0, NULL,
        "Replace a process after this time; 0 is off."),
    CFG_DURATION(GROUP, "max-lifetime-jitter", max_lifetime_jitter_ms, "0", 0, 365 * DAY, 0,
        NULL,
        "Up to so much longer, at random."),
    CFG_SIZE(GROUP, "max-rss", max_rss_bytes, "0", 0, PEBIBYTE, 0, NULL,
        "Replace a process that holds more memory than this; 0 is off."),
    CFG_DURATION(GROUP, "restart-delay", restart_delay_ms, "100ms", 1 * MS, DAY, 0, NULL,
        "How long to wait before a process that died young is replaced; doubles each time."),
    CFG_DURATION(GROUP, "restart-delay-max", restart_delay_max_ms, "30s", 1 * MS, DAY, 0, NULL,
        "The longest such wait."),

    HEADING(GROUP, "Output and status"),
    CFG_STRING(GROUP, "access-log", access_log, NULL, NULL, CFG_NOT_YET,
        "/var/log/pyfpm/$group.access.log",
        "A file with a line for each request."),
    CFG_STRING(GROUP, "access-format", access_format, NULL, NULL, CFG_NOT_YET,
        "\"%R - %u %t \\\"%m %r\\\" %s\"",
        "What such a line holds."),
    CFG_STRING(GROUP, "status-path", status_path, NULL, NULL, CFG_NOT_YET, "/status",
        "The path at which the group answers with its status."),
    CFG_STRING(GROUP, "ping-path", ping_path, NULL, NULL, CFG_NOT_YET, "/ping",
        "The path at which the group answers that it is alive."),
    CFG_BOOL(GROUP, "catch-output", catch_output, "true", 0,
        "Put what the application prints into the log, marked with the group's name and the pid."),
    CFG_LIST(GROUP, "reload-on-change", reload_on_change, cfg_rule_watched, 0, "[script, environment]",
        "Paths, or the words script and environment, whose change reloads the group; a folder is watched "
        "with everything below it."),

    CFG_STRING(APPLICATION, "mount", mount, NULL, cfg_rule_mount, CFG_REQUIRED, "/shop",
        "Where the application is in the URL: it serves this path and everything below it, unless a longer "
        "mount does. It is moved from PATH_INFO to the end of SCRIPT_NAME; / is for all that no other mount serves."),
    CFG_PATH(APPLICATION, "script", script, NULL, CFG_APPLICATION, "/srv/shop/app.wsgi",
        "A WSGI script file, whose callable is served."),
    CFG_STRING(APPLICATION, "application", application, NULL, cfg_rule_application, CFG_APPLICATION,
        "shop.wsgi:application",
        "The application as package.module:callable, or package.module:factory()."),
    CFG_STRING(APPLICATION, "callable", callable, NULL, cfg_rule_identifier, 0, "application",
        "The name that is looked up in script; without it, the group's callable."),
    CFG_STRING(APPLICATION, "interpreter", interpreter, CFG_INTERPRETER_MAIN, cfg_rule_interpreter, 0, "shop",
        "The interpreter that it runs in, by any name: applications that give the same name share one, with its "
        "modules. main is the one of the process, and the only one that every extension module works in."),
    CFG_PATHS(APPLICATION, "python-path", python_path, 0, "[/srv/shop/venv]",
        "Folders, or virtual environments, that come in front of the group's python-path in the interpreter of this "
        "application."),
};
/* clang-format on */

enum { DIRECTIVE_COUNT = sizeof(directives) / sizeof(directives[0]) };
_Static_assert(DIRECTIVE_COUNT <= CFG_DIRECTIVES_MAX, "raise CFG_DIRECTIVES_MAX");

const struct cfg_directive *cfg_directives(size_t *count)
{
    *count = DIRECTIVE_COUNT;
    return directives;
}

const struct cfg_directive *cfg_directive_next(enum cfg_scope scope, const struct cfg_directive *d)
{
    for (size_t i = d == NULL ? 0 : cfg_directive_index(d) + 1; i < DIRECTIVE_COUNT; i++) {
        if (directives[i].scope == scope && directives[i].type != CFG_TYPE_HEADING)
            return &directives[i];
    }
    return NULL;
}

const struct cfg_directive *cfg_directive_find(enum cfg_scope scope, const char *key)
{
    const struct cfg_directive *d = NULL;
    while ((d = cfg_directive_next(scope, d)) != NULL) {
        if (strcmp(d->key, key) == 0)
            return d;
    }
    return NULL;
}

const char *cfg_directive_suggest(enum cfg_scope scope, const char *key)
{
    unsigned least = strlen(key) < 5 ? 2 : strlen(key) < 9 ? 3 : 4; /* further than this is no typing error */
    const char *nearest = NULL;
    const struct cfg_directive *d = NULL;
    while ((d = cfg_directive_next(scope, d)) != NULL) {
        unsigned distance = cfg_text_distance(key, d->key);
        if (distance < least) {
            least = distance;
            nearest = d->key;
        }
    }
    return nearest;
}

size_t cfg_directive_index(const struct cfg_directive *d)
{
    return (size_t)(d - directives);
}
