/* links: base config pm
 *
 * What mod_wsgi's directives become: each configuration is converted, the outcome loaded by pyfpm's own
 * reader, and looked at as groups; what cannot be a key must stand there as a comment. */
#include "test_import_common.h"

#include <inttypes.h>
#include <strings.h>

static struct cfg *imported;
static char *imported_yaml;
static struct import_result imported_result;

static int forget(void **state)
{
    (void)state;
    cfg_free(imported);
    free(imported_yaml);
    imported = NULL;
    imported_yaml = NULL;
    return 0;
}

static void convert(const char *text)
{
    struct err e = {.text = ""};
    forget(NULL);
    imported_yaml = import_text(text, strlen(text), &imported_result, &e);
    if (!imported_yaml)
        fail_msg("%s", e.text);
    cfg_free(load_imported(imported_yaml, &imported_result, false));
    imported = load_imported(imported_yaml, &imported_result, true);
}

static const struct cfg_group *group(const char *name)
{
    const struct cfg_group *g = imported ? cfg_find_group(imported, name) : NULL;
    if (!g)
        fail_msg("there is no group %s in\n%s", name, imported_yaml);
    return g;
}

static void assert_says(const char *text)
{
    if (!strstr(imported_yaml, text))
        fail_msg("\"%s\" is not in\n%s", text, imported_yaml);
}

static void assert_does_not_say(const char *text)
{
    if (strstr(imported_yaml, text))
        fail_msg("\"%s\" is in\n%s", text, imported_yaml);
}

static void assert_list(const struct cfg_list *list, const char *joined)
{
    char seen[1024] = "";
    for (size_t i = 0; i < list->count; i++)
        snprintf(seen + strlen(seen), sizeof seen - strlen(seen), "%s%s", i > 0 ? "|" : "", list->items[i]);
    assert_string_equal(seen, joined);
}

static const char *variable(const struct cfg_group *g, const char *name)
{
    for (size_t i = 0; i < g->env.count; i++)
        if (strcmp(g->env.pairs[i].name, name) == 0)
            return g->env.pairs[i].value;
    return "(none)";
}

static bool has_applications(void)
{
    return !(cfg_directive_find(CFG_SCOPE_GROUP, "applications")->flags & CFG_NOT_YET);
}

/* Real configurations -------------------------------------------------------------------------------------
 */

static void test_django_in_a_virtual_host(void **state)
{
    (void)state;
    convert("<VirtualHost *:80>\n"
            "    ServerName shop.example.org\n"
            "    Alias /static /srv/shop/static\n"
            "    <Directory /srv/shop/static>\n        Require all granted\n    </Directory>\n"
            "    <Directory /srv/shop/shop>\n"
            "        <Files wsgi.py>\n            Require all granted\n        </Files>\n"
            "    </Directory>\n"
            "    WSGIDaemonProcess shop python-home=/srv/shop/venv python-path=/srv/shop\n"
            "    WSGIProcessGroup shop\n"
            "    WSGIScriptAlias / /srv/shop/shop/wsgi.py\n"
            "</VirtualHost>\n");
    const struct cfg_group *g = group("shop");
    assert_int_equal(imported->group_count, 1);
    assert_string_equal(g->listen, "/run/pyfpm/shop.sock");
    assert_string_equal(g->script, "/srv/shop/shop/wsgi.py");
    assert_string_equal(g->python_home, "/srv/shop/venv");
    assert_list(&g->python_path, "/srv/shop");
    assert_int_equal(g->threads, 15);
    assert_int_equal(g->processes, 1);
    assert_string_equal(g->user, "www-data");
    assert_says("a guess: which User Apache runs as is not in the file");
    assert_says(
        "#   shop.example.org\n#     location / { include pyfpm_params; fastcgi_keep_conn on; fastcgi_pass "
        "unix:/run/pyfpm/shop.sock; }\n");
    assert_says("#     ProxyPass \"/\" \"unix:/run/pyfpm/shop.sock|fcgi://shop/\"\n");
}

static void test_the_same_site_with_and_without_tls_is_one_group(void **state)
{
    (void)state;
    convert("<VirtualHost *:80>\nServerName a.example\n"
            "WSGIDaemonProcess a user=joe group=staff processes=2 threads=25\nWSGIProcessGroup a\n"
            "WSGIScriptAlias / /srv/a.wsgi\n</VirtualHost>\n"
            "<VirtualHost *:443>\nServerName a.example\nWSGIProcessGroup a\n"
            "WSGIScriptAlias / /srv/a.wsgi\n</VirtualHost>\n");
    const struct cfg_group *g = group("a");
    assert_int_equal(imported->group_count, 1);
    assert_string_equal(g->user, "joe");
    assert_string_equal(g->group, "staff");
    assert_int_equal(g->processes, 2);
    assert_int_equal(g->threads, 25);
    assert_says("script: /srv/a.wsgi  # line 5, line 10\n");
}

