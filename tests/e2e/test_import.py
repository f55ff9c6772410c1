"""pyfpm import mod_wsgi: a configuration of Apache becomes one of pyfpm that serves the same."""

import re
import subprocess

import pytest

import venvs
from pyfpm import GROUP_USER, IS_ROOT, PROGRAM, ROOT, WEB_USER

APP = """import os
import greeting

def {name}(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    text = '|'.join([greeting.VERSION, environ['SCRIPT_NAME'], environ['PATH_INFO'], os.environ.get('LANG', ''),
                     os.getcwd()])
    return [text.encode()]
"""


def convert(fpm, text, *options):
    """Writes the Apache configuration, converts it, and returns the YAML."""
    conf = fpm.folder / 'site.conf'
    conf.write_text(text)
    done = fpm.run('import', 'mod_wsgi', conf, '--sockets', fpm.folder, *options)
    assert (done.returncode, done.stderr) == (0, ''), done.stdout + done.stderr
    return done.stdout


def locations(yaml):
    """The lines that the output proposes for nginx."""
    return re.findall(r'^# +(location .*)$', yaml, re.MULTILINE)


def run_converted(fpm, nginx, yaml):
    """Starts pyfpm with the output as it is, and nginx with the locations that it names."""
    fpm.write(yaml)
    assert fpm.command('dump').returncode == 0
    checked = fpm.command('check')
    assert checked.returncode == 0, checked.stdout + checked.stderr
    fpm.launch()
    fpm.wait_ready()
    lines = '\n'.join(locations(yaml))
    return nginx(str(fpm.folder / 'unused.sock'), edit=lambda example: re.sub(
        r'    location / \{.*?\n    \}\n', lambda _: lines + '\n', example, count=1, flags=re.DOTALL))


def identity():
    """Who Apache ran as."""
    return f'User {GROUP_USER}\nGroup {WEB_USER}\n' if IS_ROOT else ''


@pytest.fixture
def site(folder):
    """A site as people have it: a virtual environment, and a script beside it."""
    environment = venvs.make(folder / 'venv')
    environment.install(venvs.package(folder, 'greeting', '1.2'))
    (folder / 'site').mkdir()
    script = folder / 'site' / 'site.wsgi'
    script.write_text(APP.format(name='application') + APP.format(name='other').split('\n\n')[1])
    return script


def test_a_converted_site_answers_through_nginx(fpm, nginx, site, folder):
    yaml = convert(fpm, identity() + f"""
<VirtualHost *:80>
    ServerName www.example.org
    WSGIDaemonProcess site processes=2 threads=3 python-home={folder}/venv \\
        home={folder}/site lang='C.UTF-8' display-name=%{{GROUP}} request-timeout=60
    WSGIProcessGroup site
    WSGIApplicationGroup %{{GLOBAL}}
    WSGIScriptAlias / {site}
    WSGIPassAuthorization On
    <Directory {folder}/site>
        Require all granted
    </Directory>
</VirtualHost>
""")
    web = run_converted(fpm, nginx, yaml)
    answer = web.ask('/some/page')
    assert (answer.status, answer.body.decode()) == (200, f'1.2||/some/page|C.UTF-8|{folder}/site')


def test_a_converted_mount_keeps_its_prefix(fpm, nginx, site, folder):
    yaml = convert(fpm, identity() + f"""
WSGIDaemonProcess wiki python-path={folder}/venv/lib/python3.11/site-packages
WSGIScriptAlias /wiki {site} process-group=wiki application-group=%{{GLOBAL}} callable-object=other
""".replace('python3.11', next((folder / 'venv' / 'lib').iterdir()).name))
    web = run_converted(fpm, nginx, yaml)
    assert web.ask('/wiki/page').body.decode().split('|')[:3] == ['1.2', '/wiki', '/page']


def test_a_converted_embedded_site_answers_through_nginx(fpm, nginx, site, folder):
    yaml = convert(fpm, identity() + f'WSGIPythonHome {folder}/venv\nWSGIScriptAlias / {site}\n')
    assert 'embedded mode' in yaml
    web = run_converted(fpm, nginx, yaml)
    assert web.ask('/x').body.decode().split('|')[:3] == ['1.2', '', '/x']


def test_converted_applications_of_one_group_keep_their_interpreters(fpm, nginx, apps):
    yaml = convert(fpm, identity() + f"""
WSGIDaemonProcess both
WSGIProcessGroup both
WSGIScriptAlias /b {apps}/paths.py
WSGIScriptAlias / {apps}/hello.py
""")
    if '# applications:' in yaml:
        pytest.skip('this version has no applications')
    assert 'interpreter: main' in yaml and 'interpreter: root' in yaml
    web = run_converted(fpm, nginx, yaml)
    assert web.ask('/b/x').body.decode().startswith("('/b', '/x',")
    assert (web.ask('/').status, web.ask('/').body) == (200, b'hello\n')


def test_a_converted_folder_of_scripts_answers_through_nginx(fpm, nginx, folder, apps):
    scripts = folder / 'scripts'
    scripts.mkdir()
    (scripts / 'one.wsgi').write_text((apps / 'paths.py').read_text())
    web = run_converted(fpm, nginx, convert(fpm, identity() + f'WSGIScriptAlias /run {scripts}\n'))
    assert web.ask('/run/one.wsgi/x').body.decode().startswith("('/run/one.wsgi', '/x',")


