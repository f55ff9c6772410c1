"""Hosts that are added to a pyfpm that is installed, or runs; and what is refused instead, in which words."""

import os
import pathlib
import re
import shutil
import signal
import subprocess

import fastcgi
import installed
import processes
import pytest
import pythons
import venvs
from processes import DEADLINE, wait_until
from pyfpm import IS_ROOT, LIBEXEC, RELOAD_FAILED, ROOT, WEB_USER
from webserver import with_locations

# Interpreters below a home that only root may enter serve root's groups.
ANYWHERE = {'user': None, 'allow-root': True, 'listen-group': WEB_USER} if IS_ROOT else {}


@pytest.fixture(scope='module')
def pristine(shared):
    """An installation that no test changes."""
    return installed.install(shared / 'usr local')


@pytest.fixture
def tree(pristine, folder):
    """One of the test's own, without the default's host; a prefix with a space in it."""
    copy = folder / 'usr local'
    shutil.copytree(pristine, copy)
    (copy / 'libexec' / 'pyfpm' / f'host-{pythons.default()}').unlink()
    return copy


@pytest.fixture
def temporary(folder):
    """Where add-python makes its folder; empty again afterwards."""
    made = folder / 'tmp'
    made.mkdir()
    yield made
    assert list(made.iterdir()) == []


def files(tree):
    return sorted(path.name for path in (tree / 'libexec' / 'pyfpm').iterdir())


def command(tree, temporary, *arguments, **environment):
    return {'args': [installed.program(tree), 'add-python', *arguments], 'text': True, 'stdin': subprocess.DEVNULL,
            'env': {'PATH': os.environ['PATH'], 'HOME': os.environ.get('HOME', '/'), 'TMPDIR': str(temporary),
                    **environment}}


def add(tree, temporary, *arguments, **environment):
    return subprocess.run(**command(tree, temporary, *arguments, **environment), capture_output=True,
                          timeout=10 * DEADLINE)


def refused(done, sentence):
    assert (done.returncode, done.stdout) == (1, ''), done.stdout + done.stderr
    assert re.fullmatch(rf'pyfpm: {sentence}\n', done.stderr), done.stderr


def script(path, text):
    path.write_text(f'#!/bin/sh\n{text}\n')
    path.chmod(0o755)
    return path


# Adding -------------------------------------------------------------------------------------------------------


def test_a_group_whose_python_has_no_host_fails_alone_and_serves_once_it_is_added(fpm, apps, folder, shared, nginx,
                                                                                  temporary):
    """The whole story, through nginx: DESTDIR, another prefix, 503 beside 200, add-python, no restart."""
    found = pythons.addable()
    if found is None:
        pytest.skip('one Python only')
    version, python = found
    tree = installed.install('/opt/pyfpm', destdir=folder / 'image')
    (tree / 'libexec' / 'pyfpm' / f'host-{version}').unlink(missing_ok=True)
    venv = venvs.make(folder / 'venv', python)
    fpm.program = installed.program(tree)
    fpm.expect(rf'there is no host for Python {version}', 'the same as before')
    fpm.start({'late': {'script': str(apps / 'about.py'), 'python-home': str(venv.root),
                        'restart-delay': '50ms', 'restart-delay-max': '200ms', **ANYWHERE},
               'fine': {'script': str(apps / 'hello.py')}})
    fpm.checks_descriptors = False  # it started with a group that had none of its own
    log = fpm.log.text()
    hosts = ', '.join(pythons.hosts(tree / 'libexec' / 'pyfpm'))
    assert f'there is no host for Python {version}, which {venv.root}/pyvenv.cfg asks for; hosts are installed ' \
           f'for: {hosts} (add one: pyfpm add-python {os.path.realpath(python)})' in log
    web = nginx(fpm.socket('fine'), edit=with_locations({'/late': fpm.socket('late')}))
    assert (web.ask('/').status, web.ask('/late').status) == (200, 503)

    pid = fpm.pid
    done = add(tree, temporary, python)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith(f'added {tree}/libexec/pyfpm/host-{version}: Python {version}.')
    answer = wait_until(lambda: (a := web.ask('/late')).status == 200 and a, 'the group serves')
    assert f'"version": "{version}"'.encode() in answer.body
    assert f'"prefix": "{venv.root}"'.encode() in answer.body
    assert web.ask('/').body == b'hello\n'
    assert fpm.pid == pid and fpm.is_running()


