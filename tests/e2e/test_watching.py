"""Watched environments: a group that runs old code says so, and with reload-on-change it moves on by itself."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile

import pytest

import fastcgi
import processes
import pythons
import venvs
from load import Load
from processes import wait_until
from pyfpm import BUILD, IS_ROOT

CHANGED = r'warning: \[group {group}\] environment has changed since generation {generation} started: '
RELOADING = r'notice: \[group {group}\] reloading: '
SERVING = r'notice: \[group {group}\] generation {generation} is serving'

# Installing 2,000 files under a sanitizer takes its time, and settling after it.
SETTLED = int(os.environ.get('SETTLED', 60)) * processes.SLOWNESS


def changed(group='shop', generation=1):
    return CHANGED.format(group=group, generation=generation)


def reloading(group='shop'):
    return RELOADING.format(group=group)


def serving(generation, group='shop'):
    return SERVING.format(group=group, generation=generation)


@pytest.fixture(scope='session')
def wheels(shared):
    folder = shared / 'watched-wheels'
    folder.mkdir()
    broken = {'parrot.py': 'raise RuntimeError("parrot is no more")\n'}
    return {'1': venvs.package(folder, 'parrot', '1.0'), '2': venvs.package(folder, 'parrot', '2.0'),
            '3': venvs.package(folder, 'parrot', '3.0'), 'broken': venvs.wheel(folder, 'parrot', '6.6', broken),
            'extra': venvs.package(folder, 'extra', '7.0')}


@pytest.fixture
def venv(folder, wheels):
    made = venvs.make(folder / 'VENV')
    made.install(wheels['1'])
    return made


def watched(venv, apps, *watched, **keys):
    """A group on that environment whose answer names the version of parrot."""
    more = {'reload_on_change': list(watched)} if watched else {}
    return {'python_home': str(venv.root), 'script': str(apps / 'versions.py'), **more, **keys}


def version(fpm, group='shop'):
    return json.loads(fastcgi.ask(fpm.socket(group)).body)['version']


def script_saying(path, word):
    """Replaces the file in one step, as an editor does."""
    new = path.with_name('new')
    new.write_text(f"def application(environ, start_response):\n"
                   f"    start_response('200 OK', [])\n    return [b'{word}']\n")
    new.chmod(0o644)
    new.rename(path)


def body(fpm, group='shop'):
    return fastcgi.ask(fpm.socket(group)).body.decode()


# Staleness ----------------------------------------------------------------------------------------------


def test_an_upgraded_package_is_told_and_the_old_one_serves_on(fpm, apps, venv, wheels, nginx):
    fpm.start({'shop': watched(venv, apps, processes=2)})
    server = nginx(fpm.socket('shop'))
    before = fpm.wait_workers('shop', 2)
    venv.upgrade('parrot', wheels['2'])
    fpm.log.wait_for(changed() + r'parrot 1\.0 → 2\.0$', deadline=SETTLED)
    assert {json.loads(server.ask('/').body)['version'] for _ in range(10)} == {'1.0'}
    assert fpm.workers('shop') == before
    venv.install(wheels['extra'])
    fpm.log.wait_for(changed() + r'parrot 1\.0 → 2\.0, extra 7\.0 added$', deadline=SETTLED)
    fpm.reload()
    # A worker that was told to drain may take one more request before it hears of it.
    wait_until(lambda: version(fpm) == '2.0', 'the upgraded package serves')
    since = fpm.log.position()
    venv.upgrade('parrot', wheels['3'])
    fpm.log.wait_for(changed(generation=2) + r'parrot 2\.0 → 3\.0$', since, deadline=SETTLED)
    assert len(fpm.log.find('environment has changed')) == 3
    assert not fpm.log.find(reloading())


def test_what_goes_back_to_what_it_was_is_not_stale_any_more(fpm, apps, venv, wheels):
    fpm.start({'shop': watched(venv, apps)})
    config = venv.root / 'pyvenv.cfg'
    was = config.read_text()
    config.write_text(was + 'prompt = other\n')
    fpm.log.wait_for(changed() + f'pyvenv.cfg of {re.escape(str(venv.root))} changed$', deadline=SETTLED)
    config.write_text(was)
    fpm.log.wait_for('notice: .* environment is again as it was when generation 1 started', deadline=SETTLED)


def test_the_same_version_installed_again_is_told(fpm, apps, venv, wheels):
    fpm.start({'shop': watched(venv, apps)})
    venv.upgrade('parrot', wheels['1'])
    fpm.log.wait_for(changed() + r'parrot 1\.0 reinstalled$', deadline=SETTLED)


def test_a_pth_file_rewritten_in_place_is_told(fpm, apps, venv):
    pth = venv.site_packages / 'more.pth'
    pth.write_text('/nowhere\n')
    fpm.start({'shop': watched(venv, apps)})
    pth.write_text('/elsewhere\n')
    fpm.log.wait_for(changed() + r'more\.pth of \S+ changed$', deadline=SETTLED)


def test_python_path_folders_and_the_base_of_an_environment_are_watched(fpm, apps, folder, venv, wheels):
    """An environment in python-path by its root, one by its site-packages, and a plain folder."""
    other = venvs.make(folder / 'OTHER')
    plain = folder / 'plain'
    plain.mkdir(0o755)
    fpm.start({'shop': {'python_path': [str(venv.root), str(other.site_packages), str(plain)],
                        'script': str(apps / 'versions.py')}})
    other.install(wheels['extra'])
    fpm.log.wait_for(changed() + r'extra 7\.0 added$', deadline=SETTLED)
    other.uninstall('extra')
    fpm.log.wait_for('environment is again as it was', deadline=SETTLED)
    info = plain / 'lonely-1.5.egg-info'
    info.mkdir()
    fpm.log.wait_for(changed() + r'lonely 1\.5 added$', deadline=SETTLED)


def test_an_environment_that_goes_away_is_told_and_a_rebuilt_one_too(fpm, apps, venv, wheels):
    fpm.start({'shop': watched(venv, apps, preload=True)})
    shutil.rmtree(venv.root)
    fpm.log.wait_for(changed() + f'python-home: {re.escape(str(venv.root))} is missing$', deadline=SETTLED)
    assert version(fpm) == '1.0'
    again = venvs.make(venv.root)
    again.install(wheels['2'])
    fpm.log.wait_for(changed() + r'parrot 1\.0 → 2\.0', deadline=SETTLED)



@pytest.fixture
def private_library(folder):
    """A pyfpm of its own whose host finds its libpython in a folder that can be changed: (program, library)."""
    host = BUILD / 'libexec' / 'pyfpm' / f'host-{pythons.default()}'
    linked = subprocess.run(['ldd', host], capture_output=True, text=True, check=True).stdout
    found = re.search(r'(libpython\S+) => (\S+)', linked)
    for inside in ('bin', 'libexec/pyfpm', 'lib'):
        (folder / 'copy' / inside).mkdir(parents=True)
    shutil.copy(BUILD / 'bin' / 'pyfpm', folder / 'copy' / 'bin')
    for program in (host, host.with_name('responder')):
        shutil.copy(program, folder / 'copy' / 'libexec' / 'pyfpm')
    library = folder / 'copy' / 'lib' / found[1]
    shutil.copy(found[2], library)
    return folder / 'copy' / 'bin' / 'pyfpm', library


def test_another_base_python_is_told_with_both_versions(fpm, apps, private_library):
    """As a package manager does it: the new libpython takes the old one's name, which running processes keep."""
    program, library = private_library
    fpm.write_groups({'shop': {'script': str(apps / 'hello.py')}})
    fpm.launch(wrapper=('sh', '-c', f'exec {program} "$@"'), env={'LD_LIBRARY_PATH': str(library.parent)})
    fpm.wait_ready()
    now = '.'.join(map(str, sys.version_info[:3]))
    then = now[:-1] + ('9' if now[-1] != '9' else '8')

    def install(contents):
        new = library.with_name('new')
        new.write_bytes(contents)
        new.chmod(0o644)
        new.rename(library)
    original = library.read_bytes()
    install(original)
    fpm.log.wait_for(changed() + rf'base Python {re.escape(now)} reinstalled \({library}\)$', deadline=SETTLED)
    install(original.replace(f'{now}\0'.encode(), f'{then}\0'.encode()))
    fpm.log.wait_for(changed() + rf'base Python {re.escape(now)} → {re.escape(then)}$', deadline=SETTLED)


