"""pyfpm check --explain: the facts about environments, one after the other, and the verdicts."""

import json
import os
import re
import shutil
import textwrap
import zipfile

import pytest

import pythons
import venvs
from pyfpm import IS_ROOT, ROOT, WEB_USER

needs_root = pytest.mark.skipif(not IS_ROOT, reason='only root can make a folder that the group cannot read')

APPLICATION = """
    def application(environ, start_response):
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [b'mended']
"""


@pytest.fixture(params=pythons.hosts() or ['none'])
def python(request):
    """(version, interpreter, keys of a group that may read it) of each host that was built."""
    interpreter = pythons.DEBIAN if request.param == pythons.default() else pythons.interpreter(request.param)
    if interpreter is None:
        pytest.skip(f'no interpreter of Python {request.param}')
    keys = {'listen_group': WEB_USER} if IS_ROOT else {}
    return request.param, interpreter, {**pythons.identity(interpreter), **keys}


@pytest.fixture
def script(folder):
    """script(text) writes a WSGI script; APPLICATION follows unless it has its own."""
    def write(text='', application=APPLICATION):
        path = folder / 'app.wsgi'
        path.write_text(textwrap.dedent(text) + textwrap.dedent(application))
        path.chmod(0o644)
        return str(path)
    return write


@pytest.fixture
def explain(fpm, script):
    """explain(keys) → the group of the document; the text form must agree with it."""
    def run(status=0, **keys):
        if 'script' not in keys:
            keys['script'] = script()
        fpm.write_groups({'shop': keys})
        done = fpm.command('check', '--explain', '--json')
        assert done.returncode == status, done.stdout + done.stderr
        group, = json.loads(done.stdout)['groups']
        text = fpm.command('check', '--explain', 'shop')
        assert text.returncode == status
        assert text.stdout.splitlines()[-1] == 'shop: ' + group['verdict'], text.stdout
        assert 'Traceback' not in text.stderr and not text.stderr
        group['text'] = text.stdout
        return group
    return run


def plain_folder(path, **files):
    path.mkdir(parents=True)
    for name, content in files.items():
        (path / name.replace('__py', '.py')).write_text(content)
    return path


def entries(group):
    return {entry['entry']: entry for entry in group['explanation']['path']}


# The environment --------------------------------------------------------------------------------------------


def test_a_venv_is_told_with_its_versions_and_its_base(explain, folder, python, script):
    version, interpreter, keys = python
    venv = venvs.make(folder / 'VENV', interpreter)
    group = explain(python_home=str(venv.root), **keys)
    facts = group['explanation']
    assert facts['baseline']['kind'] == 'venv'
    assert (facts['baseline']['path'], facts['baseline']['version']) == (str(venv.root), version)
    assert facts['baseline']['said_by'].endswith('VENV/pyvenv.cfg')
    assert facts['python']['host'] == version
    assert facts['python']['version'].startswith(version.rstrip('t') + '.')
    assert facts['python']['prefix'] == str(venv.root)
    assert facts['python']['base_prefix'] == os.path.dirname(facts['baseline']['made_from'])
    assert facts['python']['executable'] == str(venv.python) and facts['python']['executable_works']
    assert f'libpython{version}' in facts['python']['library']
    assert [entry['origin'] for entry in facts['path']] == ['standard-library'] * 3 + ['site-packages']
    assert re.fullmatch(rf'fine: Python {re.escape(version)}\.\S+ on {venv.root}, imports the application',
                        group['verdict'])
    assert f'virtual environment {venv.root} of Python {version}' in group['text']


def test_the_systems_python_and_an_installation_are_told_apart(explain):
    group = explain()
    assert group['explanation']['baseline']['kind'] == 'system'
    assert 'on the system\'s libraries' in group['verdict']
    group = explain(python_home='/usr')
    assert group['explanation']['baseline'] == {'kind': 'installation', 'path': '/usr',
                                                'version': pythons.default(), 'said_by': f'/usr/lib/python{pythons.default()}'}


