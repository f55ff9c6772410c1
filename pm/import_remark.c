/* A sentence for every directive of mod_wsgi that became no key, and for what else somebody who moves should
 * know.
 *
 * The table says what becomes of each; what nobody knows is named all the same. Pure. */
#include "pm/import_model.h"

#include <string.h>

static const struct {
    const char *name;
    const char *text;
} remarks[] = {
    {"WSGIProcessGroup", "holds for no application of this file, or another one overrides it"},
    {"WSGIApplicationGroup", "holds for no application of this file, or another one overrides it"},
    {"WSGICallableObject", "holds for no application of this file, or another one overrides it"},
    {"WSGIScriptReloading", "holds for no application of this file, or another one overrides it"},
    {"WSGIPythonPath", "holds in embedded mode only; daemon processes have their python-path"},
    {"WSGIPythonEggs", "holds in embedded mode only; daemon processes have their python-eggs"},
    {"WSGIPassAuthorization",
     "not needed with nginx, which always passes the header; Apache needs CGIPassAuth On"},
    {"WSGIPassApacheRequest", "no counterpart: there is no Apache in the process"},
    {"WSGIChunkedRequest", "not needed: the web server takes chunked requests apart"},
    {"WSGIMapHEADToGET", "no counterpart: the application sees HEAD as it is, and no body is sent"},
    {"WSGIEnableSendfile", "not needed: wsgi.file_wrapper always sends files by sendfile()"},
    {"WSGIErrorOverride", "of the web server: nginx has fastcgi_intercept_errors"},
    {"WSGICaseSensitivity", "no counterpart: mounts are compared byte by byte"},
    {"WSGILazyInitialization", "not needed: the web server has no Python in it"},
    {"WSGISocketPrefix", "not needed: each group says where its socket is (listen)"},
    {"WSGISocketRotation", "not needed: a socket keeps its name, and stays open over reloads"},
    {"WSGIAcceptMutex", "not needed: processes wait for connections without a lock"},
    {"WSGIRestrictEmbedded", "not needed: the web server has no Python in it"},
    {"WSGIRestrictProcess", "no counterpart: a web server reaches the sockets that it is given"},
    {"WSGIRestrictSignal", "no counterpart: pyfpm keeps the signals that it needs"},
    {"WSGIRestrictStdin", "no counterpart: standard input is empty"},
    {"WSGIRestrictStdout", "not needed: what is printed reaches the log (catch-output)"},
    {"WSGIVerboseDebugging", "the counterpart is log-level: debug in global"},
    {"WSGIServerMetrics", "no counterpart: there is no mod_wsgi module to ask"},
    {"WSGITelemetryService", "no counterpart"},
    {"WSGITelemetryOptions", "no counterpart"},
    {"WSGIIgnoreActivity", "no counterpart: every request counts as activity"},
    {"WSGIPythonHashSeed", "no counterpart: hashes are random"},
    {"WSGIDontWriteBytecode", "no counterpart; set sys.dont_write_bytecode in the script"},
    {"WSGIDestroyInterpreter", "no counterpart: interpreters live as long as their process"},
    {"WSGIPerInterpreterGIL", "no counterpart: the interpreters of a process share their lock"},
    {"WSGIFreeThreading", "no counterpart; python-version: 3.13t picks a free-threaded Python"},
    {"WSGISwitchInterval", "no counterpart: call sys.setswitchinterval() in the script"},
    {"WSGITrustedProxies", "of the web server: nginx has set_real_ip_from"},
    {"WSGITrustedProxyHeaders", "of the web server: nginx has real_ip_header, and fastcgi_param HTTPS"},
    {"WSGIHandlerScript",
     "no counterpart; serve its handle_request as an application (callable: handle_request)"},
    {"WSGIDispatchScript", "no counterpart: which group answers is up to the web server's locations"},
    {"WSGIAccessScript", "of the web server: nginx has allow, deny and auth_request"},
    {"WSGIAuthUserScript", "of the web server: nginx has auth_basic and auth_request"},
    {"WSGIAuthGroupScript", "of the web server: nginx has auth_request"},
    {"WSGIReloadMechanism", "not needed: pyfpm always replaces processes"},
    {"WSGIPy3kWarningFlag", "no counterpart: Python 2 only"},
    {"WSGINewRelicConfigFile", "no counterpart: start the agent in the script"},
    {"WSGINewRelicEnvironment", "no counterpart: start the agent in the script"},
};

static const char *remark_on(const char *name)
{
    for (size_t k = 0; k < sizeof remarks / sizeof remarks[0]; k++)
        if (apache_is(remarks[k].name, name))
            return remarks[k].text;
    return "not known to this version of pyfpm: not converted";
}

static bool is_script_of_ours(const struct import *i, const char *script)
{
    for (size_t k = 0; k < i->groups.count; k++) {
        const struct import_group *g = i->groups.items[k];
        for (size_t j = 0; j < g->apps.count; j++)
            if (strcmp(((const struct import_app *)g->apps.items[j])->script, script) == 0)
                return true;
    }
    return false;
}

static void remark(struct import *i, struct apache_directive *d)
{
    const char *at = d->arguments;
    const char *skipped = apache_is_skipped(d);
    const char *word = apache_word(i->pool, &at);
    if (skipped)
        import_note(i, &i->notes, d, "%s: not converted", skipped);
    else if (!apache_is(d->name, "WSGIImportScript"))
        import_note(i, &i->notes, d, "%s", remark_on(d->name));
    else if (word && is_script_of_ours(i, word))
        import_note(i, &i->notes, d, "not needed: applications are imported before they serve");
    else
        import_note(i, &i->notes, d, "no counterpart: import it from the application's script");
}

/* Variables of the request's environ, where there are applications. */
static bool is_near_an_application(const struct import *i, const struct apache_directive *d)
{
    const struct apache_section *host = apache_section_of(d, APACHE_VIRTUAL_HOST);
    for (size_t k = 0; k < i->named[IMPORT_SCRIPT_ALIAS].count; k++)
        if (!host || apache_section_of(i->named[IMPORT_SCRIPT_ALIAS].items[k], APACHE_VIRTUAL_HOST) == host)
            return true;
    return false;
}

static void remark_aside(struct import *i, struct apache_directive *d)
{
    const char *at = d->arguments;
    const char *name = apache_word(i->pool, &at), *value = apache_word(i->pool, &at);
    bool is_variable = apache_is(d->name, "SetEnv") || apache_is(d->name, "PassEnv");
    if (apache_is(d->name, "Use"))
        import_note(i, &i->notes, d, "macros are not expanded; httpd -D DUMP_CONFIG prints what they become");
    else if (!is_variable && i->conf->outside->include == NULL)
        import_note(i, &i->notes, d, "not followed (see --follow)");
    else if (is_variable && name && is_near_an_application(i, d))
        import_note(i, &i->notes, d,
                    "reaches the request's environ, not os.environ: in nginx, fastcgi_param %s \"%s\";", name,
                    apache_is(d->name, "PassEnv") ? "..."
                    : value                       ? value
                                                  : "");
}

void import_remarks(struct import *i)
{
    for (size_t k = 0; k < i->conf->directives.count; k++) {
        struct apache_directive *d = i->conf->directives.items[k];
        bool is_wsgi = strncasecmp(d->name, "WSGI", 4) == 0;
        if (is_wsgi && !d->is_told)
            remark(i, d);
    }
    for (size_t k = 0; k < i->named[IMPORT_ASIDE].count; k++)
        remark_aside(i, i->named[IMPORT_ASIDE].items[k]);
}