static void test_trac_with_a_mount(void **state)
{
    (void)state;
    convert("User apache\nGroup apache\n"
            "WSGIDaemonProcess trac user=trac stack-size=524288 maximum-requests=1000\n"
            "WSGIScriptAlias /trac /usr/share/trac/cgi-bin/trac.wsgi\n"
            "<Directory /usr/share/trac/cgi-bin>\n"
            "  WSGIProcessGroup trac\n  WSGIApplicationGroup %{GLOBAL}\n"
            "</Directory>\n"
            "<Location \"/trac/login\">\n  AuthType Basic\n  Require valid-user\n</Location>\n"
            "SetEnv TRAC_ENV /var/trac\n");
    const struct cfg_group *g = group("trac");
    assert_int_equal(imported->group_count, 1);
    assert_string_equal(g->listen_group, "apache");
    assert_says("- mount: /trac ");
    assert_says("location /trac/ {");
    if (!has_applications()) {
        assert_string_equal(g->script, "/usr/share/trac/cgi-bin/trac.wsgi");
        assert_says("fastcgi_param SCRIPT_NAME \"/trac\";");
        assert_says("ProxyFCGISetEnvIf true SCRIPT_NAME \"/trac\"");
    }
    assert_says("stack-size=524288: no counterpart");
    assert_says("in nginx, fastcgi_param TRAC_ENV \"/var/trac\";");
    assert_does_not_say("sub-interpreter");
}

static void test_moinmoin_in_embedded_mode(void **state)
{
    (void)state;
    convert("User #33\nGroup #34\nWSGIPythonPath /srv/moin/lib:/srv/moin/config\nWSGIPythonEggs /var/eggs\n"
            "WSGIScriptAlias /wiki \"/srv/my wiki/moin.wsgi\"\n");
    const struct cfg_group *g = group("embedded");
    assert_string_equal(g->user, "33");
    assert_string_equal(g->listen_group, "34");
    assert_list(&g->python_path, "/srv/moin/lib|/srv/moin/config");
    assert_string_equal(variable(g, "PYTHON_EGG_CACHE"), "/var/eggs");
    assert_int_equal(g->processes, 2);
    assert_says("embedded mode");
    assert_says("\"/srv/my wiki/moin.wsgi\"");
}

static void test_graphite_imports_its_script_beforehand(void **state)
{
    (void)state;
    convert(
        "WSGISocketPrefix /var/run/wsgi\n"
        "<VirtualHost *:8080>\n"
        "  WSGIDaemonProcess graphite processes=5 threads=5 display-name='%{GROUP}' inactivity-timeout=120\n"
        "  WSGIProcessGroup graphite\n  WSGIApplicationGroup %{GLOBAL}\n"
        "  WSGIImportScript /opt/graphite/conf/graphite.wsgi process-group=graphite "
        "application-group=%{GLOBAL}\n"
        "  WSGIScriptAlias / /opt/graphite/conf/graphite.wsgi\n"
        "  <Location \"/content/\">\n    SetHandler None\n  </Location>\n"
        "</VirtualHost>\n");
    const struct cfg_group *g = group("graphite");
    assert_int_equal(g->processes, 5);
    assert_string_equal(g->script, "/opt/graphite/conf/graphite.wsgi");
    assert_says("line 6, WSGIImportScript");
    assert_says("not needed: applications are imported before they serve");
    assert_says("line 1, WSGISocketPrefix /var/run/wsgi: not needed");
    assert_says("idle-timeout: 2m");
    assert_says("display-name=%{GROUP}: not needed");
}

static void test_keystone_on_two_ports_is_two_groups(void **state)
{
    (void)state;
    convert("Listen 5000\nListen 35357\n"
            "<VirtualHost *:5000>\n"
            "    WSGIDaemonProcess keystone-public processes=5 threads=1 user=keystone group=keystone "
            "display-name=%{GROUP}\n"
            "    WSGIProcessGroup keystone-public\n"
            "    WSGIScriptAlias / /usr/bin/keystone-wsgi-public\n"
            "    WSGIApplicationGroup %{GLOBAL}\n    WSGIPassAuthorization On\n"
            "    <IfVersion >= 2.4>\n      ErrorLogFormat \"%{cu}t %M\"\n    </IfVersion>\n"
            "    <Directory /usr/bin>\n        Require all granted\n    </Directory>\n"
            "</VirtualHost>\n"
            "<VirtualHost *:35357>\n"
            "    WSGIDaemonProcess keystone-admin processes=5 threads=1 user=keystone group=keystone\n"
            "    WSGIProcessGroup keystone-admin\n"
            "    WSGIScriptAlias / /usr/bin/keystone-wsgi-admin\n"
            "    WSGIApplicationGroup %{GLOBAL}\n    WSGIPassAuthorization On\n"
            "</VirtualHost>\n");
    assert_int_equal(imported->group_count, 2);
    assert_string_equal(group("keystone-public")->script, "/usr/bin/keystone-wsgi-public");
    assert_string_equal(group("keystone-admin")->script, "/usr/bin/keystone-wsgi-admin");
    assert_int_equal(group("keystone-admin")->threads, 1);
    assert_says("line 8, WSGIPassAuthorization On: not needed");
    assert_does_not_say("sub-interpreter");
}

