"""Environments as real tools make them, compared with the python that they have themselves.

apps/probe.py is run by each environment's own python, and by pyfpm as that environment's application; it reports
on the process itself, on a Python started with sys.executable, and on a child of multiprocessing. The reports have
to be equal but for what intended() lists."""

import concurrent.futures
import copy
import json
import os
import pathlib
import re
import shutil
import subprocess
import urllib.parse

import pytest

import fastcgi
import pythons
import venvs
from processes import DEADLINE
from pyfpm import LIBEXEC

PARROT = 'parrot:parrot'


class Case:
    """One environment. python: its own. keys: of the group. env: of the group and of its own python alike.
    overlay: the folder that its own python has to lay over itself, for which pyfpm has python-path."""

    def __init__(self, python, words=(PARROT,), env=None, overlay=None, **keys):
        self.python, self.words, self.keys = str(python), [*words], keys
        self.env, self.overlay = dict(env or {}), overlay


class Maker:
    """Makes the environments of one Python, each in a folder of its own."""

    def __init__(self, folder, version, wheels):
        self.folder, self.version, self.wheels = folder, version, wheels
        self.python = pythons.interpreter(version)

    def fill(self, venv):
        venv.install(self.wheels['parrot'])
        return venv

    def venv(self, name, *options):
        return self.fill(venvs.make(self.folder / name, self.python, *options))

    def baseline(self):
        """A virgin environment for the cases that lay something over it."""
        root = self.folder / 'BASELINE'
        return venvs.Venv(root) if root.exists() else venvs.make(root, self.python)


CASES = {}
# On every Python; the others, which differ in their files but not by Python, on Debian's alone.
EVERYWHERE = set()


def everywhere(build):
    EVERYWHERE.add(build.__name__)
    return case(build)


def case(build):
    CASES[build.__name__] = build
    return build


def home(venv, **more):
    return Case(venv.python, python_home=str(venv.root), **more)


# python -m venv -------------------------------------------------------------------------------------------


@everywhere
def venv_plain(make):
    return home(make.venv('plain'))


@everywhere
def venv_system_site_packages(make):
    return home(make.venv('system', '--system-site-packages'))


@everywhere
def venv_copies(make):
    return home(make.venv('copies', '--copies'))


@case
def venv_symlinks(make):
    return home(make.venv('symlinks', '--symlinks'))


@everywhere
def venv_made_from_a_venv(make):
    first = make.venv('first')
    return home(make.fill(venvs.make(make.folder / 'second', first.python)))


@everywhere
def venv_reached_through_a_link(make):
    real, link = make.venv('real'), make.folder / 'link'
    link.symlink_to(real.root)
    return home(venvs.Venv(link))


@everywhere
def venv_with_spaces_and_umlauts(make):
    return home(make.venv('Größe und 中文'))


@case
def venv_with_python3_only(make):
    venv = make.venv('python3-only')
    for name in ('python', f'python{pythons.default()}'):
        (venv / 'bin' / name).unlink()
    (venv / 'bin' / 'python3').unlink()
    (venv / 'bin' / 'python3').symlink_to(make.python)
    venv.python = venv / 'bin' / 'python3'
    return home(venv)


@case
def venv_with_a_versioned_python_only(make):
    venv = make.venv('versioned-only')
    for name in ('python', 'python3', f'python{pythons.default()}'):
        (venv / 'bin' / name).unlink()
    venv.python = venv / 'bin' / f'python{pythons.default()}'
    venv.python.symlink_to(make.python)
    return home(venv)


@case
def venv_without_lib64(make):
    venv = make.venv('no-lib64')
    if (venv / 'lib64').is_symlink():
        (venv / 'lib64').unlink()
    return home(venv)


@case
def venv_named_with_a_slash_at_the_end(make):
    venv = make.venv('slash')
    return Case(venv.python, python_home=f'{venv.root}/')


@case
def venv_named_through_its_parent(make):
    venv = make.venv('parent')
    return Case(f'{venv.root}/../parent/bin/python', python_home=f'{venv.root}/../parent')


def with_config(make, name, edit):
    """A venv whose pyvenv.cfg is edit(its text)."""
    venv = make.venv(name)
    config = venv / 'pyvenv.cfg'
    config.write_bytes(edit(config.read_text()).encode())
    return home(venv)


@case
def config_without_a_newline_at_the_end(make):
    return with_config(make, 'no-newline', lambda text: text.rstrip('\n'))


