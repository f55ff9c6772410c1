/* pyfpm add-python: builds a host for one more Python and puts it beside those that are installed.
 *
 * Does what a person would do with cmake in share/pyfpm/host, in a private temporary folder, and writes
 * nowhere but there and, at the very end and in one step, in libexec/pyfpm: a supervisor that runs never
 * meets half a host, and finds the whole one at the next start of a group. Refuses in a sentence what could
 * not work before it builds anything. Runs as whoever calls it. */
#include "base/err.h"
#include "base/fd.h"
#include "pm/commands.h"
#include "pm/host_about.h"
#include "pm/hosts.h"
#include "pm/printable.h"
#include "pm/tool.h"
#include "pm/trust.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

static const char help[] = "usage: pyfpm add-python [--force] /path/to/python3.X\n"
                           "\n"
                           "Builds the host for one more Python, 3.8 or later, with a shared libpython and "
                           "its headers, and puts it\n"
                           "beside the others. Groups that waited for it start by themselves; nothing has to "
                           "be restarted. Needs cmake,\n"
                           "make, a C compiler, and the development files of libfcgi and libyaml.\n"
                           "\n"
                           "  -f, --force   replace a host of that version which is there\n"
                           "  -h, --help    print this\n"
                           "\n"
                           "exit status: 0 it is there; 1 it is not, and nothing has changed\n"
                           "example: pyfpm add-python /usr/bin/python3.12\n";

#define ASK_PATIENCE_MS 60000
#define LOG_LINES       25 /* of a build that failed */

struct addition {
    const char *python; /* as it was given */
    bool replaces;
    char kit[PATH_MAX];
    char libexec[PATH_MAX];
    char version[16];
    char library[PATH_MAX];
    char interpreter[PATH_MAX]; /* of the installation; python may be a virtual environment's */
    char name[32];              /* "host-3.12" */
    char target[PATH_MAX];
    char folder[PATH_MAX]; /* the temporary one; "" before it is made */
};

/* Joins; the result is checked for length, since a path that was cut is another path. */
static int join(char path[PATH_MAX], const char *folder, const char *name, struct err *e)
{
    return snprintf(path, PATH_MAX, "%s/%s", folder, name) < PATH_MAX
               ? 0
               : err_set(e, "the path %.200s... is too long", folder);
}

/* What has to be there ------------------------------------------------------------------------------- */

static bool is_in_path(const char *name)
{
    const char *folders = getenv("PATH");
    char path[PATH_MAX];
    for (const char *folder = folders ? folders : ""; *folder;) {
        int size = (int)strcspn(folder, ":");
        if (size > 0 && snprintf(path, sizeof path, "%.*s/%s", size, folder, name) < PATH_MAX &&
            access(path, X_OK) == 0)
            return true;
        folder += size;
        folder += *folder == ':';
    }
    return false;
}

static int check_tools(struct err *e)
{
    bool has_compiler = is_in_path("cc") || is_in_path("gcc") || is_in_path("clang");
    if (is_in_path("cmake") && is_in_path("make") && has_compiler)
        return 0;
    return err_set(e,
                   "a host is compiled, and %s not in PATH: install the Debian packages cmake, make, gcc, "
                   "libc6-dev, libfcgi-dev and libyaml-dev",
                   !is_in_path("cmake")  ? "cmake is"
                   : !is_in_path("make") ? "make is"
                                         : "a C compiler (cc, gcc or clang) is");
}

static int check_installation(struct addition *a, struct err *e)
{
    char list[PATH_MAX];
    if (pm_hosts_kit("", a->kit, sizeof a->kit, e) < 0 ||
        pm_hosts_libexec("", a->libexec, sizeof a->libexec, e) < 0 ||
        join(list, a->kit, "CMakeLists.txt", e) < 0)
        return -1;
    if (access(list, R_OK) < 0)
        return err_errno(e, "this pyfpm was installed without what a host is built from: %s", list);
    if (faccessat(AT_FDCWD, a->libexec, W_OK | X_OK, AT_EACCESS) < 0)
        return err_errno(e, "a host goes into %s, which uid %u cannot write to", a->libexec,
                         (unsigned)geteuid());
    return 0;
}