static void test_many_users_on_one_host(void **state)
{
    (void)state;
    convert("WSGIPythonHome /opt/python\n"
            "<VirtualHost *>\nServerName ann.example\nWSGIDaemonProcess ann.example user=ann group=ann "
            "home=/home/ann python-home=/home/ann/venv\nWSGIProcessGroup ann.example\n"
            "WSGIScriptAlias / /home/ann/app.wsgi\n</VirtualHost>\n"
            "<VirtualHost *>\nServerName bob.example\nWSGIDaemonProcess \"bob@example\" user=bob "
            "supplementary-groups=media,#44\nWSGIProcessGroup bob@example\n"
            "WSGIScriptAlias / /home/bob/app.wsgi callable-object=main\n</VirtualHost>\n");
    assert_string_equal(group("ann.example")->python_home, "/home/ann/venv");
    assert_string_equal(group("ann.example")->chdir, "/home/ann");
    const struct cfg_group *bob = group("bob-example");
    assert_string_equal(bob->python_home, "/opt/python");
    assert_list(&bob->supplementary_groups, "media|44");
    assert_string_equal(bob->callable, "main");
    assert_says("the process group is called bob@example there");
    assert_says("mod_wsgi started in the user's home folder");
}

static void test_a_folder_of_scripts(void **state)
{
    (void)state;
    convert("WSGIScriptAlias / /srv/root.wsgi\nWSGIScriptAlias /apps/ /srv/scripts/\n"
            "WSGIScriptAlias /bin /srv/bin\n"
            "Alias /u /srv/users\n<Directory /srv/users>\nOptions ExecCGI\nSetHandler "
            "wsgi-script\n</Directory>\n");
    assert_string_equal(group("embedded")->script, "/srv/root.wsgi");
    assert_says("embedded-scripts:");
    assert_says("- /srv/scripts  # line 2");
    assert_says("- /srv/bin  # line 3");
    assert_says("- /srv/users  # line 7");
    assert_says("location ~ ^/u/(?<script>");
}

/* Which group, which interpreter --------------------------------------------------------------------------
 */

/* Each row: directives; then which group serves /srv/x.wsgi at /x. The groups a to f are defined. */
static void test_the_process_group_is_the_one_that_apache_would_take(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *group;
    } rows[] = {
        {"WSGIScriptAlias /x /srv/x.wsgi", "embedded"},
        {"WSGIScriptAlias /x /srv/x.wsgi\nWSGIProcessGroup a", "a"},
        {"wsgiscriptalias /x /srv/x.wsgi\nWSGIPROCESSGROUP a", "a"},
        {"WSGIProcessGroup a\nWSGIScriptAlias /x /srv/x.wsgi process-group=b", "b"},
        {"WSGIProcessGroup a\nWSGIScriptAlias /x /srv/x.wsgi process-group=%{GLOBAL}", "embedded"},
        {"WSGIProcessGroup a\n<VirtualHost *>\nWSGIProcessGroup b\nWSGIScriptAlias /x "
         "/srv/x.wsgi\n</VirtualHost>",
         "b"},
        {"WSGIProcessGroup a\n<VirtualHost *>\nWSGIScriptAlias /x /srv/x.wsgi\n</VirtualHost>\n"
         "<VirtualHost *>\nWSGIProcessGroup b\n</VirtualHost>",
         "a"},
        {"<Directory /srv>\nWSGIProcessGroup a\n</Directory>\nWSGIProcessGroup b\n"
         "WSGIScriptAlias /x /srv/x.wsgi",
         "a"},
        {"<Directory /srv/>\nWSGIProcessGroup a\n</Directory>\n<Directory />\nWSGIProcessGroup "
         "b\n</Directory>\n"
         "WSGIScriptAlias /x /srv/x.wsgi",
         "a"},
        {"<Directory /sr*>\nWSGIProcessGroup a\n</Directory>\nWSGIScriptAlias /x /srv/x.wsgi", "a"},
        {"<Directory /sr>\nWSGIProcessGroup a\n</Directory>\nWSGIScriptAlias /x /srv/x.wsgi", "embedded"},
        {"<Directory ~ ^/srv>\nWSGIProcessGroup a\n</Directory>\nWSGIScriptAlias /x /srv/x.wsgi", "embedded"},
        {"<Files x.wsgi>\nWSGIProcessGroup a\n</Files>\n<Directory /srv>\nWSGIProcessGroup b\n</Directory>\n"
         "WSGIScriptAlias /x /srv/x.wsgi",
         "a"},
        {"<Location /x>\nWSGIProcessGroup a\n</Location>\n<Files x.wsgi>\nWSGIProcessGroup b\n</Files>\n"
         "WSGIScriptAlias /x /srv/x.wsgi",
         "a"},
        {"<Location />\nWSGIProcessGroup a\n</Location>\n<Location /x/>\nWSGIProcessGroup b\n</Location>\n"
         "WSGIScriptAlias /x /srv/x.wsgi",
         "b"},
        {"<Location /x>\nWSGIProcessGroup a\n</Location>\n<Location />\nWSGIProcessGroup b\n</Location>\n"
         "WSGIScriptAlias /x /srv/x.wsgi",
         "b"},
        {"<Location /xy>\nWSGIProcessGroup a\n</Location>\nWSGIScriptAlias /x /srv/x.wsgi", "embedded"},
        {"<If \"true\">\nWSGIProcessGroup a\n</If>\nWSGIScriptAlias /x /srv/x.wsgi", "embedded"},
        {"<IfModule mod_wsgi.c>\nWSGIProcessGroup a\n</IfModule>\nWSGIScriptAlias /x /srv/x.wsgi", "a"},
        {"<IfDefine X>\nWSGIProcessGroup a\n</IfDefine>\nWSGIScriptAlias /x /srv/x.wsgi", "embedded"},
        {"Define G a\nWSGIProcessGroup ${G}\nWSGIScriptAlias /x /srv/x.wsgi", "a"},
        {"<Macro M>\nWSGIProcessGroup a\n</Macro>\nWSGIScriptAlias /x /srv/x.wsgi", "embedded"},
    };
    char text[2048];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        snprintf(text, sizeof text, "WSGIDaemonProcess a\nWSGIDaemonProcess b\n%s\n", rows[i].text);
        convert(text);
        if (imported_result.groups != 1 || strcmp(imported->groups[0]->name, rows[i].group) != 0)
            fail_msg("%s\nshould give %s, not\n%s", rows[i].text, rows[i].group, imported_yaml);
    }
}

