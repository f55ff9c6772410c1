/* Gives up the supervisor's privileges and becomes the group's user, in one place and in one order.
 *
 * Everything that needs the user database is looked up first, because after chroot(2) it may be missing.
 * Then: session, environment variables, limits, nice, umask, chroot, groups, user, folder,
 * no-new-privileges, and at last the proof that root cannot be regained. Refuses to go on when any step
 * fails; a host with half of its privileges dropped never starts an interpreter. Runs once per host, before
 * Python, on the only thread. */
#include "pyhost/identity.h"

#include "base/err.h"
#include "base/log.h"
#include "config/config.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define IDENTITY_GROUPS_MAX 1024

/* What the lookups found. */
struct identity {
    bool is_root; /* now, before anything is dropped */
    uid_t uid;
    gid_t gid;
    gid_t groups[IDENTITY_GROUPS_MAX];
    size_t group_count;
    bool has_account; /* the next two are known */
    char name[256];
    char home[4096];
};

/* True when text is a number that fits an id; (uid_t)-1 means "unchanged" to the kernel, so it does not. */
static bool parse_id(const char *text, unsigned *id)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno != 0 || value >= 0xffffffffUL)
        return false;
    *id = (unsigned)value;
    return true;
}

static void copy_account(struct identity *id, const struct passwd *account)
{
    id->has_account = true;
    snprintf(id->name, sizeof id->name, "%s", account->pw_name);
    snprintf(id->home, sizeof id->home, "%s", account->pw_dir);
}

static int lookup_user(struct identity *id, const struct cfg_group *group, struct err *e)
{
    if (!group->user) {
        const struct passwd *self = getpwuid(id->uid);
        if (self)
            copy_account(id, self);
        return 0;
    }
    unsigned number;
    bool is_number = parse_id(group->user, &number);
    errno = 0;
    const struct passwd *account = is_number ? getpwuid((uid_t)number) : getpwnam(group->user);
    if (account) {
        copy_account(id, account);
        id->uid = account->pw_uid;
        id->gid = account->pw_gid;
        return 0;
    }
    if (!is_number)
        return errno != 0 && errno != ENOENT ? err_errno(e, "cannot look up the user %s", group->user)
                                             : err_set(e, "there is no user named %s", group->user);
    if (!group->group)
        return err_set(e, "user %s is not in the user database, so \"group\" has to be given", group->user);
    id->uid = (uid_t)number;
    return 0;
}

static int lookup_group(const char *name, gid_t *gid, struct err *e)
{
    unsigned number;
    if (parse_id(name, &number)) {
        *gid = (gid_t)number;
        return 0;
    }
    const struct group *entry = getgrnam(name);
    if (!entry)
        return err_set(e, "there is no group named %s", name);
    *gid = entry->gr_gid;
    return 0;
}

static int lookup_supplementary(struct identity *id, const struct cfg_group *group, struct err *e)
{
    const struct cfg_list *names = &group->supplementary_groups;
    if (names->count == 0 && id->has_account) {
        int count = IDENTITY_GROUPS_MAX;
        if (getgrouplist(id->name, id->gid, id->groups, &count) < 0)
            return err_set(e, "user %s is in more than %d groups", id->name, IDENTITY_GROUPS_MAX);
        id->group_count = (size_t)count;
        return 0;
    }
    if (names->count >= IDENTITY_GROUPS_MAX)
        return err_set(e, "more than %d supplementary groups", IDENTITY_GROUPS_MAX - 1);
    id->groups[id->group_count++] = id->gid;
    for (size_t i = 0; i < names->count; i++)
        if (lookup_group(names->items[i], &id->groups[id->group_count++], e) < 0)
            return -1;
    return 0;
}

