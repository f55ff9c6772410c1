"""python-home and python-path with real virtual environments.

The first three are the recipes of mod_wsgi's page on virtual environments: a baseline environment for
everything, site.addsitedir() in the script, and the script that also moves what is new to the front."""

import json
import os
import re
import textwrap

import pytest

import fastcgi
import processes
import pythons
import venvs
from processes import wait_until
from pyfpm import RELOAD_FAILED


@pytest.fixture(scope='session')
def wheels(shared):
    """Two versions of one package, and another package."""
    folder = shared / 'wheels'
    folder.mkdir()
    return {'parrot 1': venvs.package(folder, 'parrot', '1.0'), 'parrot 2': venvs.package(folder, 'parrot', '2.0'),
            'extra': venvs.package(folder, 'extra', '7.0')}


@pytest.fixture(scope='session')
def parrot_1(shared, wheels):
    venv = venvs.make(shared / 'PYLONS-1')
    venv.install(wheels['parrot 1'])
    return venv


@pytest.fixture(scope='session')
def parrot_2(shared, wheels):
    venv = venvs.make(shared / 'PYLONS-2')
    venv.install(wheels['parrot 2'])
    return venv


@pytest.fixture
def script(folder):
    """script(text) writes a WSGI script file."""
    def write(text):
        path = folder / 'app.wsgi'
        path.write_text(textwrap.dedent(text))
        path.chmod(0o644)
        return str(path)
    return write


def answer(fpm, group='shop'):
    response = fastcgi.ask(fpm.socket(group))
    assert response.status == 200, fpm.log.text()
    return json.loads(response.body)


ANSWERING = """
    import json, sys
    def application(environ, start_response):
        import parrot
        body = json.dumps({'version': parrot.VERSION, 'file': parrot.__file__, 'path': sys.path}).encode()
        start_response('200 OK', [('Content-Type', 'application/json')])
        return [body]
"""


# The three recipes ----------------------------------------------------------------------------------------


def test_recipe_1_a_baseline_and_an_application_environment_over_it(fpm, apps, baseline, parrot_1):
    """WSGIPythonHome BASELINE; WSGIDaemonProcess python-path=PYLONS-1/lib/pythonX.Y/site-packages."""
    fpm.start({'shop': {'python_home': str(baseline.root), 'python_path': [str(parrot_1.site_packages)],
                        'script': str(apps / 'versions.py')}})
    found = answer(fpm)
    assert found['version'] == '1.0'
    assert found['path'][0] == str(parrot_1.site_packages)
    assert found['prefix'] == str(baseline.root)
    assert str(baseline.site_packages) in found['path']
    assert not [entry for entry in found['path'] if 'dist-packages' in entry]


def test_recipe_2_the_script_calls_addsitedir(fpm, baseline, parrot_1, script):
    fpm.start({'shop': {'python_home': str(baseline.root), 'script': script(
        f"    import site\n    site.addsitedir({str(parrot_1.site_packages)!r})\n" + ANSWERING)}})
    found = answer(fpm)
    assert found['version'] == '1.0'
    assert found['path'][-1] == str(parrot_1.site_packages)


def test_recipe_3_the_script_reorders_sys_path(fpm, parrot_1, parrot_2, script):
    """Over a baseline that is no virgin: what the script adds has to win against it."""
    fpm.start({'shop': {'python_home': str(parrot_2.root), 'script': script(
        f"    ALLDIRS = [{str(parrot_1.site_packages)!r}]" + """
    import sys
    import site

    # Remember original sys.path.
    prev_sys_path = list(sys.path)

    # Add each new site-packages directory.
    for directory in ALLDIRS:
      site.addsitedir(directory)

    # Reorder sys.path so new directories at the front.
    new_sys_path = []
    for item in list(sys.path):
        if item not in prev_sys_path:
            new_sys_path.append(item)
            sys.path.remove(item)
    sys.path[:0] = new_sys_path
""" + ANSWERING)}})
    found = answer(fpm)
    assert (found['version'], found['path'][0]) == ('1.0', str(parrot_1.site_packages))