def dynamic(host):
    """What the dynamic linker is told, without addresses: libraries, search path, flags, symbols wanted."""
    entries = installed.run('readelf', '-dW', host).stdout
    tags = re.findall(r'\((NEEDED|RUNPATH|RPATH|FLAGS|FLAGS_1)\)\s+(.*)', entries)
    symbols = installed.run('readelf', '-W', '--dyn-syms', host).stdout
    return sorted(tags), sorted(re.findall(r'\bUND (\S+)', symbols))


def test_a_host_added_to_the_build_tree_is_built_like_the_others(folder, temporary):
    tree = installed.copy_build_tree(folder / 'build')
    name = f'host-{pythons.default()}'
    (tree / 'libexec' / 'pyfpm' / name).unlink()
    done = add(tree, temporary, pythons.DEBIAN)
    assert done.returncode == 0, done.stdout + done.stderr
    assert files(tree) == sorted(path.name for path in LIBEXEC.iterdir())
    assert dynamic(tree / 'libexec' / 'pyfpm' / name) == dynamic(LIBEXEC / name)
    described = [installed.run(host / name, '--describe').stdout for host in (tree / 'libexec' / 'pyfpm', LIBEXEC)]
    assert described[0] == described[1]


def test_cmake_by_hand_adds_a_host_to_the_installation_it_belongs_to(pristine, tree, folder):
    """Through a link whose path has a space in it, as the interpreter of a virtual environment."""
    venv = venvs.make(folder / 'a venv')
    build = folder / 'by hand'
    done = installed.run('cmake', '-S', tree / 'share' / 'pyfpm' / 'host', '-B', build,
                         f'-DPYFPM_PYTHONS={venv.python}')
    assert f'Host for Python {pythons.default()}: /usr/bin/python{pythons.default()}' in done.stdout
    installed.run('cmake', '--build', build)
    installed.run('cmake', '--install', build)
    assert files(tree) == files(pristine)
    shown = installed.run(installed.program(tree), 'pythons').stdout
    assert re.search(rf'^{re.escape(pythons.default())} .*\(default\)$', shown, re.MULTILINE), shown


def test_a_host_is_replaced_only_when_asked_to(pristine, tree, temporary):
    host = tree / 'libexec' / 'pyfpm' / f'host-{pythons.default()}'
    host.write_text('in the way')
    refused(add(tree, temporary, pythons.DEBIAN),
            rf'there is a host for Python \S+ already: {re.escape(str(host))} \(--force replaces it\)')
    done = add(tree, temporary, '--force', pythons.DEBIAN)
    assert done.returncode == 0, done.stdout + done.stderr
    assert host.stat().st_mode & 0o777 == 0o755
    assert installed.run(host, '--describe').stdout.startswith(pythons.default())
    assert files(tree) == files(pristine)


