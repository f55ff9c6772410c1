/* Turns WSGIDaemonProcess' options, and what holds for the whole server, into keys of groups.
 *
 * One table says which option becomes which key and how its value is written; what it cannot say stands below
 * it: request-timeout with interrupt-timeout, inactivity-timeout, eviction-timeout. Whether pyfpm takes a
 * value is not decided here but where it is written. Pure. */
#include "pm/import_model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/value.h"

enum convert {
    TO_TEXT,
    TO_ID,    /* "#1001" is a number */
    TO_IDS,   /* with commas */
    TO_PATHS, /* with colons */
    TO_NUMBER,
    TO_SECONDS,
    TO_VARIABLE, /* of env */
    TO_NOTHING   /* the remark says why */
};

struct option {
    const char *name;
    enum convert convert;
    const char *key;
    const char *remark;
    bool is_advice;
};

static const struct option options[] = {
    {"user", TO_ID, "user", NULL, false},
    {"group", TO_ID, "group", NULL, false},
    {"supplementary-groups", TO_IDS, "supplementary-groups", NULL, false},
    {"processes", TO_NUMBER, "processes", NULL, false},
    {"threads", TO_NUMBER, "threads", NULL, false},
    {"umask", TO_TEXT, "umask", NULL, false},
    {"home", TO_TEXT, "chdir", NULL, false},
    {"chroot", TO_TEXT, "chroot", "every other path must then be one inside of it", true},
    {"lang", TO_VARIABLE, "LANG", NULL, false},
    {"locale", TO_VARIABLE, "LC_ALL", NULL, false},
    {"python-home", TO_TEXT, "python-home", NULL, false},
    {"python-path", TO_PATHS, "python-path", NULL, false},
    {"python-eggs", TO_VARIABLE, "PYTHON_EGG_CACHE", NULL, false},
    {"maximum-requests", TO_NUMBER, "max-requests", NULL, false},
    {"restart-interval", TO_SECONDS, "max-lifetime", NULL, false},
    {"startup-timeout", TO_SECONDS, "startup-timeout", NULL, false},
    {"graceful-timeout", TO_SECONDS, "graceful-timeout", NULL, false},
    {"shutdown-timeout", TO_SECONDS, "shutdown-timeout", NULL, false},
    {"deadlock-timeout", TO_SECONDS, "deadlock-timeout", NULL, false},
    {"queue-timeout", TO_SECONDS, "queue-timeout", NULL, false},
    {"socket-timeout", TO_SECONDS, "io-timeout", NULL, false},
    {"listen-backlog", TO_NUMBER, "listen-backlog", NULL, false},
    {"socket-user", TO_ID, "listen-owner", NULL, false},
    {"cpu-priority", TO_NUMBER, "nice", NULL, false},
    {"virtual-memory-limit", TO_NUMBER, "rlimit-as", NULL, false},
    {"memory-limit", TO_NUMBER, "max-rss",
     "the nearest there is: mod_wsgi let allocations fail, max-rss replaces the process", true},
    {"connect-timeout", TO_NOTHING, NULL, "of the web server: nginx has fastcgi_connect_timeout", false},
    {"response-socket-timeout", TO_NOTHING, NULL, "of the web server: nginx has send_timeout", false},
    {"send-buffer-size", TO_NOTHING, NULL, "not needed: the kernel's default serves", false},
    {"receive-buffer-size", TO_NOTHING, NULL, "not needed: the kernel's default serves", false},
    {"header-buffer-size", TO_NOTHING, NULL,
     "of the web server: nginx has fastcgi_buffer_size; pyfpm sends headers of any size", false},
    {"response-buffer-size", TO_NOTHING, NULL, "of the web server: nginx has fastcgi_buffers", false},
    {"display-name", TO_NOTHING, NULL, "not needed: a process always shows its group's name", false},
    {"stack-size", TO_NOTHING, NULL, "no counterpart: threads have the system's stack size", false},
    {"cpu-time-limit", TO_NOTHING, NULL, "no counterpart; max-lifetime replaces a process after a time",
     false},
    {"script-user", TO_NOTHING, NULL, "no counterpart: who may write the script is up to its permissions",
     false},
    {"script-group", TO_NOTHING, NULL, "no counterpart: who may write the script is up to its permissions",
     false},
    {"server-metrics", TO_NOTHING, NULL, "no counterpart: there is no mod_wsgi module to ask", false},
    {"switch-interval", TO_NOTHING, NULL, "no counterpart: call sys.setswitchinterval() in the script",
     false},
    {"newrelic-config-file", TO_NOTHING, NULL, "no counterpart: start the agent in the script", false},
    {"newrelic-environment", TO_NOTHING, NULL, "no counterpart: start the agent in the script", false},
};