def test_activate_this_works_in_a_script(fpm, parrot_1, script, folder):
    """virtualenv's activate_this.py, in the Python 3 spelling, reduced to what it does to sys."""
    activate = folder / 'activate_this.py'
    activate.write_text(textwrap.dedent(f"""
        import os, site, sys
        base = {str(parrot_1.root)!r}
        os.environ['PATH'] = os.pathsep.join([base + '/bin'] + os.environ.get('PATH', '').split(os.pathsep))
        os.environ['VIRTUAL_ENV'] = base
        prev_length = len(sys.path)
        site.addsitedir({str(parrot_1.site_packages)!r})
        sys.path[:] = sys.path[prev_length:] + sys.path[0:prev_length]
        sys.real_prefix = sys.prefix
        sys.prefix = base
    """))
    activate.chmod(0o644)
    fpm.start({'shop': {'script': script(
        f"    exec(open({str(activate)!r}).read(), dict(__file__={str(activate)!r}))\n" + ANSWERING)}})
    assert answer(fpm)['version'] == '1.0'


# python-home ------------------------------------------------------------------------------------------------


def test_python_home_alone_serves_from_the_venv(fpm, apps, parrot_1):
    fpm.start({'shop': {'python_home': str(parrot_1.root), 'script': str(apps / 'versions.py')}})
    found = answer(fpm)
    assert found['version'] == '1.0'
    assert found['prefix'] == str(parrot_1.root)
    assert found['executable'] == str(parrot_1.python)


def test_a_virgin_home_sees_nothing_of_the_system(fpm, apps, baseline):
    fpm.start({'shop': {'python_home': str(baseline.root), 'script': str(apps / 'about.py')}})
    assert not [entry for entry in answer(fpm)['path'] if 'dist-packages' in entry]


def test_python_home_may_be_an_installation_prefix(fpm, apps):
    fpm.start({'shop': {'python_home': '/usr', 'script': str(apps / 'about.py')}})
    found = answer(fpm)
    assert (found['prefix'], found['version']) == ('/usr', pythons.default())


def test_the_interpreter_starts_isolated_and_in_utf_8_mode(fpm, apps):
    fpm.write_groups({'shop': {'script': str(apps / 'about.py'), 'env': {'PYTHONPATH': '/nonexistent/from/env'}}})
    fpm.launch(env={'PYTHONHOME': '/nonexistent/home', 'PYTHONPATH': '/nonexistent/path', 'PYTHONOPTIMIZE': '2'})
    fpm.wait_ready()
    found = answer(fpm)
    assert found['flags'] == {'utf8_mode': 1, 'optimize': 0, 'dev_mode': False, 'no_user_site': 1}
    assert not [entry for entry in found['path'] if 'nonexistent' in entry]
    assert found['argv'] == [str(apps / 'about.py')]


def test_optimize_warnings_and_dev_mode_reach_the_interpreter(fpm, apps):
    fpm.start({'shop': {'script': str(apps / 'about.py'), 'python_optimize': 2, 'python_dev_mode': True,
                        'python_warnings': ['error::BytesWarning']}})
    found = answer(fpm)
    assert found['flags']['optimize'] == 2
    assert found['flags']['dev_mode'] is True
    assert 'error::BytesWarning' in found['warnoptions']


def with_another_release(folder, release):
    """A Python prefix whose standard library is its own, and says it is of that release."""
    prefix = venvs.relocated(folder / 'prefix')
    landmark = prefix / 'lib' / f'python{pythons.default()}' / 'os.py'
    text = landmark.read_bytes()
    landmark.unlink()
    landmark.write_bytes(text)
    venvs.project(prefix / 'include' / f'python{pythons.default()}',
                  {'patchlevel.h': f'#define PY_MICRO_VERSION 9\n#define PY_VERSION   "{release}"\n'})
    return prefix


def test_the_standard_library_of_another_release_is_warned_of(fpm, apps, folder):
    """multiprocessing of 3.11.7 on the interpreter of 3.11.2 fails, and only when it is used."""
    prefix, embedded = with_another_release(folder, f'{pythons.default()}.99'), venvs.version_of(pythons.DEBIAN)[1]
    fpm.start({'shop': {'python_home': str(prefix.root), 'script': str(apps / 'about.py')}})
    warned = fpm.log.wait_for(r'warning: \[group shop .*brings the standard library of another Python.*')[0]
    assert f'{pythons.default()}.99 in {prefix.root}' in warned and f'embeds {embedded}' in warned


def test_another_copy_of_the_same_release_is_not_warned_of(fpm, apps, folder):
    prefix = with_another_release(folder, venvs.version_of(pythons.DEBIAN)[1])
    fpm.start({'shop': {'python_home': str(prefix.root), 'script': str(apps / 'about.py')}})
    assert answer(fpm)['prefix'] == str(prefix.root)
    assert 'standard library' not in fpm.log.text()