/* The Python --------------------------------------------------------------------------------------------- */

/* The last line that starts with that word: a Python may print warnings before its answer. */
static char *find_answer(struct pm_tool_output *output, const char *word)
{
    char *found = NULL;
    for (char *line = output->text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, word, strlen(word)) == 0)
            found = line;
    }
    if (found)
        found[strcspn(found, "\n")] = '\0';
    return found ? found + strlen(word) : NULL;
}

/* "3.12", or "3.13t" */
static bool is_version(const char *version)
{
    size_t minor = strncmp(version, "3.", 2) == 0 ? strspn(version + 2, "0123456789") : 0;
    return minor > 0 && minor <= 3 && (version[2 + minor] == '\0' || strcmp(version + 2 + minor, "t") == 0);
}

/* "X.Y;INCLUDE;LIBRARY;LIBDIR;INTERPRETER" */
static int take_answer(struct addition *a, char *answer, struct err *e)
{
    const char *version = strsep(&answer, ";");
    strsep(&answer, ";");
    const char *library = strsep(&answer, ";");
    strsep(&answer, ";");
    const char *interpreter = strsep(&answer, ";");
    if (!interpreter || !is_version(version) || library[0] != '/' || strlen(library) >= PATH_MAX ||
        interpreter[0] != '/' || strlen(interpreter) >= PATH_MAX)
        return err_set(e, "%s does not describe itself as a Python does", a->python);
    snprintf(a->version, sizeof a->version, "%s", version);
    snprintf(a->library, sizeof a->library, "%s", library);
    snprintf(a->interpreter, sizeof a->interpreter, "%s", interpreter);
    snprintf(a->name, sizeof a->name, "host-%s", a->version);
    return join(a->target, a->libexec, a->name, e);
}

/* Has it run cmake/embeddable.py, which the build runs as well. */
static int ask_python(struct addition *a, struct err *e)
{
    struct pm_tool_output output;
    char question[PATH_MAX];
    struct stat status;
    if (stat(a->python, &status) < 0)
        return err_errno(e, "%s", a->python);
    if (!S_ISREG(status.st_mode) || access(a->python, X_OK) < 0)
        return err_set(e, "%s is not a program", a->python);
    if (join(question, a->kit, "cmake/embeddable.py", e) < 0)
        return -1;
    char *argv[] = {(char *)a->python, (char *)"-I", (char *)"-B", question, NULL};
    int result = pm_tool_run(argv, ASK_PATIENCE_MS, &output, e);
    if (result < 0)
        return -1;
    const char *refusal = find_answer(&output, "no;");
    if (refusal)
        return err_set(e, "%s %s", a->python, refusal);
    char *answer = result == 0 ? find_answer(&output, "ok;") : NULL;
    if (!answer)
        return err_set(e, "%s is not a Python 3; asked what it is, it ended with status %d and said: %s",
                       a->python, result, pm_tool_first_line(&output));
    return take_answer(a, answer, e);
}

static int refuse_existing(const struct addition *a, struct err *e)
{
    return err_set(e, "there is a host for Python %s already: %s (--force replaces it)", a->version,
                   a->target);
}

/* A supervisor that is root starts a host as root, and with it this library. */
static void warn_of_owners(const struct addition *a)
{
    struct err why;
    if (geteuid() != 0)
        return;
    if (pm_trust_check(a->library, &why) < 0 || pm_trust_check(a->interpreter, &why) < 0)
        fprintf(stderr,
                "pyfpm: warning: %s: whoever can change this Python can do so as root, because a supervisor "
                "that is root starts the host as root\n",
                why.text);
}

