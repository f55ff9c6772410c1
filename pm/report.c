/* Shows what reading the configuration found: to a person on stderr, or in the log on reload. */
#include "pm/report.h"

#include "base/log.h"
#include "config/config.h"

#include <stdio.h>

void report_to_log(const struct cfg_report *report)
{
    for (size_t i = 0; i < report->count; i++) {
        bool is_error = report->messages[i].severity == CFG_ERROR;
        log_write(is_error ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING, NULL, "%s", report->messages[i].text);
    }
}

void report_to_stderr(const struct cfg_report *report)
{
    for (size_t i = 0; i < report->count; i++)
        fprintf(stderr, "%s%s\n", report->messages[i].severity == CFG_WARNING ? "warning: " : "",
                report->messages[i].text);
}