def test_names_and_versions_from_disk_cannot_forge_a_log_line(fpm, apps, venv):
    fpm.start({'shop': watched(venv, apps)})
    evil = venv.site_packages / 'evil\n2000-01-01T00:00:00.000Z alert: forged-1\x1b[2J.dist-info'
    evil.mkdir()
    line = fpm.log.wait_for(changed() + r'.*forged.*$', deadline=SETTLED)[0]
    assert r'\x0a2000-01-01t00:00:00' in line and '\x1b' not in line
    assert not fpm.log.find('^2000')


def test_the_host_tells_a_fingerprint_only_to_a_supervisor():
    host = BUILD / 'libexec' / 'pyfpm' / f'host-{pythons.default()}'
    done = subprocess.run([host, '--fingerprint'], capture_output=True, text=True)
    assert done.returncode == 64 and 'started by pyfpm' in done.stderr


# Reloading --------------------------------------------------------------------------------------------------


def expect_version(connection, number):
    connection.request('GET', '/')
    response = connection.getresponse()
    got = response.read()
    return None if response.status == 200 and b'"version"' in got else f'{response.status} {got[:200]}'


def big_wheel(folder, count):
    """A wheel of many files; its dist-info comes last, as in real ones."""
    files = {f'big/part{i % 7}/module{i}.py': f'X = {i}\n' for i in range(count)}
    return venvs.wheel(folder, 'big', '1.0', files)