def test_every_entry_of_sys_path_has_its_origin(explain, folder, python, script):
    version, interpreter, keys = python
    home, over = venvs.make(folder / 'HOME', interpreter), venvs.make(folder / 'OVER', interpreter)
    egg, code, source, work, late = (plain_folder(folder / name) for name in ('egg', 'code', 'source', 'work', 'late'))
    archive = folder / 'archive.zip'
    zipfile.ZipFile(archive, 'w').close()
    site = over.site_packages
    (site / 'a.pth').write_text(f'# a comment\n\n{egg}\n{archive}\n/nonexistent/folder\n')
    (site / 'b.pth').write_text(f'import sys; sys.path.append({str(code)!r})\n')
    (home.site_packages / 'home.pth').write_text('../../../below\n')
    plain_folder(home.root / 'below')
    group = explain(python_home=str(home.root), python_path=[str(over.root), str(source)], chdir=str(work), **keys,
                    script=script(f'import sys; sys.path.append({str(late)!r}); sys.path.insert(0, {str(egg)!r})'))
    told = [(entry['entry'], entry['origin']) for entry in group['explanation']['path']]
    assert told[:7] == [(str(egg), 'script'), (str(site), 'python-path'), (str(egg), 'pth'), (str(archive), 'pth'),
                        (str(code), 'pth-import'), (str(source), 'python-path'), (str(work), 'chdir')]
    assert told[-3:] == [(str(home.site_packages), 'site-packages'), (str(home.root / 'below'), 'pth'),
                         (str(late), 'script')]
    assert [origin for _, origin in told[7:-3]] == ['standard-library'] * 3
    by_place = group['explanation']['path']
    assert (by_place[1]['item'], by_place[1]['item_text']) == (1, str(over.root))
    assert (by_place[2]['file'], by_place[2]['line']) == (str(site / 'a.pth'), 3)
    assert by_place[3]['zip'] is True
    assert by_place[4]['candidates'] == [f'{site}/b.pth:1']
    assert by_place[5]['item'] == 2
    assert group['explanation']['pth_missing'] == [
        {'file': str(site / 'a.pth'), 'line': 5, 'path': '/nonexistent/folder'}]
    assert f'{egg}' in group['text'] and f'{site}/a.pth:3' in group['text']
    assert 'python-path item 1 (' in group['text'] and 'standard library; missing, as usual' in group['text']


def test_a_finder_that_a_pth_file_installed_is_told_with_what_it_maps(explain, folder, python):
    version, interpreter, keys = python
    venv = venvs.make(folder / 'VENV', interpreter)
    (venv.site_packages / '__editable___demo_finder.py').write_text(textwrap.dedent("""
        import sys
        MAPPING = {'demo': '/srv/demo/src/demo'}
        class _EditableFinder:
            @classmethod
            def find_spec(cls, name, path=None, target=None):
                return None
        def install():
            sys.meta_path.append(_EditableFinder)
    """))
    (venv.site_packages / '__editable__.demo.pth').write_text('import __editable___demo_finder as f; f.install()\n')
    group = explain(python_home=str(venv.root), **keys)
    assert group['explanation']['finders'] == [
        {'name': '__editable___demo_finder._EditableFinder', 'origin': 'pth-import',
         'candidates': [f'{venv.site_packages}/__editable__.demo.pth:1'], 'maps': ['demo: /srv/demo/src/demo']}]


def test_a_finder_that_the_application_installed_is_told_as_such(explain, script):
    group = explain(script=script("""
        import sys
        class Mine:
            find_spec = classmethod(lambda cls, name, path=None, target=None: None)
        sys.meta_path.insert(0, Mine)
    """))
    assert {'name': 'Mine', 'origin': 'script'} in group['explanation']['finders']


def test_of_a_distribution_found_twice_the_winner_and_what_it_shadows_are_told(explain, folder, shared, python):
    version, interpreter, keys = python
    home, over = venvs.make(folder / 'HOME', interpreter), venvs.make(folder / 'OVER', interpreter)
    home.install(venvs.package(folder, 'Grey_Parrot', '1.0'))
    home.install(venvs.package(folder, 'single', '5.0'))
    over.install(venvs.package(folder, 'grey.parrot', '2.0'))
    group = explain(python_home=str(home.root), python_path=[str(over.root)], **keys)
    assert group['explanation']['duplicates'] == [
        {'name': 'grey-parrot', 'version': '2.0', 'folder': str(over.site_packages),
         'shadows': [{'version': '1.0', 'folder': str(home.site_packages)}]}]
    assert group['verdict'].startswith('fine: ')        # that is what an overlay is for
    assert f'grey-parrot 2.0 in {over.site_packages} wins against 1.0 in {home.site_packages}' in group['text']


def test_a_distribution_that_one_folder_describes_twice_is_found_once(explain, folder):
    venv = venvs.make(folder / 'VENV')
    for name, version, metadata in (('grey-1.dist-info', '1', 'METADATA'), ('grey.egg-info', '1', 'PKG-INFO'),
                                    ('red-1.dist-info', '1', 'METADATA'), ('red-2.dist-info', '2', 'METADATA')):
        words = f'Metadata-Version: 2.1\nName: {re.match("[a-z]+", name)[0]}\nVersion: {version}\n'
        (venv.site_packages / name).mkdir()
        (venv.site_packages / name / metadata).write_text(words)
    group = explain(python_home=str(venv.root))
    assert [duplicate['name'] for duplicate in group['explanation']['duplicates']] == ['red']


