"""One pyfpm, run as its user would: a configuration file, the program, signals, a log.

Everything that the tests know of the wording of log lines stands at the top of this file."""

import json
import os
import pathlib
import re
import subprocess
from signal import SIGHUP, SIGQUIT

import processes
from processes import DEADLINE, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = (ROOT / os.environ.get('PYFPM_BUILD', 'build/release')).resolve()
PROGRAM = BUILD / 'bin' / 'pyfpm'
LIBEXEC = BUILD / 'libexec' / 'pyfpm'
IS_SANITIZED = 'asan' in BUILD.name
IS_ROOT = os.geteuid() == 0

# A supervisor that is root gives groups to this user; the web servers run as theirs.
GROUP_USER = 'nobody'
WEB_USER = 'www-data'

READY = r'notice: pyfpm \S+ ready: (?P<serving>\d+) of (?P<all>\d+) groups serving'
RELOAD_FINISHED = r'notice: reload finished'
RELOAD_FAILED = r'error: reload failed'
WORKER_READY = r'debug: \[group (?P<group>\S+) pid (?P<pid>\d+)\] worker ready'
LINE = re.compile(r'^(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (?P<level>[a-z]+): '
                  r'(?P<mark>\[[^\]]*\] )?(?P<text>.*)$')


def output(group, text, pid=r'\d+'):
    """The regular expression of a line that an application of that group printed."""
    return rf'\[group {re.escape(group)} pid {pid} output\] {text}'


class Log:
    """A log file that grows. Positions are bytes, so that a test can look at what came after a moment."""

    def __init__(self, path):
        self.path = pathlib.Path(path)

    def text(self, since=0):
        try:
            with open(self.path, 'rb') as f:
                f.seek(since)
                return f.read().decode('utf-8', 'replace')
        except FileNotFoundError:
            return ''

    def position(self):
        return self.path.stat().st_size if self.path.exists() else 0

    def find(self, pattern, since=0):
        return list(re.finditer(pattern, self.text(since), re.MULTILINE))

    def wait_for(self, pattern, since=0, count=1, deadline=DEADLINE):
        """Waits until the pattern is there count times; returns the last match."""
        def found():
            matches = self.find(pattern, since)
            return matches[count - 1] if len(matches) >= count else None
        return wait_until(found, f'{count} × {pattern!r} in {self.path}', deadline)

    def records(self):
        """Neighbouring lines of one level and mark, joined: a traceback is one record."""
        records, last = [], None
        for line in self.text().splitlines():
            match = LINE.match(line)
            key = (match['level'], match['mark']) if match else ('', '')
            if records and key == last:
                records[-1] += '\n' + line
            else:
                records.append(line)
            last = key
        return records


