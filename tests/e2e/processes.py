"""What /proc says about processes, and waiting for a condition under a deadline.

The test process is a child-subreaper: whatever a test leaves behind becomes its child, and is seen."""

import ctypes
import os
import signal
import time

PR_SET_CHILD_SUBREAPER = 36

# A sanitizer build on two busy cores is slow; a deadline is only there to end what hangs.
SLOWNESS = 4 if 'asan' in os.environ.get('PYFPM_BUILD', '') else 1
DEADLINE = 20 * SLOWNESS


def become_subreaper():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), 'prctl(PR_SET_CHILD_SUBREAPER)')


def wait_until(condition, what, deadline=DEADLINE):
    """Returns the first true value of condition(); AssertionError naming what after the deadline."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f'not within {deadline} s: {what}'
        time.sleep(0.005)


def stat(pid):
    """(state letter, parent) of a process, or None when it is gone."""
    try:
        with open(f'/proc/{pid}/stat', encoding='latin-1') as f:
            fields = f.read().rpartition(')')[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return fields[0], int(fields[1])


def is_alive(pid):
    """True while it runs; a zombie does not."""
    found = stat(pid)
    return found is not None and found[0] not in 'ZX'


def command(pid):
    try:
        with open(f'/proc/{pid}/cmdline', 'rb') as f:
            return f.read().replace(b'\0', b' ').decode('latin-1').strip() or '(no command line)'
    except (FileNotFoundError, ProcessLookupError):
        return '(gone)'


def program(pid):
    """The name of the program it runs ("host-3.11"), or '' when it is gone."""
    try:
        return os.path.basename(os.readlink(f'/proc/{pid}/exe'))
    except OSError:
        return ''


def all_pids():
    return [int(name) for name in os.listdir('/proc') if name.isdigit()]


def children(pid):
    """Every child, zombies included."""
    found = []
    for candidate in all_pids():
        about = stat(candidate)
        if about and about[1] == pid:
            found.append(candidate)
    return sorted(found)


def descendants(pid):
    parents = {}
    for candidate in all_pids():
        about = stat(candidate)
        if about:
            parents.setdefault(about[1], []).append(candidate)
    found, todo = [], [pid]
    while todo:
        below = parents.get(todo.pop(), [])
        found += below
        todo += below
    return sorted(found)


def zombies_of(pid):
    return [child for child in children(pid) if (stat(child) or ' ')[0] == 'Z']


def descriptors(pid):
    """What each open descriptor points to, sorted; numbers inside are left out so that two lists compare."""
    targets = []
    try:
        for name in os.listdir(f'/proc/{pid}/fd'):
            try:
                targets.append(os.readlink(f'/proc/{pid}/fd/{name}').split('[')[0].split(' (')[0])
            except FileNotFoundError:
                pass
    except (FileNotFoundError, ProcessLookupError):
        pass
    return sorted(targets)


def status_field(pid, name):
    """The words after NAME: in /proc/PID/status."""
    with open(f'/proc/{pid}/status', encoding='latin-1') as f:
        for line in f:
            if line.startswith(name + ':'):
                return line.split()[1:]
    raise KeyError(name)


def kill_and_reap(pid):
    """Ends a process that is, or is about to become, our child."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        pass


def reap_adopted(known):
    """Reaps orphans that became our children and have ended. known: pids that somebody else waits for."""
    for pid in children(os.getpid()):
        if pid in known or (stat(pid) or ' ')[0] != 'Z':
            continue
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            pass
