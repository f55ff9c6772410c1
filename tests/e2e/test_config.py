"""The command line and what it says about a configuration file."""

import os
import re
import signal
import textwrap

import pytest

import fastcgi
from pyfpm import GROUP_USER, IS_ROOT, RELOAD_FAILED, ROOT

USER = f'    user: {GROUP_USER}\n' if IS_ROOT else ''


def said(done):
    return done.stdout + done.stderr


def check(fpm, text):
    fpm.write(textwrap.dedent(text))
    return fpm.command('check')


# Commands -------------------------------------------------------------------------------------------------


def test_version_names_the_program(fpm):
    done = fpm.run('--version')
    assert done.returncode == 0
    assert re.match(r'pyfpm \d+\.\d+\.\d+', done.stdout)


def test_help_names_the_commands_and_has_an_example(fpm):
    done = fpm.run('--help')
    assert done.returncode == 0
    for word in ('check', 'dump', 'request', '--config', '--version'):
        assert word in done.stdout


@pytest.mark.parametrize('command', ['check', 'dump', 'request'])
def test_every_command_has_help_with_an_example(fpm, command):
    done = fpm.run(command, '--help')
    assert done.returncode == 0
    assert 'xample' in done.stdout and f'pyfpm {command}' in done.stdout


@pytest.mark.parametrize('arguments', [['--no-such-option'], ['no-such-command'], ['--config'],
                                       ['check', '--no-such-option'], ['request'], ['dump', 'extra']])
def test_bad_usage_is_64(fpm, arguments):
    done = fpm.run(*arguments)
    assert done.returncode == 64
    assert done.stderr


def test_a_complaint_names_the_help_of_its_command(fpm):
    assert fpm.run('bogus').stderr == 'pyfpm: there is no command bogus (see pyfpm --help)\n'
    assert fpm.run('request').stderr.endswith('(see pyfpm request --help)\n')
    assert fpm.run('dump', '--bogus').stderr.startswith('pyfpm dump: unrecognized option')


def test_a_missing_file_is_78_and_named(fpm):
    for arguments in (['check'], ['dump'], []):
        done = fpm.run(*arguments, '--config', '/nonexistent/pyfpm.yaml')
        assert done.returncode == 78
        assert '/nonexistent/pyfpm.yaml' in done.stderr


def test_check_of_a_good_file_is_0(fpm, apps):
    fpm.write_groups({'shop': {'script': str(apps / 'hello.py')}})
    done = fpm.command('check')
    assert done.returncode == 0, said(done)
    assert fpm.run('-t', '-c', fpm.config_file).returncode == 0
    assert not os.path.exists(fpm.socket('shop'))


def test_check_of_a_group_that_cannot_import_is_1_with_the_traceback(fpm, apps):
    fpm.write_groups({'bad': {'script': str(apps / 'broken_import.py')}, 'good': {'script': str(apps / 'hello.py')}})
    done = fpm.command('check')
    assert done.returncode == 1
    assert "No module named 'no_such_module_anywhere'" in said(done)
    assert re.search('bad', said(done))


def test_what_cannot_be_imported_at_all_is_a_sentence_with_the_place(fpm, folder):
    package = folder / 'src' / 'shop'
    package.mkdir(parents=True)
    (package / '__init__.py').touch()
    path = {'python_path': str(folder / 'src')}
    fpm.write_groups({'absent': {'script': str(folder / 'absent.wsgi')}, 'submodule': {'application': 'shop.x:y', **path},
                      'package': {'application': 'stop.x:y', **path}})
    out = fpm.command('check').stdout
    assert f'absent: error: cannot run script {folder}/absent.wsgi: No such file or directory\n' in out
    assert 'absent: error: Traceback' not in out
    assert f"No module named 'shop.x' (the package shop in {package} has no x)" in out
    assert "No module named 'stop' (the folder that holds it is neither in python-path nor chdir)" in out