def test_broken_metadata_is_passed_over(explain, folder):
    venv = venvs.make(folder / 'VENV')
    for name, metadata in (('a-1.dist-info', b'\xff\xfe\0'), ('b-1.dist-info', b''), ('c-1.dist-info', None)):
        (venv.site_packages / name).mkdir()
        if metadata is not None:
            (venv.site_packages / name / 'METADATA').write_bytes(metadata)
    group = explain(python_home=str(venv.root))
    assert group['explanation']['duplicates'] == []


def test_of_several_applications_each_item_is_told_with_its_mount(explain, fpm, folder, script):
    one, two, common = (plain_folder(folder / name) for name in ('one', 'two', 'common'))
    wsgi = script()
    group = explain(script=None, python_path=[str(common)], applications=[
        {'mount': '/one', 'script': wsgi, 'python-path': [str(one)]},
        {'mount': '/two', 'script': wsgi, 'python-path': [str(two)], 'interpreter': 'two'}])
    told = [(entry['entry'], entry.get('item'), entry.get('mount')) for entry in group['explanation']['path']]
    assert told[:2] == [(str(one), 1, '/one'), (str(common), 1, None)]
    assert [(item['item'], item.get('mount')) for item in group['explanation']['overlay']] == [
        (str(one), '/one'), (str(two), '/two'), (str(common), None)]
    assert group['explanation']['notes'] == [
        'what stands here is of the main interpreter; that of /two has a sys.path of its own']
    assert 'python-path item 1 of /one' in group['text']


def test_the_folders_of_all_applications_are_checked_at_once(fpm, folder, script):
    fpm.write_groups({'shop': {'script': None, 'applications': [
        {'mount': '/one', 'script': script(), 'python-path': [str(folder / 'a')]},
        {'mount': '/two', 'script': script(), 'python-path': [str(folder / 'b')], 'interpreter': 'two'}]}})
    done = fpm.command('check')
    assert done.returncode == 1
    assert f'shop: error: application at /one: python-path: {folder}/a is missing' in done.stdout
    assert f'shop: error: application at /two: python-path: {folder}/b is missing' in done.stdout


# What is odd ------------------------------------------------------------------------------------------------


def test_a_file_that_shadows_the_standard_library_is_told_and_warned_of(explain, fpm, folder, python, script):
    version, interpreter, keys = python
    venv = venvs.make(folder / 'VENV', interpreter)
    source = plain_folder(folder / 'source', secrets__py='STRAY = True\n', os__py='', sys__py='', test__py='',
                          app__py='')
    plain_folder(source / 'encodings', __init____py='')     # loaded before
    plain_folder(source / 'json')              # a namespace package: the standard library wins
    plain_folder(source / 'uuid', __init____py='')
    wsgi = script('import secrets; assert secrets.STRAY; import json; json.loads')
    group = explain(python_home=str(venv.root), python_path=[str(source)], script=wsgi, **keys)
    shadows = group['explanation']['stdlib_shadows']
    assert [(one['module'], one['file']) for one in shadows] == [
        ('secrets', f'{source}/secrets.py'), ('uuid', f'{source}/uuid/__init__.py')]
    assert shadows[0]['instead_of'] == os.path.join(group['explanation']['python']['standard_library'], 'secrets.py')
    assert group['verdict'].startswith(f"fine, but {source}/secrets.py shadows the standard library's secrets: rename it")
    check = fpm.command('check')
    assert check.returncode == 0
    assert f'shop: warning: {source}/secrets.py shadows ' in check.stdout
    assert check.stdout.splitlines()[-1] == 'shop: fine'


def test_a_stray_file_that_breaks_the_import_is_blamed_in_the_verdict(explain, folder, script):
    source = plain_folder(folder / 'source', typing__py='')
    group = explain(1, python_path=[str(source)], script=script('from typing import Any'))
    assert group['verdict'].startswith('broken: cannot run script ')
    assert f"{source}/typing.py shadows the standard library's typing: rename it" in group['verdict']


def test_stray_modules_do_not_reach_the_explanation_itself(explain, folder, script, python):
    version, interpreter, keys = python
    names = ('json', 'email', 're', 'csv', 'zipfile', 'stat', 'time', 'typing')
    source = plain_folder(folder / 'source', **{f'{name}__py': 'raise SystemExit(0)' for name in names})
    (source / 'early.pth').write_text('import fractions_of_nothing\n')
    (source / 'fractions_of_nothing.py').write_text('import sys, types; sys.modules["json"] = types.ModuleType("json")\n')
    venv = venvs.make(folder / 'VENV', interpreter)
    venv.install(venvs.package(folder, 'parrot', '1.0'))
    for name in ('parrot-2.dist-info', 'parrot-3.dist-info'):
        (source / name).mkdir()
        (source / name / 'METADATA').write_text(f'Name: parrot\nVersion: {name[7]}\n')
    group = explain(python_home=str(venv.root), python_path=[str(source)], **keys)
    one, = group['explanation']['duplicates']
    assert {place['version'] for place in (one, *one['shadows'])} == {'1.0', '2', '3'}
    assert {'json', 'email', 'typing'} <= {one['module'] for one in group['explanation']['stdlib_shadows']}