# The overlay ------------------------------------------------------------------------------------------------


def test_a_venv_root_means_its_site_packages(fpm, apps, parrot_1):
    fpm.start({'shop': {'python_path': [str(parrot_1.root)], 'script': str(apps / 'versions.py')}})
    assert answer(fpm)['path'][0] == str(parrot_1.site_packages)


def test_entries_stand_in_front_in_the_order_of_the_list(fpm, apps, parrot_1, parrot_2, folder):
    plain = folder / 'plain'
    plain.mkdir()
    fpm.start({'shop': {'python_path': [str(plain), str(parrot_2.root), str(parrot_1.root)],
                        'script': str(apps / 'versions.py')}})
    found = answer(fpm)
    assert found['path'][:3] == [str(plain), str(parrot_2.site_packages), str(parrot_1.site_packages)]
    assert found['version'] == '2.0'


def test_an_entry_that_was_there_already_moves_to_the_front(fpm, apps, parrot_1, parrot_2):
    fpm.start({'shop': {'python_home': str(parrot_1.root), 'python_path': [str(parrot_2.root), str(parrot_1.root)],
                        'script': str(apps / 'versions.py')}})
    found = answer(fpm)
    assert found['path'][:2] == [str(parrot_2.site_packages), str(parrot_1.site_packages)]
    assert found['path'].count(str(parrot_1.site_packages)) == 1
    assert found['version'] == '2.0'


def test_the_overlay_wins_against_the_baseline(fpm, apps, parrot_1, parrot_2):
    fpm.start({'shop': {'python_home': str(parrot_1.root), 'python_path': [str(parrot_2.root)],
                        'script': str(apps / 'versions.py')}})
    assert answer(fpm)['version'] == '2.0'


def test_pth_files_are_processed_and_what_they_add_is_in_front(fpm, apps, shared, folder, wheels):
    venv = venvs.make(folder / 'VENV')
    egg = folder / 'parrot-3.egg'
    egg.mkdir()
    (egg / 'parrot.py').write_text("VERSION = '3.0 from an egg'\n")
    (venv.site_packages / 'eggs.pth').write_text(f'# a comment\n{egg}\n/nonexistent/folder\n')
    (venv.site_packages / 'code.pth').write_text('import sys; sys.pth_was_here = True\n')
    fpm.start({'shop': {'python_path': [str(venv.root)], 'script': str(apps / 'versions.py')}})
    found = answer(fpm)
    assert found['version'] == '3.0 from an egg'
    assert found['path'][:2] == [str(venv.site_packages), str(egg)]
    assert '/nonexistent/folder' not in found['path']


def test_groups_with_conflicting_versions_run_side_by_side(fpm, apps, parrot_1, parrot_2):
    script = str(apps / 'versions.py')
    fpm.start({'one': {'python_path': [str(parrot_1.root)], 'script': script},
               'two': {'python_path': [str(parrot_2.root)], 'script': script}})
    assert (answer(fpm, 'one')['version'], answer(fpm, 'two')['version']) == ('1.0', '2.0')


def test_subprocess_and_multiprocessing_start_the_venvs_python(fpm, apps, parrot_1):
    fpm.start({'shop': {'python_home': str(parrot_1.root), 'script': str(apps / 'subprocesses.py')}})
    response = fastcgi.ask(fpm.socket('shop'))
    assert response.body.decode() == f'{parrot_1.root} 1.0\n42\n'


def test_with_an_overlay_alone_sys_executable_is_still_a_python(fpm, apps, parrot_1):
    fpm.start({'shop': {'python_path': [str(parrot_1.root)], 'script': str(apps / 'versions.py')}})
    executable = answer(fpm)['executable']
    assert 'python' in executable and 'host-' not in executable


# Several Pythons --------------------------------------------------------------------------------------------


def test_the_venv_chooses_the_host(fpm, apps, shared, other_python):
    version, interpreter = other_python
    venv = venvs.make(shared / f'VENV-{version}', interpreter)
    who = pythons.identity(interpreter)
    script = str(apps / 'about.py')
    fpm.start({'home': {'python_home': str(venv.root), 'script': script, **who},
               'path': {'python_path': [str(venv.root)], 'script': script, **who},
               'said': {'python_version': version, 'script': script, **who},
               'none': {'script': script}})
    for group in ('home', 'path', 'said'):
        assert answer(fpm, group)['version'] == version
    assert answer(fpm, 'none')['version'] == pythons.default()
    assert answer(fpm, 'home')['executable'] == str(venv.python)


