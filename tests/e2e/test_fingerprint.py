"""host --fingerprint by hand: the lines that a supervisor compares, and their bounds."""

import json
import os
import pathlib
import re
import shutil
import socket
import struct
import subprocess

import pytest

import processes
import pythons
import venvs
from pyfpm import GROUP_USER, IS_ROOT, LIBEXEC

HEAD = struct.Struct('=IIIIQ')  # base/wire.c
HOT = 2


def fingerprint(**keys):
    """(lines, flags of the last message, number of messages) for a group with these keys."""
    group = {'listen': '/nowhere', 'script': '/nowhere', **{key.replace('_', '-'): keys[key] for key in keys}}
    if IS_ROOT:
        group.setdefault('user', GROUP_USER)
    host = LIBEXEC / f'host-{pythons.default()}'
    stamp = subprocess.run([host, '--describe'], capture_output=True, text=True, check=True).stdout.split('\t')[3]
    config = os.memfd_create('group')
    os.write(config, f'# pyfpm {stamp}\n'.encode() + json.dumps({'groups': {'shop': group}}).encode())
    os.lseek(config, 0, os.SEEK_SET)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def place():
        channel, group_file = os.dup(theirs.fileno()), os.dup(config)
        os.dup2(channel, 3)
        os.dup2(group_file, 4)
    process = subprocess.Popen([host, '--fingerprint'], preexec_fn=place, close_fds=False, stdin=subprocess.DEVNULL)
    theirs.close()
    os.close(config)
    ours.settimeout(processes.DEADLINE)
    text, flags, pieces = b'', 0, 0
    while message := ours.recv(65536):
        _, _, _, flags, _ = HEAD.unpack(message[:HEAD.size])
        text += message[HEAD.size:]
        pieces += 1
    ours.close()
    assert process.wait(processes.DEADLINE) == 0, text
    return text.decode('utf-8', 'surrogateescape').splitlines(), flags, pieces


def of_kind(lines, kind):
    return [line.split(' ', 1)[1] for line in lines if line.startswith(kind + ' ')]


def test_it_names_python_folders_files_and_distributions(folder):
    venv = venvs.make(folder / 'VENV')
    venv.install(venvs.package(folder, 'parrot', '1.0'))
    (venv.site_packages / 'old-1.2-py3.11.egg-info').write_text('')
    (venv.site_packages / 'dev.egg-link').write_text('/srv/dev\n')
    (venv.site_packages / '~arrot-0.9.dist-info').mkdir()
    (venv.site_packages / 'x.pth').write_text('/x\n')
    lines, _, _ = fingerprint(python_home=str(venv.root), python_path=[str(folder / 'nothing'), str(venv.root)])
    assert lines == sorted(set(lines))
    python, = of_kind(lines, 'python')
    assert re.fullmatch(rf'{re.escape(pythons.default())}\.\d+ \d+\.\d{{9}}:\d+ /.*libpython{pythons.default()}.*',
                        python)
    assert [line.split()[1] for line in of_kind(lines, 'folder')] == [str(venv.site_packages)]
    files = {line.split()[1] for line in of_kind(lines, 'file')}
    assert files == {str(venv.root / 'pyvenv.cfg'), str(venv.site_packages / 'x.pth')}
    found = {tuple(line.split()[:2]) for line in of_kind(lines, 'dist')}
    assert found == {('parrot', '1.0'), ('old', '1.2'), ('dev', '-')}
    assert of_kind(lines, 'missing') == [str(folder / 'nothing')]


def test_an_environment_that_includes_its_base_has_the_folders_of_both(folder):
    alone = venvs.make(folder / 'ALONE')
    both = venvs.make(folder / 'BOTH', pythons.DEBIAN, '--system-site-packages')
    of_alone, of_both = ({line.split()[1] for line in of_kind(fingerprint(python_home=str(venv.root))[0], 'folder')}
                         for venv in (alone, both))
    assert of_alone == {str(alone.site_packages)}
    assert str(both.site_packages) in of_both
    base = pathlib.Path(pythons.DEBIAN).parents[1]
    assert any(folder.startswith(f'{base}/') for folder in of_both)
    without_home = {line.split()[1] for line in of_kind(fingerprint()[0], 'folder')}
    assert without_home == of_both - {str(both.site_packages)}


def test_odd_names_are_escaped(folder):
    odd = folder / 'with blank\\and\nline'
    odd.mkdir(0o755)
    (odd / 'a b\n-1\t.dist-info').mkdir()
    (odd / os.fsdecode(b'\xff-2.dist-info')).mkdir()
    lines, _, _ = fingerprint(python_path=[str(odd)])
    escaped = str(folder) + r'/with blank\x5cand\x0aline'
    assert any(line.endswith(' ' + escaped) for line in of_kind(lines, 'folder'))
    assert any(re.fullmatch(r'a\\x20b\\x0a 1\\x09 \S+ ' + re.escape(escaped), line)
               for line in of_kind(lines, 'dist'))
    assert any(line.startswith('\udcff 2 ') for line in of_kind(lines, 'dist'))


def test_it_is_bounded_and_says_that_it_is_cut(folder):
    crowd = folder / 'crowd'
    crowd.mkdir(0o755)
    for i in range(20050):
        (crowd / f'p{i}-1.egg-link').touch()
    lines, _, pieces = fingerprint(python_path=[str(crowd)])
    assert len(lines) <= 20001 and pieces > 1
    assert int(of_kind(lines, 'cut')[0]) >= 50
    shutil.rmtree(crowd)


def test_it_is_hot_while_something_is_written_below_and_not_afterwards(folder):
    venv = venvs.make(folder / 'VENV')
    venv.install(venvs.package(folder, 'parrot', '1.0'))
    deep = venv.site_packages / 'a' / 'b' / 'c'
    deep.mkdir(parents=True)

    def is_hot():
        return bool(fingerprint(python_home=str(venv.root))[1] & HOT)
    processes.wait_until(lambda: not is_hot(), 'nothing was written for a second')
    (deep / 'x').touch()
    assert is_hot()
    processes.wait_until(lambda: not is_hot(), 'nothing was written for a second')


@pytest.mark.skipif(not IS_ROOT, reason='root reads everything, so another user is needed')
def test_what_the_user_may_not_enter_is_not_called_missing(folder):
    closed = folder / 'closed'
    (closed / 'VENV').mkdir(parents=True)
    closed.chmod(0o700)
    lines, _, _ = fingerprint(python_path=[str(closed / 'VENV')])
    assert of_kind(lines, 'missing') == []
    assert of_kind(lines, 'folder')[-1].startswith('0 ') or of_kind(lines, 'folder')[0].startswith('0 ')


def test_a_user_that_does_not_exist_is_said_instead():
    if not IS_ROOT:
        pytest.skip('nobody else can be asked for')
    with pytest.raises(AssertionError, match='there is no user named nobody-at-all'):
        fingerprint(user='nobody-at-all')
