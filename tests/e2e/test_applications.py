"""applications: several in one process, by mount, in the main interpreter or in ones of their own.

What depends on CPython runs once for every Python that this build has a host for."""

import json
import pathlib
import re
import shutil
import subprocess
import textwrap

import pytest

import fastcgi
import pythons
import venvs
from load import Load
from processes import is_alive
from pyfpm import IS_ROOT, RELOAD_FAILED, WEB_USER, output


class Environments:
    """For one Python: environments with two versions of a package."""

    def __init__(self, version, folder):
        self.version = version
        self.interpreter = pythons.interpreter(version)
        wheels = folder / 'wheels'
        wheels.mkdir(parents=True)
        self.venvs = {}
        for number in ('1.0', '2.0', '3.0'):
            self.venvs[number] = venvs.make(folder / f'VENV-{number}', self.interpreter)
            self.venvs[number].install(venvs.package(wheels, 'parrot', number))

    def keys(self, **more):
        """Group keys that choose this Python."""
        web = {'listen_group': WEB_USER} if IS_ROOT else {}
        return {'python_version': self.version, **pythons.identity(self.interpreter), **web, **more}

    def path(self, number):
        return [str(self.venvs[number].root)]

    def site(self, number):
        return str(self.venvs[number].site_packages)


made = {}


@pytest.fixture(scope='session', params=pythons.hosts())
def env(request, shared):
    if pythons.interpreter(request.param) is None:
        pytest.skip(f'no interpreter of Python {request.param}')
    if request.param not in made:
        made[request.param] = Environments(request.param, shared / f'applications-{request.param}')
    return made[request.param]


@pytest.fixture
def script(folder):
    """script(name, text) writes a WSGI script file."""
    def write(name, text):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text))
        path.chmod(0o644)
        return str(path)
    return write


def ask(fpm, path, method='GET', body=None, status=200, **params):
    response = fastcgi.ask(fpm.socket('shop'), path, method, body, **params)
    assert response.status == status, (path, response.stdout, fpm.log.text())
    return json.loads(response.body) if status == 200 else response.body


def two_apps(apps, env, **more):
    """/one in the main interpreter with parrot 1.0, /two in one of its own with parrot 2.0."""
    script = str(apps / 'mounted.py')
    return env.keys(applications=[
        {'mount': '/one', 'script': script, 'python-path': env.path('1.0')},
        {'mount': '/two', 'script': script, 'python-path': env.path('2.0'), 'interpreter': 'second'}], **more)


# Process environments --------------------------------------------------------------------------------------


def test_one_process_has_two_versions_of_a_package(fpm, apps, nginx, env):
    """The seed's Process Environments: each application imports its own, through nginx."""
    fpm.start({'shop': two_apps(apps, env)})
    server = nginx(fpm.socket('shop'))
    one, two = (json.loads(server.ask(f'/{name}/about').body) for name in ('one', 'two'))
    assert (one['version'], two['version']) == ('1.0', '2.0')
    assert one['pid'] == two['pid']
    assert one['modules'] != two['modules']
    assert one['path'][0] == env.site('1.0') and env.site('2.0') not in one['path']
    assert two['path'][0] == env.site('2.0') and env.site('1.0') not in two['path']


def test_the_groups_path_reaches_every_interpreter_behind_the_applications_own(fpm, apps, env, folder):
    extra = folder / 'extra'
    extra.mkdir()
    group = two_apps(apps, env, python_path=[str(extra), env.site('3.0')])
    group['applications'].append({'mount': '/three', 'script': str(apps / 'mounted.py'), 'interpreter': 'third'})
    fpm.start({'shop': group})
    for name, own, version in (('one', ['1.0'], '1.0'), ('two', ['2.0'], '2.0'), ('three', [], '3.0')):
        found = ask(fpm, f'/{name}/about')
        assert found['path'][:len(own) + 2] == [env.site(n) for n in own] + [str(extra), env.site('3.0')]
        assert found['version'] == version


