/* pyfpm import: what another server's configuration says, as groups in YAML on standard output.
 *
 * Reads the file, or standard input, and with --follow what it includes, within bounds. Changes nothing. */
#include "pm/commands.h"

#include "base/err.h"
#include "base/fd.h"
#include "config/text.h"
#include "pm/apache_conf.h"
#include "pm/import_mod_wsgi.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <glob.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define INCLUDES_MAX      32   /* files within files */
#define INCLUDE_FILES_MAX 4096 /* files of one pattern */

static const char help[] =
    "usage: pyfpm import mod_wsgi FILE [--follow] [--define NAME[=VALUE]]... [--sockets FOLDER]\n"
    "\n"
    "Turns the directives of mod_wsgi in an Apache configuration into groups: YAML on standard output, with "
    "a\n"
    "comment for each directive that has no counterpart. FILE may be -, for standard input.\n"
    "\n"
    "  -f, --follow         read what Include and IncludeOptional name, too\n"
    "  -D, --define NAME    as httpd's -D; NAME=VALUE gives ${NAME} a value. Variables that nothing defines "
    "are\n"
    "                       looked up in the environment (Apache's are in /etc/apache2/envvars on Debian)\n"
    "  -s, --sockets FOLDER where the groups' sockets are to be (default /run/pyfpm)\n"
    "  -h, --help           print this\n"
    "\n"
    "exit status: 0 fine; 1 the file cannot be read, or there is nothing to convert; 64 bad usage; 78 the "
    "file is\n"
    "no Apache configuration\n"
    "example: pyfpm import mod_wsgi --follow /etc/apache2/apache2.conf > pyfpm.yaml\n";

struct call {
    const char *file;
    bool follows;
    const char *root; /* the folder that relative includes start from; owned */
    int depth;
    bool cannot_read; /* the error is one of reading */
    struct import_wishes wishes;
};

/* All bytes of a file, which the caller frees; NULL with *e. */
static char *read_all(int fd, const char *name, size_t *size, struct err *e)
{
    char *bytes = malloc(APACHE_SIZE_MAX + 1);
    *size = 0;
    ssize_t got = bytes ? 1 : -1;
    while (got != 0 && *size <= APACHE_SIZE_MAX) {
        got = bytes ? read(fd, bytes + *size, APACHE_SIZE_MAX + 1 - *size) : -1;
        if (got < 0 && bytes && errno == EINTR)
            continue;
        if (got < 0) {
            err_errno(e, "%s cannot be read", name);
            free(bytes);
            return NULL;
        }
        *size += (size_t)got;
    }
    if (*size <= APACHE_SIZE_MAX)
        return bytes;
    err_set(e, "%s has more than %u bytes", name, APACHE_SIZE_MAX);
    free(bytes);
    return NULL;
}

static int add_file(struct call *c, struct apache_conf *conf, const char *path, struct err *e)
{
    bool is_stdin = strcmp(path, "-") == 0;
    const char *name = is_stdin ? "standard input" : path;
    size_t size;
    int result = -1;
    int fd = is_stdin ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    char *bytes = NULL;
    c->cannot_read = true;
    if (fd < 0) {
        err_errno(e, "%s cannot be opened", name);
        goto out;
    }
    bytes = read_all(fd, name, &size, e);
    if (!bytes)
        goto out;
    c->cannot_read = false;
    result = apache_conf_add(conf, name, bytes, size, e);
out:
    free(bytes);
    fd_close(&fd);
    return result;
}

/* Says which folder of a pattern cannot be looked into; that there is none is no fault. */
static int skip_unreadable(const char *path, int error)
{
    if (error == ENOENT || error == ENOTDIR)
        return 0;
    fprintf(stderr, "pyfpm: %s: %s\n", path, strerror(error));
    return 0;
}

static int add_matches(struct call *c, struct apache_conf *conf, const char *pattern, struct err *e)
{
    glob_t found = {0};
    int result = 0;
    int status = glob(pattern, GLOB_ERR, skip_unreadable, &found);
    if (status == GLOB_NOSPACE)
        result = err_set(e, "out of memory");
    if (found.gl_pathc > INCLUDE_FILES_MAX)
        result = err_set(e, "%s names more than %d files", pattern, INCLUDE_FILES_MAX);
    for (size_t k = 0; result == 0 && k < found.gl_pathc; k++) {
        struct stat st;
        if (stat(found.gl_pathv[k], &st) == 0 && S_ISREG(st.st_mode))
            result = add_file(c, conf, found.gl_pathv[k], e);
    }
    globfree(&found);
    return result;
}

/* Apache's ServerRoot, as far as it has been read. */
static const char *server_root(struct call *c, struct apache_conf *conf)
{
    for (size_t k = conf->directives.count; k-- > 0;) {
        const struct apache_directive *d = conf->directives.items[k];
        const char *at = d->arguments;
        const char *word = apache_is(d->name, "ServerRoot") ? apache_word(conf->pool, &at) : NULL;
        if (word && word[0] == '/' && !d->unknown && !apache_is_skipped(d))
            return word;
    }
    return c->root;
}