@case
def config_with_the_home_last_and_no_newline(make):
    return with_config(make, 'home-last', lambda text: '\n'.join(sorted(text.splitlines(), key='home'.__eq__)[::-1]))


@everywhere
def config_with_carriage_returns(make):
    return with_config(make, 'crlf', lambda text: text.replace('\n', '\r\n'))


@everywhere
def config_with_a_byte_order_mark(make):
    return with_config(make, 'bom', lambda text: '\ufeff' + text)


@everywhere
def config_with_capital_keys(make):
    return with_config(make, 'capitals', lambda text: text.replace('home', 'HOME').replace('version', 'Version'))


@case
def config_with_blanks_and_tabs(make):
    return with_config(make, 'blanks', lambda text: text.replace(' = ', '\t=  ').replace('\n', ' \n'))


@everywhere
def config_whose_home_ends_in_a_slash(make):
    base = str(pathlib.Path(make.python).parent)
    return with_config(make, 'home-slash', lambda text: text.replace(f'home = {base}', f'home = {base}/'))


@case
def config_without_home(make):
    return with_config(make, 'homeless', lambda text: re.sub('(?m)^home = .*\n', '', text))


@case
def config_that_is_empty(make):
    return with_config(make, 'empty', lambda text: '')


@case
def config_whose_home_is_gone(make):
    return with_config(make, 'gone', lambda text: re.sub('(?m)^home = .*$', 'home = /nonexistent/bin', text))


@case
def config_with_odd_values(make):
    return with_config(make, 'odd', lambda text: text.replace('false', 'TRUE') + '=\n\n# no comment\nhome\n')


# Other tools ----------------------------------------------------------------------------------------------


@everywhere
def virtualenv(make):
    return home(make.fill(venvs.virtualenv(make.folder / 'virtualenv', make.python)))


@everywhere
def virtualenv_activated_by_the_script(make):
    venv = make.fill(venvs.virtualenv(make.folder / 'activated', make.python))
    base = make.baseline()
    return home(base, env={'PROBE_ACTIVATE': str(venv / 'bin' / 'activate_this.py')})


@everywhere
def uv(make):
    return home(make.fill(venvs.uv(make.folder / 'uv', make.python)))


@everywhere
def conda(make):
    return home(make.fill(venvs.conda(make.folder / 'conda', make.python)))


@everywhere
def relocated_prefix(make):
    return home(make.fill(venvs.relocated(make.folder / 'relocated', make.python)))


@case
def venv_of_a_relocated_prefix(make):
    prefix = venvs.relocated(make.folder / 'relocated-base', make.python)
    return home(make.fill(venvs.make(make.folder / 'of-relocated', prefix.python)))


@everywhere
def installation_without_python_home(make):
    return Case(make.python, words=(), python_version=make.version)


@everywhere
def installation_as_python_home(make):
    return Case(make.python, words=(), python_home=str(pathlib.Path(make.python).parents[1]))


# What lies in them ----------------------------------------------------------------------------------------

# parrot: PEP 660 with a finder; finch: PEP 660 with a path; crane: setup.py develop; birds.robin: a namespace of
# pkg_resources with its -nspkg.pth; seas: a namespace (PEP 420) of which one half comes through a .pth file.
EDITABLE = (PARROT, 'finch:finch', 'crane:crane', 'birds.robin:birds.robin', 'cod:seas.cod', 'eel:seas.eel')


def setup_py(**arguments):
    return 'from setuptools import setup\nsetup(' + ', '.join(f'{k}={v!r}' for k, v in arguments.items()) + ')\n'


@pytest.fixture(scope='session')
def editable(shared):
    """Debian's environment with all of them, as pip makes it there."""
    source = shared / 'source'
    pep517 = '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
    parrot = venvs.project(source / 'parrot', {
        'pyproject.toml': pep517, 'code/__init__.py': "VERSION = '1.0'\n",
        'setup.py': setup_py(name='parrot', version='1.0', packages=['parrot'], package_dir={'parrot': 'code'})})
    finch = venvs.project(source / 'finch', {
        'pyproject.toml': pep517, 'src/finch/__init__.py': "VERSION = '2.0'\n",
        'setup.py': setup_py(name='finch', version='2.0', packages=['finch'], package_dir={'': 'src'})})
    crane = venvs.project(source / 'crane', {
        'crane.py': "VERSION = '3.0'\n", 'setup.py': setup_py(name='crane', version='3.0', py_modules=['crane'])})
    robin = venvs.project(source / 'robin', {
        'birds/__init__.py': "__import__('pkg_resources').declare_namespace(__name__)\n",
        'birds/robin/__init__.py': "VERSION = '4.0'\n",
        'setup.py': setup_py(name='birds.robin', version='4.0', packages=['birds', 'birds.robin'],
                             namespace_packages=['birds'])})
    venv = venvs.make(shared / 'EDITABLE')
    venvs.pip_install(venv, '-e', parrot, '-e', finch, '-e', crane, robin)
    left = {path.name for path in venv.site_packages.iterdir()}
    assert {'__editable___parrot_1_0_finder.py', '__editable__.finch-2.0.pth', 'crane.egg-link', 'easy-install.pth',
            'birds.robin-4.0-nspkg.pth'} <= left
    sea = venvs.project(source / 'sea', {'seas/eel.py': "VERSION = '6.0'\n"})
    venvs.project(venv.site_packages, {'seas/cod.py': "VERSION = '5.0'\n", 'sea.pth': f'{sea}\n'})
    return venv


