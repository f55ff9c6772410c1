"""pyfpm check: what it says about groups, one line each thing."""

import os

PRINTS = '''
import sys
for character in "in pieces\\nand a last one without an end":
    sys.stdout.write(character)
    sys.stdout.flush()

def application(environ, start_response):
    pass
'''

ASGI = '''
async def application(scope, receive, send):
    pass
'''


def write_script(folder, text):
    script = folder / 'app.wsgi'
    script.write_text(text)
    script.chmod(0o644)
    return str(script)


def test_what_an_application_prints_comes_in_lines(fpm, folder):
    fpm.write_groups({'shop': {'script': write_script(folder, PRINTS)}})
    done = fpm.command('check')
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines() == ['shop: output: in pieces', 'shop: output: and a last one without an end',
                                        'shop: fine']


def test_an_asgi_application_is_refused_with_a_sentence(fpm, folder):
    fpm.write_groups({'shop': {'script': write_script(folder, ASGI)}})
    done = fpm.command('check')
    assert done.returncode == 1
    assert 'ASGI' in done.stdout and 'WSGI' in done.stdout, done.stdout


def test_a_python_that_is_too_old_is_not_promised_a_host(fpm, folder):
    home = folder / 'venv'
    (home / 'bin').mkdir(parents=True)
    (home / 'pyvenv.cfg').write_text('home = /usr/bin\nversion = 3.7.16\n')
    fpm.write_groups({'shop': {'script': write_script(folder, PRINTS), 'python_home': str(home)}})
    done = fpm.command('check')
    assert done.returncode == 1
    assert 'pyfpm needs 3.8 or later' in done.stdout, done.stdout
    assert 'PYFPM_PYTHONS' not in done.stdout


LEAVES_A_DAEMON = '''
import os
if os.fork() == 0:
    os.setsid()
    os.read(os.open(%r, os.O_RDONLY), 1)     # until the test lets it go
    os._exit(0)

def application(environ, start_response):
    pass
'''


def test_a_process_that_the_import_leaves_behind_is_not_waited_for(fpm, folder):
    gate = folder / 'gate'
    os.mkfifo(gate)
    gate.chmod(0o666)
    fpm.write_groups({'shop': {'script': write_script(folder, LEAVES_A_DAEMON % str(gate)), 'preload': False}})
    done = fpm.command('check')
    with open(gate, 'w') as f:
        f.write('x')
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == 'shop: fine'