def test_of_two_that_build_the_same_host_the_first_has_it(pristine, tree, temporary, folder):
    """The second finds it when it is done, and leaves it alone. Its cmake waits for the other's end."""
    tools = folder / 'tools'
    tools.mkdir()
    script(tools / 'cmake', f'touch "{folder}/started"; while [ ! -e "{folder}/go" ]; do sleep 0.01; done\n'
                            f'exec "{shutil.which("cmake")}" "$@"')
    slow = subprocess.Popen(**command(tree, temporary, pythons.DEBIAN, PATH=f'{tools}:{os.environ["PATH"]}'),
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        wait_until((folder / 'started').exists, 'the slow one builds')
        assert add(tree, temporary, pythons.DEBIAN).returncode == 0
        host = tree / 'libexec' / 'pyfpm' / f'host-{pythons.default()}'
        inode = host.stat().st_ino
    finally:
        (folder / 'go').touch()
        output = slow.communicate(timeout=10 * DEADLINE)
    assert slow.returncode == 1 and 'there is a host for Python' in output[1], output
    assert host.stat().st_ino == inode
    assert files(tree) == files(pristine)


# A stamp -----------------------------------------------------------------------------------------------------


def replace_by_other_build(host):
    """As an upgrade does, in one step. Returns both stamps."""
    stamp = installed.run(host, '--describe').stdout.split('\t')[3]
    other = re.sub('-.*', '-' + '0' * 12, stamp)
    new = host.with_name('.new')
    new.write_bytes(host.read_bytes().replace(stamp.encode(), other.encode()))
    new.chmod(0o755)
    new.rename(host)
    return stamp, other


def test_a_host_built_from_other_sources_is_refused_with_a_sentence(fpm, apps, folder):
    tree = installed.copy_build_tree(folder / 'build')
    stamp, other = replace_by_other_build(tree / 'libexec' / 'pyfpm' / f'host-{pythons.default()}')
    fpm.program = tree / 'bin' / 'pyfpm'
    fpm.expect(r'\[group shop\] cannot start')
    fpm.start({'shop': {'script': str(apps / 'hello.py')}})
    fpm.log.wait_for(rf'\[group shop\] cannot start .*: its host was built from other sources than this pyfpm '
                     rf'\({stamp}\); `pyfpm pythons` says which, and `pyfpm add-python --force` builds it again')
    fpm.log.wait_for(rf'this host was built from {other}, the pyfpm that started it from {stamp}')

    checked = fpm.command('check')
    assert checked.returncode == 1
    assert f'shop: error: its host was built from other sources than this pyfpm ({stamp})' in checked.stdout
    shown = fpm.command('pythons')
    assert shown.returncode == 1
    assert f'broken: it was built from {other}, this pyfpm from {stamp}; build it again: ' \
           f'pyfpm add-python --force /usr/bin/python{pythons.default()}' in shown.stdout


def test_a_supervisor_that_was_upgraded_under_way_is_named_as_the_one_to_start_again(fpm, apps, folder):
    tree = installed.copy_build_tree(folder / 'build')
    fpm.program = tree / 'bin' / 'pyfpm'
    fpm.start({'shop': {'script': str(apps / 'hello.py')}})
    replace_by_other_build(tree / 'libexec' / 'pyfpm' / f'host-{pythons.default()}')
    shutil.copy(fpm.program, folder / 'new')
    (folder / 'new').rename(fpm.program)
    fpm.expect(r'\[group shop\] reload failed', RELOAD_FAILED)
    fpm.reload(outcome=RELOAD_FAILED)
    fpm.log.wait_for(r'\[group shop\] reload failed, generation 1 keeps serving: its host was built from other sources '
                     r'than this pyfpm \(\S+\), which has been replaced since it was started: start it again')
    assert fastcgi.ask(fpm.socket('shop')).body == b'hello\n'


# Stopped half-way ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_build_that_is_interrupted_leaves_nothing(tree, temporary, folder, number):
    """No folder, no host, and none of the processes that a build starts, even those that ignore signals."""
    tools = folder / 'tools'
    tools.mkdir()
    script(tools / 'cmake', f'trap "" INT TERM HUP; mkdir -p "$4"; '
                            f'(i=0; while :; do i=$((i+1)); : > "$4/$i"; done) & touch "{folder}/started"; wait')
    before = files(tree)
    process = subprocess.Popen(**command(tree, temporary, pythons.DEBIAN, PATH=f'{tools}:{os.environ["PATH"]}'),
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        wait_until((folder / 'started').exists, 'the build runs')
        assert list(temporary.iterdir())[0].stat().st_mode & 0o777 == 0o700
    finally:
        process.send_signal(number)
        errors = process.communicate(timeout=DEADLINE)[1]
    assert (process.returncode, errors) == (-number, f'pyfpm: stopped by {signal.strsignal(number)}\n')
    assert files(tree) == before
    assert list(temporary.iterdir()) == []
    assert not [pid for pid in processes.descendants(os.getpid()) if str(tools) in processes.command(pid)]


def test_a_build_that_fails_shows_its_end_and_leaves_nothing(tree, temporary):
    (tree / 'share' / 'pyfpm' / 'host' / 'pyhost' / 'python.c').write_text('#error the disk ate it\n')
    before = files(tree)
    done = add(tree, temporary, pythons.DEBIAN)
    assert done.returncode == 1
    assert '#error the disk ate it' in done.stderr
    assert done.stderr.splitlines()[-1] == 'pyfpm: cmake --build ended with status 2, after what stands above'
    assert files(tree) == before


def test_a_host_that_does_not_run_is_not_put_into_place(tree, temporary):
    (tree / 'share' / 'pyfpm' / 'host' / 'pyhost' / 'main.c').write_text(
        '#include <stdio.h>\nint main(void)\n{\n    puts("no use");\n    return 3;\n}\n')
    before = files(tree)
    done = add(tree, temporary, pythons.DEBIAN)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == 'pyfpm: the host was built: it does not run: no use'
    assert files(tree) == before


# Refused in a sentence ----------------------------------------------------------------------------------------


def fake_tools(folder, names):
    tools = folder / 'tools'
    tools.mkdir()
    for name in names:
        (tools / name).symlink_to(shutil.which(name))
    return str(tools)


@pytest.mark.parametrize('there, missing', [((), 'cmake is'), (('cmake',), 'make is'),
                                            (('cmake', 'make'), r'a C compiler \(cc, gcc or clang\) is')])
def test_a_missing_tool_is_named_with_the_packages_to_install(tree, temporary, folder, there, missing):
    refused(add(tree, temporary, pythons.DEBIAN, PATH=fake_tools(folder, there)),
            rf'a host is compiled, and {missing} not in PATH: install the Debian packages cmake, make, gcc, '
            r'libc6-dev, libfcgi-dev and libyaml-dev')


@pytest.mark.parametrize('given, sentence', [
    ('/nonexistent/python3', r'/nonexistent/python3: No such file or directory'),
    ('/etc/passwd', r'/etc/passwd is not a program'),
    ('/usr/bin', r'/usr/bin is not a program'),
    ('python3.12', r'python3\.12 is no path; give that of the interpreter, as in /usr/bin/python3\.12'),
    ('/bin/true', r'/bin/true is not a Python 3; asked what it is, it ended with status 0 and said: nothing')])
def test_what_is_no_python_is_refused(tree, temporary, given, sentence):
    refused(add(tree, temporary, given), sentence)


@pytest.mark.parametrize('answer', [
    'ok;;;;;', 'ok;..;/i;/l;/d;/bin/true', 'ok;3.x;/i;/l;/d;/bin/true', 'ok;3.14;/i;;/d;/bin/true',
    'ok;3.14;/i;/l;/d;', 'ok;3.14;/i;/l;/d;true', 'ok;3.\x1b[31m;/i;/l;/d;/bin/true'])
def test_a_python_that_lies_is_refused_before_anything_is_built(tree, temporary, folder, answer):
    python = script(folder / 'python', f"printf '%s\\n' '{answer}'")
    refused(add(tree, temporary, python), rf'{re.escape(str(python))} does not describe itself as a Python does')


@pytest.mark.parametrize('words', ['\x1b]0;mine\x07', 'no;\x1b[2J'])
def test_what_a_python_says_cannot_steer_the_terminal(tree, temporary, folder, words):
    done = add(tree, temporary, script(folder / 'python', f"printf '%s\\n' '{words}'"))
    assert done.returncode == 1
    assert '\x1b' not in done.stderr and '\\x1b' in done.stderr


def test_a_caller_that_ignores_sigchld_hears_of_the_failure_all_the_same(tree, temporary, folder):
    python = script(folder / 'python', 'exit 3')
    done = subprocess.run(**command(tree, temporary, python), capture_output=True,
                          preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
    refused(done, rf'{re.escape(str(python))} is not a Python 3; asked what it is, it ended with status 3 and said: '
                  'nothing')


def test_without_an_interpreter_the_usage_is_told(tree, temporary):
    for arguments in ((), ('/usr/bin/python3', '/usr/bin/python3'), ('--wrong',)):
        assert add(tree, temporary, *arguments).returncode == 64
    done = add(tree, temporary, '--help')
    assert done.returncode == 0 and 'example: pyfpm add-python /usr/bin/python3.12' in done.stdout


def test_an_installation_without_the_kit_says_so(tree, temporary):
    shutil.rmtree(tree / 'share' / 'pyfpm')
    refused(add(tree, temporary, pythons.DEBIAN),
            rf'this pyfpm was installed without what a host is built from: {re.escape(str(tree))}/share/pyfpm/host/'
            'CMakeLists.txt: No such file or directory')


def test_a_folder_that_may_not_be_written_is_named(tree, temporary, folder):
    """As nobody when the test is root, whom no mode stops."""
    libexec = tree / 'libexec' / 'pyfpm'
    libexec.chmod(0o555)
    wrapper = ['setpriv', '--reuid=nobody', '--regid=nogroup', '--clear-groups'] if IS_ROOT else []
    run = command(tree, temporary, pythons.DEBIAN)
    run['args'] = [*wrapper, *run['args']]
    try:
        refused(subprocess.run(**run, capture_output=True),
                rf'a host goes into {re.escape(str(libexec))}, which uid \d+ cannot write to: Permission denied')
    finally:
        libexec.chmod(0o755)


def test_nothing_of_the_callers_environment_reaches_the_python(tree, temporary, folder):
    """The Python that is asked reports what it was given."""
    python = script(folder / 'python', f'env > "{folder}/env"; echo "$@" > "{folder}/arguments"; echo "no;is a fake"')
    refused(add(tree, temporary, python, PYTHONPATH='/evil', LD_PRELOAD='', CC='evil', CMAKE_GENERATOR='evil'),
            rf'{re.escape(str(python))} is a fake')
    names = {line.split('=')[0] for line in (folder / 'env').read_text().splitlines()}
    assert names - {'PWD', 'OLDPWD', 'SHLVL', '_'} == {'PATH', 'HOME', 'LC_ALL'}
    assert (folder / 'arguments').read_text().startswith('-I -B /')


@pytest.mark.skipif(not IS_ROOT, reason='only root is warned of what others could change')
def test_root_is_warned_of_a_python_that_others_can_change(tree, temporary, folder):
    library = folder / 'libpython3.99.so'
    library.touch()
    os.chown(library, 65534, 65534)
    python = script(folder / 'python', f'echo "ok;3.99;/i;{library};/l;/usr/bin/python3"')
    done = add(tree, temporary, python)
    assert done.returncode == 1
    assert f'warning: {library} belongs to user nobody: whoever can change this Python can do so as root' in done.stderr


@pytest.mark.skipif(not IS_ROOT, reason='needs a file of somebody else')
def test_an_interpreter_that_others_could_change_is_not_proposed_to_root(fpm, apps, folder):
    home = folder / 'venv'
    home.mkdir()
    script(home / 'python3.99', 'exit')
    os.chown(home / 'python3.99', 65534, 65534)
    (home / 'pyvenv.cfg').write_text(f'home = {home}\nversion = 3.99.0\n')
    fpm.write_groups({'shop': {'script': str(apps / 'hello.py'), 'python-home': str(home)}})
    assert '(add one: pyfpm add-python /path/to/python3.99)' in fpm.command('pythons').stdout
    os.chown(home / 'python3.99', 0, 0)
    assert f'(add one: pyfpm add-python {home}/python3.99)' in fpm.command('pythons').stdout


# What a Python says of itself ------------------------------------------------------------------------------------


def judged(prepare):
    """embeddable.py's line in a Python whose own account of itself was changed first."""
    code = ('import os, sys, sysconfig, types\nvalues = dict(sysconfig.get_config_vars())\n'
            'sysconfig.get_config_var = values.get\n'
            f'{prepare}\nexec(open({str(ROOT / "cmake" / "embeddable.py")!r}).read())')
    return installed.run(pythons.DEBIAN, '-I', '-B', '-c', code).stdout.strip()


@pytest.mark.parametrize('prepare, answer', [
    ('sys.implementation = types.SimpleNamespace(name="pypy")', 'no;is no CPython but pypy, which cannot be embedded'),
    ('sys.version_info = (3, 7, 17)', 'no;is Python 3.7.17, and pyfpm needs 3.8 or later'),
    ('sys.version_info = (2, 7, 18)', 'no;is Python 2.7.18, and pyfpm needs 3.8 or later'),
    ('values["INSTSONAME"] = values["LDLIBRARY"] = "libpython3.11.a"',
     r'no;is Python 3\.\S+ without a shared libpython \(libpython3.11.a is nowhere\): install the Debian package '
     r'python3\.\d+-dev'),
    ('values["INSTSONAME"] = values["LDLIBRARY"] = None; sys.base_exec_prefix = "/opt/python"',
     r'no;is Python 3\.\S+ without a shared libpython \(its library is nowhere\): install it with one, as '
     r'"./configure --enable-shared" or "PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install" do'),
    ('sysconfig.get_path = lambda name: "/nowhere"; os.path.join = lambda *p, join=os.path.join: '
     'join(*p).replace("/usr/include", "/nowhere")',
     r'no;is Python 3\.\S+ without its headers \(/nowhere/Python.h is not there\): install the Debian package '
     r'python3\.\d+-dev'),
    ('os.path.isfile = lambda path: True; values["LIBDIR"] = "/a;b"',
     r"no;lies in '/a;b/\S+', and a path with one of ; : \" \\ \$ or a line break cannot be built for"),
    ('values["Py_GIL_DISABLED"] = 1; sys.version_info = (3, 13, 1)',
     r'ok;3\.13t;/usr/include/python3\.\d+;/usr/lib/\S+/libpython3\.\d+\.so\.1\.0;/usr/lib/\S+;/usr/bin/python3\.\d+')])
def test_each_python_that_cannot_be_embedded_is_told_why(prepare, answer):
    assert re.fullmatch(answer, judged(prepare)), judged(prepare)


def configure(folder, *interpreters):
    """Runs the part of the build that looks for Pythons, by itself."""
    look = folder / 'look.cmake'
    look.write_text(f'cmake_minimum_required(VERSION 3.18)\ninclude("{ROOT}/cmake/EmbeddablePythons.cmake")\n')
    return subprocess.run(['cmake', f'-DPYFPM_PYTHONS={";".join(map(str, interpreters))}', '-P', look],
                          capture_output=True, text=True)


def test_the_build_tells_the_same_sentence(folder):
    python = script(folder / 'python', 'echo "no;is no CPython but pypy, which cannot be embedded"')
    done = configure(folder, python)
    assert done.returncode != 0
    assert f'{python} is no CPython but pypy' in ' '.join(done.stderr.split())


def test_a_free_threaded_python_gets_a_host_of_its_own_name(folder):
    python = script(folder / 'python3.13t', 'echo "ok;3.13t;/i;/l/libpython3.13t.so.1.0;/l;/usr/bin/python3.13t"')
    done = configure(folder, python, pythons.DEBIAN)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        '-- Host for Python 3.13t: /usr/bin/python3.13t',
        f'-- Host for Python {pythons.default()}: /usr/bin/python{pythons.default()}']


def test_an_installed_pyfpm_has_the_pages_that_its_readme_names(folder):
    tree = installed.install(folder / 'prefix')
    docs = tree / 'share' / 'doc' / 'pyfpm'
    pages = set(re.findall(r'docs/[\w-]+\.md', (docs / 'README.md').read_text())) - {'docs/HACKING.md'}
    assert len(pages) > 7
    assert pages == {f'docs/{page.name}' for page in (docs / 'docs').iterdir()}