class Pyfpm:
    def __init__(self, folder):
        self.program = PROGRAM      # a test that installs pyfpm puts its own here
        self.folder = pathlib.Path(folder)
        self.config_file = self.folder / 'pyfpm.yaml'
        self.control = str(self.folder / 'control.sock')  # None: the file does not say
        self.log = Log(self.folder / 'pyfpm.log')
        self.more_logs = []         # files that the configuration sends the log to
        self.process = None
        self.expected = []          # regular expressions of error records that belong to the test
        self.expected_exit = 0
        self.checks_descriptors = True
        self.descriptors_at_start = None

    # The configuration ------------------------------------------------------------------------------

    def socket(self, group):
        return str(self.folder / f'{group}.sock')

    def group(self, name, **keys):
        """A group's keys with what every group of the tests has; underscores stand for hyphens."""
        given = {key.replace('_', '-'): value for key, value in keys.items()}
        group = {'listen': self.socket(name)}
        if IS_ROOT and not given.get('allow-root'):
            group.update({'user': GROUP_USER})
            if group['listen'].startswith('/'):
                group['listen-group'] = WEB_USER
        group.update(given)
        return {key: value for key, value in group.items() if value is not None}

    def write(self, config):
        """Writes the file: YAML as text, or as a dict (JSON is YAML), whose control socket is then in the test's
        folder unless it says otherwise. Replaced in one step, as an editor does."""
        if self.control and isinstance(config, dict) and isinstance(config.get('global', {}), dict):
            config = {**config, 'global': {'control': self.control, **config.get('global', {})}}
        text = config if isinstance(config, str) else json.dumps(config, indent=2, ensure_ascii=False)
        new = self.config_file.with_suffix('.new')
        new.write_text(text, encoding='utf-8')
        new.chmod(0o644)
        new.rename(self.config_file)

    def write_groups(self, groups, **more):
        """groups: name → keys, completed by group(). Which worker is ready is said at the level debug."""
        self.write({**more, 'global': {'log-level': 'debug', **more.get('global', {})},
                    'groups': {name: self.group(name, **keys) for name, keys in groups.items()}})

    # Running ------------------------------------------------------------------------------------------

    def environment(self):
        kept = ('PATH', 'HOME', 'ASAN_OPTIONS', 'LSAN_OPTIONS', 'UBSAN_OPTIONS', 'PYENV_ROOT')
        return {'LANG': 'C.UTF-8', **{name: os.environ[name] for name in kept if name in os.environ}}

    def run(self, *arguments, timeout=DEADLINE, **more):
        """Runs a command of pyfpm to its end: .returncode, .stdout, .stderr."""
        done = subprocess.run([self.program, *map(str, arguments)], capture_output=True, text=True, timeout=timeout,
                              stdin=subprocess.DEVNULL, env=self.environment(), cwd=self.folder, **more)
        for stream in (done.stdout, done.stderr):
            assert 'Sanitizer' not in stream and 'runtime error:' not in stream, stream
        return done

    def command(self, *arguments, **more):
        """run() with this configuration file."""
        return self.run(*arguments, '--config', self.config_file, **more)

    def give_control(self):
        """A file that was written as text must not name the control socket of a pyfpm outside the test either.
        Lines are appended, or put below "global:", so that the places of what stands above stay right."""
        text = self.config_file.read_text(encoding='utf-8') if self.config_file.exists() else None
        if not self.control or text is None or re.search(r'^[\s"\']*control["\']?\s*:', text, re.MULTILINE):
            return
        line = f'global:\n  control: {self.control}\n'
        self.write(re.sub(r'^global:[ ]*\n', line, text, count=1, flags=re.MULTILINE)
                   if re.search(r'^global:[ ]*$', text, re.MULTILINE) else f'{text.rstrip()}\n{line}')

    def launch(self, wrapper=(), env=None, cwd='/'):
        """Starts the supervisor and does not wait for anything."""
        self.give_control()
        with open(self.log.path, 'ab') as log:
            self.process = subprocess.Popen(
                [*wrapper, self.program, '--config', self.config_file], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**self.environment(), **(env or {})}, cwd=cwd)

    def start(self, groups=None, config=None, **more):
        """Writes the configuration (groups: name → keys; or a whole config), starts, waits until it is ready."""
        if config is not None:
            self.write(config)
        elif groups is not None:
            self.write_groups(groups, **more)
        self.launch()
        self.wait_ready()
        return self

    def wait_ready(self):
        def ready():
            assert self.process.poll() is None, \
                f'pyfpm exited with {self.process.returncode}:\n{self.log.text()}'
            return self.log.find(READY)
        try:
            found, = wait_until(ready, 'pyfpm is ready')
            assert self.expected or found['serving'] == found['all'], 'a group is not serving'
        except AssertionError as error:
            raise AssertionError(f'{error}; its log:\n{self.log.text()}') from None
        self.note_descriptors()

    def note_descriptors(self):
        """From here on the supervisor must come back to the descriptors it has now."""
        self.descriptors_at_start = processes.descriptors(self.pid)

    @property
    def pid(self):
        return self.process.pid

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self, number=SIGQUIT):
        self.signal(number)
        return self.wait_exit()

    def wait_exit(self):
        try:
            return self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            below = {pid: processes.command(pid) for pid in processes.descendants(self.pid)}
            raise AssertionError(f'pyfpm did not stop; below it: {below}; log:\n{self.log.text()}') from None

    def reload(self, number=SIGHUP, outcome=RELOAD_FINISHED):
        """Asks for a reload and waits for that outcome."""
        since = self.log.position()
        self.signal(number)
        either = f'{RELOAD_FINISHED}|{RELOAD_FAILED}'
        found = self.log.wait_for(either, since)
        assert re.search(outcome, found[0]), self.log.text(since)

    # Its processes --------------------------------------------------------------------------------------

    def workers(self, group):
        """Pids of the living workers that said they were ready, oldest first."""
        pids = [int(match['pid']) for match in self.log.find(WORKER_READY) if match['group'] == group]
        return [pid for pid in dict.fromkeys(pids) if processes.is_alive(pid)]

    def wait_workers(self, group, count, other_than=()):
        """Waits until exactly that many workers serve, none of them among other_than."""
        def there():
            now = self.workers(group)
            return (now,) if len(now) == count and not set(now) & set(other_than) else None
        return wait_until(there, f'{count} workers of {group}')[0]

    def hosts(self):
        """Every host process: templates and workers."""
        return [pid for pid in processes.children(self.pid) if processes.program(pid).startswith('host-')]

    def templates(self):
        served = {int(match['pid']) for match in self.log.find(WORKER_READY)}
        return [pid for pid in self.hosts() if pid not in served]

    # What every test has to leave behind --------------------------------------------------------------------

    def expect(self, *patterns):
        """Error records that match belong to the test."""
        self.expected += patterns

    def complaints_running(self):
        """Descriptors that leaked and zombies; asked before the stop, when everybody has hung up."""
        complaints = []
        if not self.is_running():
            return complaints
        if self.checks_descriptors and self.descriptors_at_start is not None:
            try:
                wait_until(lambda: processes.descriptors(self.pid) == self.descriptors_at_start, 'descriptors', 10)
            except AssertionError:
                now = processes.descriptors(self.pid)
                complaints.append(f'descriptors of the supervisor: {len(self.descriptors_at_start)} at the start, '
                                  f'{len(now)} now: {self.descriptors_at_start} / {now}')
        try:
            wait_until(lambda: not processes.zombies_of(self.pid), 'no zombies', 10)
        except AssertionError:
            complaints.append(f'zombies of the supervisor: {processes.zombies_of(self.pid)}')
        return complaints

    def complaints_stopped(self):
        """Unexpected log records and socket files."""
        complaints = []
        for record in [record for log in (self.log, *self.more_logs) for record in log.records()]:
            is_finding = 'Sanitizer' in record or 'runtime error:' in record
            is_bad = re.search(r'^\S+ (error|alert): |Traceback \(most recent', record, re.MULTILINE)
            if is_finding or (is_bad and not any(re.search(pattern, record) for pattern in self.expected)):
                complaints.append(f'in the log: {record}')
        left = [str(path) for path in self.folder.rglob('*') if path.is_socket()]
        if self.process is not None and left and self.expected_exit == 0:
            complaints.append(f'socket files left: {left}')
        return complaints