def test_a_stray_module_that_ends_the_import_is_blamed(explain, folder, script):
    source = plain_folder(folder / 'source', importlib__py='raise SystemExit(0)')
    group = explain(1, python_path=[str(source)], script=script('import importlib'))
    assert group['verdict'].endswith(f"; {source}/importlib.py shadows the standard library's importlib: rename "
                                     f"it, or leave its folder out of sys.path")


def test_the_working_folder_is_looked_at_for_such_files_too(fpm, folder, script):
    work = plain_folder(folder / 'work', calendar__py='')
    fpm.write_groups({'shop': {'script': script(), 'chdir': str(work)}})
    assert f'warning: {work}/calendar.py shadows ' in fpm.command('check').stdout


def test_extension_modules_of_another_python_are_told_unless_a_fitting_one_lies_beside(explain, folder, python):
    version, interpreter, keys = python
    venv = venvs.make(folder / 'VENV', interpreter)
    package = plain_folder(venv.site_packages / 'numbers_')
    tag = explain(python_home=str(venv.root), **keys)['explanation']['python']['abi']
    for name in ('alone.cpython-399-x86_64-linux-gnu.so', 'both.cpython-399-x86_64-linux-gnu.so', f'both.{tag}.so',
                 'pure.cpython-399-x86_64-linux-gnu.so', 'pure.py', f'good.{tag}.so', 'stable.abi3.so', 'library.so',
                 'libother.so.1.2', 'foreign.cpython-311-riscv64-linux-gnu.so'):
        (package / name).touch()
    group = explain(python_home=str(venv.root), **keys)
    assert group['explanation']['extensions'] == [
        {'file': f'{package}/alone.cpython-399-x86_64-linux-gnu.so', 'built_for': 'cpython-399-x86_64-linux-gnu'},
        {'file': f'{package}/foreign.cpython-311-riscv64-linux-gnu.so', 'built_for': 'cpython-311-riscv64-linux-gnu'}]
    assert group['explanation']['extension_count'] == 2 and group['explanation']['extensions_cut'] is False
    assert group['verdict'].startswith('fine, but 2 extension modules cannot be loaded')
    assert f'{venv.python} -m pip install --force-reinstall' in group['verdict']


def test_a_missing_module_that_is_there_for_another_python_is_explained(explain, folder, script):
    venv = venvs.make(folder / 'VENV')
    package = plain_folder(venv.site_packages / 'num', __init____py='from num import _core\n')
    (package / '_core.cpython-399-x86_64-linux-gnu.so').touch()
    group = explain(1, python_home=str(venv.root), script=script('import num._core'))
    assert f'{package}/_core.cpython-399-x86_64-linux-gnu.so was built for cpython-399' in group['verdict']


def test_the_walk_for_extension_modules_is_bounded_and_says_so(folder):
    names = {'__name__': 'explain'}
    exec((ROOT / 'pyhost' / 'explain.py').read_text(), names)
    for number in range(30):
        plain_folder(folder / 'many' / str(number), a__py='')
    (folder / 'many' / 'x.cpython-399.so').touch()
    names['baseline'].clear()
    whole = names['extension_facts']([str(folder / 'many')])
    assert (whole['extension_count'], whole['extensions_cut']) == (1, False)
    names['WALK_ENTRIES_MAX'] = 40
    assert names['extension_facts']([str(folder / 'many')])['extensions_cut'] is True
    names['WALK_ENTRIES_MAX'], names['WALK_SECONDS_MAX'] = 1000, -1
    assert names['extension_facts']([str(folder / 'many')])['extensions_cut'] is True


@needs_root
def test_what_the_groups_user_may_not_enter_is_told_with_component_and_user(explain, folder, script):
    closed = plain_folder(folder / 'closed')
    plain_folder(closed / 'inside')
    (folder / 'link').symlink_to('closed/inside')
    closed.chmod(0o700)
    group = explain(script=script(f'import sys; sys.path.append({str(folder / "link")!r})'))
    assert group['explanation']['user'] == 'nobody'
    assert group['explanation']['closed'] == [
        {'for': 'sys.path', 'path': str(folder / 'link'), 'component': str(closed)}]
    assert entries(group)[str(folder / 'link')]['state'] == 'closed'
    assert group['verdict'].startswith(f'fine, but {closed} is closed to its user: let it in (chmod o+rx {closed})')


@needs_root
def test_the_same_python_from_somewhere_else_is_noted(explain, folder):
    others = [path for path in pythons.everywhere(pythons.default()) if not path.startswith('/usr/bin/')]
    interpreter = next((path for path in others if os.access(path, os.X_OK)), None)
    if interpreter is None:
        pytest.skip('one Python of that version only')
    venv = venvs.make(folder / 'VENV', interpreter)
    group = explain(python_home=str(venv.root), **pythons.identity(interpreter))
    assert any('is not that of the Python' in note for note in group['explanation']['notes'])