static const struct option *find_option(const char *name)
{
    for (size_t k = 0; k < sizeof options / sizeof options[0]; k++)
        if (strcmp(options[k].name, name) == 0)
            return &options[k];
    return NULL;
}

/* Values ----------------------------------------------------------------------------------------------- */

/* mod_wsgi reads numbers with atoi(); only what is nothing but a number is one here. */
static bool is_number(const char *text, int64_t *number)
{
    const char *digits = text + (text[0] == '-' || text[0] == '+');
    size_t length = strlen(digits);
    if (length == 0 || length > 18 || strspn(digits, "0123456789") != length)
        return false;
    *number = strtoll(text, NULL, 10);
    return true;
}

static const char *format_number(struct import *i, enum cfg_number kind, int64_t number)
{
    char text[CFG_NUMBER_TEXT_MAX];
    cfg_value_format(kind, number, text);
    return pool_copy(i->pool, text, strlen(text));
}

static const char *format_seconds(struct import *i, int64_t seconds)
{
    int64_t ms;
    return __builtin_mul_overflow(seconds, INT64_C(1000), &ms) ? pool_format(i->pool, "%" PRId64 "s", seconds)
                                                               : format_number(i, CFG_NUMBER_DURATION, ms);
}

static const char *without_hash(const char *id)
{
    return id[0] == '#' ? id + 1 : id;
}

static void add_parts(struct pool *pool, struct pool_list *list, const char *text, const char *separator)
{
    while (*text) {
        size_t length = strcspn(text, separator);
        if (length > 0)
            pool_list_add(pool, list, pool_copy(pool, text, length));
        text += length + (text[length] != '\0');
    }
}

void import_add_paths(struct pool *pool, struct pool_list *list, const char *paths)
{
    add_parts(pool, list, paths, ":");
}

/* Settings --------------------------------------------------------------------------------------------- */

/* An option that is given twice counts once, as its last value. */
static void forget_earlier(struct import *i, struct import_group *g, const char *key, const char *variable,
                           const struct apache_directive *from)
{
    for (size_t k = 0; from && k < g->settings.count; k++) {
        const struct import_setting *s = g->settings.items[k];
        bool is_same = s->from == from && strcmp(s->key, key) == 0 &&
                       (!variable || (s->variable && strcmp(s->variable, variable) == 0));
        if (!is_same)
            continue;
        import_note(i, &g->notes, s->from, "%s: given again later in the line, which counts", s->origin);
        memmove(&g->settings.items[k], &g->settings.items[k + 1],
                (g->settings.count - k - 1) * sizeof g->settings.items[0]);
        g->settings.count--;
        return;
    }
}

static struct import_setting *new_setting(struct import *i, struct import_group *g, const char *key,
                                          struct apache_directive *from)
{
    struct import_setting *s = pool_take(i->pool, sizeof *s);
    s->key = key;
    s->from = from;
    if (from)
        from->is_told = true;
    pool_list_add(i->pool, &g->settings, s);
    return s;
}

struct import_setting *import_set(struct import *i, struct import_group *g, const char *key,
                                  const char *value, struct apache_directive *from)
{
    for (size_t k = 0; k < g->settings.count; k++) {
        struct import_setting *s = g->settings.items[k];
        if (s->from == from && strcmp(s->key, key) == 0 && !s->variable)
            return s;
    }
    struct import_setting *s = new_setting(i, g, key, from);
    if (value)
        pool_list_add(i->pool, &s->values, (char *)value);
    return s;
}

static void set_variable(struct import *i, struct import_group *g, const char *variable, const char *value,
                         struct apache_directive *from, const char *origin)
{
    forget_earlier(i, g, "env", variable, from);
    struct import_setting *s = new_setting(i, g, "env", from);
    s->variable = variable;
    s->origin = origin;
    pool_list_add(i->pool, &s->values, (char *)value);
}