def test_an_upgrade_in_bursts_under_load_makes_one_reload_and_fails_no_request(fpm, apps, folder, venv, wheels, nginx):
    """Hundreds of files, for longer than it takes to settle, most deep below folders that nobody watches."""
    fpm.start({'shop': watched(venv, apps, 'environment', processes=2)})
    server = nginx(fpm.socket('shop'))
    with Load(server.connect, expect_version, threads=3) as load:
        load.wait_for(50)
        venv.upgrade('parrot', wheels['2'])
        with zipfile.ZipFile(big_wheel(folder, 300)) as archive:
            names = archive.namelist()

            def seen_writing_twice():
                for start in range(0, 300, 50):
                    archive.extractall(venv.site_packages, names[start:start + 50])
                    load.wait_for(100)
                return len(fpm.log.find('environment is still being written')) >= 2
            wait_until(seen_writing_twice, 'pyfpm waits for the end of the installation', SETTLED)
            archive.extractall(venv.site_packages)
        fpm.log.wait_for(serving(2), deadline=SETTLED)
        fpm.wait_workers('shop', 2)
        wait_until(lambda: {version(fpm) for _ in range(10)} == {'2.0'}, 'the new version serves')
        load.wait_for(200)
    assert load.failures == []
    found = fpm.log.find(reloading() + '(.*)$')
    assert [match[1] for match in found] == ['parrot 1.0 → 2.0, big 1.0 added']
    assert not fpm.log.find('environment has changed')


def test_an_environment_whose_canary_fails_is_tried_once_and_again_when_it_has_changed(fpm, apps, venv, wheels):
    fpm.expect('parrot is no more')
    fpm.start({'shop': watched(venv, apps, 'environment')})
    before = fpm.wait_workers('shop', 1)
    venv.upgrade('parrot', wheels['broken'])
    failed = r'error: \[group shop\] reload failed, generation 1 keeps serving: '
    fpm.log.wait_for(failed, deadline=SETTLED)
    assert version(fpm) == '1.0' and fpm.workers('shop') == before
    stray = venv.site_packages / 'stray-1.dist-info'
    stray.mkdir()
    stray.rmdir()  # something happened, but nothing has changed: no try
    fpm.log.wait_for(r'debug: \[group shop\] looked at the environment: nothing new', deadline=SETTLED)
    venv.install(wheels['extra'])  # another change, so another try
    fpm.log.wait_for(failed, count=2, deadline=SETTLED)
    reasons = [match[1] for match in fpm.log.find(reloading() + '(.*)$')]
    assert reasons == ['parrot 1.0 → 6.6', 'parrot 1.0 → 6.6, extra 7.0 added']
    venv.upgrade('parrot', wheels['3'])
    fpm.log.wait_for(serving(4), deadline=SETTLED)
    wait_until(lambda: version(fpm) == '3.0', 'the mended version serves')


