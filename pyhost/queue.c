/* Tells how long a request has waited, by the time that the web server says it took it.
 *
 * That is wall time, as the web server's, so both must run on one machine, or on machines whose clocks agree;
 * a clock that is set meanwhile makes a request wait longer or not at all, and no more than that. Any
 * thread, without the GIL. */
#include "pyhost/queue.h"

#include "base/log.h"
#include "config/config.h"
#include "fcgi/fcgi.h"
#include "pyhost/host.h"
#include "pyhost/serve.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define MICROSECONDS_FROM                                                                                    \
    INT64_C(100000000000000) /* a number from here on is none of seconds or milliseconds */

int64_t host_queue_parse(const char *text)
{
    int64_t number = 0;
    if (strncmp(text, "t=", 2) == 0)
        text += 2;
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 17)
        return -1;
    for (size_t i = 0; i < digits; i++)
        number = number * 10 + (text[i] - '0');
    if (text[digits] == '\0' && number >= MICROSECONDS_FROM)
        return number / 1000;
    if (number >= MICROSECONDS_FROM / 1000)
        return -1;
    number *= 1000;
    if (text[digits] == '\0')
        return number;
    const char *fraction = text + digits + 1;
    size_t fraction_digits = strspn(fraction, "0123456789");
    if (text[digits] != '.' || fraction_digits == 0 || fraction[fraction_digits] != '\0')
        return -1;
    int64_t weight = 100;
    for (size_t i = 0; i < fraction_digits && weight > 0; i++, weight /= 10)
        number += (fraction[i] - '0') * weight;
    return number;
}

static int64_t wall_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool host_queue_is_over(struct host_worker *w, const struct fcgi_request *request,
                        char why[HOST_QUEUE_TEXT_MAX])
{
    int64_t limit_ms = w->host->group->queue_timeout_ms;
    if (limit_ms <= 0)
        return false;
    const char *text = fcgi_request_param(request, "QUEUE_START");
    int64_t start_ms = text ? host_queue_parse(text) : -1;
    if (start_ms < 0 && !atomic_exchange(&w->has_warned_of_queue, true))
        log_write(
            LOG_LEVEL_WARNING, NULL,
            "queue-timeout is off for requests without a QUEUE_START that says when the web server took them "
            "(nginx: fastcgi_param QUEUE_START $msec;) (said once)");
    int64_t waited_ms = start_ms < 0 ? 0 : wall_now_ms() - start_ms;
    if (waited_ms <= limit_ms)
        return false;
    snprintf(why, HOST_QUEUE_TEXT_MAX, "queue-timeout: it has waited %lld.%03lld s",
             (long long)(waited_ms / 1000), (long long)(waited_ms % 1000));
    return true;
}