static void set_number(struct import *i, struct import_group *g, const struct option *o, const char *value,
                       const char *origin)
{
    int64_t number;
    if (!is_number(value, &number)) {
        import_note(i, &g->notes, g->definition, "%s: \"%s\" is no number", o->name, value);
        return;
    }
    if (number == 0 && strcmp(o->key, "rlimit-as") == 0) {
        import_note(i, &g->notes, g->definition, "%s: none, as without it", origin);
        return;
    }
    if (number == 0 && strcmp(o->key, "threads") == 0) {
        import_note(i, &g->notes, g->definition,
                    "%s: no counterpart: pyfpm's processes serve requests and nothing else", origin);
        return;
    }
    forget_earlier(i, g, o->key, NULL, g->definition);
    struct import_setting *s = new_setting(i, g, o->key, g->definition);
    enum cfg_number kind = strcmp(o->key, "rlimit-as") == 0 || strcmp(o->key, "max-rss") == 0
                               ? CFG_NUMBER_SIZE
                               : CFG_NUMBER_PLAIN;
    s->origin = origin;
    s->note = o->remark;
    s->is_advice = o->is_advice;
    pool_list_add(
        i->pool, &s->values,
        (char *)(o->convert == TO_SECONDS ? format_seconds(i, number) : format_number(i, kind, number)));
}

static void set_text(struct import *i, struct import_group *g, const struct option *o, const char *value,
                     const char *origin)
{
    forget_earlier(i, g, o->key, NULL, g->definition);
    struct import_setting *s = new_setting(i, g, o->key, g->definition);
    s->origin = origin;
    s->note = o->remark;
    s->is_advice = o->is_advice;
    if (o->convert == TO_IDS) {
        struct pool_list ids = {0};
        add_parts(i->pool, &ids, value, ",");
        for (size_t k = 0; k < ids.count; k++)
            pool_list_add(i->pool, &s->values, (char *)without_hash(ids.items[k]));
    } else if (o->convert == TO_PATHS) {
        import_add_paths(i->pool, &s->values, value);
    } else {
        pool_list_add(i->pool, &s->values, (char *)(o->convert == TO_ID ? without_hash(value) : value));
    }
}

static void apply_option(struct import *i, struct import_group *g, const struct option *o, const char *value)
{
    const char *origin = pool_format(i->pool, "%s=%s", o->name, value);
    switch (o->convert) {
    case TO_TEXT:
    case TO_ID:
    case TO_IDS:
    case TO_PATHS:
        set_text(i, g, o, value, origin);
        break;
    case TO_NUMBER:
    case TO_SECONDS:
        set_number(i, g, o, value, origin);
        break;
    case TO_VARIABLE:
        set_variable(i, g, o->key, value, g->definition, origin);
        break;
    case TO_NOTHING:
        import_note(i, &g->notes, g->definition, "%s: %s", origin, o->remark);
        break;
    }
}

/* Options that mean something together ----------------------------------------------------------------- */

struct timeouts {
    const char *request, *interrupt, *inactivity, *eviction, *graceful;
};

static const char **timeout_of(struct timeouts *t, const char *name)
{
    return strcmp(name, "request-timeout") == 0      ? &t->request
           : strcmp(name, "interrupt-timeout") == 0  ? &t->interrupt
           : strcmp(name, "inactivity-timeout") == 0 ? &t->inactivity
           : strcmp(name, "eviction-timeout") == 0   ? &t->eviction
                                                     : NULL;
}

static struct import_setting *set_seconds(struct import *i, struct import_group *g, const char *key,
                                          int64_t seconds, const char *name, const char *value)
{
    struct import_setting *s = new_setting(i, g, key, g->definition);
    s->origin = pool_format(i->pool, "%s=%s", name, value);
    pool_list_add(i->pool, &s->values, (char *)format_seconds(i, seconds));
    return s;
}

/* mod_wsgi interrupts at request-timeout and replaces interrupt-timeout later; pyfpm counts both from the
 * request's start. */
