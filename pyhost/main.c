/* host-X.Y: the program of templates and workers. A table of contents; every step has a file of its own.
 *
 * Started by the supervisor with its descriptors in place (base/wire.h); refuses to run without them, except
 * for --describe, and to work for a pyfpm that was built from other sources. What goes wrong before the
 * template is ready is told over the channel, once, and ends the process with status 1. */
#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/score.h"
#include "base/wire.h"
#include "config/config.h"
#include "pyhost/apps.h"
#include "pyhost/explain.h"
#include "pyhost/fingerprint.h"
#include "pyhost/host.h"
#include "pyhost/identity.h"
#include "pyhost/library.h"
#include "pyhost/main_module.h"
#include "pyhost/overlay.h"
#include "pyhost/python.h"
#include "pyhost/template.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define EXIT_USAGE 64

#if defined(__SANITIZE_ADDRESS__)
const char *__asan_default_options(void);

/* CPython frees little of what it holds at exit, and a process that changed its user cannot be examined for
 * leaks at all. Growth is what the end-to-end tests measure; ASAN_OPTIONS=detect_leaks=1 overrules this. */
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}
#endif

struct options {
    bool describe;
    bool check;
    bool explain;
    bool fingerprint;
    bool no_preload;
};

static int parse_options(int argc, char **argv, struct options *options)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--describe") == 0)
            options->describe = true;
        else if (strcmp(argv[i], "--check") == 0)
            options->check = true;
        else if (strcmp(argv[i], "--explain") == 0)
            options->check = options->explain = true;
        else if (strcmp(argv[i], "--fingerprint") == 0)
            options->fingerprint = true;
        else if (strcmp(argv[i], "--no-preload") == 0)
            options->no_preload = true;
        else
            return -1;
    }
    return 0;
}

/* So that no descriptor of ours becomes somebody's standard output. */
static void open_standard_descriptors(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    fd_close(&fd);
}

static bool is_channel(int fd)
{
    int type = 0;
    socklen_t size = sizeof type;
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET;
}

/* False when this was not started by a supervisor. */
static bool secure_descriptors(const struct options *options)
{
    int end = options->check || options->fingerprint ? HOST_FD_SCORE : HOST_FD_END;
    for (int fd = HOST_FD_CHANNEL; fd < end; fd++)
        if (fd_set_cloexec(fd, true) < 0)
            return false;
    return is_channel(HOST_FD_CHANNEL);
}

/* Python would ignore these two itself, but it was told to leave signals alone. */
static void ignore_write_signals(void)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
}

static void name_process(const struct cfg_group *group)
{
    char name[16];
    snprintf(name, sizeof name, "pyfpm:%.9s", group->name);
    prctl(PR_SET_NAME, name, 0, 0, 0);
}

/* Before anything is said or believed: the two may not even have the same messages. */
static bool is_of_same_build(const char *name)
{
    struct err e;
    if (cfg_group_check_stamp(HOST_FD_CONFIG, &e) == 0)
        return true;
    fprintf(stderr, "%s: %s\n", name, e.text);
    return false;
}

static int read_group(struct cfg_group **group, struct err *e)
{
    int fd = HOST_FD_CONFIG;
    *group = cfg_group_read(fd, e);
    fd_close(&fd);
    return *group ? 0 : err_prefix(e, "the group's configuration");
}

static int attach_group(struct host *h, struct err *e)
{
    if (h->check_only)
        return 0;
    h->listen_fd = HOST_FD_LISTEN;
    h->handover_rx = HOST_FD_HANDOVER_RX;
    h->handover_tx = HOST_FD_HANDOVER_TX;
    h->score = score_map(HOST_FD_SCORE, e);
    return h->score ? 0 : -1;
}

static int lay_environment(struct host *h, struct err *e)
{
    if (!h->check_only)
        return host_overlay_apply(h->group, CFG_INTERPRETER_MAIN, e);
    host_explain_baseline(h);
    int result = host_overlay_apply(h->group, CFG_INTERPRETER_MAIN, e);
    host_explain_overlay(h);
    return result;
}

/* Everything before the applications: who we are, and which Python. */
static int prepare(struct host *h, struct cfg_group **group, struct err *e)
{
    struct host_base base;
    if (read_group(group, e) < 0)
        return -1;
    h->group = *group;
    name_process(h->group);
    host_main_module_locate();
    host_python_identify(&base);
    if (attach_group(h, e) < 0 || host_identity_assume(h->group, e) < 0)
        return -1;
    if (!h->check_only && host_fingerprint_send(h, &base, false, e) < 0)
        return -1;
    host_explain_files(h);
    if (host_python_start(h->group, e) < 0 || lay_environment(h, e) < 0 ||
        host_main_module_prepare(h->group, CFG_INTERPRETER_MAIN, e) < 0)
        return -1;
    if (h->group->python_home)
        host_library_compare(h->group->python_home);
    h->apps = host_apps_new(h->group, e);
    return h->apps ? 0 : -1;
}

/* What the environment is now, told without starting Python. Its log records went nowhere: the template has
 * said the same already. */
static int tell_fingerprint(struct host *h)
{
    struct err e;
    struct host_base base;
    struct cfg_group *group = NULL;
    host_python_identify(&base);
    int result = read_group(&group, &e);
    h->group = group;
    if (result == 0)
        result = host_identity_assume(group, &e);
    if (result == 0)
        result = host_fingerprint_send(h, &base, true, &e);
    if (result < 0)
        host_link_send(h, WIRE_TEMPLATE_FAILED, 0, e.text);
    cfg_group_free(group);
    return result < 0 ? 1 : 0;
}

static int run(struct host *h, const struct options *options)
{
    static struct cfg_group *group; /* lives as long as the process */
    struct err e;
    if (prepare(h, &group, &e) < 0) {
        host_link_send(h, WIRE_TEMPLATE_FAILED, 0, e.text);
        host_explain_finish(h);
        return 1;
    }
    int status = h->check_only ? host_template_check(h) : host_template_run(h, !options->no_preload);
    host_template_finalize(h, status);
    return status;
}

int main(int argc, char **argv)
{
    struct options options = {.describe = false};
    static struct host h = {
        .channel = HOST_FD_CHANNEL, .listen_fd = -1, .handover_rx = -1, .handover_tx = -1};
    open_standard_descriptors();
    int parsed = parse_options(argc, argv, &options);
    if (parsed == 0 && options.describe)
        return host_python_describe() < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
    bool is_supervised = secure_descriptors(&options);
    if (is_supervised && !is_of_same_build(argv[0])) /* whose options we may not know either */
        return HOST_EXIT_OTHER_BUILD;
    if (parsed < 0) {
        fprintf(stderr, "usage: %s [--check [--explain]] [--no-preload] | --fingerprint | --describe\n",
                argv[0]);
        return EXIT_USAGE;
    }
    if (!is_supervised) {
        fprintf(stderr, "%s: this program is started by pyfpm, not by hand; see pyfpm --help\n", argv[0]);
        return EXIT_USAGE;
    }
    h.check_only = options.check;
    h.explain = options.explain;
    ignore_write_signals();
    if (options.fingerprint)
        return tell_fingerprint(&h);
    host_link_start(&h);
    return run(&h, &options);
}