static int look_up(struct identity *id, const struct cfg_group *group, struct err *e)
{
    id->is_root = geteuid() == 0;
    id->uid = geteuid();
    id->gid = getegid();
    id->group_count = 0;
    id->has_account = false;
    if (lookup_user(id, group, e) < 0)
        return -1;
    if (group->group && lookup_group(group->group, &id->gid, e) < 0)
        return -1;
    return lookup_supplementary(id, group, e);
}

static int refuse_root(const struct identity *id, const struct cfg_group *group, struct err *e)
{
    if (!id->is_root || id->uid != 0 || group->allow_root)
        return 0;
    return err_set(e,
                   "refusing to run the application as root: give a \"user\", or say \"allow-root: true\"");
}

/* An ordinary user cannot become anybody else; the file may well be written for root. */
static int accept_what_cannot_change(struct identity *id, const struct cfg_group *group, struct err *e)
{
    if (id->is_root)
        return 0;
    if (group->chroot)
        return err_set(e, "chroot %s: only root can do that", group->chroot);
    if (id->uid != geteuid() || id->gid != getegid())
        log_write(LOG_LEVEL_WARNING, NULL,
                  "not started by root, so the processes run as uid %u, gid %u instead of uid %u, gid %u",
                  (unsigned)geteuid(), (unsigned)getegid(), (unsigned)id->uid, (unsigned)id->gid);
    if (id->uid == geteuid())
        return 0;
    id->uid = geteuid();
    const struct passwd *self = getpwuid(id->uid);
    id->has_account = false;
    if (self)
        copy_account(id, self);
    return 0;
}

static bool is_kept_by_clear_env(const char *variable)
{
    return strncmp(variable, "PATH=", 5) == 0 || strncmp(variable, "LANG=", 5) == 0 ||
           strncmp(variable, "LC_", 3) == 0 || strncmp(variable, "TZ=", 3) == 0;
}

/* The strings themselves stay where they are: environ's array is all that clearenv(3) lets go. */
static int clear_environment(struct err *e)
{
    size_t count = 0;
    while (environ && environ[count])
        count++;
    char **before = calloc(count + 1, sizeof *before);
    if (!before)
        return err_errno(e, "environment");
    for (size_t i = 0; i < count; i++)
        before[i] = environ[i];
    int result = clearenv() == 0 ? 0 : err_set(e, "the environment cannot be cleared");
    for (size_t i = 0; i < count && result == 0; i++)
        if (is_kept_by_clear_env(before[i]) && putenv(before[i]) != 0)
            result = err_errno(e, "environment");
    free(before);
    return result;
}

static int set_variable(const char *name, const char *value, struct err *e)
{
    return setenv(name, value, 1) == 0 ? 0 : err_errno(e, "environment variable %s", name);
}

static int build_environment(const struct identity *id, const struct cfg_group *group, struct err *e)
{
    bool changes_user = id->uid != geteuid();
    if (group->clear_env && clear_environment(e) < 0)
        return -1;
    if (group->clear_env || changes_user) {
        const char *name = id->has_account ? id->name : NULL;
        const char *home = id->has_account && id->home[0] ? id->home : "/";
        if (set_variable("HOME", home, e) < 0)
            return -1;
        if (name && (set_variable("USER", name, e) < 0 || set_variable("LOGNAME", name, e) < 0))
            return -1;
        if (!name && (unsetenv("USER") < 0 || unsetenv("LOGNAME") < 0))
            return err_errno(e, "environment");
    }
    for (size_t i = 0; i < group->env.count; i++)
        if (set_variable(group->env.pairs[i].name, group->env.pairs[i].value, e) < 0)
            return -1;
    return 0;
}

static int set_limit(int resource, const char *key, int64_t value, struct err *e)
{
    if (value == CFG_ID_NONE)
        return 0;
    rlim_t wanted = value == INT64_MAX ? RLIM_INFINITY : (rlim_t)value;
    struct rlimit limit = {wanted, wanted};
    if (setrlimit((__rlimit_resource_t)resource, &limit) < 0)
        return err_errno(e, "%s %lld", key, (long long)value);
    return 0;
}

