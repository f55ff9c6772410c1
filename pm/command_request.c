/* pyfpm request: one request straight into a group's socket, without a web server.
 *
 * Puts together the parameters that a web server would send, prints the answer as it comes. */
#include "pm/commands.h"

#include "base/err.h"
#include "base/fd.h"
#include "config/config.h"
#include "fcgi/fcgi.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PARAMS_MAX 256
#define BODY_MAX   (1024L * 1024 * 1024)

static const char help[] =
    "usage: pyfpm request [--config FILE] GROUP PATH [-X METHOD] [-H 'Name: value']... [--data "
    "TEXT|@FILE|@-]\n"
    "\n"
    "Sends one FastCGI request to the group's socket, as a web server would, and prints status line, headers "
    "and\n"
    "body; what comes on the error stream goes to stderr.\n"
    "\n"
    "In a group with script-root the path is that of a script below the first root: /hello.wsgi/page.\n"
    "\n"
    "  -c, --config FILE    the configuration (default " CONFIG_DEFAULT ")\n"
    "  -X, --method METHOD  GET, or POST when there is data\n"
    "  -H, --header TEXT    a request header; may be repeated\n"
    "  -d, --data TEXT      the request body; @FILE reads it from a file, @- from standard input\n"
    "  -b, --body           print the body only\n"
    "  -h, --help           print this\n"
    "\n"
    "exit status: 0 an answer below 500 came; 1 none came, or one of 500 and above\n"
    "example: pyfpm request shop '/cart?id=7' -H 'Host: shop.example'\n";

struct call {
    const char *method;
    char *body;
    size_t body_size;
    char *params[PARAMS_MAX + 1];
    size_t param_count;
    bool body_only;
    /* while the answer comes */
    char head[65536];
    size_t head_size;
    bool in_body;
    int status;
};

static int add_param(struct call *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int add_param(struct call *c, const char *format, ...)
{
    va_list args;
    if (c->param_count == PARAMS_MAX)
        return -1;
    va_start(args, format);
    int size = vasprintf(&c->params[c->param_count], format, args);
    va_end(args);
    if (size < 0) {
        c->params[c->param_count] = NULL;
        return -1;
    }
    c->param_count++;
    return 0;
}

/* "X-Forwarded-For: a" becomes HTTP_X_FORWARDED_FOR=a; the two that CGI names otherwise keep their names. */
static int add_header(struct call *c, const char *text)
{
    const char *colon = strchr(text, ':');
    if (!colon || colon == text || colon - text > 200)
        return -1;
    char name[256];
    size_t size = (size_t)(colon - text);
    bool bare = strncasecmp(text, "Content-Type:", 13) == 0 || strncasecmp(text, "Content-Length:", 15) == 0;
    for (size_t i = 0; i < size; i++)
        name[i] = text[i] == '-' ? '_' : (char)toupper((unsigned char)text[i]);
    name[size] = '\0';
    const char *value = colon + 1 + strspn(colon + 1, " \t");
    return add_param(c, "%s%s=%s", bare ? "" : "HTTP_", name, value);
}

static int read_stream(struct call *c, FILE *stream)
{
    size_t room = 0;
    for (;;) {
        if (c->body_size == room) {
            room = room ? room * 2 : 65536;
            char *larger = room <= BODY_MAX ? realloc(c->body, room) : NULL;
            if (!larger)
                return -1;
            c->body = larger;
        }
        size_t got = fread(c->body + c->body_size, 1, room - c->body_size, stream);
        c->body_size += got;
        if (got == 0)
            return ferror(stream) ? -1 : 0;
    }
}

static int take_data(struct call *c, const char *data)
{
    free(c->body);
    c->body = NULL;
    c->body_size = 0;
    if (data[0] != '@') {
        c->body = strdup(data);
        c->body_size = strlen(data);
        return c->body ? 0 : -1;
    }
    FILE *stream = strcmp(data, "@-") == 0 ? stdin : fopen(data + 1, "re");
    int result = stream ? read_stream(c, stream) : -1;
    if (stream && stream != stdin)
        fclose(stream);
    return result;
}

/* Percent-decodes up to the question mark. */
static void decode_path(const char *uri, char *path)
{
    unsigned byte;
    for (; *uri && *uri != '?'; uri++) {
        if (*uri == '%' && isxdigit((unsigned char)uri[1]) && isxdigit((unsigned char)uri[2]) &&
            sscanf(uri + 1, "%2x", &byte) == 1 && byte != 0) {
            *path++ = (char)byte;
            uri += 2;
        } else {
            *path++ = *uri;
        }
    }
    *path = '\0';
}

/* With script-root the web server names the script; here the path is below the first root, as below a
 * document root, and pyfpm finds where the script ends and PATH_INFO begins. */
static int add_place(struct call *c, const struct cfg_group *group, const char *path)
{
    if (group->script_root.count == 0)
        return add_param(c, "SCRIPT_NAME=") | add_param(c, "PATH_INFO=%s", path);
    return add_param(c, "SCRIPT_FILENAME=%s%s", group->script_root.items[0], path) |
           add_param(c, "SCRIPT_NAME=%s", path);
}

static int add_request(struct call *c, const struct cfg_group *group, const char *uri)
{
    char *path = malloc(strlen(uri) + 1);
    if (!path)
        return -1;
    decode_path(uri, path);
    const char *query = strchr(uri, '?');
    if (!c->method)
        c->method = c->body ? "POST" : "GET";
    int result = 0;
    result |= add_param(c, "GATEWAY_INTERFACE=CGI/1.1");
    result |= add_param(c, "SERVER_SOFTWARE=pyfpm-request");
    result |= add_param(c, "SERVER_PROTOCOL=HTTP/1.1");
    result |= add_param(c, "REQUEST_METHOD=%s", c->method);
    result |= add_param(c, "REQUEST_URI=%s", uri);
    result |= add_param(c, "REQUEST_SCHEME=http");
    result |= add_place(c, group, path);
    result |= add_param(c, "QUERY_STRING=%s", query ? query + 1 : "");
    result |= add_param(c, "SERVER_NAME=localhost");
    result |= add_param(c, "SERVER_PORT=80");
    result |= add_param(c, "REMOTE_ADDR=127.0.0.1");
    if (c->body)
        result |= add_param(c, "CONTENT_LENGTH=%zu", c->body_size);
    free(path);
    return result;
}

static int connect_unix(const char *path, struct err *e)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        bool is_refused = errno == ENOENT || errno == ECONNREFUSED;
        err_errno(e, "cannot connect to %s", path);
        if (is_refused)
            err_prefix(e, "pyfpm does not serve it (see pyfpm status)");
        fd_close(&fd);
    }
    return fd;
}