@needs_root
def test_nobody_is_told_to_open_the_home_folder_of_root(explain):
    if os.stat('/root').st_mode & 0o1:
        pytest.skip('/root is open on this machine')
    verdict = explain(1, python_home='/root')['verdict']
    assert re.fullmatch(r'broken: python-home: /root: user \S+ \(uid \d+\) may not enter /root, which is for '
                        r'root alone; move what it needs elsewhere, below /opt or /srv', verdict)


# The five causes of "No module named 'encodings'" ----------------------------------------------------------------


def another_python(root):
    venv = venvs.make(root)
    config = venv.root / 'pyvenv.cfg'
    config.write_text(re.sub('version = .*', 'version = 3.7.9', config.read_text()))
    return {'python_home': str(venv.root), 'python_version': pythons.default()}, \
        rf'broken: python-home \S+ belongs to Python 3\.7 \(so says \S+/pyvenv\.cfg\), but this host runs Python ' \
        rf'\S+, which python-version asks for; take python-version out, or make it anew with python\S+'


def unreadable(root):
    closed = plain_folder(root)
    venv = venvs.make(closed / 'VENV')
    closed.chmod(0o700)
    return {'python_home': str(venv.root)}, \
        rf'broken: python-home: {venv.root}: user nobody \(uid \d+\) may not enter {closed}; let it in ' \
        rf'\(chmod o\+x {closed}\) or move what it needs elsewhere'


def library_folder(root):
    venv = venvs.make(root)
    return {'python_home': str(venv.site_packages.parent)}, \
        rf'broken: python-home {venv.site_packages.parent} is a folder of the virtual environment {root}; ' \
        rf'say python-home: {root}'


def moved_base(root):
    """The base is a prefix of its own, made of links to Debian's; the venv is made from it, then it moves."""
    version = pythons.default()
    base = root.parent / 'base'
    plain_folder(base / 'bin')
    plain_folder(base / 'lib')
    (base / 'bin' / f'python{version}').symlink_to(f'/usr/bin/python{version}')
    (base / 'lib' / f'python{version}').symlink_to(f'/usr/lib/python{version}')
    venvs.make(root, base / 'bin' / f'python{version}')
    base.rename(root.parent / 'moved')
    return {'python_home': str(root)}, \
        rf'fine, but python-home {root} was made from the Python in {base}/bin, which cannot be used: .*{base} is ' \
        rf'missing; put that Python back, or make the environment anew \(python{version} -m venv --clear {root}\)'


def misspelt(root):
    venv = venvs.make(root.parent / 'venv')
    return {'python_home': str(root.parent / 'env')}, \
        rf'broken: python-home: {root.parent}/env is missing; {venv.root} beside it is a virtual environment of ' \
        rf'Python {pythons.default()}'


CAUSES = [another_python, pytest.param(unreadable, marks=needs_root), library_folder, moved_base, misspelt]


@pytest.mark.parametrize('cause', CAUSES)
def test_each_cause_has_a_verdict_of_its_own(explain, folder, cause):
    keys, verdict = cause(folder / 'VENV')
    group = explain(0 if verdict.startswith('fine') else 1, **keys)
    assert re.fullmatch(verdict, group['verdict']), group['verdict']
    others = [other for other in (another_python, unreadable, library_folder, moved_base, misspelt) if other != cause]
    for number, other in enumerate(others):
        if other is unreadable and not IS_ROOT:
            continue
        plain_folder(folder / f'other{number}')
        assert not re.fullmatch(other(folder / f'other{number}' / 'VENV')[1], group['verdict'])


@needs_root
def test_a_base_that_cannot_be_seen_at_all_stops_python_and_the_verdict_says_which(explain, folder):
    """In a chroot without Python's library there is nothing to fall back to: the real 'encodings' error."""
    jail = plain_folder(folder / 'jail')
    venvs.make(jail / 'venv')
    (jail / 'app.wsgi').write_text(textwrap.dedent(APPLICATION))
    group = explain(1, chroot=str(jail), python_home='/venv', script='/app.wsgi')
    assert group['verdict'].startswith('broken: python-home /venv was made from the Python in /usr/bin, which cannot be '
                                       'used: ')
    assert "No module named 'encodings'" in group['errors'][0]
    assert group['explanation']['baseline']['kind'] == 'venv'


@pytest.mark.parametrize('inside, words', [('bin', 'is a folder of the virtual environment'),
                                           ('lib', 'is a folder of the virtual environment'),
                                           ('bin/python', 'is not a folder')])
def test_a_place_inside_a_venv_leads_to_the_venv(explain, folder, inside, words):
    venv = venvs.make(folder / 'VENV')
    group = explain(1, python_home=str(venv.root / inside))
    assert words in group['verdict'] and str(venv.root) in group['verdict'].replace(str(venv.root / inside), '')