def test_a_baseline_venv_is_every_interpreters(fpm, apps, env):
    group = two_apps(apps, env, python_home=str(env.venvs['3.0'].root))
    del group['python_version'], group['applications'][0]['python-path']
    fpm.start({'shop': group})
    one, two = ask(fpm, '/one/about'), ask(fpm, '/two/about')
    assert (one['version'], two['version']) == ('3.0', '2.0')
    for found in (one, two):
        assert found['prefix'] == str(env.venvs['3.0'].root)
        assert found['executable'] == str(env.venvs['3.0'].python)


def test_the_python_comes_from_an_applications_environment(fpm, apps, env):
    group = two_apps(apps, env)
    del group['python_version']
    fpm.start({'shop': group})
    assert f'python{env.version}' in ask(fpm, '/two/about')['file']


def test_applications_of_one_interpreter_share_it_and_others_do_not(fpm, apps, env):
    group = two_apps(apps, env)
    for mount in ('/two/b', '/two/c'):
        group['applications'].append({'mount': mount, 'script': str(apps / 'mounted.py'), 'interpreter': 'second'})
    fpm.start({'shop': group})
    ask(fpm, '/two/mark')
    assert ask(fpm, '/two/b/marked') == '/two'
    assert ask(fpm, '/two/c/marked') == '/two'
    assert ask(fpm, '/one/marked') is None
    ask(fpm, '/one/mark')
    assert ask(fpm, '/two/marked') == '/two'


def test_what_a_request_is_given_is_made_in_its_interpreter(fpm, apps, env):
    group = two_apps(apps, env, threads=2)
    group['applications'].append({'mount': '/two/b', 'script': str(apps / 'mounted.py'), 'interpreter': 'second'})
    fpm.start({'shop': group})
    one, two, same = (ask(fpm, f'{mount}/types') for mount in ('/one', '/two', '/two/b'))
    assert not set(one) & set(two)
    assert two == same


def test_scripts_of_one_name_in_two_folders_stay_apart(fpm, env, script):
    scripts = [script(f'{name}/app.wsgi', f'''
        NAME = {name!r}
        def application(environ, start_response):
            start_response('200 OK', [])
            return [b'"' + NAME.encode() + b'"']
        ''') for name in ('a', 'b')]
    fpm.start({'shop': env.keys(applications=[{'mount': '/a', 'script': scripts[0]},
                                              {'mount': '/b', 'script': scripts[1]}])})
    assert (ask(fpm, '/a'), ask(fpm, '/b')) == ('a', 'b')


def test_a_script_in_one_interpreter_runs_once(fpm, env, script):
    path = script('app.wsgi', '''
        import sys
        sys.runs = getattr(sys, 'runs', 0) + 1
        def application(environ, start_response):
            start_response('200 OK', [])
            return [b'%d' % sys.runs]
        def other(environ, start_response):
            start_response('200 OK', [])
            return [b'"other"']
        ''')
    fpm.start({'shop': env.keys(applications=[
        {'mount': '/a', 'script': path}, {'mount': '/b', 'script': path, 'callable': 'other'},
        {'mount': '/c', 'script': path, 'interpreter': 'c'}])})
    assert [ask(fpm, path) for path in ('/a', '/b', '/c')] == [1, 'other', 1]


# Paths -----------------------------------------------------------------------------------------------------


def test_mounts_split_the_path(fpm, apps, nginx):
    script = str(apps / 'mounted.py')
    fpm.start({'shop': {'applications': [{'mount': mount, 'script': script} for mount in
                                         ('/', '/shop', '/shop/admin', '/caf\u00e9')]}})
    server = nginx(fpm.socket('shop'))
    for path, wanted in (('/', ['', '/', '']), ('/x/y?q=1', ['', '/x/y', 'q=1']), ('/shop', ['/shop', '', '']),
                         ('/shop/', ['/shop', '/', '']), ('/shop/x?q', ['/shop', '/x', 'q']),
                         ('/shopping', ['', '/shopping', '']), ('/shop/administrator', ['/shop', '/administrator', '']),
                         ('/shop/admin/x', ['/shop/admin', '/x', '']), ('//shop/./x', ['/shop', '/x', '']),
                         ('/caf%C3%A9/x%20y', ['/caf\u00c3\u00a9', '/x y', ''])):
        answer = server.ask(path)
        assert (answer.status, json.loads(answer.body)) == (200, wanted), path


