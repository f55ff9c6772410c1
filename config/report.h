/* Adding to a struct cfg_report. Private to config/. */
#ifndef CONFIG_REPORT_H
#define CONFIG_REPORT_H

#include "config/config.h"

/* Adds "file:line:column: sentence"; line 0 means the file as a whole, file "" leaves the place out. Control
 * characters are escaped. A message that is already there is not repeated: what stands in defaults is read
 * once for each group. Messages beyond a thousand are counted, not kept. */
void cfg_report_error(struct cfg_report *r, const struct cfg_place *place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void cfg_report_warning(struct cfg_report *r, const struct cfg_place *place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