static void test_a_part_of_an_application_runs_in_its_own_group(void **state)
{
    (void)state;
    convert(
        "WSGIDaemonProcess a\nWSGIDaemonProcess heavy\nWSGIProcessGroup a\nWSGIScriptAlias / /srv/a.wsgi\n"
        "WSGIScriptAlias /w /srv/w.wsgi\n"
        "<Location /reports/>\nWSGIProcessGroup heavy\n</Location>\n");
    assert_string_equal(group("heavy")->script, "/srv/a.wsgi");
    assert_says("location /reports/ { include pyfpm_params; fastcgi_keep_conn on; fastcgi_pass "
                "unix:/run/pyfpm/heavy.sock; }");
    assert_int_equal(imported->group_count, 2);
}

static void test_what_only_a_request_can_say_is_a_comment(void **state)
{
    (void)state;
    convert("WSGIProcessGroup %{ENV:GROUP}\nWSGIScriptAlias / /srv/a.wsgi\n"
            "WSGIScriptAlias /b /srv/b.wsgi process-group=%{GLOBAL}\n"
            "WSGIScriptAliasMatch ^/([a-z]+) /srv/$1.wsgi process-group=%{GLOBAL}\n");
    assert_says(
        "line 2, WSGIScriptAlias / /srv/a.wsgi: the process group is %{ENV:GROUP}, which is known while a "
        "request runs only");
    assert_says(
        "line 4, WSGIScriptAliasMatch ^/([a-z]+) /srv/$1.wsgi process-group=%{GLOBAL}: the pattern picks the "
        "file");
    assert_int_equal(imported->group_count, 1);
}

static void test_interpreters_stay_apart(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *says[3];
    } rows[] = {
        /* nobody was in the main one: the first gets it */
        {"WSGIScriptAlias / /srv/a.wsgi\nWSGIScriptAlias /b /srv/b.wsgi",
         {"mount: / ", "interpreter: main", "interpreter: b"}},
        {"WSGIScriptAlias /a /srv/a.wsgi\nWSGIScriptAlias /b /srv/b.wsgi application-group=%{GLOBAL}",
         {"interpreter: a", "interpreter: main", NULL}},
        /* two in one interpreter are in one still */
        {"WSGIApplicationGroup both\nWSGIScriptAlias /a /srv/a.wsgi\nWSGIScriptAlias /b /srv/b.wsgi\n"
         "WSGIScriptAlias /c /srv/c.wsgi application-group=%{GLOBAL}",
         {"interpreter: both", "interpreter: main", NULL}},
        {"WSGIScriptAlias /a /srv/a.wsgi application-group='my app!'\nWSGIScriptAlias /main /srv/b.wsgi\n"
         "WSGIScriptAlias /c /srv/c.wsgi application-group=%{GLOBAL}",
         {"interpreter: my-app-", "interpreter: main-2", "interpreter: main\n"}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        convert(rows[i].text);
        for (size_t n = 0; n < 3 && rows[i].says[n]; n++)
            assert_says(rows[i].says[n]);
    }
}

static void test_applications_with_one_mount_make_two_groups(void **state)
{
    (void)state;
    convert("WSGIDaemonProcess all user=w\nWSGIProcessGroup all\n"
            "<VirtualHost *>\nServerName a.example:80\nWSGIScriptAlias / /srv/a.wsgi\n</VirtualHost>\n"
            "<VirtualHost *>\nServerName https://b.example\nWSGIScriptAlias / /srv/b.wsgi\n</VirtualHost>\n");
    assert_string_equal(group("all")->script, "/srv/a.wsgi");
    assert_string_equal(group("all-b.example")->script, "/srv/b.wsgi");
    assert_string_equal(group("all-b.example")->user, "w");
    assert_says("fastcgi_pass unix:/run/pyfpm/all-b.example.sock");
}

static void test_an_application_below_its_script_lies_further_up(void **state)
{
    (void)state;
    convert("WSGIScriptAlias /api /srv/site.wsgi/api\n");
    assert_string_equal(group("embedded")->script, "/srv/site.wsgi");
    assert_says("location /api/ { include pyfpm_params; fastcgi_keep_conn on;");
    assert_does_not_say("mount:");
}

static void test_locations_are_compared_as_apache_does(void **state)
{
    (void)state;
    convert("WSGIScriptAlias //a///b// /srv/a.wsgi\nWSGIScriptAlias /x/../y /srv/b.wsgi\n");
    assert_says("- mount: /a/b  # line 1\n");
    assert_says("line 2, WSGIScriptAlias /x/../y /srv/b.wsgi: no request has such a path: not converted");
}

static void test_a_group_has_no_more_applications_than_pyfpm_takes(void **state)
{
    (void)state;
    static char text[65536];
    size_t size = 0;
    for (int n = 0; n < 600; n++)
        size += (size_t)snprintf(text + size, sizeof text - size, "WSGIScriptAlias /%d /srv/%d.wsgi\n", n, n);
    convert(text);
    assert_int_equal(imported->group_count, 3);
}

