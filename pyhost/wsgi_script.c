/* Gets the application of a request in a group with script-root, or answers the request instead.
 *
 * On the serving thread, with the GIL, once the script was found without it (serve.c, scripts.c). */
#include "pyhost/wsgi_request.h"

#include "base/log.h"
#include "pyhost/scripts.h"
#include "pyhost/wsgi.h"

#include <stdio.h>

PyObject *host_script_take(struct host_wsgi_thread *t)
{
    struct host_script_refusal refusal;
    char text[64];
    PyObject *application = host_scripts_take(t->route->scripts, t->route->pick, &refusal);
    if (application)
        return application;
    snprintf(text, sizeof text, "%s\n", refusal.status + 4); /* behind the number */
    host_request_note_line(t);
    host_request_log(t, refusal.level, "answered with %.3s: %s", refusal.status, refusal.why.text);
    host_response_replace(t, refusal.status, text);
    return NULL;
}
