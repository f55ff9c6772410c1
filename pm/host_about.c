/* Asks hosts to describe themselves, so that what is shown is what would run. For commands. */
#include "pm/host_about.h"

#include "base/err.h"
#include "base/stamp.h"
#include "pm/tool.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define PATIENCE_MS 30000

/* The next field of a line, cut off it; NULL at its end. */
static bool take_field(char **line, char *field, size_t field_size)
{
    const char *text = strsep(line, "\t");
    return text && snprintf(field, field_size, "%s", text) < (int)field_size;
}

static bool take_apart(char *line, struct pm_host_about *a)
{
    line[strcspn(line, "\n")] = '\0';
    return take_field(&line, a->version, sizeof a->version) &&
           take_field(&line, a->release, sizeof a->release) && take_field(&line, a->flags, sizeof a->flags) &&
           take_field(&line, a->stamp, sizeof a->stamp) &&
           take_field(&line, a->interpreter, sizeof a->interpreter) &&
           take_field(&line, a->library, sizeof a->library);
}

int pm_host_ask(const char *program, struct pm_host_about *about, struct err *e)
{
    struct pm_tool_output output;
    char *argv[] = {(char *)program, (char *)"--describe", NULL};
    memset(about, 0, sizeof *about);
    int status = pm_tool_run(argv, PATIENCE_MS, &output, e);
    if (status < 0)
        return -1;
    if (status != 0)
        return err_set(e, "it does not run: %s", pm_tool_first_line(&output));
    if (!take_apart(output.text, about))
        return err_set(e, "it describes itself in a way of its own: %s", pm_tool_first_line(&output));
    if (strcmp(about->stamp, stamp_of_build()) == 0)
        return 0;
    return err_set(e, "it was built from %s, this pyfpm from %s; build it again: pyfpm add-python --force %s",
                   about->stamp, stamp_of_build(), about->interpreter);
}