static void test_a_callable_that_python_cannot_have_is_a_comment(void **state)
{
    (void)state;
    convert("WSGICallableObject my-app\nWSGIScriptAlias / /srv/a.wsgi\n");
    assert_string_equal(group("embedded")->callable, "application");
    assert_says("    # callable: my-app  # \"my-app\" is not a Python name\n");
}

static void test_a_hidden_alias_is_named(void **state)
{
    (void)state;
    convert("WSGIScriptAlias / /srv/a.wsgi\nWSGIScriptAlias /b /srv/b.wsgi\n");
    assert_says("line 2: Apache never reaches it, as line 1 comes first; here it is served");
}

static void test_names_of_groups_become_legal_and_stay_apart(void **state)
{
    (void)state;
    convert(
        "WSGIDaemonProcess .a!\nWSGIDaemonProcess a?\nWSGIDaemonProcess \xc3\xa4\nWSGIDaemonProcess "
        "embedded\n"
        "WSGIScriptAlias /1 /srv/1.wsgi process-group=.a!\nWSGIScriptAlias /2 /srv/2.wsgi process-group=a?\n"
        "WSGIScriptAlias /3 /srv/3.wsgi process-group=\xc3\xa4\n"
        "WSGIScriptAlias /4 /srv/4.wsgi process-group=embedded\nWSGIScriptAlias /5 /srv/5.wsgi\n");
    assert_non_null(group("a-"));
    assert_non_null(group("a--2"));
    assert_non_null(group("group"));
    assert_non_null(group("embedded"));
    assert_non_null(group("embedded-2"));
}

/* Options -------------------------------------------------------------------------------------------------
 */

/* Each row: an option of WSGIDaemonProcess; a line that must be in the output, as a key or as a comment. */
static void test_every_option_becomes_a_key_or_a_comment(void **state)
{
    (void)state;
    static const struct {
        const char *option;
        const char *says; /* without blanks and "#" in front */
    } rows[] = {
        {"user=joe", "user: joe  # line 1, user=joe\n"},
        {"user=#1001", "user: \"1001\"  # line 1"},
        {"user=root", "user: root  # line 1, user=root: pyfpm runs no group as root"},
        {"group=#1001", "group: \"1001\"  # line 1"},
        {"supplementary-groups=a,#2,b", "- \"2\"  # line 1"},
        {"processes=4", "processes: 4  # line 1"},
        {"processes=99999", "processes: 99999  # line 1, processes=99999: 99999 is out of range"},
        {"processes=many", "line 1: processes: \"many\" is no number\n"},
        {"threads=5", "threads: 5  # line 1"},
        {"threads=0", "line 1: threads=0: no counterpart"},
        {"umask=0027", "umask: 0027  # line 1"},
        {"umask=9", "umask: 9  # line 1, umask=9: \"9\" is not an octal number"},
        {"home=/srv/x", "chdir: /srv/x  # line 1"},
        {"home=x", "chdir: x  # line 1, home=x: \"x\" is a relative path"},
        {"chroot=/jail", "chroot: /jail  # line 1, chroot=/jail: every other path"},
        {"lang=de_DE.UTF-8", "LANG: de_DE.UTF-8  # line 1"},
        {"locale=C.UTF-8", "LC_ALL: C.UTF-8  # line 1"},
        {"python-home=/venv", "python-home: /venv  # line 1"},
        {"python-path=/a:/b", "- /b  # line 1"},
        {"python-path=a:/b", "- a  # line 1, python-path=a:/b: \"a\" is a relative path"},
        {"python-path=", "python-path:\n"},
        {"python-eggs=/eggs", "PYTHON_EGG_CACHE: /eggs  # line 1"},
        {"stack-size=1", "line 1: stack-size=1: no counterpart"},
        {"maximum-requests=007", "max-requests: 7  # line 1"},
        {"restart-interval=7200", "max-lifetime: 2h  # line 1"},
        {"inactivity-timeout=90", "idle-timeout: 90s  # line 1"},
        {"inactivity-timeout=90", "pm: ondemand  # line 1"},
        {"inactivity-timeout=0", "line 1: inactivity-timeout=0: off, as without it\n"},
        {"request-timeout=60", "request-timeout: 1m  # line 1"},
        {"request-timeout=60 interrupt-timeout=10", "request-timeout: 70s  # line 1"},
        {"request-timeout=60 interrupt-timeout=10", "interrupt-timeout: 1m  # line 1"},
        {"interrupt-timeout=10", "line 1: interrupt-timeout=10: off, as without it\n"},
        {"deadlock-timeout=60", "deadlock-timeout: 1m  # line 1"},
        {"startup-timeout=15", "startup-timeout: 15s  # line 1, startup-timeout=15\n"},
        {"graceful-timeout=15", "graceful-timeout: 15s  # line 1, graceful-timeout=15\n"},
        {"eviction-timeout=20", "graceful-timeout: 20s  # line 1, eviction-timeout=20\n"},
        {"graceful-timeout=1 eviction-timeout=2",
         "eviction-timeout=2: graceful-timeout is for reloads too\n"},
        {"shutdown-timeout=5", "shutdown-timeout: 5s  # line 1, shutdown-timeout=5\n"},
        {"shutdown-timeout=99999999999999999", "shutdown-timeout: 99999999999999999s  # line 1"},
        {"connect-timeout=15", "line 1: connect-timeout=15: of the web server"},
        {"socket-timeout=60", "io-timeout: 1m  # line 1, socket-timeout=60\n"},
        {"response-socket-timeout=1", "line 1: response-socket-timeout=1: of the web server"},
        {"queue-timeout=45", "queue-timeout: 45s  # line 1"},
        {"listen-backlog=1024", "listen-backlog: 1024  # line 1, listen-backlog=1024\n"},
        {"listen-backlog=0", "listen-backlog: 0  # line 1, listen-backlog=0: 0 is out of range"},
        {"socket-user=#7", "listen-owner: \"7\"  # line 1"},
        {"display-name=%{GROUP}", "line 1: display-name=%{GROUP}: not needed"},
        {"cpu-priority=-5", "nice: -5  # line 1, cpu-priority=-5\n"},
        {"cpu-priority=20", "nice: 20  # line 1, cpu-priority=20: 20 is out of range"},
        {"cpu-time-limit=9", "line 1: cpu-time-limit=9: no counterpart"},
        {"memory-limit=1073741824", "max-rss: 1G  # line 1, memory-limit=1073741824: "},
        {"virtual-memory-limit=1073741824", "rlimit-as: 1G  # line 1, virtual-memory-limit=1073741824\n"},
        {"virtual-memory-limit=0", "line 1: virtual-memory-limit=0: none, as without it\n"},
        {"virtual-memory-limit=1", "rlimit-as: 1  # line 1, virtual-memory-limit=1: 1 is out of range"},
        {"send-buffer-size=1", "line 1: send-buffer-size=1: not needed"},
        {"receive-buffer-size=1", "line 1: receive-buffer-size=1: not needed"},
        {"header-buffer-size=1", "line 1: header-buffer-size=1: of the web server"},
        {"response-buffer-size=1", "line 1: response-buffer-size=1: of the web server"},
        {"script-user=x", "line 1: script-user=x: no counterpart"},
        {"script-group=x", "line 1: script-group=x: no counterpart"},
        {"server-metrics=On", "line 1: server-metrics=On: no counterpart"},
        {"switch-interval=0.002", "line 1: switch-interval=0.002: no counterpart"},
        {"newrelic-config-file=/x", "line 1: newrelic-config-file=/x: no counterpart"},
        {"nonsense=1", "line 1: nonsense=1: mod_wsgi knows no such option\n"},
        {"nonsense", "line 1: nonsense: mod_wsgi knows no such option\n"},
        {"home=${X}/y", "line 1: home=${X}/y: ${X} has no value here (see --define)\n"},
        {"threads=1 threads=2", "threads: 2  # line 1, threads=2\n"},
        {"threads=1 threads=2", "line 1: threads=1: given again later in the line, which counts\n"},
    };
    char text[1024];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        snprintf(text, sizeof text, "WSGIDaemonProcess a %s\nWSGIScriptAlias / /srv/a.wsgi process-group=a\n",
                 rows[i].option);
        convert(text);
        assert_says(rows[i].says);
    }
}