def copy_packages(source, target):
    """What pip left in one site-packages, into another's: pure Python, the same for every version. What it built with
    stays behind."""
    for path in source.site_packages.iterdir():
        if path.is_file():
            shutil.copy(path, target.site_packages)
        elif path.name not in ('setuptools', 'pkg_resources', 'wheel', '__pycache__'):
            shutil.copytree(path, target.site_packages / path.name)


@everywhere
def editable_and_namespace_packages(make):
    venv = venvs.make(make.folder / 'editable', make.python)
    copy_packages(make.wheels['editable'], venv)
    return home(venv, words=EDITABLE)


@everywhere
def editable_and_namespace_packages_over_a_baseline(make):
    venv = venvs.make(make.folder / 'editable-overlay', make.python)
    copy_packages(make.wheels['editable'], venv)
    return home(make.baseline(), words=EDITABLE, python_path=[str(venv.root)], overlay=str(venv.site_packages))


def eggs(make, name, before='', after=''):
    """Two eggs in easy-install.pth."""
    venv = venvs.make(make.folder / name, make.python)
    venvs.egg(venv.site_packages / 'parrot-1.0.egg', 'parrot', '1.0', zipped=True)
    venvs.egg(venv.site_packages / 'crane-3.0.egg', 'crane', '3.0', zipped=False)
    (venv.site_packages / 'easy-install.pth').write_text(f'{before}./parrot-1.0.egg\n./crane-3.0.egg\n{after}')
    return venv


@everywhere
def eggs_in_easy_install_pth(make):
    return home(eggs(make, 'eggs'), words=(PARROT, 'crane:crane'))


@case
def eggs_in_the_easy_install_pth_of_old_setuptools(make):
    """Its own lines of code move the eggs to the front of sys.path."""
    venv = eggs(make, 'old-eggs', 'import sys; sys.__plen = len(sys.path)\n',
                'import sys; new=sys.path[sys.__plen:]; del sys.path[sys.__plen:]; '
                "p=getattr(sys,'__egginsert',0); sys.path[p:p]=new; sys.__egginsert = p+len(new)\n")
    return home(venv, words=(PARROT, 'crane:crane'))


@case
def eggs_over_a_baseline(make):
    venv = eggs(make, 'eggs-overlay')
    return home(make.baseline(), words=(PARROT, 'crane:crane'), python_path=[str(venv.site_packages)],
                overlay=str(venv.site_packages))


@case
def a_venv_over_the_system(make):
    venv = make.venv('over-system')
    return Case('/usr/bin/python' + pythons.default(), python_path=[str(venv.root)],
                overlay=str(venv.site_packages))


@case
def a_venv_over_a_conda_environment(make):
    venv = make.venv('over-conda')
    return home(venvs.conda(make.folder / 'conda-base', make.python), python_path=[str(venv.root)],
                overlay=str(venv.site_packages))


# The comparison -------------------------------------------------------------------------------------------


def intended(report, folder):
    """What the environment's own python reported, with what is meant to be different in pyfpm. docs/environments.md
    gives the reasons. The Python that sys.executable starts ('child') has no exception."""
    report = copy.deepcopy(report)
    for who in ('self', 'spawned'):
        process = report[who]
        # Isolated: neither PYTHON* variables nor the user's own site folder; and in UTF-8 mode.
        for flag in ('isolated', 'ignore_environment', 'no_user_site', 'safe_path', 'utf8_mode'):
            if flag in process['flags']:
                process['flags'][flag] = 1
        process['site.ENABLE_USER_SITE'] = False
        process['xoptions'] = {**process['xoptions'], 'utf8': True}
        # python puts the folder of its script on sys.path; a WSGI script's folder is not put there.
        process['path'].remove(str(folder))
    return report


