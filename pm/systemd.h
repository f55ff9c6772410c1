/* What systemd and its service exchange: sockets passed in (sd_listen_fds(3)), notifications and the watchdog
 * (sd_notify(3)). Without systemd everything here does nothing. The protocols are environment variables and
 * datagrams, stable and documented, so libsystemd is not needed. */
#ifndef PM_SYSTEMD_H
#define PM_SYSTEMD_H

#include <stdint.h>

struct err;

/* Takes over the sockets that were passed in, and removes the variables so that no child believes they are
 * meant. Once, before the process opens descriptors of its own. 0, or -1 with *e. */
int pm_systemd_adopt(struct err *e);

/* A duplicate, the caller's, of the stream socket that was passed under a name (FileDescriptorName=, else
 * the socket unit's name): close-on-exec, non-blocking. -1 with *e, which names those that there are. */
int pm_systemd_take(const char *name, struct err *e);

/* Tells the manager: "READY=1", "STATUS=...", several lines at once. Never waits. */
void pm_systemd_notify(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* "RELOADING=1" with the time that systemd compares it by (CLOCK_MONOTONIC). */
void pm_systemd_notify_reloading(void);

/* How often "WATCHDOG=1" has to be sent, in milliseconds: half of the unit's WatchdogSec=; 0 when there is
 * none. */
int64_t pm_systemd_watchdog_ms(void);

#endif
