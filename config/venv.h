/* What a python-home or python-path entry says about itself, read from files, without starting any Python.
 *
 * The supervisor uses it to choose the host program; the host uses it again before it starts its
 * interpreter, because a venv of another X.Y does not fail inside CPython: it runs without its
 * site-packages (PEP 405). */
#ifndef CONFIG_VENV_H
#define CONFIG_VENV_H

#include <stdbool.h>

struct err;

struct venv {
    bool is_venv;      /* has a pyvenv.cfg */
    char version[16];  /* "3.12" or "3.13t"; "" when nothing says it */
    char source[4096]; /* the file or folder that said so */
    char home[4096];   /* pyvenv.cfg's home: the base interpreter's bin folder; "" when absent */
    bool sees_base;    /* pyvenv.cfg's include-system-site-packages: the base's site-packages count too */
};

/* Looks at a folder. version comes from pyvenv.cfg's "version" or "version_info" (keys as venv, virtualenv
 * and uv write them, any case, blanks around =), else from the only lib/python3.* folder.
 * 0, or -1 with *e naming the path component that is missing or unreadable. */
int venv_inspect(const char *folder, struct venv *v, struct err *e);

/* The venv root above VENV/lib/python3.X/site-packages, written into root; false when folder is no such
 * place. */
bool venv_root_of(const char *folder, char root[4096]);

/* The site-packages folder that python-path entry means: of a venv root its own
 * lib/pythonX.Y/site-packages (X.Y of the running host: "3.12"), otherwise the folder itself. Checks that
 * it is a folder that can be read and entered. 0, or -1 with *e: a sentence that names the first path
 * component that is missing, no folder, or not accessible, and the effective user it was tried as. */
int venv_overlay_folder(const char *entry, const char *host_version, char folder[4096], struct err *e);

/* True when the effective user cannot get at what is there: component is the folder on the way (links
 * followed) that may not be entered, or path itself when that may not be read. False also when there is
 * nothing. */
bool venv_find_closed(const char *path, char component[4096]);

#endif