def test_a_prefix_that_the_web_server_set_stays_in_front(fpm, apps, nginx):
    script = str(apps / 'mounted.py')
    fpm.start({'shop': {'applications': [{'mount': '/shop', 'script': script}, {'mount': '/', 'script': script}]}})

    def edit(text):
        return text.replace('include pyfpm_params;',
                            'include pyfpm_params; rewrite ^/site(/.*)$ $1 break; '
                            'fastcgi_param SCRIPT_NAME /site; fastcgi_param PATH_INFO $uri;', 1)
    server = nginx(fpm.socket('shop'), edit=edit)
    assert json.loads(server.ask('/site/shop/x').body) == ['/site/shop', '/x', '']
    assert json.loads(server.ask('/site/x').body) == ['/site', '/x', '']


def test_a_mount_that_the_web_server_moved_itself_is_found(fpm, apps):
    script = str(apps / 'mounted.py')
    fpm.start({'shop': {'applications': [{'mount': '/shop', 'script': script}, {'mount': '/', 'script': script}]}})
    assert ask(fpm, '/x', SCRIPT_NAME='/shop', REQUEST_URI='/shop/x') == ['/shop', '/x', '']


def test_what_no_mount_serves_is_404_and_logged(fpm, apps, nginx, env):
    fpm.start({'shop': two_apps(apps, env)})
    server = nginx(fpm.socket('shop'))
    answer = server.ask('/three/x?y')
    assert (answer.status, answer.body) == (404, b'Not Found\n')
    fpm.log.wait_for(r'GET /three/x\?y: no application is mounted there: answered with 404')
    assert server.ask('/onerous').status == 404
    head = server.ask('/three', 'HEAD')
    assert (head.status, head.body) == (404, b'')
    posted = server.ask('/three', 'POST', b'x' * 300000)
    assert posted.status == 404
    assert json.loads(server.ask('/one/x').body) == ['/one', '/x', '']


def test_a_client_cannot_fill_the_log_with_paths_that_no_mount_serves(fpm, apps):
    fpm.start({'shop': {'applications': [{'mount': '/shop', 'script': str(apps / 'mounted.py')}]}})
    for number in range(200):
        assert fastcgi.ask(fpm.socket('shop'), f'/{number}').status == 404
    assert 30 <= len(fpm.log.find('no application is mounted there')) <= 90  # 30 in 30 s


# What a request may do --------------------------------------------------------------------------------------


def test_bodies_files_and_errors_are_right_in_each_interpreter(fpm, apps, nginx, env):
    fpm.start({'shop': two_apps(apps, env, threads=2)})
    server = nginx(fpm.socket('shop'))
    fpm.expect('said by /', 'boom in /')
    for mount in ('/one', '/two'):
        body = b'a line\nand another ' * 5000
        assert json.loads(server.ask(f'{mount}/echo', 'POST', body).body) == body.decode()
        assert json.loads(server.ask(f'{mount}/lines', 'POST', b'a\nb\nc').body) == ['a\n', 'b\n', 'c']
        assert server.ask(f'{mount}/file').body == (apps / 'mounted.py').read_bytes()
        server.ask(f'{mount}/errors')
        fpm.log.wait_for(f'said by {mount}')
        server.ask(f'{mount}/print')
        fpm.log.wait_for(output('shop', f'printed by {mount}'))
        answer = server.ask(f'{mount}/boom')
        assert (answer.status, answer.body) == (500, b'Internal Server Error\n')
        fpm.log.wait_for(f'LookupError: boom in {mount}')


