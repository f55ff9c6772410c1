"""The main module of the processes that an application starts through multiprocessing (spawn, forkserver).

Such a child first runs the file of its parent's __main__, so that it can unpickle what that file defines. Workers of
pyfpm have no main file; their __main__ names this one (pyhost/main_module.c). It runs in the children, under the
environment's own python, before anything is unpickled, and gives them what a worker has and a plain Python has not:
the WSGI script under its module's name, imported only when something of it is asked for, and the .pth files of the
folders that python-path, or the script, laid over the baseline. Never runs in a worker."""

import importlib.machinery
import importlib.util
import os
import re
import site
import sys


class ScriptLoader(importlib.machinery.SourceFileLoader):
    """From the source, without a byte-code file, as in the worker: app.wsgi and app.py would share one."""

    def get_code(self, fullname):
        return self.source_to_code(self.get_data(self.path), self.path)


class ScriptFinder:
    """Finds the script that sys.argv[0] names; multiprocessing hands the parent's sys.argv down."""

    @staticmethod
    def find_spec(fullname, path=None, target=None):
        script = sys.argv[0] if sys.argv else ''
        if path is not None or not re.fullmatch(module_name(script) + '(_[0-9a-f]{16})?', fullname):
            return None
        return importlib.util.spec_from_loader(fullname, ScriptLoader(fullname, script))


def module_name(script):
    """The rule of script_module_name() in pyhost/app.c; behind it may stand what tells scripts of one name apart."""
    base = os.path.basename(script)
    stem = base[:base.rindex('.')] if '.' in base[1:] else base
    return '_pyfpm_script_' + re.sub('[^A-Za-z0-9]', '_', os.fsencode(stem).decode('latin-1'))


def obey_overlay():
    """.pth files may install finders (editable packages) or namespaces, which sys.path alone does not carry. The
    order stays the parent's."""
    path = list(sys.path)
    own = {os.path.abspath(folder) for folder in site.getsitepackages()}
    for folder in path:
        if os.path.basename(folder) in ('site-packages', 'dist-packages') and os.path.abspath(folder) not in own:
            site.addsitedir(folder)
    sys.path[:] = path


if ScriptFinder not in sys.meta_path:
    sys.meta_path.append(ScriptFinder)
obey_overlay()