static int connect_tcp(const struct cfg_address *address, struct err *e)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int fd = -1;
    int failure = getaddrinfo(address->host[0] ? address->host : NULL, address->port, &hints, &found);
    if (failure != 0)
        return err_set(e, "cannot resolve %s: %s", address->host, gai_strerror(failure));
    for (struct addrinfo *try = found; try && fd < 0; try = try->ai_next) {
        fd = socket(try->ai_family, try->ai_socktype | SOCK_CLOEXEC, try->ai_protocol);
        if (fd >= 0 && connect(fd, try->ai_addr, try->ai_addrlen) < 0) {
            err_errno(e, "cannot connect to %s:%s", address->host, address->port);
            fd_close(&fd);
        }
    }
    freeaddrinfo(found);
    return fd;
}

static int connect_group(const struct cfg_group *group, struct err *e)
{
    struct cfg_address address;
    if (cfg_parse_address(group->listen, &address, e) < 0)
        return -1;
    if (address.kind == CFG_LISTEN_SYSTEMD)
        return err_set(
            e,
            "its socket is made by systemd (%s), so its address is not known here; ask through the web "
            "server",
            group->listen);
    return address.kind == CFG_LISTEN_UNIX ? connect_unix(address.path, e) : connect_tcp(&address, e);
}

static void end_head(struct call *c)
{
    c->in_body = true;
    const char *status = strcasestr(c->head, "Status:");
    c->status = status && (status == c->head || status[-1] == '\n') ? atoi(status + 7) : 200;
    if (!c->body_only)
        fwrite(c->head, 1, c->head_size, stdout);
}

