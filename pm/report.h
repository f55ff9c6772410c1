/* The messages of a configuration, shown. */
#ifndef PM_REPORT_H
#define PM_REPORT_H

struct cfg_report;

void report_to_log(const struct cfg_report *report);
void report_to_stderr(const struct cfg_report *report);

#endif