static void test_settings_of_the_whole_server(void **state)
{
    (void)state;
    convert("WSGIPythonHome /opt/a:/opt/b\nWSGIPythonOptimize 2\nWSGIPythonWarnings "
            "ignore::DeprecationWarning:a.b\n"
            "WSGIPythonWarnings error\nWSGIPythonPath /srv/embedded\nWSGISlowRequests 2.5\n"
            "WSGIDaemonProcess a\nWSGIScriptAlias / /srv/a.wsgi process-group=a\n");
    const struct cfg_group *g = group("a");
    assert_string_equal(g->python_home, "/opt/a");
    assert_says("python-home is one folder: the first, /opt/a, is taken");
    assert_int_equal(g->python_optimize, 2);
    assert_list(&g->python_warnings, "ignore::DeprecationWarning:a.b|error");
    assert_int_equal(g->python_path.count, 0);
    assert_says("line 5, WSGIPythonPath /srv/embedded: holds in embedded mode only");
    assert_says("slowlog-timeout: 2500ms  # line 6");
}

static void test_of_two_directives_the_last_counts(void **state)
{
    (void)state;
    convert("WSGIPythonOptimize 1\nWSGIPythonOptimize 2\nWSGIPythonEggs /a\nWSGIPythonEggs /b\n"
            "WSGIPythonHome /c\nWSGIPythonHome /d\nWSGIScriptAlias / /srv/a.wsgi\n");
    const struct cfg_group *g = group("embedded");
    assert_int_equal(g->python_optimize, 2);
    assert_string_equal(variable(g, "PYTHON_EGG_CACHE"), "/b");
    assert_string_equal(g->python_home, "/d");
    assert_says("# python-optimize: 1  # line 1: overridden below\n");
    assert_says("PYTHON_EGG_CACHE: /a  # line 3: overridden below\n");
    assert_says("# python-home: /c  # line 5: overridden below\n");
}

