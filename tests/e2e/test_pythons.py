"""Groups on several Pythons at once, and pyfpm pythons, which says who runs on what."""

import subprocess

import fastcgi
import pytest
from pyfpm import IS_ROOT, LIBEXEC


def installed():
    """Version → words of the host's own description."""
    described = {}
    for host in LIBEXEC.glob('host-*'):
        words = subprocess.run([host, '--describe'], capture_output=True, text=True, check=True).stdout.split()
        described[words[0]] = words
    return described


def test_every_installed_host_is_listed_with_its_library(fpm):
    done = fpm.run('pythons')
    assert done.returncode == 0, done.stdout + done.stderr
    for version, words in installed().items():
        assert ' '.join(words) in done.stdout
    assert done.stdout.count('(default)') == 1


def test_groups_are_listed_below_the_host_that_serves_them(fpm, apps, folder):
    home = folder / 'venv'
    home.mkdir()
    (home / 'pyvenv.cfg').write_text('home = /usr/bin\nversion = 3.7.1\n')
    fpm.write_groups({'plain': {'script': str(apps / 'hello.py')},
                      'old': {'script': str(apps / 'hello.py'), 'python-home': str(home)}})
    done = fpm.command('pythons')
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    default = next(i for i, line in enumerate(lines) if line.endswith('(default)'))
    assert lines[default + 1].split() == ['plain']
    assert 'no host for group old: Python 3.7' in lines[-1]


def test_groups_on_several_pythons_run_side_by_side(fpm, apps):
    """Every installed host at once, each group asking for its version."""
    versions = sorted(installed())
    if len(versions) < 2:
        pytest.skip('one Python only')
    # Interpreters below a home that only root may enter serve root's groups.
    keys = {'user': None, 'allow-root': True} if IS_ROOT else {}
    fpm.start({f'py{version}': {'script': str(apps / 'about.py'), 'python-version': version, **keys}
               for version in versions})
    for version in versions:
        body = fastcgi.ask(fpm.socket(f'py{version}')).body.decode()
        assert f'"version": "{version.rstrip("t")}"' in body, body
    fpm.reload()
    done = fpm.command('pythons')
    assert done.returncode == 0
    for version in versions:
        assert f'    py{version}' in done.stdout
