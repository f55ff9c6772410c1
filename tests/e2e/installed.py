"""pyfpm installed from the build under test into a folder of the test's own."""

import os
import pathlib
import shutil
import subprocess

import pytest
from pyfpm import BUILD


def need_a_build():
    """What installing and compiling take; skips where a test cannot have it."""
    if not (BUILD / 'CMakeCache.txt').exists():
        pytest.skip(f'{BUILD} was not made by cmake on this machine')
    if not os.access(BUILD, os.W_OK):
        pytest.skip(f'installing writes a list of files into {BUILD}, which is somebody else\'s')
    for tool in ('cmake', 'make', 'cc'):
        if not shutil.which(tool):
            pytest.skip(f'{tool} is not installed')


def run(*command, **more):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **more)
    assert done.returncode == 0, f'{command}: {done.stdout}{done.stderr}'
    return done


def install(prefix, destdir=None):
    """Returns the folder that the tree with libexec and share is in. The build's own list of installed files stays."""
    need_a_build()
    manifest = BUILD / 'install_manifest.txt'
    before = manifest.read_bytes() if manifest.exists() else None
    run('cmake', '--install', BUILD, '--prefix', prefix, env={**os.environ, 'DESTDIR': str(destdir or '')})
    manifest.unlink() if before is None else manifest.write_bytes(before)
    return pathlib.Path(f'{destdir or ""}{prefix}')


def program(root):
    return next(path for path in (root / 'sbin' / 'pyfpm', root / 'bin' / 'pyfpm') if path.exists())


def copy_build_tree(root):
    """What pyfpm uses of the build tree, elsewhere: the tests must not change the build."""
    need_a_build()
    for part in ('bin', 'libexec', 'lib/pyfpm', 'share/pyfpm'):
        shutil.copytree(BUILD / part, root / part)
    return root