def test_the_library_of_an_installation_leads_to_its_prefix(explain):
    library = f'/usr/lib/python{pythons.default()}'
    assert explain(1, python_home=library)['verdict'] == \
        f'broken: python-home {library} is the library folder of the Python installation /usr; say python-home: /usr'


def test_a_group_without_a_host_is_explained_from_its_files(explain, folder):
    venv = venvs.make(folder / 'VENV')
    config = venv.root / 'pyvenv.cfg'
    config.write_text(re.sub('version = .*', 'version = 3.99.1', config.read_text()))
    group = explain(1, python_home=str(venv.root), python_path=[str(folder / 'none')])
    assert group['verdict'].startswith('broken: there is no host for Python 3.99')
    assert group['explanation']['baseline'] == {
        'kind': 'venv', 'path': str(venv.root), 'version': '3.99', 'said_by': f'{venv.root}/pyvenv.cfg',
        'made_from': '/usr/bin'}
    assert f'python-path: {folder}/none is missing' in group['errors'][0]
    assert 'no host told of this group' in group['text']


def test_a_missing_package_is_answered_with_the_pip_that_installs_it(explain, folder, script):
    venv = venvs.make(folder / 'VENV')
    group = explain(1, python_home=str(venv.root), script=script('import flask_of_nowhere'))
    assert group['verdict'].endswith(
        f'no folder on sys.path has flask_of_nowhere: install it ({venv.python} -m pip install ...), or list the folder '
        f'that has it in python-path')
    assert entries(group)[str(venv.site_packages)]['origin'] == 'site-packages'


def test_everything_that_is_wrong_with_the_folders_is_said_at_once(fpm, folder, script):
    old = venvs.make(folder / 'OLD')
    config = old.root / 'pyvenv.cfg'
    config.write_text(re.sub('version = .*', 'version = 3.7.9', config.read_text()))
    fpm.write_groups({'shop': {'python_home': str(old.root), 'python_version': pythons.default(), 'script': script(),
                               'python_path': [str(folder / 'none'), str(old.root), str(folder / 'nothing')]}})
    done = fpm.command('check')
    assert done.returncode == 1
    errors = [line for line in done.stdout.splitlines() if line.startswith('shop: error: ')]
    assert len(errors) == 4, done.stdout
    assert 'python-home' in errors[0] and '/none is missing' in errors[1] and '/nothing is missing' in errors[3]


def test_the_verdict_leads_to_an_environment_that_serves(explain, fpm, nginx, folder, script):
    """Through nginx: broken, mended as the verdict says, served."""
    venv = venvs.make(folder / 'venv')
    venv.install(venvs.package(folder, 'parrot', '1.0'))
    wsgi = script('import parrot')
    verdict = explain(1, python_home=str(folder / 'env'), script=wsgi)['verdict']
    meant = re.search(r'; (\S+) beside it is a virtual environment', verdict)[1]
    assert explain(python_home=meant, script=wsgi)['verdict'].startswith('fine: ')
    fpm.start({'shop': {'python_home': meant, 'script': wsgi}})
    answer = nginx(fpm.socket('shop')).ask('/')
    assert (answer.status, answer.body) == (200, b'mended')


# Applications that are no help ------------------------------------------------------------------------------------

FORGES = """
    import os, socket, struct
    channel = socket.socket(fileno=3)
    def send(kind, flags, text):
        channel.send(struct.pack('=IIIIQ', 1, kind, 0, flags, 0) + text)
    channel.send(b'garbage')
    send(7, 3, b'')                         # names itself
    for kind in range(0, 40):
        if kind not in (2, 3):              # ready and failed are what they say
            send(kind, 1, b'{"path": "not JSON')
    for section in (0, 1, 2, 3, 255, 2 ** 31):
        send(7, section, b'\\xff' * 15000)
        send(7, section | 256, b'')
    channel.detach()
"""