static int set_limits(const struct cfg_group *group, struct err *e)
{
    if (set_limit(RLIMIT_NOFILE, "rlimit-files", group->rlimit_files, e) < 0 ||
        set_limit(RLIMIT_CORE, "rlimit-core", group->rlimit_core_bytes, e) < 0 ||
        set_limit(RLIMIT_AS, "rlimit-as", group->rlimit_as_bytes, e) < 0)
        return -1;
    /* 0 is the default and leaves the supervisor's own niceness alone */
    if (group->nice != 0 && setpriority(PRIO_PROCESS, 0, (int)group->nice) < 0)
        return err_errno(e, "nice %lld", (long long)group->nice);
    if (group->umask != CFG_ID_NONE)
        umask((mode_t)group->umask);
    return 0;
}

static int change_root(const struct cfg_group *group, struct err *e)
{
    if (!group->chroot)
        return 0;
    if (chroot(group->chroot) < 0)
        return err_errno(e, "chroot %s", group->chroot);
    if (chdir("/") < 0)
        return err_errno(e, "chdir / inside %s", group->chroot);
    return 0;
}

static int drop_privileges(const struct identity *id, struct err *e)
{
    if (!id->is_root)
        return 0;
    if (setgroups(id->group_count, id->groups) < 0)
        return err_errno(e, "setgroups");
    if (setresgid(id->gid, id->gid, id->gid) < 0)
        return err_errno(e, "setresgid %u", (unsigned)id->gid);
    if (setresuid(id->uid, id->uid, id->uid) < 0)
        return err_errno(e, "setresuid %u", (unsigned)id->uid);
    return 0;
}

static int prove_root_is_gone(const struct identity *id, struct err *e)
{
    uid_t uids[3];
    gid_t gids[3];
    if (getresuid(&uids[0], &uids[1], &uids[2]) < 0 || getresgid(&gids[0], &gids[1], &gids[2]) < 0)
        return err_errno(e, "getresuid");
    if (!id->is_root || id->uid == 0)
        return 0;
    for (int i = 0; i < 3; i++)
        if (uids[i] != id->uid || gids[i] != id->gid)
            return err_set(e, "the ids are not those asked for: uid %u, gid %u", (unsigned)uids[i],
                           (unsigned)gids[i]);
    if (setuid(0) == 0 || seteuid(0) == 0 || (id->gid != 0 && setgid(0) == 0))
        return err_set(e, "root could be regained after changing to uid %u", (unsigned)id->uid);
    return 0;
}

static int enter_folder(const struct cfg_group *group, struct err *e)
{
    const char *folder = group->chdir ? group->chdir : "/";
    if (chdir(folder) < 0)
        return err_errno(e, "cannot enter the folder %s as uid %u (chdir)", folder, (unsigned)geteuid());
    return 0;
}

static int restrict_process(const struct cfg_group *group, struct err *e)
{
    if (group->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return err_errno(e, "no-new-privileges");
    /* A process that changed its user is not dumpable, so it would leave no core. */
    if (group->rlimit_core_bytes > 0 && prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0)
        return err_errno(e, "rlimit-core");
    return 0;
}

int host_identity_assume(const struct cfg_group *group, struct err *e)
{
    struct identity id;
    setsid(); /* fails only when this is a session of its own already */
    if (look_up(&id, group, e) < 0 || accept_what_cannot_change(&id, group, e) < 0 ||
        refuse_root(&id, group, e) < 0)
        return -1;
    if (build_environment(&id, group, e) < 0 || set_limits(group, e) < 0 || change_root(group, e) < 0)
        return -1;
    if (drop_privileges(&id, e) < 0 || prove_root_is_gone(&id, e) < 0)
        return -1;
    return enter_folder(group, e) < 0 ? -1 : restrict_process(group, e);
}
