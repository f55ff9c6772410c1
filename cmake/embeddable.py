"""Says whether a host can be built for the Python that runs this, on one line:

    ok;X.Y;INCLUDE-FOLDER;LIBRARY;FOLDER-OF-THE-LIBRARY;INTERPRETER     (X.Yt when it is free-threaded)
    no;A sentence that begins with a verb

Both the build and `pyfpm add-python` ask with it. It has to run on what it refuses, so it keeps to what Python 2
and PyPy know as well. Started with -I -B: it imports nothing of the caller's and writes nothing."""

import os
import sys
import sysconfig


def value(name):
    return sysconfig.get_config_var(name) or ''


def version():
    return '%d.%d%s' % (sys.version_info[0], sys.version_info[1], 't' if value('Py_GIL_DISABLED') else '')


def base():
    return getattr(sys, 'base_exec_prefix', sys.exec_prefix)


def library():
    """The shared library, or ''. A Python that was moved has it in its lib all the same."""
    for name in (value('INSTSONAME'), value('LDLIBRARY')):
        for folder in (value('LIBDIR'), os.path.join(value('LIBDIR'), value('MULTIARCH')), os.path.join(base(), 'lib')):
            path = os.path.join(folder, name)
            if '.so' in name and os.path.isfile(path):
                return path
    return ''


def include():
    """The folder of Python.h, or the one where it should be."""
    folders = [sysconfig.get_path('include'), os.path.join(base(), 'include', 'python' + version())]
    return next((f for f in folders if os.path.isfile(os.path.join(f, 'Python.h'))), folders[0])


def interpreter():
    """Of the installation, also when a virtual environment's python was asked; by the name that does not move on
    to the next X.Y."""
    path = os.path.join(base(), 'bin', 'python' + version())
    return path if os.access(path, os.X_OK) else os.path.realpath(sys.executable)


def remedy(what):
    number = '%d.%d' % sys.version_info[:2]
    if base() == '/usr':
        return 'install the Debian package python%s-dev' % number
    return 'install it with %s' % what


def judge():
    name = getattr(getattr(sys, 'implementation', None), 'name', 'of an unknown kind')
    number = '%d.%d.%d' % tuple(sys.version_info[:3])
    if sys.version_info[:2] < (3, 8):
        return 'no;is Python %s, and pyfpm needs 3.8 or later' % number
    if name != 'cpython':
        return 'no;is no CPython but %s, which cannot be embedded' % name
    headers, shared, program = include(), library(), interpreter()
    if not shared:
        return 'no;is Python %s without a shared libpython (%s is nowhere): %s' % (
            number, value('INSTSONAME') or 'its library',
            remedy('one, as "./configure --enable-shared" or "PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install" do'))
    if not os.path.isfile(os.path.join(headers, 'Python.h')):
        return 'no;is Python %s without its headers (%s/Python.h is not there): %s' % (
            number, headers, remedy('its headers'))
    answers = ['ok', version(), headers, shared, os.path.dirname(shared), program]
    for path in answers[2:]:
        if set(path) & set(';:"\\$\n'):
            return 'no;lies in %r, and a path with one of ; : " \\ $ or a line break cannot be built for' % path
    return ';'.join(answers)


print(judge())