static void test_layers_of_interpreter_options(void **state)
{
    (void)state;
    convert(
        "WSGIDaemonProcess a python-path=/base\nWSGIDaemonProcess b\n"
        "<WSGIInterpreterOptions>\nWSGIPythonPath /all\n</WSGIInterpreterOptions>\n"
        "<WSGIInterpreterOptions process-group=a>\nWSGIPythonPath /more:/more2\n</WSGIInterpreterOptions>\n"
        "<WSGIInterpreterOptions process-group=b application-group=%{GLOBAL}>\nWSGIPythonPath /one\n"
        "WSGIRestrictStdout On\n</WSGIInterpreterOptions>\n"
        "WSGIScriptAlias / /srv/a.wsgi process-group=a\n"
        "WSGIScriptAlias /b /srv/b.wsgi process-group=b application-group=%{GLOBAL}\n");
    assert_list(&group("a")->python_path, "/more|/more2|/all|/base");
    assert_list(&group("b")->python_path, "/all");
    assert_says("- /one\n");
    assert_says("line 11, WSGIRestrictStdout On: not needed");
}

static void test_script_reloading_is_reload_on_change(void **state)
{
    (void)state;
    convert("WSGIScriptReloading On\nWSGIScriptAlias / /srv/a.wsgi\n");
    assert_says("reload-on-change:");
    assert_says("- script  # line 1");
    convert("WSGIScriptReloading Off\nWSGIScriptAlias / /srv/a.wsgi\n");
    assert_does_not_say("reload-on-change:");
    assert_says("line 1: pyfpm reloads when it is told to");
}

static void test_every_directive_of_mod_wsgi_is_told_with_its_line(void **state)
{
    (void)state;
    static const char *const names[] = {
        "WSGIAcceptMutex",         "WSGIAccessScript",     "WSGIApplicationGroup",   "WSGIAuthGroupScript",
        "WSGIAuthUserScript",      "WSGICallableObject",   "WSGICaseSensitivity",    "WSGIChunkedRequest",
        "WSGIDestroyInterpreter",  "WSGIDispatchScript",   "WSGIDontWriteBytecode",  "WSGIEnableSendfile",
        "WSGIErrorOverride",       "WSGIFreeThreading",    "WSGIHandlerScript",      "WSGIIgnoreActivity",
        "WSGIImportScript",        "WSGIMapHEADToGET",     "WSGIPassApacheRequest",  "WSGIPassAuthorization",
        "WSGIPerInterpreterGIL",   "WSGIProcessGroup",     "WSGIPythonEggs",         "WSGIPythonHashSeed",
        "WSGIPythonHome",          "WSGIPythonOptimize",   "WSGIPythonPath",         "WSGIPythonWarnings",
        "WSGIRestrictEmbedded",    "WSGIRestrictProcess",  "WSGIRestrictSignal",     "WSGIRestrictStdin",
        "WSGIRestrictStdout",      "WSGIScriptAlias",      "WSGIScriptAliasMatch",   "WSGIScriptReloading",
        "WSGIServerMetrics",       "WSGISlowRequests",     "WSGISocketPrefix",       "WSGISocketRotation",
        "WSGISwitchInterval",      "WSGITelemetryOptions", "WSGITelemetryService",   "WSGITrustedProxies",
        "WSGITrustedProxyHeaders", "WSGIVerboseDebugging", "WSGILazyInitialization", "WSGIOfTheFuture",
    };
    char text[1024];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        for (int is_deep = 0; is_deep < 2; is_deep++) {
            snprintf(text, sizeof text,
                     "WSGIDaemonProcess a\nWSGIScriptAlias / /srv/a.wsgi process-group=a application-group=b "
                     "callable-object=c\n%s\n%s\n%s",
                     is_deep ? "<Location /y>" : "", names[i], is_deep ? "</Location>\n" : "");
            convert(text);
            assert_says("line 4");
        }
    }
}

static void test_nothing_to_convert_is_no_group(void **state)
{
    (void)state;
    convert("ServerName a\n");
    assert_int_equal(imported_result.groups, 0);
    assert_null(imported);
    convert("WSGIDaemonProcess lonely threads=3\n");
    assert_int_equal(imported_result.groups, 0);
    assert_int_equal(imported_result.not_loaded, 1);
    assert_says("#  lonely:\n");
    assert_says("#    threads: 3  # line 1, threads=3\n");
    convert(
        "WSGIScriptAlias / relative.wsgi\nWSGIScriptAlias x /a.wsgi\nWSGIScriptAlias /\nWSGIDaemonProcess\n"
        "WSGIScriptAlias / ${NOWHERE}/a.wsgi\n");
    assert_says("line 1, WSGIScriptAlias / relative.wsgi: the file's path is not absolute");
    assert_says("line 2, WSGIScriptAlias x /a.wsgi: the location does not start with a slash");
    assert_says("line 3, WSGIScriptAlias /: a location and a file are needed");
    assert_says("line 4, WSGIDaemonProcess: a name is needed");
    assert_says("line 5, WSGIScriptAlias / ${NOWHERE}/a.wsgi: ${NOWHERE} has no value here");
}

static void test_a_second_definition_is_told(void **state)
{
    (void)state;
    convert("WSGIDaemonProcess a threads=1\nWSGIDaemonProcess a threads=2\n"
            "WSGIScriptAlias / /srv/a.wsgi process-group=a\n");
    assert_int_equal(group("a")->threads, 1);
    assert_says("line 2, WSGIDaemonProcess a threads=2: a is defined already (line 1)");
}

static void test_a_group_that_is_not_defined_is_made(void **state)
{
    (void)state;
    convert("WSGIScriptAlias / /srv/a.wsgi process-group=elsewhere\n");
    assert_string_equal(group("elsewhere")->script, "/srv/a.wsgi");
    assert_says("no WSGIDaemonProcess of this name is in the file");
}