HOSTILE = {
    'prints JSON': """
        print('{"groups": [], "ok": true}')
        print('shop: fine: trust me')
        """,
    'replaces sys.path by a tuple': "import sys; sys.path = ('/x',)",
    'replaces sys.path by None': "import sys; sys.path = None",
    'deletes sys.path': "import sys; del sys.path",
    'puts objects on sys.path': """
        import sys
        class Odd:
            def __repr__(self): raise SystemExit('repr')
            __str__ = __fspath__ = __hash__ = __eq__ = __repr__
        sys.path += [Odd(), b'/bytes', 7, None, 'nul\\0inside', '\\udc80', '\\ud800', '\\x1b[2J', 'x' * 100000]
        """,
    'makes sys.path a list of its own': """
        import sys
        class Mine(list):
            def __iter__(self): raise SystemExit('iter')
            __getitem__ = __len__ = __contains__ = __iter__
        sys.path = Mine(sys.path)
        """,
    'has a sys.path without an end': "import sys; sys.path += [str(i) * 50 for i in range(100000)]",
    'puts stubs for modules': """
        import sys, types
        for name in ('json', 're', 'os', 'importlib', 'importlib.metadata', 'site', 'email', 'traceback', 'io'):
            sys.modules[name] = types.ModuleType(name)
        """,
    'breaks builtins': """
        import builtins
        for name in ('isinstance', 'len', 'open', 'str', 'list', 'dict', 'sorted', 'ValueError'):
            delattr(builtins, name)
        """,
    'clears sys.modules': "import sys; sys.modules.clear()",
    'replaces the finders': """
        import sys
        class Bad:
            def __getattr__(self, name): raise SystemExit(name)
        sys.meta_path = [Bad()]
        sys.path_hooks = sys.path_importer_cache = None
        """,
    'forges messages': FORGES,
    'ignores its children': """
        import signal
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        """,
}


@pytest.mark.parametrize('what', HOSTILE)
def test_an_application_changes_nothing_of_what_is_said_before(explain, folder, script, what):
    venv = venvs.make(folder / 'VENV')
    group = explain(python_home=str(venv.root), script=script(HOSTILE[what]))
    assert group['explanation']['python']['prefix'] == str(venv.root)
    assert entries(group)[str(venv.site_packages)]['origin'] == 'site-packages'
    assert group['explanation']['duplicates'] == []
    assert group['ok'] and 'fine' in group['verdict'].split(':')[0]
    assert '\x1b' not in group['text'] and '\0' not in group['text']
    assert not any('did not tell' in note for note in group['explanation']['notes']), group['explanation']['notes']


@pytest.mark.parametrize('end', ['os._exit(0)', 'os.kill(os.getpid(), 9)', 'os.abort()',
                                 "os.execv('/bin/true', ['true'])"])
def test_an_application_that_ends_the_process_is_explained_all_the_same(explain, folder, script, end):
    venv = venvs.make(folder / 'VENV')
    group = explain(1, python_home=str(venv.root), script=script(f'import os; {end}'))
    assert group['verdict'].startswith('broken: ')
    assert entries(group)[str(venv.site_packages)]['origin'] == 'site-packages'
    assert any('ended while it imported the application' in note for note in group['explanation']['notes'])


def test_an_application_that_kills_the_explaining_process_only_loses_its_explanation(explain, folder, script):
    group = explain(script=script("""
        import os, signal
        for pid in filter(str.isdigit, os.listdir('/proc')):
            try:
                parent = open(f'/proc/{pid}/stat').read().rpartition(')')[2].split()[1]
            except OSError:
                continue
            if int(parent) == os.getpid():
                os.kill(int(pid), signal.SIGKILL)
    """))
    assert group['verdict'] == 'fine: imports the application'
    assert 'it did not get as far as sys.path' in group['text']


def test_a_process_that_is_left_behind_is_not_waited_for(explain, folder, script):
    gate = folder / 'gate'
    os.mkfifo(gate)
    gate.chmod(0o666)
    group = explain(preload=False, script=script(f"""
        import os
        if os.fork() == 0:
            os.setsid()
            os.read(os.open({str(gate)!r}, os.O_RDONLY), 1)
            os._exit(0)
    """))
    with open(gate, 'w') as f:
        f.write('xx')
    assert group['ok'] and group['explanation']['path']


def test_explaining_imports_nothing_into_the_applications_process(explain, script):
    group = explain(script=script("""
        import sys
        print(sorted({'json', 'importlib.metadata', 're', 'email', 'zipfile', 'time_', 'threading', 'explain'} &
                     set(sys.modules)))
    """))
    assert group['output'] == ['[]']


def test_pipes_and_large_pth_files_in_an_environment_stop_nobody(explain, folder):
    venv = venvs.make(folder / 'VENV')
    os.mkfifo(venv.site_packages / 'wait.cpython-399.so')
    (venv.site_packages / 'big.pth').write_bytes(b'#' * (2 << 20))
    group = explain(python_home=str(venv.root))
    assert group['ok']


@pytest.mark.slow
def test_metadata_that_never_ends_costs_what_is_installed_and_nothing_else(fpm, folder, script):
    """A pipe in its place: the explaining process is ended after 20 seconds."""
    venv = venvs.make(folder / 'VENV')
    (venv.site_packages / 'a-1.dist-info').mkdir()
    os.mkfifo(venv.site_packages / 'a-1.dist-info' / 'METADATA')
    (venv.site_packages / 'a-1.dist-info' / 'METADATA').chmod(0o666)
    fpm.write_groups({'shop': {'python_home': str(venv.root), 'script': script()}})
    done = fpm.command('check', '--explain', '--json', timeout=60)
    group, = json.loads(done.stdout)['groups']
    assert group['ok'] and group['verdict'].startswith('fine: ')
    assert group['explanation']['path'] and 'the host did not tell what is installed' in group['explanation']['notes']