@pytest.mark.skipif(not IS_ROOT, reason='only root can make a script that the group cannot read')
def test_a_script_that_the_user_may_not_read_is_a_sentence(fpm, folder):
    closed = folder / 'closed'
    closed.mkdir(0o700)
    for script in (closed / 'app.wsgi', folder / 'app.wsgi'):
        script.write_text('')
        script.chmod(0o600)
    fpm.write_groups({'entered': {'script': str(closed / 'app.wsgi')}, 'read': {'script': str(folder / 'app.wsgi')}})
    out = fpm.command('check').stdout
    assert re.search(rf'^entered: error: cannot run script \S+: user \S+ \(uid \d+\) may not enter {closed}$', out, re.M)
    assert re.search(rf'^read: error: cannot run script \S+: user \S+ \(uid \d+\) may not read {folder}/app\.wsgi$', out, re.M)
    assert 'Traceback' not in out


def test_check_does_not_touch_a_running_pyfpm(fpm, apps):
    fpm.start({'shop': {'script': str(apps / 'hello.py')}})
    assert fpm.command('check').returncode == 0
    assert fastcgi.ask(fpm.socket('shop')).body == b'hello\n'


def test_dump_is_the_whole_configuration_and_reads_back_the_same(fpm, apps):
    fpm.write_groups({'shop': {'script': str(apps / 'hello.py'), 'threads': 3, 'request_timeout': None,
                               'io_timeout': '1500ms', 'env': {'A': 'b: c'}}}, defaults={'processes': 7})
    first = fpm.command('dump')
    assert first.returncode == 0, first.stderr
    for line in ('processes: 7', 'threads: 3', 'io-timeout: 1500ms', 'listen-backlog: 511', 'catch-output: true'):
        assert re.search(rf'^ +{line}$', first.stdout, re.MULTILINE), line
    fpm.write(first.stdout)
    assert fpm.command('dump').stdout == first.stdout
    assert fpm.command('check').returncode == 0


def test_request_asks_a_group_without_a_web_server(fpm, apps):
    fpm.start({'shop': {'script': str(apps / 'paths.py')}, 'sums': {'script': str(apps / 'hashes.py')}})
    done = fpm.command('request', 'shop', '/a/b?c=d')
    assert done.returncode == 0, done.stderr
    assert "('', '/a/b', 'c=d'" in done.stdout
    data = fpm.folder / 'data'
    data.write_text('four')
    done = fpm.command('request', 'sums', '/', '-X', 'POST', '-H', 'Content-Type: text/plain', '--data', f'@{data}')
    assert '4 ' in done.stdout


def test_request_reads_an_answer_that_begins_before_the_body_was_read(fpm, folder):
    """Neither fits into the buffers of the socket: who only sends would wait for who only sends."""
    script = folder / 'app.wsgi'
    script.write_text(textwrap.dedent("""
        def application(environ, start_response):
            start_response('200 OK', [])
            return [b'e' * 3_000_000]
    """))
    script.chmod(0o644)
    fpm.start({'shop': {'script': str(script), 'io_timeout': '2s'}})
    data = folder / 'data'
    data.write_bytes(b'd' * 5_000_000)
    done = fpm.command('request', 'shop', '/', '-X', 'POST', '--body', '--data', f'@{data}')
    assert (done.returncode, done.stdout, done.stderr) == (0, 'e' * 3_000_000, '')


def test_a_request_that_is_too_large_to_be_sent_says_so(fpm, apps):
    fpm.start({'shop': {'script': str(apps / 'hello.py')}})
    done = fpm.command('request', 'shop', '/', *['-H', f'X: {"x" * 60_000}'] * 3)
    assert done.returncode == 1
    assert done.stdout == '' and done.stderr.startswith('pyfpm: group shop: '), done.stderr


def test_request_of_an_unknown_group_names_it(fpm, apps):
    fpm.write_groups({'shop': {'script': str(apps / 'hello.py')}})
    done = fpm.command('request', 'shot', '/')
    assert done.returncode == 64
    assert 'no group shot; it has shop' in done.stderr


def test_request_of_a_group_that_is_not_served_says_so(fpm, apps):
    fpm.write_groups({'shop': {'script': str(apps / 'hello.py')}})
    done = fpm.command('request', 'shop', '/')
    assert done.returncode == 1
    assert f'pyfpm does not serve it (see pyfpm status): cannot connect to {fpm.socket("shop")}' in done.stderr