/* Building ------------------------------------------------------------------------------------------------
 */

static int make_folder(struct addition *a, struct err *e)
{
    const char *temporary = getenv("TMPDIR");
    char folder[PATH_MAX];
    if (join(folder, temporary && temporary[0] == '/' ? temporary : "/tmp", "pyfpm-add-python.XXXXXX", e) < 0)
        return -1;
    if (!mkdtemp(folder))
        return err_errno(e, "%s cannot be made", folder);
    snprintf(a->folder, sizeof a->folder, "%s", folder);
    return 0;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status;
    (void)type;
    (void)where;
    return remove(path);
}

/* 0, or -1 with *e: what is left, and why. */
static int remove_folder(const struct addition *a, struct err *e)
{
    if (a->folder[0] == '\0' || nftw(a->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0)
        return 0;
    return err_errno(e, "%s cannot be removed", a->folder);
}

static void print_command(char *const argv[])
{
    fputs("+", stdout);
    for (; *argv; argv++) {
        const char *quote = strchr(*argv, ' ') ? "'" : "";
        printf(" %s", quote);
        printable_write(stdout, *argv, strlen(*argv));
        fputs(quote, stdout);
    }
    putchar('\n');
    fflush(stdout);
}

/* The end of what a build wrote before it failed. */
static void print_end(const struct pm_tool_output *output)
{
    const char *line = output->text + output->size;
    for (int count = 0; line > output->text && count < LOG_LINES; count++)
        do
            line--;
        while (line > output->text && *line != '\n');
    line += *line == '\n';
    printable_write_lines(stderr, "", line, strlen(line));
}

static int run_step(char *const argv[], struct err *e)
{
    struct pm_tool_output output;
    print_command(argv);
    int status = pm_tool_run(argv, 0, &output, e);
    if (status > 0) {
        print_end(&output);
        err_set(e, "%s %s ended with status %d, after what stands above", argv[0], argv[1], status);
    }
    return status == 0 ? 0 : -1;
}

/* cmake's three steps; the last puts the host into FOLDER/stage, with the search path it is to have. */
static int build(const struct addition *a, char staged[PATH_MAX], struct err *e)
{
    char tree[PATH_MAX], stage[PATH_MAX], pythons[PATH_MAX + 32], name[64], jobs[16];
    snprintf(name, sizeof name, "stage/libexec/pyfpm/%s", a->name);
    if (join(tree, a->folder, "build", e) < 0 || join(stage, a->folder, "stage", e) < 0 ||
        join(staged, a->folder, name, e) < 0)
        return -1;
    snprintf(jobs, sizeof jobs, "%ld", sysconf(_SC_NPROCESSORS_ONLN));
    snprintf(pythons, sizeof pythons, "-DPYFPM_PYTHONS=%s", a->interpreter);
    char cmake[] = "cmake";
    char *configure[] = {cmake, (char *)"-S", (char *)a->kit, (char *)"-B", tree, pythons, NULL};
    char *compile[] = {cmake, (char *)"--build", tree, (char *)"--parallel", jobs, NULL};
    char *install[] = {cmake, (char *)"--install", tree, (char *)"--prefix", stage, NULL};
    if (run_step(configure, e) < 0 || run_step(compile, e) < 0)
        return -1;
    return run_step(install, e);
}

/* Putting it there -----------------------------------------------------------------------------------------
 */

static int copy_bytes(int from, int to, const char *name, struct err *e)
{
    ssize_t sent;
    while ((sent = sendfile(to, from, NULL, 1 << 24)) > 0)
        ;
    if (sent < 0 || fchmod(to, 0755) < 0 || fsync(to) < 0)
        return err_errno(e, "%s cannot be written", name);
    return 0;
}

static int copy_program(const char *from, const char *to, struct err *e)
{
    int source = open(from, O_RDONLY | O_CLOEXEC);
    if (source < 0)
        return err_errno(e, "%s", from);
    int target = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
    int result = target < 0 ? err_errno(e, "%s cannot be made", to) : copy_bytes(source, target, to, e);
    fd_close(&source);
    fd_close(&target);
    return result;
}

static int move_into_place(const struct addition *a, const char *from, struct err *e)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, a->target, a->replaces ? 0 : RENAME_NOREPLACE) == 0)
        return 0;
    if (errno == EEXIST) /* somebody else built it meanwhile */
        return refuse_existing(a, e);
    /* A file system without RENAME_NOREPLACE. */
    if (errno == EINVAL && link(from, a->target) == 0)
        return unlink(from);
    if (errno == EEXIST)
        return refuse_existing(a, e);
    return err_errno(e, "%s cannot be put into place", a->target);
}