def test_includes_are_followed_and_definitions_counted_when_asked(fpm, folder):
    (folder / 'sites').mkdir()
    (folder / 'sites' / 'a.conf').write_text('WSGIScriptAlias / ${ROOT}/a.wsgi\nInclude more\n')
    (folder / 'more').mkdir()
    (folder / 'more' / 'b.conf').write_text(
        '<IfDefine B>\nWSGIScriptAlias /b /srv/b.wsgi process-group=b\n</IfDefine>\n')
    text = 'IncludeOptional sites/*.conf\nIncludeOptional absent/*.conf\n'
    conf = folder / 'site.conf'
    conf.write_text(text)
    plain = fpm.run('import', 'mod_wsgi', conf)
    assert plain.returncode == 1
    assert 'nothing in it makes a group that could run (does it include other files? see --follow)' in plain.stderr
    assert 'line 1, IncludeOptional sites/*.conf: not followed' in plain.stdout

    yaml = convert(fpm, text, '--follow', '-D', 'ROOT=/opt/sites', '-DB')
    assert 'script: /opt/sites/a.wsgi  # a.conf:1\n' in yaml
    assert 'script: /srv/b.wsgi' in yaml and '# b.conf:2\n' in yaml
    (folder / 'sites' / 'a.conf').write_text('WSGIScriptAlias / /srv/a.wsgi\nInclude absent.conf\n')
    done = fpm.run('import', 'mod_wsgi', conf, '--follow')
    assert done.returncode == 0
    assert done.stderr.endswith(f'a.conf:2: there is no file {folder}/absent.conf\n')


def test_variables_without_a_value_are_named(fpm, folder):
    text = 'WSGIScriptAlias / ${ROOT}/a.wsgi\nWSGIScriptAlias /b /srv/b.wsgi\n<IfDefine B>\nWSGILazy\n</IfDefine>'
    unknown = convert(fpm, text, '-DB')
    assert '${ROOT} has no value here (see --define)' in unknown
    assert 'B is not defined' in convert(fpm, text, '-D', 'ROOT=/x')


def test_a_circle_of_includes_ends(fpm, folder):
    conf = folder / 'site.conf'
    conf.write_text(f'Include {conf}\n')
    done = fpm.run('import', 'mod_wsgi', conf, '--follow')
    assert done.returncode == 78
    assert 'files include each other more than 32 deep' in done.stderr


def test_standard_input_is_read_for_a_dash(fpm):
    done = subprocess.run([PROGRAM, 'import', 'mod_wsgi', '-'], input='WSGIScriptAlias / /srv/a.wsgi\n', text=True,
                          capture_output=True, env=fpm.environment(), timeout=30)
    assert done.returncode == 0
    assert 'script: /srv/a.wsgi  # line 1\n' in done.stdout
    assert done.stdout.startswith('# Made by pyfpm import mod_wsgi from standard input\n')


@pytest.mark.parametrize('arguments, code, complaint', [
    (['import'], 64, 'import from what?'),
    (['import', 'uwsgi', 'x'], 64, 'only mod_wsgi can be imported from, not uwsgi'),
    (['import', 'mod_wsgi'], 64, 'import mod_wsgi takes one file'),
    (['import', 'mod_wsgi', 'a', 'b'], 64, 'import mod_wsgi takes one file'),
    (['import', 'mod_wsgi', 'a', '--sockets', 'relative'], 64, '--sockets must be an absolute path'),
    (['import', 'mod_wsgi', 'a', '--define', '=x'], 64, '--define needs a name'),
    (['import', 'mod_wsgi', 'a', '--nonsense'], 64, 'nonsense'),
    (['import', 'mod_wsgi', 'absent'], 1, 'absent cannot be opened: No such file'),
    (['import', 'mod_wsgi', '/'], 1, '/ cannot be read: Is a directory'),
    (['import', 'mod_wsgi', 'broken'], 78, 'broken:2: <Directory> is never closed'),
    (['import', 'mod_wsgi', 'binary'], 78, 'binary:1: there is a NUL byte'),
])
def test_what_cannot_be_converted_says_why(fpm, folder, arguments, code, complaint):
    (folder / 'broken').write_text('ServerName a\n<Directory />\n')
    (folder / 'binary').write_bytes(b'\xff\xfeS\0e\0')
    done = fpm.run(*arguments)
    assert (done.returncode, done.stdout) == (code, '')
    assert complaint in done.stderr


def test_an_output_that_is_full_is_a_failure(fpm, folder):
    (folder / 'site.conf').write_text('WSGIScriptAlias / /srv/a.wsgi\n')
    with open('/dev/full', 'w') as full:
        done = subprocess.run([PROGRAM, 'import', 'mod_wsgi', folder / 'site.conf'], stdout=full, text=True,
                              stderr=subprocess.PIPE, env=fpm.environment(), timeout=30)
    assert done.returncode == 1
    assert 'the output cannot be written: No space left on device' in done.stderr


def test_the_command_explains_itself(fpm):
    done = fpm.run('import', '--help')
    assert done.returncode == 0
    assert 'example: pyfpm import mod_wsgi' in done.stdout


def test_the_page_shows_what_comes_out(fpm, folder):
    page = (ROOT / 'docs' / 'migrating-from-mod_wsgi.md').read_text()
    apache, = re.findall(r'```apache\n(.*?)```', page, re.DOTALL)
    shown, = re.findall(r'```yaml\n(.*?)```', page, re.DOTALL)
    (folder / 'shop.conf').write_text(apache)
    done = fpm.run('import', 'mod_wsgi', 'shop.conf')
    assert done.returncode == 0
    assert done.stdout == shown
