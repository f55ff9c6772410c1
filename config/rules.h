/* What a single string must look like. Private to config/.
 *
 * All return 0, or -1 with *e: a sentence without key or place. */
#ifndef CONFIG_RULES_H
#define CONFIG_RULES_H

struct err;

typedef int cfg_rule(const char *text, struct err *e);

cfg_rule cfg_rule_absolute;       /* a path from the root */
cfg_rule cfg_rule_listen;         /* as cfg_parse_address() */
cfg_rule cfg_rule_control;        /* none, or an absolute path that a socket can have */
cfg_rule cfg_rule_log;            /* stderr, syslog or an absolute path */
cfg_rule cfg_rule_application;    /* package.module:callable, package.module:factory() */
cfg_rule cfg_rule_identifier;     /* a Python name */
cfg_rule cfg_rule_request_path;   /* /path?query of a request */
cfg_rule cfg_rule_python_version; /* auto, 3.12, 3.13t */
cfg_rule cfg_rule_mount;          /* "/", or a path such as /shop */
cfg_rule cfg_rule_interpreter;    /* the name of an interpreter */
cfg_rule cfg_rule_client;         /* an address or a network (CIDR) */
cfg_rule cfg_rule_variable_name;  /* of an environment variable */
cfg_rule cfg_rule_watched;        /* script, environment, or a path from the root */
cfg_rule cfg_rule_group_name;     /* of a process group */

#endif