/* Tries it where it will lie, under a name that nobody looks for, then renames it. */
static int place(const struct addition *a, const char *staged, struct pm_host_about *about, struct err *e)
{
    char name[64], waiting[PATH_MAX];
    snprintf(name, sizeof name, ".%s.%d", a->name, (int)getpid());
    if (join(waiting, a->libexec, name, e) < 0)
        return -1;
    int result = copy_program(staged, waiting, e);
    if (result == 0 && pm_host_ask(waiting, about, e) < 0)
        result = err_prefix(e, "the host was built");
    if (result == 0)
        result = move_into_place(a, waiting, e);
    if (result < 0)
        unlink(waiting);
    return result;
}

static int add(struct addition *a, struct err *e)
{
    char staged[PATH_MAX];
    struct pm_host_about about;
    if (check_installation(a, e) < 0 || check_tools(e) < 0 || ask_python(a, e) < 0)
        return -1;
    if (!a->replaces && access(a->target, F_OK) == 0)
        return refuse_existing(a, e);
    warn_of_owners(a);
    if (make_folder(a, e) < 0)
        return -1;
    printf("building %s for ", a->name);
    printable_write(stdout, a->interpreter, strlen(a->interpreter));
    printf(" in %s\n", a->folder);
    if (build(a, staged, e) < 0 || place(a, staged, &about, e) < 0)
        return -1;
    printf("added %s: Python %s, %s\n", a->target, about.release, about.library);
    return 0;
}

/* The Python's path as an absolute one, since cmake runs elsewhere; links stay: a virtual environment's
 * python is one. */
static int take_python(const char *given, char python[PATH_MAX], struct err *e)
{
    char folder[PATH_MAX];
    if (!strchr(given, '/'))
        return err_set(e, "%s is no path; give that of the interpreter, as in /usr/bin/python3.12", given);
    if (given[0] == '/')
        return join(python, "", given + 1, e);
    return getcwd(folder, sizeof folder) ? join(python, folder, given, e)
                                         : err_errno(e, "the current folder");
}

int command_add_python(int argc, char **argv)
{
    static const struct option options[] = {
        {"force", no_argument, NULL, 'f'}, {"help", no_argument, NULL, 'h'}, {0}};
    static struct addition a;
    char python[PATH_MAX];
    struct err e, left;
    int option;
    while ((option = getopt_long(argc, argv, "fh", options, NULL)) != -1) {
        if (option == 'f')
            a.replaces = true;
        else if (option == 'h')
            return fputs(help, stdout) >= 0 ? EXIT_SUCCESS : EXIT_FAILURE;
        else
            return EXIT_USAGE;
    }
    if (optind + 1 != argc)
        return command_usage("add-python takes the path of one Python", NULL);
    a.python = python;
    int result = take_python(argv[optind], python, &e);
    if (result == 0)
        result = add(&a, &e);
    if (result < 0)
        printable_write_lines(stderr, "pyfpm: ", e.text, strlen(e.text)); /* it may have a Python's words */
    if (remove_folder(&a, &left) < 0)
        fprintf(stderr, "pyfpm: warning: %s\n", left.text);
    return pm_tool_end(result == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
}