static int on_answer(void *context, bool is_error, const void *bytes, size_t size)
{
    struct call *c = context;
    if (is_error)
        return fwrite(bytes, 1, size, stderr) == size ? 0 : -1;
    const char *next = bytes;
    while (!c->in_body && size > 0 && c->head_size < sizeof c->head - 1) {
        c->head[c->head_size++] = *next++;
        c->head[c->head_size] = '\0';
        size--;
        if (strcmp(c->head + (c->head_size >= 4 ? c->head_size - 4 : 0), "\r\n\r\n") == 0)
            end_head(c);
    }
    return fwrite(next, 1, size, stdout) == size ? 0 : -1;
}

/* The sending half of a call, on a thread of its own: an application may answer before it has read the body,
 * or without reading it at all, and waits until its answer is read. */
struct sending {
    const struct call *call;
    int fd;
    struct err e;           /* its thread writes; read when that has ended */
    atomic_bool has_failed; /* *e says why */
};

static void *send_request(void *argument)
{
    struct sending *s = argument;
    const struct call *c = s->call;
    if (fcgi_client_send(s->fd, c->params, c->body, c->body_size, false, &s->e) == 0)
        return NULL;
    atomic_store(&s->has_failed, true);
    shutdown(s->fd, SHUT_WR); /* the answer may be there all the same; without one the other end closes now */
    return NULL;
}

static int exchange(struct call *c, int fd, struct err *e)
{
    struct sending sending = {.call = c, .fd = fd};
    uint32_t app_status = 0;
    pthread_t sender;
    errno = pthread_create(&sender, NULL, send_request, &sending);
    if (errno != 0)
        return err_errno(e, "cannot start a thread");
    int result = fcgi_client_receive(fd, on_answer, c, &app_status, e);
    bool is_its_fault = result < 0 && atomic_load(&sending.has_failed);
    shutdown(fd, SHUT_RDWR);
    pthread_join(sender, NULL);
    if (is_its_fault)
        *e = sending.e;
    return result;
}

static int perform(struct call *c, const struct cfg_group *group)
{
    struct err e;
    int result = -1;
    signal(SIGPIPE, SIG_IGN);
    int fd = connect_group(group, &e);
    if (fd >= 0)
        result = exchange(c, fd, &e);
    fd_close(&fd);
    fflush(stdout);
    if (result < 0)
        fprintf(stderr, "pyfpm: group %s: %s\n", group->name, e.text);
    return result == 0 && c->in_body && c->status < 500 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int call_group(struct call *c, const char *config_path, const char *name, const char *uri)
{
    struct cfg *cfg = command_load(config_path);
    if (!cfg)
        return EXIT_CONFIG;
    int result = EXIT_FAILURE;
    const struct cfg_group *group = cfg_find_group(cfg, name);
    if (!group)
        result = command_refuse_group(cfg, name);
    else if (add_request(c, group, uri) < 0)
        fprintf(stderr, "pyfpm: the request is too large\n");
    else
        result = perform(c, group);
    cfg_free(cfg);
    return result;
}

static int take_options(struct call *c, int argc, char **argv, const char **path, bool *helped)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"method", required_argument, NULL, 'X'},
                                            {"header", required_argument, NULL, 'H'},
                                            {"data", required_argument, NULL, 'd'},
                                            {"body", no_argument, NULL, 'b'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    int option;
    while ((option = getopt_long(argc, argv, "c:X:H:d:bh", options, NULL)) != -1) {
        if (option == 'c')
            *path = optarg;
        else if (option == 'X')
            c->method = optarg;
        else if (option == 'b')
            c->body_only = true;
        else if (option == 'h')
            *helped = fputs(help, stdout) >= 0;
        else if (option == 'H' && add_header(c, optarg) < 0)
            return command_usage("not a header of the form 'Name: value':", optarg);
        else if (option == 'd' && take_data(c, optarg) < 0)
            return command_usage("cannot read", optarg);
        else if (option == '?')
            return EXIT_USAGE;
    }
    return EXIT_SUCCESS;
}

int command_request(int argc, char **argv)
{
    static struct call c;
    const char *path = CONFIG_DEFAULT;
    bool helped = false;
    int result = take_options(&c, argc, argv, &path, &helped);
    if (result == EXIT_SUCCESS && !helped) {
        if (argc - optind != 2 || argv[optind + 1][0] != '/')
            result = command_usage("request takes a group and a path that begins with /", NULL);
        else
            result = call_group(&c, path, argv[optind], argv[optind + 1]);
    }
    for (size_t i = 0; i < c.param_count; i++)
        free(c.params[i]);
    free(c.body);
    return result;
}