def test_both_interpreters_under_load_on_several_threads(fpm, apps, nginx, env):
    fpm.start({'shop': two_apps(apps, env, threads=4, processes=2)})
    server = nginx(fpm.socket('shop'))
    source = (apps / 'mounted.py').read_bytes()

    def wanted(connection, number):
        mount, version = (('/one', '1.0'), ('/two', '2.0'))[number % 2]
        path = ('/about', '/file', '/where', '/echo', '/spin')[number // 2 % 5]
        body = b'%d ' % number * 500 if path == '/echo' else None
        connection.request('POST' if body else 'GET', mount + path, body)
        response = connection.getresponse()
        got = response.read()
        right = response.status == 200 and {
            '/about': lambda: json.loads(got)['version'] == version,
            '/file': lambda: got == source,
            '/where': lambda: json.loads(got) == [mount, path, ''],
            '/echo': lambda: json.loads(got) == body.decode(),
            '/spin': lambda: True}[path]()
        return None if right else f'{mount}{path}: {response.status} {got[:200]}'
    with Load(server.connect, wanted, threads=8) as load:
        load.wait_for(600)
    assert load.failures == []


@pytest.mark.parametrize('interpreter', ['main', 'named'])
def test_subprocess_works_and_forks_are_refused_in_every_interpreter(fpm, env, script, interpreter):
    """A child of a process with two interpreters hangs or dies in CPython, whichever of them forks."""
    path = script('app.wsgi', '''
        import json, os, subprocess, sys

        def attempt(deed):
            try:
                return deed()
            except RuntimeError as error:
                return str(error)

        def run(**keys):
            return subprocess.run([sys.executable, '-c', 'print(42)'], stdout=subprocess.PIPE, **keys).stdout.decode()

        def fork(kind):
            child = kind()
            if child in (0, (0, -1)):
                os._exit(0)
            return 'forked'

        def application(environ, start_response):
            answers = [run(), run(start_new_session=True), attempt(lambda: run(preexec_fn=os.getpid)),
                       attempt(lambda: fork(os.fork)), attempt(lambda: fork(os.forkpty))]
            start_response('200 OK', [])
            return [json.dumps(answers).encode()]
        ''')
    fpm.start({'shop': env.keys(applications=[{'mount': '/main', 'script': path},
                                              {'mount': '/named', 'script': path, 'interpreter': 'named'}])})
    for _ in range(3):
        plain, in_a_session, with_preexec_fn, forked, with_a_terminal = ask(fpm, f'/{interpreter}')
        assert (plain, in_a_session) == ('42\n', '42\n')
        assert with_preexec_fn.startswith('preexec_fn does not work in a process with several interpreters: use ')
        for said in (forked, with_a_terminal):
            refused_by_python = interpreter == 'named' and said.startswith('fork not supported for ')
            assert refused_by_python or re.match(r'os\.fork\(\) does not work .*: use subprocess, or multiproc', said), said


def test_an_application_that_is_alone_in_its_process_may_fork_whatever_its_mount(fpm, env, script):
    path = script('app.wsgi', '''
        import os, subprocess
        def application(environ, start_response):
            child = os.fork()
            if child == 0:
                os._exit(7)
            answer = os.waitpid(child, 0)[1] >> 8
            subprocess.run(['true'], preexec_fn=os.getpid, check=True)
            start_response('200 OK', [])
            return [str(answer).encode()]
        ''')
    fpm.start({'shop': env.keys(applications=[{'mount': '/', 'script': path}])})
    assert ask(fpm, '/') == 7


# Extension modules ------------------------------------------------------------------------------------------


EXTENSION = r'''
    #include <Python.h>
    static int in_main(void) { return PyThreadState_Get()->interp == PyInterpreterState_Main(); }

    static int run(PyObject *module)
    {
        static int loaded;
        (void)loaded;
        %s
        return PyModule_AddIntConstant(module, "answer", 42);
    }
    static PyModuleDef_Slot slots[] = {{Py_mod_exec, run}, {0, NULL}};
    static struct PyModuleDef several = {PyModuleDef_HEAD_INIT, "%s", NULL, 0, NULL, slots, NULL, NULL, NULL};
    static struct PyModuleDef single = {PyModuleDef_HEAD_INIT, "%s", NULL, -1, NULL, NULL, NULL, NULL, NULL};

    PyMODINIT_FUNC PyInit_%s(void)
    {
        PyObject *module;
        if (%s)
            return PyModuleDef_Init(&several);
        module = PyModule_Create(&single);
        return module && run(module) == 0 ? module : NULL;
    }
'''
# name: (has two phases, what it does first). 3.13 runs the one phase of the others in the main interpreter.
EXTENSIONS = {
    '_plain': (False, ''),
    '_like_pyo3': (True, 'if (!in_main()) { PyErr_SetString(PyExc_ImportError, "PyO3 modules do not yet support '
                          'subinterpreters, see https://github.com/PyO3/pyo3/issues/576"); return -1; }'),
    '_like_numpy': (True, 'if (loaded++) { PyErr_SetString(PyExc_ImportError, "cannot load module more than once per '
                          'process"); return -1; }'),
    '_like_cython': (True, 'if (!in_main()) { PyErr_SetString(PyExc_ImportError, "Interpreter change detected - this '
                           'module can only be loaded into one interpreter per process."); return -1; }'),
    '_odd': (True, 'if (!in_main()) return -1;'),
}


@pytest.fixture
def extensions(env, folder):
    """A folder with extension modules for this Python, among them one that no linker likes."""
    compiler = shutil.which('gcc') or shutil.which('cc')
    ask = 'import sysconfig as s; print(s.get_path("include"), s.get_config_var("EXT_SUFFIX"))'
    include, suffix = subprocess.run([env.interpreter, '-c', ask], capture_output=True, text=True,
                                     check=True).stdout.split()
    if compiler is None or not pathlib.Path(include, 'Python.h').exists():
        pytest.skip('no compiler, or no headers of this Python')
    target = folder / 'extensions'
    target.mkdir()
    for name, (is_multi_phase, deed) in EXTENSIONS.items():
        source = target / f'{name}.c'
        source.write_text(EXTENSION % (deed, name, name, name, int(is_multi_phase)))
        subprocess.run([compiler, '-shared', '-fPIC', '-I', include, '-o', target / (name + suffix), source], check=True)
    (target / ('_broken' + suffix)).write_bytes(b'no ELF file')
    (target / 'wrapping.py').write_text(
        'try:\n    import _like_pyo3\nexcept ImportError as error:\n'
        "    raise RuntimeError('the fast parts are not there') from error\n")
    return target


def importing(script, name):
    """A script that imports a module and serves its answer."""
    return script(f'{name}.wsgi', f'''
        import {name}
        def application(environ, start_response):
            start_response('200 OK', [])
            return [b'%d' % {name}.answer]
        ''')


REFUSES = r' \(the extension module {0} does not support sub-interpreters: give this application interpreter: main\)'
FAILED = (r' \(the extension module {0} failed in this interpreter; if it works in the main one, it does not support '
          r'sub-interpreters: give this application interpreter: main\)')


@pytest.mark.parametrize('name, sentence', [
    ('_like_pyo3', 'ImportError: PyO3 modules do not yet support [^\n]*' + REFUSES.format('_like_pyo3')),
    ('wrapping', 'RuntimeError: the fast parts are not there' + REFUSES.format('_like_pyo3')),
    ('_like_cython', 'ImportError: Interpreter change detected [^\n]*' + REFUSES.format('_like_cython')),
    ('_odd', 'SystemError: [^\n]*' + FAILED.format('_odd')),
    ('_broken', r'ImportError: [^\n(]*(invalid ELF header|file too short)$')],
    ids=['as PyO3', 'wrapped', 'as Cython', 'SystemError', 'not of interpreters'])
def test_an_extension_that_refuses_is_named_with_the_remedy(fpm, env, script, extensions, name, sentence):
    def group(interpreter):
        return env.keys(python_path=[str(extensions)], applications=[
            {'mount': '/x', 'script': importing(script, name), 'interpreter': interpreter}])
    fpm.write_groups({'shop': group('named')})
    done = fpm.command('check')
    wanted = r'application at /x, interpreter named: cannot run script \S+: ' + sentence
    assert done.returncode == 1 and re.search(wanted, done.stdout, re.MULTILINE), done.stdout
    if name in ('_broken', 'wrapping'):
        return
    fpm.start({'shop': group('main')})
    assert ask(fpm, '/x') == 42


def test_an_extension_for_one_interpreter_only_is_named_by_the_second(fpm, env, script, extensions):
    path = importing(script, '_like_numpy')
    group = env.keys(python_path=[str(extensions)], applications=[
        {'mount': '/a', 'script': path}, {'mount': '/b', 'script': path, 'interpreter': 'b'}])
    fpm.write_groups({'shop': group})
    done = fpm.command('check')
    assert done.returncode == 1
    assert re.search('application at /b, interpreter b: .*' + REFUSES.format('_like_numpy'), done.stdout), done.stdout
    group['applications'][1]['interpreter'] = 'main'
    fpm.start({'shop': group})
    assert (ask(fpm, '/a'), ask(fpm, '/b')) == (42, 42)


def test_an_extension_of_the_old_kind_works_in_several_interpreters(fpm, env, script, extensions):
    path = importing(script, '_plain')
    fpm.start({'shop': env.keys(python_path=[str(extensions)], applications=[
        {'mount': '/a', 'script': path}, {'mount': '/b', 'script': path, 'interpreter': 'b'},
        {'mount': '/c', 'script': path, 'interpreter': 'c'}])})
    assert [ask(fpm, mount) for mount in ('/a', '/b', '/c')] == [42, 42, 42]


def test_importlib_is_left_as_it_was(fpm, env, script):
    path = script('app.wsgi', '''
        import importlib.machinery, json
        def application(environ, start_response):
            loader = importlib.machinery.ExtensionFileLoader
            start_response('200 OK', [])
            return [json.dumps([type(loader.create_module).__name__, type(loader.exec_module).__name__]).encode()]
        ''')
    fpm.start({'shop': env.keys(applications=[{'mount': '/', 'script': path, 'interpreter': 'named'}])})
    assert ask(fpm, '/') == ['function', 'function']


def test_callbacks_from_c_run_in_the_interpreter_that_asked(fpm, env, script):
    """PyGILState_Ensure, as sqlite3, ctypes and extension modules call it: up to 3.11 it means one state per thread."""
    path = script('app.wsgi', '''
        import ctypes, json, sqlite3, sys
        qsort = ctypes.CDLL(None).qsort
        COMPARE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)

        def modules():
            import sys                  # of the interpreter that runs this
            return id(sys.modules)

        def by_ctypes():
            seen = []
            numbers = (ctypes.c_int * 2)(2, 1)
            qsort(numbers, 2, 4, COMPARE(lambda a, b: seen.append(modules()) or 0))
            return seen[0]

        def by_sqlite():
            connection = sqlite3.connect(':memory:')
            connection.create_function('modules', 0, modules)
            found, = connection.execute('select modules()').fetchone()
            connection.close()          # calls back to release the function
            return found

        def application(environ, start_response):
            held = ctypes.pythonapi.PyGILState_Ensure()     # with the GIL held
            ctypes.pythonapi.PyGILState_Release(held)
            start_response('200 OK', [])
            return [json.dumps([id(sys.modules), by_ctypes(), by_sqlite(), held]).encode()]
        ''')
    fpm.start({'shop': env.keys(threads=3, applications=[
        {'mount': '/main', 'script': path}, {'mount': '/a', 'script': path, 'interpreter': 'a'},
        {'mount': '/b', 'script': path, 'interpreter': 'b'}])})

    def right(connection, number):
        answer = connection.ask(fastcgi.environ(('/main', '/a', '/b')[number % 3]), keep=True)
        own, ctypes_saw, sqlite_saw, held = json.loads(answer.body)
        return None if own == ctypes_saw == sqlite_saw and held == 0 else answer.body
    with Load(lambda: fastcgi.Connection(fpm.socket('shop')), right, threads=4) as load:
        load.wait_for(60)
    assert load.failures == []


# The end --------------------------------------------------------------------------------------------------


LEAVES_THREADS = '''
    import atexit, json, os, threading, time, weakref

    stop = threading.Event()
    started = threading.Event()

    def work():
        started.set()
        while not stop.wait(0.01):
            pass
        print('thread ended in', NAME, flush=True)

    def forever():
        while True:
            time.sleep(0.001)

    threading.Thread(target=forever, daemon=True).start()

    def application(environ, start_response):
        global NAME
        NAME = environ['SCRIPT_NAME']
        local = threading.local()
        local.value = object()
        threading.Thread(target=work, daemon=False).start()
        started.wait()
        atexit.register(lambda: print('exit of', NAME, 'without an end of line', end=''))
        atexit.register(lambda: 1 / 0)
        # Before the exit functions threads are waited for: this lets them go.
        getattr(threading, '_register_atexit', atexit.register)(stop.set)
        start_response('200 OK', [])
        return [b'"' + NAME.encode() + b'"']
'''


def test_threads_and_exit_functions_of_each_interpreter_end(fpm, env, script):
    path = script('app.wsgi', LEAVES_THREADS)
    keys = {'shutdown_timeout': '20s'} if env.version != '3.8' else {'shutdown_timeout': '1s'}
    fpm.start({'shop': env.keys(threads=2, preload=False, applications=[
        {'mount': '/main', 'script': path}, {'mount': '/a', 'script': path, 'interpreter': 'a'},
        {'mount': '/b', 'script': path, 'interpreter': 'b'}], **keys)})
    mounts = ('/main', '/a', '/b')
    for mount in mounts:
        assert ask(fpm, mount) == mount
    worker, = fpm.wait_workers('shop', 1)
    fpm.expect('ZeroDivisionError', r'app\.wsgi", line')
    fpm.stop()
    assert not is_alive(worker)
    if env.version == '3.8':
        # Nothing runs before threads are waited for there: only the timeout ends them.
        assert fpm.log.find('the exit took longer than shutdown-timeout')
        return
    for mount in mounts:
        ended, = fpm.log.find(f'thread ended in {mount}')
        exited, = fpm.log.find(f'exit of {mount} without an end of line')
        assert ended.start() < exited.start()
    assert len(fpm.log.find('ZeroDivisionError: division by zero')) == 3
    assert fpm.log.find(rf'pid {worker}\] worker exited with status 0')
    assert not fpm.log.find('Fatal Python error|longer than shutdown-timeout')


@pytest.mark.parametrize('interpreter', ['main', 'named'])
def test_files_that_an_application_left_open_are_written_out(fpm, env, script, folder, interpreter):
    written = folder / 'written'
    written.mkdir()
    written.chmod(0o777)
    path = script('app.wsgi', f'''
        import os
        FILES = [open(os.path.join({str(written)!r}, mode), mode) for mode in ('w', 'wb', 'w+b')]
        def application(environ, start_response):
            for file in FILES:
                file.write('said' if file.mode == 'w' else b'said')
            start_response('200 OK', [])
            return [b'1']
        ''')
    fpm.start({'shop': env.keys(applications=[{'mount': '/main', 'script': path},
                                              {'mount': '/named', 'script': path, 'interpreter': 'named'}])})
    ask(fpm, f'/{interpreter}')
    fpm.stop()
    assert [(written / mode).read_text() for mode in ('w', 'wb', 'w+b')] == ['said'] * 3


def test_an_exit_that_hangs_in_an_interpreter_is_bounded(fpm, env, script):
    path = script('app.wsgi', '''
        import threading
        threading.Thread(target=threading.Event().wait).start()
        def application(environ, start_response):
            start_response('200 OK', [])
            return [b'1']
        ''')
    fpm.start({'shop': env.keys(shutdown_timeout='300ms', applications=[
        {'mount': '/', 'script': path, 'interpreter': 'named'}])})
    assert ask(fpm, '/') == 1
    fpm.stop()
    assert fpm.log.find('the exit took longer than shutdown-timeout')


# Reload ---------------------------------------------------------------------------------------------------


def test_reloads_under_load_drop_no_request_of_any_application(fpm, apps, nginx, env):
    fpm.start({'shop': two_apps(apps, env, threads=2, processes=2)})
    server = nginx(fpm.socket('shop'))

    def right(connection, number):
        mount, version = (('/one', '1.0'), ('/two', '2.0'))[number % 2]
        connection.request('GET', mount + '/about')
        response = connection.getresponse()
        got = response.read()
        return None if response.status == 200 and json.loads(got)['version'] == version else f'{response.status} {got}'
    with Load(server.connect, right, threads=4) as load:
        for _ in range(3):
            load.wait_for(40)
            fpm.reload()
        load.wait_for(40)
    assert load.failures == []


@pytest.mark.parametrize('interpreter', ['main', 'named'])
def test_a_broken_application_names_its_mount_and_keeps_the_old_generation(fpm, apps, env, script, interpreter):
    good = two_apps(apps, env)
    fpm.start({'shop': good})
    path = script('broken.wsgi', "raise LookupError('not today')\n")
    broken = two_apps(apps, env)
    broken['applications'].append({'mount': '/broken', 'script': path, 'interpreter': interpreter})
    fpm.write_groups({'shop': broken})
    where = 'application at /broken' + (', interpreter named' if interpreter == 'named' else '')
    sentence = rf'{where}: cannot run script \S+broken.wsgi: LookupError: not today'
    done = fpm.command('check')
    assert done.returncode == 1 and re.search(sentence, done.stdout), done.stdout
    fpm.expect(RELOAD_FAILED, r'\[group shop')
    fpm.reload(outcome=RELOAD_FAILED)
    fpm.log.wait_for(sentence)
    assert ask(fpm, '/one/about')['version'] == '1.0'
    assert ask(fpm, '/two/about')['version'] == '2.0'


def test_a_bad_path_of_an_application_names_its_mount(fpm, apps, env, folder):
    group = two_apps(apps, env)
    for application in group['applications']:
        application['python-path'] = [str(folder / 'nothing' / application['mount'][1:])]
    fpm.write_groups({'shop': group})
    done = fpm.command('check')
    assert done.returncode == 1
    assert f'application at /one: python-path: {folder}/nothing' in done.stdout, done.stdout
    group['applications'][0]['python-path'] = []
    fpm.write_groups({'shop': group})
    done = fpm.command('check')
    assert f'application at /two: python-path: {folder}/nothing' in done.stdout, done.stdout


# check ----------------------------------------------------------------------------------------------------


def test_check_loads_every_interpreter_and_says_what_cannot_be_had(fpm, apps, env):
    group = two_apps(apps, env, threads=2)
    fpm.write_groups({'shop': group})
    done = fpm.command('check')
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'os.fork() does not work in a group with interpreters other than main' in done.stdout
    is_unfair = 9 <= int(env.version.rstrip('t').split('.')[1]) <= 12
    assert ('does not share the GIL fairly between interpreters' in done.stdout) == is_unfair, done.stdout
    for application in group['applications']:
        application['interpreter'] = 'main'
    fpm.write_groups({'shop': group})
    done = fpm.command('check')
    assert done.returncode == 0 and 'warning' not in done.stdout and 'fork' not in done.stdout, done.stdout
