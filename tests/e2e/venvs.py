"""Virtual environments as users make them, with packages that need no network.

A wheel is a zip that installing unpacks into site-packages; that is what install() does. Where a tool is at hand it
makes the environment itself (venv, virtualenv, pip); what others make (conda, uv, easy_install) is laid out file by
file as they do it."""

import os
import pathlib
import shutil
import subprocess
import zipfile

from pythons import DEBIAN


class Venv:
    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.python = self.root / 'bin' / 'python'

    def __truediv__(self, path):
        return self.root / path

    @property
    def site_packages(self):
        return next((self.root / 'lib').glob('python3.*')) / 'site-packages'

    def install(self, wheel):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(self.site_packages)

    def uninstall(self, name):
        """Removes what RECORD lists and what was compiled of it, then the dist-info folder, as pip does."""
        info, = self.site_packages.glob(f'{name}-*.dist-info')
        for line in (info / 'RECORD').read_text().splitlines():
            path = self.site_packages / line.split(',')[0]
            path.unlink(missing_ok=True)
            for compiled in (path.parent / '__pycache__').glob(f'{path.stem}.*.pyc'):
                compiled.unlink()
        shutil.rmtree(info)

    def upgrade(self, name, wheel):
        self.uninstall(name)
        self.install(wheel)


def make(root, python=DEBIAN, *options):
    subprocess.run([python, '-m', 'venv', '--without-pip', *options, str(root)], check=True, capture_output=True)
    return Venv(root)


def wheel(folder, name, version, files):
    """Writes a wheel of a pure Python distribution. files: path inside → text."""
    info = f'{name}-{version}.dist-info'
    contents = {
        **files,
        f'{info}/METADATA': f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n',
        f'{info}/WHEEL': 'Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n'}
    contents[f'{info}/RECORD'] = ''.join(f'{path},,\n' for path in [*contents, f'{info}/RECORD'])
    path = pathlib.Path(folder) / f'{name}-{version}-py3-none-any.whl'
    with zipfile.ZipFile(path, 'w') as archive:
        for inside, text in contents.items():
            archive.writestr(inside, text)
    return path


def package(folder, name, version):
    """A wheel of one module that knows its version: import NAME; NAME.VERSION."""
    return wheel(folder, name, version, {f'{name}.py': f'VERSION = {version!r}\n'})


# What other tools make -----------------------------------------------------------------------------------

# The wheels that Debian's venv and virtualenv install from.
DEBIAN_WHEELS = pathlib.Path('/usr/share/python-wheels')


def version_of(python):
    """(X.Y, X.Y.Z) of an interpreter."""
    done = subprocess.run([python, '-I', '-c', 'import sys; print("%d.%d %d.%d.%d" % (sys.version_info[:2] '
                           '+ sys.version_info[:3]))'], capture_output=True, text=True, check=True)
    return tuple(done.stdout.split())


def virtualenv(root, python=DEBIAN):
    """Made by Debian's virtualenv."""
    root = pathlib.Path(root)
    cache = root.with_name(root.name + '.cache')
    subprocess.run([DEBIAN, '-m', 'virtualenv', '--python', python, '--no-download', '--no-periodic-update',
                    '--no-pip', '--no-setuptools', '--no-wheel', root], check=True, capture_output=True,
                   env={**os.environ, 'VIRTUALENV_OVERRIDE_APP_DATA': str(cache)})
    return Venv(root)


def uv(root, python=DEBIAN):
    """As `uv venv` makes them: one link to the interpreter, no "version" in pyvenv.cfg, no lib64."""
    root = pathlib.Path(root)
    short, full = version_of(python)
    (root / 'bin').mkdir(parents=True)
    (root / 'lib' / f'python{short}' / 'site-packages').mkdir(parents=True)
    (root / 'bin' / 'python').symlink_to(pathlib.Path(python).resolve())
    for name in ('python3', f'python{short}'):
        (root / 'bin' / name).symlink_to('python')
    (root / 'pyvenv.cfg').write_text(
        f'home = {pathlib.Path(python).resolve().parent}\nimplementation = CPython\nuv = 0.5.29\n'
        f'version_info = {full}\ninclude-system-site-packages = false\nprompt = shop\n')
    return Venv(root)


class Prefix(Venv):
    """A Python installation of its own."""

    @property
    def site_packages(self):
        """Where it installs packages itself: Debian's below local/lib, others below lib."""
        done = subprocess.run([self.python, '-I', '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))'],
                              capture_output=True, text=True, check=True)
        folder = pathlib.Path(done.stdout.strip())
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def relocated(root, python=DEBIAN):
    """A copy of an installation in another place; the library's parts are links, so that it takes no room."""
    root = pathlib.Path(root)
    short, _ = version_of(python)
    original = pathlib.Path(python).resolve()
    library = root / 'lib' / f'python{short}'
    (root / 'bin').mkdir(parents=True)
    library.mkdir(parents=True)
    shutil.copy(original, root / 'bin' / f'python{short}')
    for name in ('python3', 'python'):
        (root / 'bin' / name).symlink_to(f'python{short}')
    for part in (original.parents[1] / 'lib' / f'python{short}').iterdir():
        if part.name not in ('site-packages', '__pycache__'):
            (library / part.name).symlink_to(part)
    prefix = Prefix(root)
    prefix.python = root / 'bin' / f'python{short}'
    return prefix


def conda(root, python=DEBIAN):
    """As conda's environments are: a whole installation, without pyvenv.cfg, with conda-meta."""
    prefix = relocated(root, python)
    (prefix / 'conda-meta').mkdir()
    (prefix / 'conda-meta' / 'history').write_text('')
    return prefix


# What packages leave in an environment --------------------------------------------------------------------


def egg(path, name, version, zipped):
    """A pure Python egg, as bdist_egg makes them and easy_install leaves them: a zip, or a folder."""
    files = {f'{name}.py': f'VERSION = {version!r}\n', 'EGG-INFO/zip-safe': '\n',
             'EGG-INFO/PKG-INFO': f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n',
             'EGG-INFO/top_level.txt': f'{name}\n', 'EGG-INFO/dependency_links.txt': '\n',
             'EGG-INFO/SOURCES.txt': f'{name}.py\n'}
    path = pathlib.Path(path)
    if zipped:
        with zipfile.ZipFile(path, 'w') as archive:
            for inside, text in files.items():
                archive.writestr(inside, text)
        return
    for inside, text in files.items():
        (path / inside).parent.mkdir(parents=True, exist_ok=True)
        (path / inside).write_text(text)


def project(folder, files):
    """Writes a source tree. files: path inside → text."""
    for inside, text in files.items():
        path = pathlib.Path(folder) / inside
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(folder)


def pip_install(venv, *arguments):
    """Debian's pip, into an environment that has setuptools of its own to build with."""
    for name in ('setuptools', 'wheel'):
        venv.install(next(DEBIAN_WHEELS.glob(f'{name}-*.whl')))
    subprocess.run([DEBIAN, '-m', 'pip', '--python', venv.python, 'install', '--no-index', '--no-build-isolation',
                    '--no-deps', '--disable-pip-version-check', '--no-compile', *arguments],
                   check=True, capture_output=True)
