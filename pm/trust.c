/* Says who could change a program before root runs it. Looks at owners and modes only; changes nothing. */
#include "pm/trust.h"

#include "base/err.h"

#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *user_name(uid_t uid, char text[64])
{
    const struct passwd *entry = getpwuid(uid);
    if (entry)
        snprintf(text, 64, "user %s", entry->pw_name);
    else
        snprintf(text, 64, "uid %u", (unsigned)uid);
    return text;
}

static int check_one(const char *path, struct err *e)
{
    struct stat status;
    char name[64];
    if (lstat(path, &status) < 0)
        return err_errno(e, "%s", path);
    if (status.st_uid != 0 && status.st_uid != geteuid())
        return err_set(e, "%s belongs to %s", path, user_name(status.st_uid, name));
    if ((status.st_mode & S_IWOTH) && !(S_ISDIR(status.st_mode) && (status.st_mode & S_ISVTX)))
        return err_set(e, "%s is writable for everybody", path);
    return 0;
}

int pm_trust_check(const char *path, struct err *e)
{
    char real[PATH_MAX], above[PATH_MAX];
    if (!realpath(path, real))
        return err_errno(e, "%s", path);
    for (const char *slash = real; (slash = strchr(slash, '/')) != NULL; slash++) {
        snprintf(above, sizeof above, "%.*s", slash == real ? 1 : (int)(slash - real), real);
        if (check_one(above, e) < 0)
            return -1;
    }
    return check_one(real, e);
}