static void apply_request_timeouts(struct import *i, struct import_group *g, const struct timeouts *t)
{
    int64_t request = 0, interrupt = 0;
    bool has_request = t->request && is_number(t->request, &request);
    bool has_interrupt = t->interrupt && is_number(t->interrupt, &interrupt);
    if ((t->request && !has_request) || (t->interrupt && !has_interrupt)) {
        import_note(i, &g->notes, g->definition, "request-timeout=%s, interrupt-timeout=%s: no numbers",
                    t->request ? t->request : "", t->interrupt ? t->interrupt : "");
        return;
    }
    if (has_request && request > 0 && interrupt > 0) {
        set_seconds(i, g, "interrupt-timeout", request, "request-timeout", t->request);
        set_seconds(i, g, "request-timeout", request + interrupt, "interrupt-timeout", t->interrupt)->note =
            "request-timeout and interrupt-timeout together: pyfpm counts both from the request's start";
        return;
    }
    if (has_request)
        set_seconds(i, g, "request-timeout", request, "request-timeout", t->request)->note =
            request > 0 ? "mod_wsgi waited longer with more threads; pyfpm waits just so long" : NULL;
    if (has_interrupt)
        import_note(i, &g->notes, g->definition, "interrupt-timeout=%s: off, as without it", t->interrupt);
}

static void apply_timeouts(struct import *i, struct import_group *g, const struct timeouts *t)
{
    int64_t seconds;
    apply_request_timeouts(i, g, t);
    if (t->inactivity && is_number(t->inactivity, &seconds) && seconds > 0) {
        struct import_setting *s = new_setting(i, g, "pm", g->definition);
        s->origin = pool_format(i->pool, "inactivity-timeout=%s", t->inactivity);
        s->note = "ends idle processes; the next request starts one again";
        pool_list_add(i->pool, &s->values, (char *)"ondemand");
        set_seconds(i, g, "idle-timeout", seconds, "inactivity-timeout", t->inactivity);
    } else if (t->inactivity) {
        import_note(i, &g->notes, g->definition, "inactivity-timeout=%s: off, as without it", t->inactivity);
    }
    if (t->eviction && !t->graceful && is_number(t->eviction, &seconds) && seconds > 0)
        set_seconds(i, g, "graceful-timeout", seconds, "eviction-timeout", t->eviction);
    else if (t->eviction)
        import_note(i, &g->notes, g->definition, "eviction-timeout=%s: graceful-timeout is for reloads too",
                    t->eviction);
}

void import_daemon_options(struct import *i, struct import_group *g)
{
    struct timeouts timeouts = {0};
    const char *at = g->definition->arguments, *name, *value;
    apache_word(i->pool, &at);
    while (apache_option(i->pool, &at, &name, &value)) {
        const char **timeout = value ? timeout_of(&timeouts, name) : NULL;
        const struct option *o = value ? find_option(name) : NULL;
        if (value && strcmp(name, "graceful-timeout") == 0)
            timeouts.graceful = value;
        if (value && g->definition->unknown && strstr(value, "${"))
            import_note(i, &g->notes, g->definition, "%s=%s: ${%s} has no value here (see --define)", name,
                        value, g->definition->unknown);
        else if (timeout)
            *timeout = value;
        else if (o)
            apply_option(i, g, o, value);
        else
            import_note(i, &g->notes, g->definition, "%s%s%s: mod_wsgi knows no such option", name,
                        value ? "=" : "", value ? value : "");
    }
    apply_timeouts(i, g, &timeouts);
}

/* What holds for the whole server ---------------------------------------------------------------------- */

bool import_group_has(const struct import_group *g, const char *key)
{
    for (size_t k = 0; k < g->settings.count; k++)
        if (strcmp(((const struct import_setting *)g->settings.items[k])->key, key) == 0)
            return true;
    return false;
}

/* The word that a directive gives; NULL, with a note, when it gives none that is known. */
static const char *server_value(struct import *i, struct apache_directive *d)
{
    const char *at = d->arguments;
    const char *word = apache_word(i->pool, &at);
    if (d->unknown)
        import_note(i, &i->notes, d, "${%s} has no value here (see --define): not converted", d->unknown);
    else if (!word || !word[0])
        import_note(i, &i->notes, d, "the value is missing");
    else
        return word;
    return NULL;
}

static bool has_own_home(const struct import_group *g)
{
    for (size_t k = 0; k < g->settings.count; k++) {
        const struct import_setting *s = g->settings.items[k];
        if (strcmp(s->key, "python-home") == 0 && s->from == g->definition)
            return true;
    }
    return false;
}