@pytest.mark.parametrize('key', ['python_home', 'python_path'])
def test_an_environment_removed_and_rebuilt_reloads_once_it_is_whole(fpm, apps, venv, wheels, key):
    """While it is away there is nothing to try."""
    fpm.start({'shop': {key: str(venv.root), 'script': str(apps / 'versions.py'),
                        'reload_on_change': 'environment'}})
    shutil.rmtree(venv.root)
    fpm.log.wait_for(f'{re.escape(str(venv.root))} is missing', deadline=SETTLED)
    venvs.make(venv.root).install(wheels['2'])
    fpm.log.wait_for(serving(2), deadline=SETTLED)
    wait_until(lambda: version(fpm) == '2.0', 'the new environment serves')
    assert len(fpm.log.find(reloading())) == 1


def test_a_change_that_nobody_could_look_at_is_looked_at_again(fpm, apps, folder, venv, wheels):
    home = folder / 'home'
    home.mkdir()
    home.chmod(0o755)
    fpm.expect('cannot tell whether the environment has changed: chdir')
    fpm.start({'shop': watched(venv, apps, 'environment', chdir=str(home))})
    away = home.rename(folder / 'away')
    venv.upgrade('parrot', wheels['2'])
    fpm.log.wait_for('cannot tell whether the environment has changed', deadline=SETTLED)
    away.rename(home)  # which nobody watches
    fpm.log.wait_for(reloading() + r'parrot 1\.0 → 2\.0$', deadline=SETTLED)
    fpm.log.wait_for(serving(2))
    wait_until(lambda: version(fpm) == '2.0', 'the new code answers')
    assert len(fpm.log.find('cannot tell whether')) == 1


def test_a_change_during_a_reload_is_not_lost(fpm, apps, folder, venv, wheels):
    """The template of the next generation waits in its import while the environment changes again."""
    gate = folder / 'gate'
    gate.mkdir()
    gate.chmod(0o777)
    script = folder / 'gated.py'
    script.write_text(f"""
import os, sys, time
sys.path.insert(0, {str(apps)!r})
import parrot
if parrot.VERSION == '2.0':
    open({str(gate / 'in')!r}, 'w').close()
    while not os.path.exists({str(gate / 'go')!r}):
        time.sleep(0.01)
from versions import application
""")
    script.chmod(0o644)
    fpm.start({'shop': watched(venv, apps, 'environment', 'script', script=str(script)),
               'plain': watched(venv, apps)})
    venv.upgrade('parrot', wheels['2'])
    wait_until((gate / 'in').exists, 'the new generation imports', SETTLED)
    venv.upgrade('parrot', wheels['3'])
    fpm.log.wait_for(changed('plain') + r'parrot 1\.0 → 3\.0$', deadline=SETTLED)
    venv.install(wheels['extra'])
    fpm.log.wait_for(changed('plain') + r'.*extra 7\.0 added$', deadline=SETTLED)
    (gate / 'go').touch()
    fpm.log.wait_for(serving(3), deadline=SETTLED)
    wait_until(lambda: version(fpm) == '3.0', 'the last version serves')
    reasons = [match[1] for match in fpm.log.find(reloading() + '(.*)$')]
    assert reasons == ['parrot 1.0 → 2.0', 'parrot 2.0 → 3.0, extra 7.0 added']
    assert fpm.log.find(serving(2))


@pytest.fixture
def script(folder):
    path = folder / 'site' / 'app.wsgi'
    path.parent.mkdir(0o755)
    script_saying(path, 'one')
    return path


