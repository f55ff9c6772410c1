"""What a Python process knows of its environment, from inside. The same source is run by an environment's own python,
as a script, and by pyfpm, as the application; test_real_environments.py tells the two reports apart.

As a script: probe.py DISTRIBUTION:MODULE...; as an application the query string holds these words. PROBE_ACTIVATE
in the environment names an activate_this.py to run first, PROBE_OVERLAY a folder to lay over the baseline as the
third recipe of mod_wsgi's page does."""

import importlib
import json
import multiprocessing
import os
import site
import subprocess
import sys
import sysconfig
from importlib import metadata
from urllib.parse import unquote

PATHS = ('stdlib', 'platstdlib', 'purelib', 'platlib', 'include', 'scripts', 'data')
VARIABLES = ('prefix', 'base', 'platbase', 'installed_base')
IS_CHILD = sys.argv[1:2] == ['--child']


def activate(script):
    with open(script) as f:
        exec(f.read(), {'__file__': script})


def overlay(folder):
    before = list(sys.path)
    site.addsitedir(folder)
    new = [item for item in sys.path if item not in before]
    sys.path[:] = new + [item for item in sys.path if item not in new]


if 'PROBE_ACTIVATE' in os.environ and not IS_CHILD:
    activate(os.environ['PROBE_ACTIVATE'])
if 'PROBE_OVERLAY' in os.environ and not IS_CHILD:
    overlay(os.environ['PROBE_OVERLAY'])


def package(word):
    """The installed version, the imported version and the file; or what was raised instead."""
    distribution, _, name = word.partition(':')
    try:
        version = metadata.version(distribution)
    except metadata.PackageNotFoundError:
        version = None
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        return {'distribution': version, 'error': str(error)}
    return {'distribution': version, 'module': getattr(module, 'VERSION', None), 'file': module.__file__}


def signals():
    with open('/proc/self/status') as status:
        return {line.split(':')[0]: line.split()[1] for line in status if line.startswith(('SigBlk', 'SigIgn'))}


def own_report(words):
    """Of this process alone."""
    return {
        'prefix': sys.prefix, 'exec_prefix': sys.exec_prefix,
        'base_prefix': sys.base_prefix, 'base_exec_prefix': sys.base_exec_prefix,
        'executable': sys.executable, 'base_executable': getattr(sys, '_base_executable', None),
        'stdlib_dir': getattr(sys, '_stdlib_dir', None), 'platlibdir': getattr(sys, 'platlibdir', None),
        'version': sys.version, 'abiflags': sys.abiflags,
        'path': sys.path, 'finders': [getattr(f, '__name__', type(f).__name__) for f in sys.meta_path],
        'flags': {name: int(getattr(sys.flags, name)) for name in dir(sys.flags)
                  if name[0] != '_' and not name.startswith('n_') and isinstance(getattr(sys.flags, name), int)},
        'warnoptions': sys.warnoptions, 'xoptions': sys._xoptions, 'pycache_prefix': sys.pycache_prefix,
        'encodings': [sys.getfilesystemencoding(), sys.getdefaultencoding(), sys.stdout.encoding],
        'site.PREFIXES': site.PREFIXES, 'site.ENABLE_USER_SITE': site.ENABLE_USER_SITE,
        'site.getsitepackages': site.getsitepackages(),
        'sysconfig.paths': {name: sysconfig.get_path(name) for name in PATHS},
        'sysconfig.vars': {name: sysconfig.get_config_var(name) for name in VARIABLES},
        'packages': {word: package(word) for word in words},
    }


def send_report(connection, words):
    connection.send(own_report(words))


def child_report(words):
    """Of a Python that this process starts."""
    child = subprocess.run([sys.executable, __file__, '--child', *words], stdout=subprocess.PIPE, check=True)
    return json.loads(child.stdout)


def spawned_report(words, method='spawn'):
    """Of a child of multiprocessing, whose work is a function of this very file."""
    here, there = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context(method).Process(target=send_report, args=(there, words))
    process.start()
    there.close()
    try:
        return here.recv()
    except EOFError:
        return {'error': 'the child sent nothing'}
    finally:
        process.join()
        here.close()


def report(words):
    return {'self': own_report(words), 'child': child_report(words), 'spawned': spawned_report(words)}


def application(environ, start_response):
    body = json.dumps(report(unquote(environ['QUERY_STRING']).split())).encode()
    start_response('200 OK', [('Content-Type', 'application/json'), ('Content-Length', str(len(body)))])
    return [body]


if __name__ == '__main__':
    if IS_CHILD:
        print(json.dumps({**own_report(sys.argv[2:]), 'signals': signals()}))
    else:
        print(json.dumps(report(sys.argv[1:])))
