/* Compares the socket that a group would get with the users that web servers run as.
 *
 * Asks the user database only: which web server there will be, nobody but the administrator knows, so this is
 * for a warning. Runs in pyfpm check. */
#include "pm/web_users.h"

#include "base/err.h"
#include "config/config.h"
#include "pm/listener.h"

#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define GROUPS_MAX 256

static const char *const users[] = {"www-data", "nginx", "apache", "http", "lighttpd", "caddy", "haproxy"};

static bool is_in_group(const struct passwd *user, gid_t gid)
{
    gid_t groups[GROUPS_MAX];
    int count = GROUPS_MAX;
    if (getgrouplist(user->pw_name, user->pw_gid, groups, &count) < 0)
        return true; /* in more than that: nobody can tell cheaply */
    for (int i = 0; i < count; i++)
        if (groups[i] == gid)
            return true;
    return false;
}

/* connect(2) to a unix socket wants write permission, as the file's first matching class has it. */
static bool may_connect(const struct passwd *user, uid_t uid, gid_t gid, int64_t mode)
{
    if (user->pw_uid == 0)
        return true;
    if (user->pw_uid == uid)
        return mode & 0200;
    return is_in_group(user, gid) ? mode & 0020 : mode & 0002;
}

static const char *name_of_user(uid_t uid, char text[64])
{
    const struct passwd *user = getpwuid(uid);
    if (user)
        snprintf(text, 64, "%s", user->pw_name);
    else
        snprintf(text, 64, "%u", (unsigned)uid);
    return text;
}

static const char *name_of_group(gid_t gid, char text[64])
{
    const struct group *group = getgrgid(gid);
    if (group)
        snprintf(text, 64, "%s", group->gr_name);
    else
        snprintf(text, 64, "%u", (unsigned)gid);
    return text;
}

/* The names of those that there are, with commas between, and the first of them; false when one may connect.
 */
static bool are_all_shut_out(uid_t uid, gid_t gid, int64_t mode, char names[256], char first[64])
{
    names[0] = first[0] = '\0';
    for (size_t i = 0; i < sizeof users / sizeof users[0]; i++) {
        const struct passwd *user = getpwnam(users[i]);
        size_t used = strlen(names);
        if (!user)
            continue;
        if (may_connect(user, uid, gid, mode))
            return false;
        snprintf(names + used, 256 - used, "%s%s", used > 0 ? ", " : "", users[i]);
        if (!first[0])
            snprintf(first, 64, "%s", users[i]);
    }
    return names[0] != '\0';
}

int pm_web_users_check(const struct cfg_group *group, struct err *e)
{
    struct cfg_address address;
    char names[256], first[64], owner[64], owner_group[64];
    uid_t uid;
    gid_t gid;
    if (geteuid() != 0 || cfg_parse_address(group->listen, &address, e) < 0 ||
        address.kind != CFG_LISTEN_UNIX)
        return 0;
    if (pm_listener_find_owner(group, &uid, &gid, e) < 0)
        return -1;
    uid = uid == (uid_t)-1 ? geteuid() : uid;
    gid = gid == (gid_t)-1 ? getegid() : gid;
    if (!are_all_shut_out(uid, gid, group->listen_mode, names, first))
        return 0;
    err_set(e,
            "no web server's user of this machine (%s) could connect to %s, which is to belong to %s:%s with "
            "mode "
            "%04o; say listen-group: %s",
            names, address.path, name_of_user(uid, owner), name_of_group(gid, owner_group),
            (unsigned)group->listen_mode, first);
    return 1;
}