# The command ------------------------------------------------------------------------------------------------


GROUP_KEYS = {'name', 'ok', 'errors', 'warnings', 'output'}


def test_the_document_has_every_group_and_only_the_promised_keys(fpm, folder, script):
    good = script('print("hello")')
    fpm.write_groups({'good': {'script': good}, 'bad': {'script': str(folder / 'none.wsgi')}})
    done = fpm.command('check', '--json')
    assert (done.returncode, done.stderr) == (1, '')
    document = json.loads(done.stdout)
    assert set(document) == {'ok', 'errors', 'warnings', 'groups'}
    assert document['ok'] is False and document['errors'] == []
    first, second = document['groups']
    assert set(first) == set(second) == GROUP_KEYS
    assert (first['name'], first['ok'], first['errors'], first['output']) == ('good', True, [], ['hello'])
    assert second['ok'] is False and 'none.wsgi' in second['errors'][0]
    done = fpm.command('check', '--json', '--explain', 'good')
    assert done.returncode == 0
    only, = json.loads(done.stdout)['groups']
    assert set(only) == GROUP_KEYS | {'verdict', 'explanation'}
    assert set(only['explanation']) == {
        'uid', 'user', 'baseline', 'python', 'overlay', 'path', 'pth_missing', 'finders', 'duplicates', 'stdlib_shadows',
        'extensions', 'extension_count', 'extensions_cut', 'closed', 'notes'}


def test_errors_of_the_file_are_in_the_document(fpm):
    fpm.write('groups:\n  shop:\n    listn: /x\n')
    done = fpm.command('check', '--json')
    assert done.returncode == 78
    document = json.loads(done.stdout)
    assert document['ok'] is False and document['groups'] == []
    assert any('listn' in error for error in document['errors'])


def test_what_an_application_prints_without_end_is_cut_in_the_document(fpm, script):
    fpm.write_groups({'shop': {'script': script("""
        import sys
        for _ in range(40000):
            print('x' * 100)
        sys.stdout.buffer.write(b'\\xff\\x1b[2J' + b'y' * 9000)
    """)}})
    done = fpm.command('check', '--json')
    assert done.returncode == 0
    output = json.loads(done.stdout)['groups'][0]['output']
    assert output[-1] == '[there was more]' and sum(map(len, output)) < 1100000


def test_bytes_that_are_no_text_are_escaped_in_both_forms(fpm, script):
    fpm.write_groups({'shop': {'script': script(r"import os; os.write(1, b'\xff\x1b[2J\xc2\x9b\xe2\x80\xae\n')")}})
    assert 'shop: output: \\xff\\x1b[2J\\x9b\\u202e\n' in fpm.command('check').stdout
    assert json.loads(fpm.command('check', '--json').stdout)['groups'][0]['output'][0].startswith('\\xff\\x1b')


@pytest.mark.parametrize('arguments, words', [
    (['--explain', 'nobody-knows-it'], 'the configuration has no group nobody-knows-it'),
    (['--json', 'none'], 'the configuration has no group none'),
    (['--explian'], 'has no option --explian'),
    (['--explain=shop'], 'takes no value'),
    (['--config'], 'needs a value'),
    (['-z'], 'has no option -z')])
def test_bad_usage_is_a_sentence_and_64(fpm, script, arguments, words):
    fpm.write_groups({'shop': {'script': script()}})
    config = [] if '--config' in arguments else ['--config', fpm.config_file]
    done = fpm.run('check', *config, *arguments)
    assert done.returncode == 64
    assert words in done.stderr and done.stdout == ''


def test_the_help_has_an_example(fpm):
    done = fpm.run('check', '--help')
    assert done.returncode == 0
    assert 'example: pyfpm check' in done.stdout and '--explain' in done.stdout and '--json' in done.stdout


@needs_root
def test_a_socket_that_no_web_server_could_connect_to_is_warned_of(fpm, script):
    wsgi = script()
    def warned(**keys):
        fpm.write_groups({'shop': {'script': wsgi, **keys}})
        done = fpm.command('check')
        assert done.returncode == 0, done.stdout + done.stderr
        return 'shop: warning: no web server\'s user' in done.stdout
    assert warned(listen_group=None)
    assert warned(listen_mode='0600')
    assert not warned()
    assert not warned(listen_group=None, listen_owner='www-data')
    assert not warned(listen_group=None, listen_mode='0666')
    assert not warned(listen='127.0.0.1:1', listen_group=None)


@needs_root
def test_an_owner_that_does_not_exist_is_an_error(fpm, script):
    fpm.write_groups({'shop': {'script': script(), 'listen_owner': 'nobody-has-this-name'}})
    done = fpm.command('check', '--explain')
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == 'shop: broken: listen-owner: there is no user "nobody-has-this-name"'