static int follow(void *context, struct apache_conf *conf, struct apache_directive *d, struct err *e)
{
    struct call *c = context;
    const char *at = d->arguments;
    const char *path = apache_word(conf->pool, &at);
    if (!path || !path[0] || d->unknown) {
        fprintf(stderr, "pyfpm: %s:%d: the include is not followed: %s\n", d->file, d->line,
                d->unknown ? "a variable in it has no value" : "it names no file");
        return 0;
    }
    if (c->depth == INCLUDES_MAX)
        return err_set(e, "%s:%d: files include each other more than %d deep", d->file, d->line,
                       INCLUDES_MAX);
    c->depth++;
    struct stat st;
    const char *pattern = path[0] == '/' ? path
                                         : pool_format(conf->pool, "%s/%s", server_root(c, conf), path);
    if (stat(pattern, &st) == 0 && S_ISDIR(st.st_mode))
        pattern = pool_format(conf->pool, "%s/*", pattern);
    size_t before = conf->files.count;
    int result = add_matches(c, conf, pattern, e);
    c->depth--;
    if (result == 0 && conf->files.count == before && apache_is(d->name, "Include"))
        fprintf(stderr, "pyfpm: %s:%d: there is no file %s\n", d->file, d->line, pattern);
    return result;
}

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static const char *environment(const char *name)
{
    const char *value = getenv(name);
    return value && cfg_text_find_invalid(value, strlen(value)) == strlen(value) ? value : NULL;
}

/* Usage ---------------------------------------------------------------------------------------------------
 */

static bool is_socket_folder(const char *folder)
{
    size_t length = strlen(folder);
    return folder[0] == '/' && length <= IMPORT_SOCKET_FOLDER_MAX &&
           cfg_text_find_invalid(folder, length) == length;
}

static int define(struct apache_conf *conf, char *text)
{
    char *equals = strchr(text, '=');
    size_t length = strlen(text);
    if (length == 0 || equals == text || cfg_text_find_invalid(text, length) != length)
        return command_usage("--define needs a name, in UTF-8", NULL);
    if (equals)
        *equals = '\0';
    apache_conf_define(conf, text, equals ? equals + 1 : NULL);
    return COMMAND_GO_ON;
}

static int read_options(int argc, char **argv, struct call *c, struct apache_conf *conf)
{
    static const struct option options[] = {{"follow", no_argument, NULL, 'f'},
                                            {"define", required_argument, NULL, 'D'},
                                            {"sockets", required_argument, NULL, 's'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    int option, done = COMMAND_GO_ON;
    while (done == COMMAND_GO_ON && (option = getopt_long(argc, argv, "fD:s:h", options, NULL)) != -1) {
        if (option == 'f')
            c->follows = true;
        else if (option == 'D')
            done = define(conf, optarg);
        else if (option == 's')
            c->wishes.socket_folder = optarg;
        else if (option == 'h')
            done = fputs(help, stdout) >= 0 ? EXIT_SUCCESS : EXIT_FAILURE;
        else
            done = EXIT_USAGE;
    }
    if (done != COMMAND_GO_ON)
        return done;
    if (optind >= argc)
        return command_usage("import from what? write: pyfpm import mod_wsgi FILE", NULL);
    if (strcmp(argv[optind], "mod_wsgi") != 0)
        return command_usage("only mod_wsgi can be imported from, not", argv[optind]);
    if (argc - optind != 2)
        return command_usage("import mod_wsgi takes one file", NULL);
    if (!is_socket_folder(c->wishes.socket_folder))
        return command_usage("--sockets must be an absolute path of at most 32 bytes, not",
                             c->wishes.socket_folder);
    c->file = argv[optind + 1];
    return COMMAND_GO_ON;
}

/* The work ------------------------------------------------------------------------------------------------
 */

static char *folder_of(const char *file)
{
    char *real = realpath(file, NULL);
    char *slash = real ? strrchr(real, '/') : NULL;
    if (slash)
        slash[slash == real ? 1 : 0] = '\0';
    return real ? real : strdup(".");
}

static int convert(struct call *c, struct apache_conf *conf)
{
    struct err e;
    struct import_result result;
    if (add_file(c, conf, c->file, &e) != 0 || import_mod_wsgi(conf, &c->wishes, stdout, &result, &e) != 0) {
        fprintf(stderr, "pyfpm: %s\n", e.text);
        return c->cannot_read ? EXIT_FAILURE : EXIT_CONFIG;
    }
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "pyfpm: the output cannot be written: %s\n", strerror(errno));
        return EXIT_FAILURE;
    }
    if (result.groups > 0)
        return EXIT_SUCCESS;
    fprintf(stderr, "pyfpm: %s: nothing in it makes a group that could run%s\n", c->file,
            c->follows ? "" : " (does it include other files? see --follow)");
    return EXIT_FAILURE;
}

int command_import(int argc, char **argv)
{
    struct call c = {.wishes = {.socket_folder = "/run/pyfpm", .is_folder = is_folder}};
    struct apache_outside outside = {.variable = environment, .context = &c};
    struct apache_conf *conf = apache_conf_new(&outside);
    char *root = NULL;
    int status = read_options(argc, argv, &c, conf);
    if (status != COMMAND_GO_ON)
        goto out;
    if (c.follows)
        outside.include = follow;
    root = folder_of(c.file);
    c.root = root ? root : ".";
    status = convert(&c, conf);
out:
    free(root);
    apache_conf_free(conf);
    return status;
}
