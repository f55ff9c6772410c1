/* What has changed between two fingerprints of one environment, in sentences. */
#ifndef PM_DRIFT_H
#define PM_DRIFT_H

#include <stdbool.h>
#include <stddef.h>

/* Sentences at most; when there would be more, the last one counts them: "and 37 more". */
#define PM_DRIFT_MAX 20

struct pm_drift {
    char *sentences[PM_DRIFT_MAX];
    size_t count;
};

/* Compares two texts (pyhost/fingerprint.h has the lines), made by hosts and so not trusted: what makes no
 * sense is skipped, control characters and what is not UTF-8 come out escaped. d is filled anew; free it with
 * pm_drift_clear(). Equal environments give no sentence. Most telling first:
 *
 *     base Python 3.11.2 → 3.11.7
 *     flask 2.2.2 → 3.0.0
 *     requests 2.31 added
 *     pyvenv.cfg of /srv/x changed
 *     flask 2.2.2 reinstalled
 *
 * false without memory; then d is empty. */
bool pm_drift_compare(const char *before, const char *now, struct pm_drift *d);

/* One sentence instead of a comparison. */
void pm_drift_say(struct pm_drift *d, const char *sentence);

void pm_drift_clear(struct pm_drift *d);

/* "flask 2.2.2 → 3.0.0, six 1.16.0 removed": owned by the caller; NULL without memory. */
char *pm_drift_join(const struct pm_drift *d);

#endif