def test_a_changed_script_reloads_however_it_was_changed(fpm, script):
    fpm.start({'shop': {'script': str(script), 'reload_on_change': 'script'}})
    script_saying(script, 'two')
    fpm.log.wait_for(serving(2), deadline=SETTLED)
    wait_until(lambda: body(fpm) == 'two', 'the replaced script serves')
    script.write_text(script.read_text().replace('two', 'three'))
    fpm.log.wait_for(serving(3), deadline=SETTLED)
    wait_until(lambda: body(fpm) == 'three', 'the script written in place serves')
    os.utime(script)
    fpm.log.wait_for(serving(4), deadline=SETTLED)
    reasons = [match[1] for match in fpm.log.find(reloading() + '(.*)$')]
    assert reasons == [f'{script} changed'] * 3


def test_other_files_beside_the_script_do_not_matter(fpm, script):
    fpm.start({'shop': {'script': str(script), 'reload_on_change': 'script'}})
    for i in range(50):
        (script.parent / f'data{i}').write_text('x')
    script_saying(script, 'two')
    fpm.log.wait_for(serving(2), deadline=SETTLED)
    assert len(fpm.log.find(reloading())) == 1


def test_a_release_switched_by_a_link_reloads(fpm, folder):
    """As Capistrano does it: current is a link, replaced in one step; script and a PATH lie behind it."""
    for release, word in (('1', 'one'), ('2', 'two'), ('3', 'three')):
        (folder / 'releases' / release).mkdir(parents=True)
        script_saying(folder / 'releases' / release / 'app.wsgi', word)
    current = folder / 'current'

    def switch(release):
        new = folder / 'current.new'
        new.symlink_to(folder / 'releases' / release)
        new.rename(current)
    switch('1')
    fpm.start({'shop': {'script': str(current / 'app.wsgi'), 'reload_on_change': 'script'},
               'path': {'script': str(current / 'app.wsgi'), 'reload_on_change': [str(current)]}})
    switch('2')
    for group in ('shop', 'path'):
        fpm.log.wait_for(serving(2, group), deadline=SETTLED)
        wait_until(lambda: body(fpm, group) == 'two', 'the new release serves')
    script_saying(folder / 'releases' / '2' / 'app.wsgi', 'patched')
    for group in ('shop', 'path'):
        fpm.log.wait_for(serving(3, group), deadline=SETTLED)
    (folder / 'releases').rename(folder / 'moved')
    shutil.copytree(folder / 'moved', folder / 'releases')
    script_saying(folder / 'releases' / '2' / 'app.wsgi', 'moved')
    for group in ('shop', 'path'):
        fpm.log.wait_for(serving(4, group), deadline=SETTLED)
        wait_until(lambda: body(fpm, group) == 'moved', 'what took the place serves')


def test_a_folder_is_watched_with_everything_below_it(fpm, script, folder):
    fpm.start({'shop': {'script': str(script), 'reload_on_change': [str(script.parent)]}})
    (script.parent / 'a' / 'b').mkdir(parents=True)
    (script.parent / 'a' / 'b' / 'deep.py').write_text('x = 1\n')
    fpm.log.wait_for(serving(2), deadline=SETTLED)
    (script.parent / 'a' / 'b' / 'deep.py').write_text('x = 2\n')
    fpm.log.wait_for(serving(3), deadline=SETTLED)
    assert fpm.log.find(reloading() + f'{script.parent}/a/b/deep.py changed$')
    for ignored in ('.git/index', '__pycache__/app.pyc', 'node_modules/x.js', 'a/.hidden', 'a/b/deep.pyc', 'a/b/x~'):
        (script.parent / ignored).parent.mkdir(exist_ok=True)
        (script.parent / ignored).write_text('x')
    script_saying(script, 'two')
    fpm.log.wait_for(serving(4), deadline=SETTLED)
    wait_until(lambda: body(fpm) == 'two', 'the last change serves')
    assert len(fpm.log.find(reloading())) == 3


