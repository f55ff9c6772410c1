"""Groups on several Pythons at once, and pyfpm pythons, which says who runs on what."""

import json
import subprocess

import fastcgi
import pytest
import pythons
import venvs
from pyfpm import IS_ROOT, LIBEXEC, WEB_USER
from webserver import with_locations

WORDS = ('python', 'release', 'abi_flags', 'stamp', 'interpreter', 'library')


def installed():
    """Version → what the host says of itself."""
    described = {}
    for host in LIBEXEC.glob('host-*'):
        line = subprocess.run([host, '--describe'], capture_output=True, text=True, check=True).stdout.strip('\n')
        described[line.split('\t')[0]] = dict(zip(WORDS, line.split('\t')))
    return described


def release_of(python):
    return subprocess.run([python, '-c', 'import sys; print("%d.%d.%d" % sys.version_info[:3])'], capture_output=True,
                          text=True, check=True).stdout.strip()


def test_every_installed_host_is_listed_with_its_library(fpm):
    done = fpm.run('pythons')
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    for version, host in installed().items():
        shown = next(words for words in lines if words[0] == version)
        assert shown[1:4] == [host['release'], host['abi_flags'], host['library']]
        assert pythons.interpreter(version) is None or host['release'] == release_of(host['interpreter'])
    assert done.stdout.count('(default)') == 1


def test_the_same_is_told_as_json(fpm, apps, folder, baseline):
    old = folder / 'venv'
    old.mkdir()
    (old / 'pyvenv.cfg').write_text('home = /usr/bin\nversion = 3.7.1\n')
    hello = {'script': str(apps / 'hello.py')}
    fpm.write_groups({'plain': hello, 'old': {**hello, 'python-home': str(old)},
                      'shop': {**hello, 'python-home': str(baseline.root), 'python-path': [str(apps)]}})
    done = fpm.command('pythons', '--json')
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert [host['python'] for host in told['hosts']] == pythons.hosts()
    for host in told['hosts']:
        about = installed()[host['python']]
        assert told['stamp'] == about['stamp']
        assert (host['release'], host['library'], host['interpreter'], host['program'], host['broken']) == (
            about['release'], about['library'], about['interpreter'], str(LIBEXEC / f'host-{host["python"]}'), None)
        assert host['abi_flags'] == about['abi_flags'].strip('-')
        assert host['default'] == (host['python'] == pythons.default())
    assert next(host['groups'] for host in told['hosts'] if host['default']) == [
        {'name': 'plain', 'python_home': None, 'python_path': []},
        {'name': 'shop', 'python_home': str(baseline.root), 'python_path': [str(apps)]}]
    without, = told['groups_without_host']
    assert without['name'] == 'old' and 'Python 3.7' in without['reason']


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
    assert lines[0].split() == ['PYTHON', 'RELEASE', 'ABI', 'LIBRARY']
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


def test_each_group_runs_on_the_python_of_its_own_environment(fpm, apps, folder, nginx):
    """python-version: auto; an environment made by each Python, all under one supervisor and one nginx."""
    made = {version: venvs.make(folder / f'venv-{version}', pythons.interpreter(version))
            for version in pythons.hosts() if pythons.interpreter(version)}
    if len(made) < 2:
        pytest.skip('one Python only')
    for version, venv in made.items():
        venv.install(venvs.package(folder, 'known', version))
    keys = {'user': None, 'allow-root': True, 'listen-group': WEB_USER} if IS_ROOT else {}
    fpm.start({f'py{version}': {'application': 'environments:application', 'python-home': str(venv.root),
                                'python-path': [str(apps)], **keys}
               for version, venv in made.items()})
    web = nginx(fpm.socket(f'py{list(made)[0]}'),
                edit=with_locations({f'/{version}/': fpm.socket(f'py{version}') for version in made}))
    for _ in range(2):  # before a reload, and after
        for version, venv in made.items():
            answer = json.loads(web.ask(f'/{version}/').body)
            assert answer['release'] == release_of(venv.python)
            assert answer['prefix'] == str(venv.root) and answer['known'] == version
        fpm.reload()
    shown = fpm.command('pythons').stdout
    for version, venv in made.items():
        assert f'    py{version}  {venv.root}  + {apps}\n' in shown