# What is refused --------------------------------------------------------------------------------------------


def refused(fpm, groups, *sentence):
    """The group answers 503, and the log and check say why in these words."""
    fpm.expect(*sentence, r'error: \[group shop')
    fpm.write_groups(groups)
    check = fpm.command('check')
    assert check.returncode == 1
    said = check.stdout + check.stderr
    fpm.start()
    for words in sentence:
        assert re.search(words, said), said
        fpm.log.wait_for(words)
    assert fastcgi.ask(fpm.socket('shop')).status == 503
    # Ready is said while the failed template may still be there; between two tries it is not.
    wait_until(lambda: not processes.zombies_of(fpm.pid) and not fpm.hosts(), 'the failed template is gone')
    fpm.note_descriptors()


def test_a_venv_of_another_version_is_refused_with_a_sentence(fpm, apps, folder):
    venv = venvs.make(folder / 'VENV')
    config = (venv.root / 'pyvenv.cfg')
    config.write_text(config.read_text().replace(f'version = {pythons.default()}', 'version = 3.7'))
    refused(fpm, {'shop': {'python_home': str(venv.root), 'python_version': pythons.default(),
                           'script': str(apps / 'hello.py')}}, r'3\.7', 'pyvenv.cfg')


def test_an_overlay_of_another_version_is_refused_with_a_sentence(fpm, apps, folder, baseline):
    venv = venvs.make(folder / 'VENV')
    config = (venv.root / 'pyvenv.cfg')
    config.write_text(config.read_text().replace(f'version = {pythons.default()}', 'version = 3.7'))
    refused(fpm, {'shop': {'python_home': str(baseline.root), 'python_path': [str(venv.root)],
                           'script': str(apps / 'hello.py')}}, r'3\.7')


def test_a_python_without_a_host_is_refused_by_name(fpm, apps):
    refused(fpm, {'shop': {'python_version': '3.99', 'script': str(apps / 'hello.py')}}, r'3\.99')


def test_a_missing_folder_is_refused_naming_the_part_that_is_missing(fpm, apps, folder):
    missing = folder / 'nothing' / 'here' / 'site-packages'
    refused(fpm, {'shop': {'python_path': [str(missing)], 'script': str(apps / 'hello.py')}},
            str(folder / 'nothing'))


def test_a_missing_home_is_refused_naming_the_part_that_is_missing(fpm, apps, folder):
    refused(fpm, {'shop': {'python_home': str(folder / 'nothing' / 'VENV'), 'script': str(apps / 'hello.py')}},
            str(folder / 'nothing'))


@pytest.mark.skipif(os.geteuid() != 0, reason='only root can make a folder that the group cannot read')
def test_a_folder_the_user_may_not_enter_is_refused_naming_folder_and_user(fpm, apps, folder):
    closed = folder / 'closed'
    (closed / 'inside').mkdir(parents=True)
    closed.chmod(0o700)
    refused(fpm, {'shop': {'python_path': [str(closed / 'inside')], 'script': str(apps / 'hello.py')}},
            str(closed), 'nobody')


def test_a_missing_package_is_said_with_its_traceback(fpm, apps, baseline):
    refused(fpm, {'shop': {'python_home': str(baseline.root), 'script': str(apps / 'versions.py')}},
            "No module named 'parrot'", r'versions\.py')


def test_a_name_that_is_not_there_is_said(fpm, apps):
    refused(fpm, {'shop': {'python_path': [str(apps)], 'application': 'factory:no_such_name'}}, 'no_such_name')


def test_something_not_callable_is_said(fpm, apps):
    refused(fpm, {'shop': {'python_path': [str(apps)], 'application': 'factory:not_callable'}}, 'not_callable')


def test_a_missing_script_is_said(fpm, folder):
    refused(fpm, {'shop': {'script': str(folder / 'no.wsgi')}}, r'no\.wsgi')


def test_a_reload_to_a_broken_environment_keeps_the_old_one(fpm, apps, parrot_1, folder):
    script = str(apps / 'versions.py')
    fpm.start({'shop': {'python_path': [str(parrot_1.root)], 'script': script}})
    fpm.expect(RELOAD_FAILED, r'error: \[group shop')
    fpm.write_groups({'shop': {'python_path': [str(folder / 'gone')], 'script': script}})
    fpm.reload(outcome=RELOAD_FAILED)
    assert answer(fpm)['version'] == '1.0'
