"""Virtual environments as users make them, with packages that need no network.

A wheel is a zip that installing unpacks into site-packages; that is what install() does."""

import pathlib
import subprocess
import zipfile

from pythons import DEBIAN


class Venv:
    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.python = self.root / 'bin' / 'python'

    @property
    def site_packages(self):
        return next((self.root / 'lib').glob('python3.*')) / 'site-packages'

    def install(self, wheel):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(self.site_packages)


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