def test_request_finds_scripts_below_the_first_root(fpm, folder):
    root = folder / 'scripts'
    root.mkdir()
    root.chmod(0o755)
    script = root / 'hello.wsgi'
    script.write_text("""def application(environ, start_response):
    start_response('200 OK', [])
    return [(environ['SCRIPT_NAME'] + ' ' + environ['PATH_INFO']).encode()]
""")
    script.chmod(0o644)
    fpm.start({'scripts': {'script_root': str(root)}})
    assert fpm.command('request', 'scripts', '/hello.wsgi/a?b', '--body').stdout == '/hello.wsgi /a'
    fpm.expect('there is no file')
    assert '404' in fpm.command('request', 'scripts', '/absent.wsgi').stdout


def test_the_example_file_is_a_good_one(fpm):
    done = fpm.run('dump', '--config', ROOT / 'packaging' / 'examples' / 'pyfpm.yaml')
    assert done.returncode == 0, done.stderr


# Errors in the file ---------------------------------------------------------------------------------------


@pytest.mark.parametrize('text, place, words', [
    ('groups:\n  shop:\n    listen: /tmp/x.sock\n    script: /x\n    proceses: 4\n', '5:5', "processes"),
    ('groups:\n  shop:\n    listen: /tmp/x.sock\n    script: /x\n    processes: many\n', '5:16', 'processes'),
    ('groups:\n  shop:\n    listen: /tmp/x.sock\n    script: /x\n    processes: 0\n', '5:16', 'processes'),
    ('groups:\n  shop:\n    listen: /tmp/x.sock\n    script: /x\n    io-timeout: 5 parsecs\n', '5:17', 'io-timeout'),
    ('groups:\n  shop:\n    listen: /tmp/x.sock\n    listen: /tmp/y.sock\n    script: /x\n', '4:5', 'listen'),
    ('groups:\n  shop:\n    script: /x\n', '2:3', 'listen'),
    ('groups:\n  shop:\n    listen: /tmp/x.sock\n', '2:3', 'script'),
    ('groups:\n  shop:\n    listen: /tmp/x.sock\n    script: /x\n    application: a:b\n', '5:', 'application'),
    ('groups:\n  shop:\n   listen: [\n', '', ''),
    ('globals: {}\n', '1:1', 'global'),
    ('global:\n  log-level: loud\n', '2:14', 'log-level'),
    ('[]\n', '1:1', ''),
    ('groups:\n  shop: *nowhere\n', '2:', ''),
])
def test_an_error_is_said_with_its_place(fpm, text, place, words):
    done = check(fpm, text)
    assert done.returncode == 78
    assert f'{fpm.config_file}:{place}' in done.stderr, done.stderr
    assert words in done.stderr


def test_all_errors_are_said_at_once(fpm):
    done = check(fpm, f"""\
        global:
          log-level: loud
        groups:
          shop:
            listen: {fpm.socket('shop')}
            script: /x
            threds: 2
            processes: -1
          blog:
            listen: {fpm.socket('blog')}
            scirpt: /y
        """)
    assert done.returncode == 78
    for line in (2, 7, 8, 11):
        assert f'{fpm.config_file}:{line}:' in done.stderr, done.stderr


def test_a_key_that_is_nearly_right_is_suggested(fpm):
    done = check(fpm, 'groups:\n  shop:\n    listen: /tmp/x.sock\n    script: /x\n    thread: 2\n')
    assert re.search('did you mean.*threads', done.stderr)


def test_a_file_that_is_not_utf_8_is_78(fpm):
    fpm.config_file.write_bytes(b'groups:\n  shop:\n    listen: /tmp/\xff.sock\n')
    done = fpm.command('check')
    assert done.returncode == 78
    assert str(fpm.config_file) in done.stderr


def test_aliases_that_blow_up_are_refused(fpm):
    lines = ['a: &a [x, x, x, x, x, x, x, x, x, x]']
    for previous, name in zip('abcdefgh', 'bcdefghi'):
        lines.append(f'{name}: &{name} [{", ".join([f"*{previous}"] * 10)}]')
    fpm.write('\n'.join(lines) + '\n')
    done = fpm.command('check', timeout=30)
    assert done.returncode == 78


def test_a_key_that_is_not_there_yet_says_so(fpm):
    for line in ('status-path: /status', 'access-log: /var/log/x'):
        done = check(fpm, f'groups:\n  shop:\n    listen: /tmp/x.sock\n    script: /x\n{USER}    {line}\n')
        if done.returncode != 78:
            continue  # it is there by now
        assert re.search(line.split(':')[0] + '.*(not|yet)', done.stderr), done.stderr