def test_groups_that_share_an_environment_all_reload_and_the_others_do_not(fpm, apps, venv, wheels):
    fpm.start({'one': watched(venv, apps, 'environment'), 'two': watched(venv, apps, 'environment'),
               'three': watched(venv, apps)})
    venv.upgrade('parrot', wheels['2'])
    for group in ('one', 'two'):
        fpm.log.wait_for(serving(2, group), deadline=SETTLED)
        wait_until(lambda: version(fpm, group) == '2.0', f'{group} serves the new version')
    fpm.log.wait_for(changed('three') + r'parrot 1\.0 → 2\.0$', deadline=SETTLED)
    assert version(fpm, 'three') == '1.0'
    assert not fpm.log.find(reloading('three'))


def test_scripts_and_environments_of_applications_are_watched_too(fpm, apps, venv, wheels, script):
    one = {'mount': '/', 'script': str(script)}
    two = {'mount': '/two', 'script': str(apps / 'versions.py'), 'interpreter': 'two', 'python-path': [str(venv.root)]}
    fpm.start({'shop': {'applications': [one, two], 'reload_on_change': ['script', 'environment']}})
    script_saying(script, 'two')
    fpm.log.wait_for(serving(2), deadline=SETTLED)
    venv.upgrade('parrot', wheels['2'])
    fpm.log.wait_for(serving(3), deadline=SETTLED)
    reasons = [match[1] for match in fpm.log.find(reloading() + '(.*)$')]
    assert reasons == [f'{script} changed', 'parrot 1.0 → 2.0']


def test_a_reload_from_disk_does_not_read_the_configuration(fpm, script, folder):
    keys = {'script': str(script), 'reload_on_change': 'script'}
    fpm.start({'shop': keys})
    fpm.write_groups({'shop': {**keys, 'processes': 3}})
    script_saying(script, 'two')
    fpm.log.wait_for(serving(2), deadline=SETTLED)
    wait_until(lambda: body(fpm) == 'two', 'the new script serves')
    fpm.wait_workers('shop', 1)


def test_a_group_that_cannot_start_tries_again_when_its_script_is_mended(fpm, script):
    script.write_text('raise RuntimeError("not yet")\n')
    fpm.expect('not yet')
    fpm.checks_descriptors = False
    fpm.start({'shop': {'script': str(script), 'reload_on_change': 'script', 'restart_delay': '1h',
                        'restart_delay_max': '1h'}})
    script_saying(script, 'mended')
    fpm.log.wait_for(serving(2), deadline=SETTLED)
    assert fpm.log.find(rf'trying again: {script} changed')
    assert body(fpm) == 'mended'


def test_reload_by_hand_takes_pending_changes_with_it(fpm, apps, venv, wheels, script):
    """A script that was saved a moment before a HUP does not make a second reload."""
    script.write_text((apps / 'versions.py').read_text())
    fpm.start({'shop': watched(venv, apps, 'script', script=str(script))})
    os.utime(script)
    fpm.reload()
    venv.install(wheels['extra'])  # shows when the group has looked at everything once more
    fpm.log.wait_for(changed(generation=2) + 'extra 7.0 added$', deadline=SETTLED)
    venv.uninstall('extra')
    fpm.log.wait_for('environment is again as it was when generation 2 started', deadline=SETTLED)
    assert not fpm.log.find(reloading())


# Costs and limits -----------------------------------------------------------------------------------------------


def switches(pid):
    """How often the process was put to sleep or taken off the processor since it started."""
    return sum(int(processes.status_field(pid, name)[0])
               for name in ('voluntary_ctxt_switches', 'nonvoluntary_ctxt_switches'))


def test_an_idle_supervisor_does_nothing_while_groups_serve(fpm, apps, venv, wheels, nginx):
    """Its context switches stand still while requests go by, so nothing polls; also after it had something to do."""
    fpm.start({f'shop{i}': watched(venv, apps, 'environment', 'script', str(apps)) for i in range(6)})
    server = nginx(fpm.socket('shop0'))
    venv.install(wheels['extra'])
    for i in range(6):
        fpm.log.wait_for(serving(2, f'shop{i}'), deadline=SETTLED)

    def quiet_for_a_while():
        before = switches(fpm.pid)
        with Load(server.connect, expect_version, threads=2) as load:
            load.wait_for(5000)
        return switches(fpm.pid) == before
    wait_until(quiet_for_a_while, 'the supervisor sleeps through 5000 requests')