static void set_home(struct import *i, struct import_group *g, struct apache_directive *d, const char *value)
{
    size_t length = strcspn(value, ":");
    if (value[length] == ':')
        import_note(i, &i->notes, d, "python-home is one folder: the first, %.*s, is taken", (int)length,
                    value);
    if (!has_own_home(g))
        import_set(i, g, "python-home", pool_copy(i->pool, value, length), d);
}

/* "2.0" seconds, to the millisecond. */
static void set_slow(struct import *i, struct import_group *g, struct apache_directive *d, const char *value)
{
    char *end;
    double seconds = strtod(value, &end);
    bool is_time = *end == '\0' && seconds > 0 && seconds < 86400;
    const char *text = is_time ? format_number(i, CFG_NUMBER_DURATION, (int64_t)(seconds * 1000 + 0.5))
                               : value;
    import_set(i, g, "slowlog-timeout", text, d);
}

static void set_plain(struct import *i, struct import_group *g, struct apache_directive *d, const char *value)
{
    import_set(i, g, apache_is(d->name, "WSGIPythonOptimize") ? "python-optimize" : "python-warnings", value,
               d);
}

static bool holds_for(struct import *i, const struct apache_section *selector, const char *process_group,
                      const char *application_group)
{
    const char *at = selector->arguments, *name, *value;
    while (apache_option(i->pool, &at, &name, &value)) {
        if (!value)
            return false;
        if (strcmp(value, "%{GLOBAL}") == 0)
            value = "";
        if (strcmp(name, "process-group") == 0 && strcmp(value, process_group) != 0)
            return false;
        if (strcmp(name, "application-group") == 0 &&
            (!application_group || strcmp(value, application_group) != 0))
            return false;
    }
    return true;
}

/* Of <WSGIInterpreterOptions>: for a group as a whole, or for some of its applications. */
static void add_selected_path(struct import *i, struct import_group *g, struct apache_directive *d,
                              const char *value)
{
    const struct apache_section *selector = apache_section_of(d, APACHE_INTERPRETER);
    if (holds_for(i, selector, g->name, NULL)) {
        import_add_paths(i->pool, &import_set(i, g, "python-path", NULL, d)->values, value);
        return;
    }
    for (size_t k = 0; k < g->apps.count; k++) {
        struct import_app *app = g->apps.items[k];
        const struct import_use *use = app->uses.items[0];
        if (!holds_for(i, selector, g->name, use->application_group))
            continue;
        import_add_paths(i->pool, &app->python_path, value);
        import_note(i, &app->notes, d, "python-path of this interpreter");
    }
}

static void set_path(struct import *i, struct import_group *g, struct apache_directive *d, const char *value)
{
    if (apache_section_of(d, APACHE_INTERPRETER))
        add_selected_path(i, g, d, value);
    else if (g->name[0] == '\0')
        import_add_paths(i->pool, &import_set(i, g, "python-path", NULL, d)->values, value);
}

static void set_eggs(struct import *i, struct import_group *g, struct apache_directive *d, const char *value)
{
    if (g->name[0] == '\0')
        set_variable(i, g, "PYTHON_EGG_CACHE", value, d, NULL);
}

void import_server_settings(struct import *i)
{
    static const struct {
        const char *name;
        void (*set)(struct import *i, struct import_group *g, struct apache_directive *d, const char *value);
    } all[] = {
        {"WSGIPythonHome", set_home},      {"WSGIPythonPath", set_path},      {"WSGIPythonEggs", set_eggs},
        {"WSGIPythonOptimize", set_plain}, {"WSGIPythonWarnings", set_plain}, {"WSGISlowRequests", set_slow},
    };
    for (size_t k = 0; k < 2 * i->named[IMPORT_SERVER_WIDE].count; k++) {
        bool is_selected = k >= i->named[IMPORT_SERVER_WIDE].count; /* they build upon the others */
        struct apache_directive *d =
            i->named[IMPORT_SERVER_WIDE].items[k % i->named[IMPORT_SERVER_WIDE].count];
        if ((apache_section_of(d, APACHE_INTERPRETER) != NULL) != is_selected)
            continue;
        const char *value = server_value(i, d);
        for (size_t n = 0; value && n < sizeof all / sizeof all[0]; n++)
            for (size_t j = 0; apache_is(d->name, all[n].name) && j < i->groups.count; j++)
                all[n].set(i, i->groups.items[j], d, value);
    }
}