def test_running_with_errors_is_78_and_starts_nothing(fpm):
    fpm.write('groups:\n  shop:\n    listen: /tmp/x.sock\n    nonsense: 1\n')
    fpm.launch()
    fpm.expected_exit = 78
    assert fpm.wait_exit() == 78
    assert f'{fpm.config_file}:4:5' in fpm.log.text()
    fpm.expect('.')


@pytest.mark.skipif(not IS_ROOT, reason='only root is asked for a user')
def test_root_has_to_name_a_user_or_allow_root(fpm, apps):
    group = {'listen': fpm.socket('shop'), 'script': str(apps / 'hello.py')}
    fpm.write({'groups': {'shop': group}})
    done = fpm.command('check')
    assert done.returncode in (1, 78)
    assert 'user' in said(done) and 'allow-root' in said(done)
    fpm.write({'groups': {'shop': {**group, 'allow-root': True}}})
    assert fpm.command('check').returncode == 0


@pytest.mark.skipif(not IS_ROOT, reason='only root becomes somebody else')
def test_a_user_that_does_not_exist_is_named(fpm, apps):
    fpm.write_groups({'shop': {'script': str(apps / 'hello.py'), 'user': 'nobody-of-that-name'}})
    done = fpm.command('check')
    assert done.returncode in (1, 78)
    assert 'nobody-of-that-name' in said(done)


# What the file can do ---------------------------------------------------------------------------------------


def test_group_and_environment_are_expanded(fpm, apps):
    fpm.write_groups({'shop': {'listen': str(fpm.folder / '$group.${WORD}'), 'script': str(apps / 'hello.py')}})
    fpm.launch(env={'WORD': 'sock'})
    fpm.wait_ready()
    assert fastcgi.ask(fpm.socket('shop')).body == b'hello\n'


def test_included_files_add_groups(fpm, apps):
    more = fpm.folder / 'groups.d'
    more.mkdir()
    for name in ('blog', 'wiki'):
        (more / f'{name}.yaml').write_text(
            f'groups:\n  {name}:\n    listen: {fpm.socket(name)}\n    script: {apps}/hello.py\n{USER}')
    fpm.start({'shop': {'script': str(apps / 'hello.py')}}, **{'global': {'include': str(more / '*.yaml')}})
    for name in ('shop', 'blog', 'wiki'):
        assert fastcgi.ask(fpm.socket(name)).body == b'hello\n'


def test_an_error_in_an_included_file_has_that_files_place(fpm, apps):
    more = fpm.folder / 'more.yaml'
    more.write_text('groups:\n  blog:\n    listen: /tmp/x.sock\n    script: /x\n    oops: 1\n')
    fpm.write_groups({'shop': {'script': str(apps / 'hello.py')}}, **{'global': {'include': str(more)}})
    done = fpm.command('check')
    assert done.returncode == 78
    assert f'{more}:5:5' in done.stderr


def test_defaults_hold_for_every_group_and_a_group_may_differ(fpm, apps):
    script = str(apps / 'hello.py')
    fpm.start({'shop': {'script': script}, 'blog': {'script': script, 'processes': 1}}, defaults={'processes': 3})
    assert len(fpm.wait_workers('shop', 3)) == 3
    assert len(fpm.wait_workers('blog', 1)) == 1


def test_a_pid_file_is_written_and_removed(fpm, apps):
    path = fpm.folder / 'pyfpm.pid'
    fpm.start({'shop': {'script': str(apps / 'hello.py')}}, **{'global': {'pid-file': str(path)}})
    assert path.read_text().strip() == str(fpm.pid)
    fpm.stop()
    assert not path.exists()


def test_a_reload_with_a_broken_file_keeps_everything(fpm, apps):
    fpm.start({'shop': {'script': str(apps / 'hello.py')}})
    before = fpm.workers('shop')
    fpm.expect(RELOAD_FAILED, str(fpm.config_file))
    since = fpm.log.position()
    fpm.write('groups:\n  shop:\n    no-such-key: 1\n')
    fpm.reload(signal.SIGUSR2, outcome=RELOAD_FAILED)
    assert f'{fpm.config_file}:3:5' in fpm.log.text(since)
    assert fpm.workers('shop') == before
    assert fastcgi.ask(fpm.socket('shop')).body == b'hello\n'
