/* Whether a folder can be reached, and what is in the way. Private to config/; venv.h has what others need.
 */
#ifndef CONFIG_VENV_REACH_H
#define CONFIG_VENV_REACH_H

#include <stdbool.h>

struct err;

enum { VENV_PATH_SIZE = 4096 };

/* "user nobody (uid 65534)", the effective one. The name is left out where it cannot be looked up, as in a
 * chroot. */
const char *venv_describe_user(char text[128]);

/* folder/rest. 0, or -1 with *e when that is too long. */
int venv_join(char path[VENV_PATH_SIZE], const char *folder, const char *rest, struct err *e);

bool venv_is_file(const char *folder, const char *name);
bool venv_is_folder(const char *path);

/* Cuts the last component off; false when none is left but the root. */
bool venv_cut_to_parent(char *path);

/* 0 when every component of path is a folder and can be reached; -1 with *e: which component is in the way,
 * for whom, and what may have been meant. */
int venv_check_components(const char *path, struct err *e);

/* The same, and the folder can be entered, or also listed. */
int venv_check_enterable(const char *path, struct err *e);
int venv_check_folder(const char *path, struct err *e);

#endif