static void test_includes_and_macros_are_named(void **state)
{
    (void)state;
    convert("WSGIScriptAlias / /srv/a.wsgi\nInclude other.conf\nIncludeOptional more/*.conf\n"
            "<Macro Site $n>\nWSGIScriptAlias /$n /srv/$n.wsgi\n</Macro>\nUse Site x\n");
    assert_says("line 2, Include other.conf: not followed (see --follow)");
    assert_says("line 3, IncludeOptional more/*.conf: not followed (see --follow)");
    assert_says("line 5, WSGIScriptAlias /$n /srv/$n.wsgi: macros are not expanded: not converted");
    assert_says("line 7, Use Site x: macros are not expanded");
}

/* Hostile values ------------------------------------------------------------------------------------------
 */

static void test_values_reach_the_loader_as_they_are(void **state)
{
    (void)state;
    static const char *const values[] = {
        "/a: b",   "/a #b",     "/$group",    "/$ {HOME}", "/$$",        "/\"q\"",        "/'q'",  "/a\tb",
        "/a\x01z", "/\x7f",     "/{x: y}",    "/[1, 2]",   "/&anchor *", "/\xe2\x80\xae", "/true", "/- x",
        "/a\\nb",  "/\xc3\xa4", "/%{GLOBAL}", "/a,b",      "/!tag",      "/| x",          "/> x",  "/a\vb",
    };
    char text[1024];
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        const char *quote = strchr(values[i], '"') ? "'" : "\"";
        snprintf(
            text, sizeof text,
            "WSGIDaemonProcess a home=%s%s%s lang=%s%s%s\nWSGIScriptAlias / %s%s.wsgi%s process-group=a\n",
            quote, values[i], quote, quote, values[i], quote, quote, values[i], quote);
        convert(text);
        const struct cfg_group *g = group("a");
        char script[256];
        snprintf(script, sizeof script, "%s.wsgi", values[i]);
        assert_string_equal(g->chdir, values[i]);
        assert_string_equal(variable(g, "LANG"), values[i]);
        assert_string_equal(g->script, script);
    }
}

static void test_comments_end_no_line(void **state)
{
    (void)state;
    convert("WSGIScriptAlias / /srv/a.wsgi\nWSGIRestrictStdin \"On\x0b\x0c\xe2\x80\xa8groups:\"\n");
    assert_says("line 2, WSGIRestrictStdin \"On \\u2028groups:\": no counterpart");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_django_in_a_virtual_host, forget),
        cmocka_unit_test_teardown(test_the_same_site_with_and_without_tls_is_one_group, forget),
        cmocka_unit_test_teardown(test_trac_with_a_mount, forget),
        cmocka_unit_test_teardown(test_moinmoin_in_embedded_mode, forget),
        cmocka_unit_test_teardown(test_graphite_imports_its_script_beforehand, forget),
        cmocka_unit_test_teardown(test_keystone_on_two_ports_is_two_groups, forget),
        cmocka_unit_test_teardown(test_many_users_on_one_host, forget),
        cmocka_unit_test_teardown(test_a_folder_of_scripts, forget),
        cmocka_unit_test_teardown(test_the_process_group_is_the_one_that_apache_would_take, forget),
        cmocka_unit_test_teardown(test_a_part_of_an_application_runs_in_its_own_group, forget),
        cmocka_unit_test_teardown(test_what_only_a_request_can_say_is_a_comment, forget),
        cmocka_unit_test_teardown(test_interpreters_stay_apart, forget),
        cmocka_unit_test_teardown(test_applications_with_one_mount_make_two_groups, forget),
        cmocka_unit_test_teardown(test_an_application_below_its_script_lies_further_up, forget),
        cmocka_unit_test_teardown(test_locations_are_compared_as_apache_does, forget),
        cmocka_unit_test_teardown(test_a_group_has_no_more_applications_than_pyfpm_takes, forget),
        cmocka_unit_test_teardown(test_a_callable_that_python_cannot_have_is_a_comment, forget),
        cmocka_unit_test_teardown(test_a_hidden_alias_is_named, forget),
        cmocka_unit_test_teardown(test_names_of_groups_become_legal_and_stay_apart, forget),
        cmocka_unit_test_teardown(test_every_option_becomes_a_key_or_a_comment, forget),
        cmocka_unit_test_teardown(test_settings_of_the_whole_server, forget),
        cmocka_unit_test_teardown(test_of_two_directives_the_last_counts, forget),
        cmocka_unit_test_teardown(test_layers_of_interpreter_options, forget),
        cmocka_unit_test_teardown(test_script_reloading_is_reload_on_change, forget),
        cmocka_unit_test_teardown(test_every_directive_of_mod_wsgi_is_told_with_its_line, forget),
        cmocka_unit_test_teardown(test_nothing_to_convert_is_no_group, forget),
        cmocka_unit_test_teardown(test_a_second_definition_is_told, forget),
        cmocka_unit_test_teardown(test_a_group_that_is_not_defined_is_made, forget),
        cmocka_unit_test_teardown(test_includes_and_macros_are_named, forget),
        cmocka_unit_test_teardown(test_values_reach_the_loader_as_they_are, forget),
        cmocka_unit_test_teardown(test_comments_end_no_line, forget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