def test_descriptors_come_back_when_watching_groups_go(fpm, apps, venv, script):
    shop = watched(venv, apps, 'environment')
    fpm.start({'shop': shop})
    fpm.write_groups({'shop': shop, 'more': {**shop, 'reload-on-change': ['environment', str(script.parent)]}})
    fpm.reload()
    fpm.write_groups({'shop': shop})
    fpm.reload()
    fpm.wait_workers('more', 0)  # the frame compares the descriptors


def test_a_change_at_the_stop_does_nothing(fpm, apps, script, folder):
    gate = folder / 'gate'
    gate.mkdir()
    gate.chmod(0o777)
    fpm.start({'shop': {'script': str(apps / 'gate.py'), 'env': {'GATE': str(gate)},
                        'reload_on_change': [str(script)]}})
    with fastcgi.Connection(fpm.socket('shop')) as slow:
        slow.send(fastcgi.request(fastcgi.environ('/wait', query='a')))
        wait_until((gate / 'a.in').exists, 'the request is inside')
        script_saying(script, 'two')
        fpm.signal(signal.SIGQUIT)
        fpm.log.wait_for('stopping: finishing requests')
        script_saying(script, 'three')
        (gate / 'a.go').touch()
        assert slow.receive().status == 200
    fpm.wait_exit()
    assert not fpm.log.find(reloading())


IN_OWN_NAMESPACE = ('unshare', '--user', '--map-root-user', 'sh', '-c')


@pytest.mark.parametrize('limit, most, says', [('instances', 0, 'cannot watch any folder'),
                                               ('watches', 3, 'cannot watch more folders')])
def test_without_enough_watches_it_says_so_once_and_serves(fpm, apps, venv, limit, most, says):
    """The limit is that of a user namespace, so that nobody else feels it; in a second one pyfpm is not root."""
    lower = f'echo {most} > /proc/sys/user/max_inotify_{limit}'
    if subprocess.run([*IN_OWN_NAMESPACE, lower], capture_output=True).returncode != 0:
        pytest.skip('no user namespace can be had here')
    keys = watched(venv, apps, 'environment', user=None, listen_group=None)
    fpm.write_groups({'shop': keys, 'more': keys})
    fpm.launch(wrapper=(*IN_OWN_NAMESPACE, f'{lower} && exec unshare --user --map-user=1000 "$0" "$@"'))
    fpm.wait_ready()
    assert version(fpm) == version(fpm, 'more') == '1.0'
    assert len(fpm.log.find(f'warning: {says}: .*max_user_{limit}')) == 1


@pytest.mark.skipif(not IS_ROOT, reason='only root can change the root folder')
def test_links_are_followed_inside_the_chroot(fpm, folder):
    """/site is an absolute link there; outside the chroot there is nothing of that name."""
    root = folder / 'root'
    for release in ('1', '2'):
        (root / 'releases' / release).mkdir(parents=True)
        (root / 'releases' / release / 'watched.txt').write_text(release)
    (root / 'site').symlink_to('/releases/1')
    script = root / 'app.wsgi'
    script_saying(script, 'one')
    for path in ('/usr', '/lib', '/lib64', '/bin', '/etc'):
        if os.path.islink(path):
            (root / path[1:]).symlink_to(os.readlink(path))
    fpm.expect('cannot start', 'No such file', 'encodings', 'chroot', r'\[group shop\]')
    fpm.start({'shop': {'script': '/app.wsgi', 'chroot': str(root), 'reload_on_change': ['/site'],
                        'restart_delay': '1h', 'restart_delay_max': '1h'}})
    new = root / 'site.new'
    new.symlink_to('/releases/2')
    new.rename(root / 'site')
    fpm.log.wait_for(r'trying again: /site changed', deadline=SETTLED)