def comparable(report):
    """pyfpm's report, without the finder through which a child of multiprocessing finds the WSGI script."""
    report = copy.deepcopy(report)
    finders = report['spawned'].get('finders', [])
    if 'ScriptFinder' in finders:
        finders.remove('ScriptFinder')
    return report


def differences(expected, found, name=''):
    if isinstance(expected, dict) and isinstance(found, dict):
        return [line for key in sorted({*expected, *found})
                for line in differences(expected.get(key), found.get(key), f'{name}.{key}')]
    return [] if expected == found else [f'{name[1:]}: its own python has {expected!r}, pyfpm {found!r}']


def own_report(probe, case):
    """What the environment's own python says, started as the group is: with nothing in its environment."""
    environment = {'PATH': os.environ['PATH'], 'LANG': 'C.UTF-8', 'HOME': '/nonexistent', **case.env}
    if case.overlay:
        environment['PROBE_OVERLAY'] = case.overlay
    done = subprocess.run([case.python, probe, *case.words], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
                          env=environment, cwd='/', timeout=DEADLINE, check=True)
    return json.loads(done.stdout)


def check_packages(case, report):
    """Every package is there, in the version that is installed: two empty reports would be equal as well."""
    for word in case.words:
        found = report['self']['packages'][word]
        assert found.get('module'), f'{word}: {found}'
        assert report['spawned']['packages'][word] == found


def identity(python):
    """As pythons.identity(), for the Python and for what children of multiprocessing read."""
    found = [pythons.identity(python), pythons.identity(LIBEXEC / 'child_main.py')]
    return next((keys for keys in found if 'allow_root' in keys), found[0])


def make_cases(folder, version, wheels):
    """name → Case, for a Python."""
    make = Maker(folder, version, wheels)
    folder.mkdir()
    names = CASES if version == pythons.default() else [name for name in CASES if name in EVERYWHERE]
    return {name: CASES[name](make) for name in names}


def locations(text, sockets):
    """The nginx example with a location for each group instead of its one."""
    head, server, _ = text.partition('    location / {')
    return head + ''.join(f'''
    location /{name}/ {{
        include pyfpm_params;
        fastcgi_param SCRIPT_NAME /{name};
        fastcgi_keep_conn on;
        fastcgi_pass unix:{address};
    }}''' for name, address in sockets.items()) + '\n}\n'


def compare(cases, probe, ask):
    """Asks both sides of every case, two at a time; returns what differs."""
    def one(name):
        case = cases[name]
        own = own_report(probe, case)
        found = json.loads(ask(name, urllib.parse.quote(' '.join(case.words))))
        check_packages(case, own)
        return [f'{name}: {line}' for line in differences(intended(own, probe.parent), comparable(found))]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return [line for lines in pool.map(one, cases) for line in lines]


@pytest.fixture(scope='session')
def wheels(shared, editable):
    return {'parrot': venvs.package(shared, 'parrot', '1.0'), 'editable': editable}


def groups_of(cases, probe, python):
    return {name: {'script': str(probe), 'env': case.env, **case.keys, **identity(python)}
            for name, case in cases.items()}


def test_an_environment_is_in_a_request_what_it_is_under_its_own_python(fpm, nginx, apps, shared, wheels):
    """Debian's Python, every kind of environment, through nginx."""
    version, probe = pythons.default(), apps / 'probe.py'
    cases = make_cases(shared / version, version, wheels)
    fpm.start(groups_of(cases, probe, pythons.interpreter(version)))
    web = nginx(fpm.socket('uv'), edit=lambda text: locations(text, {name: fpm.socket(name) for name in cases}))
    found = compare(cases, probe, lambda name, words: web.ask(f'/{name}/?{words}').body)
    assert not found, '\n'.join(found)


@pytest.mark.parametrize('version', [v for v in pythons.hosts() if v != pythons.default()])
def test_an_environment_of_another_python_is_what_it_is_under_its_own(fpm, apps, shared, wheels, version):
    if not pythons.interpreter(version):
        pytest.skip(f'the interpreter of Python {version} is gone')
    probe = apps / 'probe.py'
    cases = make_cases(shared / version, version, wheels)
    fpm.start(groups_of(cases, probe, pythons.interpreter(version)))
    found = compare(cases, probe, lambda name, words: fastcgi.ask(fpm.socket(name), QUERY_STRING=words).body)
    assert not found, '\n'.join(found)
