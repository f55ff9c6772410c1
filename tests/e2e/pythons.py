"""Which Pythons this build has hosts for, and where their interpreters are."""

import glob
import os
import pathlib
import subprocess

from pyfpm import GROUP_USER, IS_ROOT, LIBEXEC, ROOT

DEBIAN = '/usr/bin/python3'


def hosts(libexec=LIBEXEC):
    """Versions a host was built for, as ["3.8", …, "3.13t"], oldest first."""
    names = [path.name[len('host-'):] for path in libexec.glob('host-*')]
    return sorted(names, key=lambda name: [int(part) for part in name.rstrip('t').split('.')])


def default():
    """The version that groups get which name none: Debian's."""
    return subprocess.run([DEBIAN, '-c', 'import sys; print("%d.%d" % sys.version_info[:2])'],
                          capture_output=True, text=True, check=True).stdout.strip()


def everywhere(version):
    """The paths where an X.Y interpreter may be, those first that are preferred."""
    root = os.environ.get('PYENV_ROOT') or os.path.expanduser('~/.pyenv')
    return [f'/usr/bin/python{version}', f'/usr/local/bin/python{version}',
            *glob.glob(f'/opt/*/bin/python{version}'), *sorted(glob.glob(f'{root}/versions/*/bin/python{version}'))]


def interpreter(version):
    """The path of an X.Y interpreter, or None."""
    return next((place for place in everywhere(version) if os.access(place, os.X_OK)), None)


def other():
    """A version other than the default that has a host and an interpreter, or None."""
    return next((v for v in reversed(hosts()) if v != default() and interpreter(v)), None)


def ask(python):
    """The words of cmake/embeddable.py for an interpreter: ['ok', version, …], or ['no', sentence]."""
    done = subprocess.run([python, '-I', '-B', ROOT / 'cmake' / 'embeddable.py'], capture_output=True, text=True)
    return done.stdout.strip().split(';') if done.returncode == 0 else ['no', done.stderr]


def addable():
    """(version, interpreter) of a Python other than the default that a host can be built for, or None."""
    for minor in range(8, 20):
        version = f'3.{minor}'
        python = interpreter(version)
        if python and version != default() and ask(python)[0] == 'ok':
            return version, python
    return None


def identity(python):
    """Group keys for a Python that the tests' unprivileged user may be unable to read (below /root)."""
    if not IS_ROOT:
        return {}
    place = pathlib.Path(python).resolve()
    readable = all(folder.stat().st_mode & 0o001 for folder in place.parents)
    return {'user': GROUP_USER} if readable else {'allow_root': True}
