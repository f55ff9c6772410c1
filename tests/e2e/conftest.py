"""The frame around every end-to-end test.

A test asks for fpm (a pyfpm not yet started) and for web servers. Whatever it does, afterwards everything is
stopped and looked over: no unexpected error or traceback in the log, no finding of a sanitizer, the
supervisor's descriptors back to their number, no zombie, no process left, no socket file left."""

import os
import pathlib
import shutil
import tempfile

import pytest

import processes
import pythons
import venvs
from pyfpm import PROGRAM, Pyfpm
from webserver import SERVERS

HERE = pathlib.Path(__file__).resolve().parent


def pytest_configure(config):
    config.addinivalue_line('markers', 'slow: takes many seconds')
    processes.become_subreaper()


def pytest_sessionstart(session):
    if not session.config.option.collectonly and not PROGRAM.exists():
        pytest.exit(f'{PROGRAM} is not there: build it, or point PYFPM_BUILD at a build folder', 1)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    setattr(item, f'report_{call.when}', outcome.get_result())


def public_folder():
    """A folder under a short path (a unix socket's may have 107 bytes) that other users may enter."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix='pyfpm-', dir='/tmp'))
    folder.chmod(0o755)
    return folder


class Frame:
    """Everything that a test started."""

    def __init__(self, folder):
        self.folder = folder
        self.pyfpms = []
        self.web_servers = []
        self.others = []  # Popen objects of any other kind

    def pyfpm(self, folder=None):
        made = Pyfpm(folder or self.folder)
        self.pyfpms.append(made)
        return made

    def web(self, name, listen, **more):
        made = SERVERS[name](self.folder, listen, **more)
        self.web_servers.append(made)
        return made

    def close(self):
        """Stops all of it; returns what is wrong with what it left."""
        complaints = []
        for server in self.web_servers:
            server.stop()
        for other in self.others:
            if other.poll() is None:
                other.kill()
            other.wait()
        for fpm in self.pyfpms:
            complaints += fpm.complaints_running()
            if fpm.is_running():
                try:
                    fpm.stop()
                except AssertionError as error:
                    complaints.append(str(error))
                    fpm.process.kill()
                    fpm.process.wait()
            if fpm.process is not None and fpm.process.returncode != fpm.expected_exit:
                complaints.append(f'pyfpm exited with {fpm.process.returncode}, not {fpm.expected_exit}')
            complaints += fpm.complaints_stopped()
        return complaints


def stray_processes(before):
    """Waits for adopted orphans to end; those that do not are named and killed."""
    def left():
        processes.reap_adopted(before)
        return [pid for pid in processes.descendants(os.getpid()) if pid not in before]
    try:
        processes.wait_until(lambda: not left(), 'no process left', 5)
        return []
    except AssertionError:
        strays = left()
        complaint = [f'process left: {pid} {processes.command(pid)}' for pid in strays]
        for pid in strays:
            processes.kill_and_reap(pid)
        left()
        return complaint


@pytest.fixture(autouse=True)
def frame(request):
    before = set(processes.descendants(os.getpid()))
    folder = public_folder()
    made = Frame(folder)
    yield made
    complaints = made.close() + stray_processes(before)
    call = getattr(request.node, 'report_call', None)
    passed = call is not None and not call.failed
    if passed and not complaints:
        shutil.rmtree(folder)
        return
    for log in sorted(folder.rglob('*.log')):
        print(f'---- {log}\n{log.read_text(errors="replace")[-20000:]}')
    if passed:
        pytest.fail('after the test:\n' + '\n'.join(complaints), pytrace=False)
    print('---- after the test:\n' + '\n'.join(complaints))


@pytest.fixture
def folder(frame):
    return frame.folder


@pytest.fixture
def fpm(frame):
    return frame.pyfpm()


@pytest.fixture
def nginx(frame):
    """nginx(listen) starts one."""
    return lambda listen, **more: frame.web('nginx', listen, **more)


@pytest.fixture
def lighttpd(frame):
    return lambda listen, **more: frame.web('lighttpd', listen, **more)


@pytest.fixture(params=['nginx', 'lighttpd'])
def web(frame, request):
    """The test runs behind each web server."""
    return lambda listen, **more: frame.web(request.param, listen, **more)


@pytest.fixture(scope='session')
def apps():
    """The folder of the applications, where the groups' user can read it."""
    folder = public_folder()
    target = folder / 'apps'
    shutil.copytree(HERE / 'apps', target, ignore=shutil.ignore_patterns('__pycache__'))
    for path in [target, *target.rglob('*')]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    yield target
    shutil.rmtree(folder)


@pytest.fixture(scope='session')
def shared():
    """A folder for what several tests use and nobody changes: environments, wheels."""
    folder = public_folder()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope='session')
def baseline(shared):
    """A virgin environment, as the seed document makes one."""
    return venvs.make(shared / 'BASELINE')


@pytest.fixture(scope='session')
def other_python():
    """(version, interpreter) of a host other than Debian's."""
    version = pythons.other()
    if version is None:
        pytest.skip('this build has a host for one Python only')
    return version, pythons.interpreter(version)
