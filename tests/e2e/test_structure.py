"""The arrows between the folders, and what the programs are linked with."""

import os
import re
import shutil
import subprocess

import pytest

from pyfpm import BUILD, LIBEXEC, PROGRAM, ROOT

MAY_INCLUDE = {
    'base': {'base'},
    'config': {'base', 'config'},
    'fcgi': {'base', 'fcgi'},
    'pm': {'base', 'config', 'pm'},
    'pyhost': {'base', 'config', 'fcgi', 'pyhost'}}
# In pm only these two speak FastCGI.
EXCEPTIONS = {'pm/responder.c': {'fcgi'}, 'pm/command_request.c': {'fcgi'}}


def sources(folder):
    return sorted([*(ROOT / folder).rglob('*.c'), *(ROOT / folder).rglob('*.h')])


def includes(path):
    return re.findall(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', path.read_text(), re.MULTILINE)


@pytest.mark.parametrize('folder', MAY_INCLUDE)
def test_a_folder_includes_only_what_it_may(folder):
    assert sources(folder)
    for path in sources(folder):
        name = str(path.relative_to(ROOT))
        allowed = MAY_INCLUDE[folder] | EXCEPTIONS.get(name, set())
        for header in includes(path):
            if '/' in header and header.split('/')[0] in MAY_INCLUDE:
                assert header.split('/')[0] in allowed, f'{name} includes {header}'


def test_python_h_is_included_in_pyhost_only():
    for folder in MAY_INCLUDE:
        for path in sources(folder):
            if 'Python.h' in includes(path):
                assert folder == 'pyhost', path


def test_fcgiapp_h_is_included_in_one_file():
    found = [str(path.relative_to(ROOT)) for folder in MAY_INCLUDE for path in sources(folder)
             if {'fcgiapp.h', 'fcgi_stdio.h'} & set(includes(path))]
    assert found == ['fcgi/conn.c']


def test_pyconfig_is_used_in_one_file():
    found = [path.name for path in sources('pyhost') if re.search(r'\bPyConfig\b', path.read_text())
             and path.suffix == '.c']
    assert len(found) == 1


def test_every_source_says_at_its_top_what_it_is_for():
    for folder in MAY_INCLUDE:
        for path in sources(folder):
            assert path.read_text().startswith('/*'), path


@pytest.mark.skipif(not shutil.which('man'), reason='man-db is not installed')
def test_man_pages_have_no_warning():
    pages = [*(ROOT / 'docs').glob('*.[1-8]'), *(BUILD / 'share' / 'man').rglob('*.[1-8]')]
    assert pages
    for page in pages:
        done = subprocess.run(['man', '--warnings', '-E', 'UTF-8', '-l', '-Tutf8', '-Z', page], text=True,
                              capture_output=True, env={**os.environ, 'MANROFFSEQ': '', 'LC_ALL': 'C.UTF-8'})
        assert (done.returncode, done.stderr) == (0, ''), page


def linked(program):
    return subprocess.run(['ldd', program], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize('program', [PROGRAM, LIBEXEC / 'responder'], ids=['pyfpm', 'responder'])
def test_the_programs_of_pm_are_not_linked_with_python(program):
    assert 'libpython' not in linked(program)


def test_each_host_is_linked_with_the_python_in_its_name():
    hosts = list(LIBEXEC.glob('host-*'))
    assert hosts
    for host in hosts:
        assert f'libpython{host.name[len("host-"):]}.so' in linked(host)
