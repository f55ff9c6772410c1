/* $group, ${NAME} and $$ in values. Private to config/. */
#ifndef CONFIG_EXPAND_H
#define CONFIG_EXPAND_H

struct err;

/* Returns the text with $group replaced by the group's name, ${NAME} by an environment variable of this
 * process and $$ by one dollar; the caller frees it. group is NULL outside of groups. NULL with *e. */
char *cfg_expand(const char *text, const char *group, struct err *e);

#endif
