/* The shape of single strings: paths, names, Python references, versions.
 *
 * Looks at the text only. Whether a file is there, a user exists or a module can be imported is found out
 * by those who need it. */
#include "config/rules.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "config/config.h"

#define VARIABLE_NAME_MAX 255
#define REQUEST_PATH_MAX  1000

int cfg_rule_absolute(const char *text, struct err *e)
{
    if (text[0] == '/')
        return 0;
    return err_set(e, "\"%.120s\" is a relative path; it must be absolute (start with /)", text);
}

int cfg_rule_listen(const char *text, struct err *e)
{
    struct cfg_address address;
    return cfg_parse_address(text, &address, e);
}

int cfg_rule_control(const char *text, struct err *e)
{
    struct cfg_address address;
    if (strcmp(text, "none") == 0)
        return 0;
    if (text[0] != '/')
        return err_set(e, "\"%.120s\" is neither none nor an absolute path", text);
    return cfg_parse_address(text, &address, e);
}

int cfg_rule_log(const char *text, struct err *e)
{
    if (text[0] == '/' || strcmp(text, "stderr") == 0 || strcmp(text, "syslog") == 0)
        return 0;
    return err_set(e, "\"%.120s\" is neither stderr, nor syslog, nor an absolute path", text);
}

/* Python allows letters of any script; bytes above ASCII are taken for such. */
static bool is_identifier_start(unsigned char c)
{
    return isalpha(c) || c == '_' || c >= 0x80;
}

/* The length of the dotted name that text starts with; 0 when it does not start with one. */
static size_t dotted_length(const char *text)
{
    size_t length = 0;
    for (;;) {
        if (!is_identifier_start((unsigned char)text[length]))
            return 0;
        while (is_identifier_start((unsigned char)text[length]) || isdigit((unsigned char)text[length]))
            length++;
        if (text[length] != '.')
            return length;
        length++;
    }
}

int cfg_rule_application(const char *text, struct err *e)
{
    const char *colon = strchr(text, ':');
    if (colon == NULL)
        return err_set(
            e, "\"%.120s\" names no callable; write package.module:callable or package.module:factory()",
            text);
    if (colon == text || dotted_length(text) != (size_t)(colon - text))
        return err_set(e, "\"%.120s\" does not start with the name of a module (package.module:callable)",
                       text);
    size_t length = dotted_length(colon + 1);
    const char *rest = colon + 1 + length;
    if (length == 0 || (rest[0] != '\0' && strcmp(rest, "()") != 0))
        return err_set(
            e,
            "\"%.120s\" does not end in a name or a call without arguments (package.module:callable or "
            "package.module:factory())",
            text);
    return 0;
}

int cfg_rule_request_path(const char *text, struct err *e)
{
    if (text[0] != '/')
        return err_set(e, "\"%.120s\" is no path of a request; it must start with /", text);
    if (strlen(text) > REQUEST_PATH_MAX)
        return err_set(e, "the path \"%.60s...\" is longer than %d bytes", text, REQUEST_PATH_MAX);
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == ' ' || *c == '#' || iscntrl((unsigned char)*c))
            return err_set(e, "\"%.120s\" is no path of a request: it holds %s", text,
                           *c == ' '   ? "a blank"
                           : *c == '#' ? "a \"#\""
                                       : "a control character");
    }
    return 0;
}

int cfg_rule_identifier(const char *text, struct err *e)
{
    size_t length = dotted_length(text);
    if (length == 0 || text[length] != '\0' || strchr(text, '.') != NULL)
        return err_set(e, "\"%.120s\" is not a Python name", text);
    return 0;
}

int cfg_rule_python_version(const char *text, struct err *e)
{
    if (strcmp(text, "auto") == 0)
        return 0;
    size_t digits = strncmp(text, "3.", 2) == 0 ? strspn(text + 2, "0123456789") : 0;
    const char *rest = digits > 0 ? text + 2 + digits : text;
    bool is_version = digits > 0 && digits <= 2 && (digits == 1 || text[2] != '0') &&
                      (rest[0] == '\0' || strcmp(rest, "t") == 0);
    if (!is_version)
        return err_set(e, "\"%.120s\" is no version of Python; write auto, or such as 3.12 or 3.13t", text);
    if (atoi(text + 2) < 8)
        return err_set(e, "Python %s is too old; 3.8 is the first that is supported", text);
    return 0;
}

/* True when one of the path's components is empty, "." or "..". */
static bool has_odd_component(const char *path)
{
    for (const char *c = path; *c != '\0';) {
        size_t length = strcspn(++c, "/");
        if (length == 0 || (length == 1 && c[0] == '.') || (length == 2 && c[0] == '.' && c[1] == '.'))
            return true;
        c += length;
    }
    return false;
}

int cfg_rule_mount(const char *text, struct err *e)
{
    size_t length = strlen(text);
    if (strcmp(text, "/") == 0)
        return 0;
    if (text[0] != '/')
        return err_set(e, "\"%.120s\" does not start with /; a mount is the start of a URL's path", text);
    if (text[length - 1] == '/')
        return err_set(e,
                       "\"%.120s\" ends with /; write \"%.*s\", under which paths such as %.120s... come too",
                       text, (int)(length - 1 < 120 ? length - 1 : 120), text, text);
    if (has_odd_component(text))
        return err_set(e, "\"%.120s\" cannot be a mount: no part of it may be empty, \".\" or \"..\"", text);
    return 0;
}

/* Letters, digits, "_", "." and "-"; the first of them no "." or "-". */
static bool is_simple_name(const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        if (!isascii((unsigned char)*c) || !(isalnum((unsigned char)*c) || strchr("_.-", *c) != NULL))
            return false;
    }
    return text[0] != '\0' && text[0] != '.' && text[0] != '-';
}

int cfg_rule_interpreter(const char *text, struct err *e)
{
    if (!is_simple_name(text))
        return err_set(
            e,
            "\"%.120s\" cannot name an interpreter: use letters, digits, \"_\", \".\" and \"-\", and "
            "start with a letter, a digit or \"_\"",
            text);
    if (strlen(text) > CFG_NAME_MAX)
        return err_set(e, "the interpreter's name \"%.120s\" is longer than %d bytes", text, CFG_NAME_MAX);
    return 0;
}

int cfg_rule_variable_name(const char *text, struct err *e)
{
    if (text[0] == '\0')
        return err_set(e, "a variable needs a name");
    if (strlen(text) > VARIABLE_NAME_MAX)
        return err_set(e, "the name \"%.60s...\" is longer than %d bytes", text, VARIABLE_NAME_MAX);
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '=' || iscntrl((unsigned char)*c))
            return err_set(e, "\"%.120s\" cannot name a variable: it holds %s", text,
                           *c == '=' ? "a \"=\"" : "a control character");
    }
    return 0;
}

int cfg_rule_watched(const char *text, struct err *e)
{
    if (text[0] == '/' || strcmp(text, CFG_WATCH_SCRIPT) == 0 || strcmp(text, CFG_WATCH_ENVIRONMENT) == 0)
        return 0;
    return err_set(e, "\"%.120s\" is neither script, nor environment, nor an absolute path", text);
}

int cfg_rule_group_name(const char *text, struct err *e)
{
    if (!is_simple_name(text))
        return err_set(
            e,
            "\"%.120s\" cannot name a group: use letters, digits, \"_\", \".\" and \"-\", and start with "
            "a letter, a digit or \"_\"",
            text);
    if (strlen(text) > CFG_NAME_MAX)
        return err_set(e, "the group's name \"%.120s\" is longer than %d bytes", text, CFG_NAME_MAX);
    return 0;
}
