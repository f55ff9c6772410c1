/* One group tried out in a throw-away process: its host with --check. */
#ifndef PM_TRIAL_H
#define PM_TRIAL_H

#include <stdbool.h>
#include <stddef.h>

struct cfg_group;
struct pm_explain;

enum pm_trial_kind { PM_TRIAL_OUTPUT, PM_TRIAL_WARNING, PM_TRIAL_ERROR };

/* Hears what the host logs and its application prints, as it comes: a record, or one or more whole lines. The
 * text is as it was sent, and not NUL-terminated. */
struct pm_trial_listener {
    void (*hear)(void *context, enum pm_trial_kind kind, const char *text, size_t text_size);
    void *context;
};

/* Runs it to its end. explain, when not NULL, collects what the host tells of the environment. Returns NULL
 * when the group is fine, else why it is not: a sentence, perhaps a traceback below; the caller frees it. */
char *pm_trial_run(const struct cfg_group *group, struct pm_explain *explain,
                   const struct pm_trial_listener *listener);

#endif
