"""What sys.path is made of, and what is odd about it: the part of pyfpm check --explain that asks Python.

This file is part of the host program (explain.c runs it; it is never imported). start() and overlaid() run in the
process that imports the application afterwards, so they import nothing and only look. explain() runs in a forked
process without the application; there importing is free, and only from the standard library. What it finds is sent
as JSON whose keys docs/check-explain.md names. Runs on Python 3.8 and later."""

import os
import sys

ITEMS_MAX = 500             # of each list
PTH_SIZE_MAX = 1 << 20
WALK_ENTRIES_MAX = 200000   # files and folders looked at for extension modules
WALK_SECONDS_MAX = 5
WALK_DEPTH_MAX = 12
# In folders of sources these hold no modules of the application.
WALK_SKIPPED = ('__pycache__', 'node_modules')
# In the standard library's folder, but nobody imports these from there; in an application's they are common.
NEVER_SHADOWED = ('test', 'tests', 'site-packages', 'dist-packages', '__pycache__', 'sitecustomize', 'usercustomize')

group = {}          # what explain.c says: python_path (text, number, mount or None, folder or None), chdir, others
                    # (mounts in other interpreters), built_for (an interpreter)
baseline = []       # sys.path before the overlay
overlay = []        # and after it
loaded = {}         # sys.modules before the overlay
finders = []        # names of sys.meta_path's classes before the application
send = closed = None


def text(value):
    """A str that is fit for JSON, whatever bytes it came from."""
    if not isinstance(value, str):
        return '(an object of type %s)' % type(value).__name__
    plain = str.__str__(value).encode('utf-8', 'surrogateescape' if value.isprintable() else 'surrogatepass')
    return plain.decode('utf-8', 'backslashreplace').replace('\0', '\\x00')[:4000]


def paths(items):
    return [item for item in items if isinstance(item, str)]


# The standard library ------------------------------------------------------------------------------------------


def is_standard(entry):
    """Is that one of the folders, or the archive, that the interpreter itself put on sys.path?"""
    if entry not in baseline:
        return False
    version = 'python%d.%d' % sys.version_info[:2]
    parent, name = os.path.split(entry)
    if name == 'lib-dynload':
        parent, name = os.path.split(parent)
    return entry == os.path.dirname(os.__file__) or name in (version, version + 't') or \
        name == 'python%d%d.zip' % sys.version_info[:2] or \
        (name == 'python%d%dt.zip' % sys.version_info[:2] and bool(parent))


def module_in(folder, name):
    """The file that an import of a top-level name finds in a folder, or None. A folder without __init__ is a
    namespace package: a module further on wins against it."""
    import _imp
    endings = [*_imp.extension_suffixes(), '.py', '.pyc']
    for ending in endings:
        inside = os.path.join(folder, name, '__init__' + ending)
        if os.path.isfile(inside):
            return inside
    for ending in endings:
        beside = os.path.join(folder, name + ending)
        if os.path.isfile(beside):
            return beside
    return None


def listed(folder):
    try:
        return os.listdir(folder)
    except OSError:
        return []


def standard_names(folders):
    """Top-level modules of the standard library that an import looks for on sys.path, and nowhere before."""
    import _imp
    names = getattr(sys, 'stdlib_module_names', None)
    if names is None:
        names = {name.partition('.')[0] for folder in folders for name in listed(folder)}
    return {name for name in names if name.isidentifier() and name not in NEVER_SHADOWED and name not in loaded and
            name not in sys.builtin_module_names and not _imp.is_frozen(name)}


def standard_shadows(path):
    """Files in folders before the standard library that are imported instead of its own."""
    path = paths(path)
    folders = [entry for entry in path if is_standard(entry) and os.path.isdir(entry)]
    if not folders:
        return []
    names = standard_names(folders)
    found = []
    for entry in path[:path.index(folders[0])]:
        if is_standard(entry) or os.path.realpath(entry) in map(os.path.realpath, folders):
            continue
        for name in sorted(names & {name.partition('.')[0] for name in listed(entry)}):
            file = module_in(entry, name)
            own = next(filter(None, (module_in(folder, name) for folder in folders)), None)
            if file and own and not any(name == other['module'] for other in found):
                found.append({'module': name, 'file': text(file), 'instead_of': text(own)})
    return found


# Before the application ----------------------------------------------------------------------------------------


def finder_name(finder):
    kind = finder if isinstance(finder, type) else type(finder)
    return '%s.%s' % (getattr(kind, '__module__', '?'), getattr(kind, '__name__', '?'))


def start(about, sender, closed_finder):
    global send, closed
    group.update(about)
    send, closed = sender, closed_finder
    baseline[:] = sys.path
    loaded.update(sys.modules)


def overlaid():
    """Returns warnings, a sentence each."""
    overlay[:] = sys.path
    finders[:] = [(finder_name(finder), finder) for finder in sys.meta_path]
    found = standard_shadows(overlay)
    said = ['%s shadows %s: whatever imports %s gets the former; rename it, or leave its folder out of sys.path'
            % (one['file'], one['instead_of'], one['module']) for one in found[:5]]
    if len(found) > 5:
        said.append('%d more files shadow modules of the standard library' % (len(found) - 5))
    return said


# .pth files ------------------------------------------------------------------------------------------------------


def pth_lines(file):
    """(number, line) of what site would obey. Not of a pipe, nor of what has no end."""
    import stat
    try:
        about = os.stat(file)
        if not stat.S_ISREG(about.st_mode) or about.st_size > PTH_SIZE_MAX:
            return []
        with open(file, encoding='utf-8-sig', errors='surrogateescape') as lines:
            return [(number, line.rstrip()) for number, line in enumerate(lines, 1)
                    if line.strip() and not line.startswith('#')]
    except OSError:
        return []


class Pth:
    """What the .pth files of some site folders did: which line added which path, and which ran code."""

    def __init__(self, folders):
        self.added = {}     # path → (file, line)
        self.missing = []   # (file, line, path) of lines that name nothing
        self.code = []      # (file, line)
        for folder in folders:
            for name in sorted(listed(folder)):
                if name.endswith('.pth'):
                    self.read(folder, os.path.join(folder, name))

    def read(self, folder, file):
        for number, line in pth_lines(file):
            if line.startswith(('import ', 'import\t')):
                self.code.append((file, number))
                continue
            path = os.path.abspath(os.path.join(folder, line))
            if os.path.exists(path):
                self.added.setdefault(path, (file, number))
            else:
                self.missing.append((file, number, path))

    def code_lines(self):
        return ['%s:%d' % (text(file), number) for file, number in self.code[:10]]


# Where entries come from -------------------------------------------------------------------------------------------


def item_folders():
    """Folder → what is told of the python-path item that means it."""
    folders = {}
    for item, number, mount, folder in group['python_path']:
        if folder is not None:
            told = {'origin': 'python-path', 'item': number, 'item_text': text(item)}
            folders.setdefault(os.path.abspath(folder), told if mount is None else {**told, 'mount': text(mount)})
    return folders


def is_site_folder(entry):
    import site
    return os.path.basename(entry) in ('site-packages', 'dist-packages') or entry in site.getsitepackages()


def repeated_places(path):
    """Indices of entries that were there before the application already, and that it put there once more."""
    known = paths(overlay)
    extra, left = set(), len(known)
    for place in range(len(path) - 1, -1, -1):
        if left and path[place] == known[left - 1]:
            left -= 1
        elif path[place] in known and path.count(path[place]) > known.count(path[place]):
            extra.add(place)
    return extra


class Origins:
    """Says of each entry of sys.path who put it there."""

    def __init__(self, path):
        self.items = item_folders()
        own = [entry for entry in paths(baseline) if is_site_folder(entry) and not is_standard(entry)]
        self.baseline = Pth(own)
        self.overlay = Pth(self.items)
        self.script = Pth([entry for entry in paths(path) if entry not in overlay])
        self.chdir = os.path.abspath(group['chdir']) if group['chdir'] else None
        self.repeated = repeated_places(path)

    def of(self, entry, place):
        if place in self.repeated:
            return {'origin': 'script'}
        if entry in self.items:
            return self.items[entry]
        if entry not in baseline and entry == self.chdir:
            return {'origin': 'chdir'}
        if is_standard(entry):
            return {'origin': 'standard-library'}
        if entry in baseline and is_site_folder(entry):
            return {'origin': 'site-packages'}
        pth = self.baseline if entry in baseline else self.overlay if entry in overlay else self.script
        if entry in pth.added:
            file, line = pth.added[entry]
            return {'origin': 'pth', 'file': text(file), 'line': line}
        if entry not in overlay:
            return {'origin': 'script'}
        if '__path_hook__' in entry:
            return {'origin': 'finder'}
        return {'origin': 'pth-import', 'candidates': pth.code_lines()} if pth.code else {'origin': 'unknown'}

    def missing(self):
        return [{'file': text(file), 'line': line, 'path': text(path)}
                for pth in (self.baseline, self.overlay, self.script) for file, line, path in pth.missing][:ITEMS_MAX]

    def code(self):
        return self.baseline.code_lines() + self.overlay.code_lines()


def entry_facts(entry, place, origins):
    facts = {'entry': text(entry), **origins.of(entry, place)}
    try:
        if os.path.isfile(entry):
            facts['zip'] = True
        else:
            os.stat(entry)
    except FileNotFoundError:
        facts['state'] = 'missing'
    except (OSError, ValueError):
        facts['state'] = 'unusable'
    if closed(entry) is not None:
        facts['state'] = 'closed'
    return facts


def finder_facts(names_now, code):
    """Finders that are not Python's own. names_now: the classes on sys.meta_path at the end, or None."""
    facts = []
    for name, finder in finders:
        if name.startswith(('_frozen_importlib.', '_frozen_importlib_external.')):
            continue
        one = {'name': text(name), 'origin': 'pth-import', 'candidates': code}
        module = sys.modules.get(name.rpartition('.')[0])
        mapping = getattr(module, 'MAPPING', None)      # of setuptools' editable installs
        if isinstance(mapping, dict):
            one['maps'] = ['%s: %s' % (text(key), text(value)) for key, value in list(mapping.items())[:ITEMS_MAX]]
        if one not in facts:    # site runs the .pth files of a venv twice
            facts.append(one)
    before = [name.rpartition('.')[2] for name, _ in finders]
    for name in names_now or []:
        if name in before:
            before.remove(name)
        else:
            facts.append({'name': text(name), 'origin': 'script'})
    return facts[:ITEMS_MAX]


# What is installed -------------------------------------------------------------------------------------------------


def import_from_standard_library():
    """Makes this process import from the standard library only, whatever lies on sys.path before it."""
    folders = [entry for entry in paths(baseline) if is_standard(entry)]
    sys.path[:] = folders
    sys.meta_path[:] = [finder for name, finder in finders if name.startswith('_frozen_importlib')]
    for name, module in list(sys.modules.items()):
        file = getattr(module, '__file__', None)
        is_own = isinstance(file, str) and '-packages' not in file and \
            any(file.startswith(folder + os.sep) for folder in folders)
        if not is_own and name not in sys.builtin_module_names:
            del sys.modules[name]
    sys.modules.update(loaded)


def distributions(path):
    """Every distribution: (normalised name, version, folder), in the order of sys.path."""
    import importlib.metadata
    import re
    seen = set()
    for entry in paths(path):
        real = os.path.realpath(entry)
        if is_standard(entry) or real in seen:
            continue
        seen.add(real)
        for one in importlib.metadata.distributions(path=[entry]):
            try:
                name, version = one.metadata['Name'], one.version
            except Exception:       # whatever a broken METADATA makes the email package raise
                continue
            if isinstance(name, str):
                yield re.sub('[-_.]+', '-', name).lower(), version, entry


def duplicate_facts(path):
    found = {}
    for name, version, folder in distributions(path):
        one = {'version': text(version) if version else 'unknown', 'folder': text(folder)}
        several = found.setdefault(name, [])
        if one not in several:      # Debian leaves an egg-info beside the dist-info of the same thing
            several.append(one)
    return [{'name': text(name), **several[0], 'shadows': several[1:ITEMS_MAX]}
            for name, several in sorted(found.items()) if len(several) > 1][:ITEMS_MAX]


class Walk:
    """Looks for extension modules that this Python does not load, bounded in every direction."""

    def __init__(self):
        import importlib.machinery
        import re
        import time
        self.endings = importlib.machinery.EXTENSION_SUFFIXES
        self.tagged = re.compile(r'(.+?)\.((?:cpython|pypy|graalpy|cp)[-0-9][-\w]*|abi3)\.so')
        self.clock = time.monotonic
        self.end = self.clock() + WALK_SECONDS_MAX
        self.left = WALK_ENTRIES_MAX
        self.cut = False
        self.found = []

    def folder(self, folder, depth=0):
        if depth > WALK_DEPTH_MAX or self.clock() > self.end:
            self.cut = True
            return
        below, names = [], set()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    self.left -= 1
                    if self.left < 0:
                        self.cut = True
                        return
                    if not entry.is_dir(follow_symlinks=False):
                        names.add(entry.name)
                    elif not entry.name.startswith('.') and entry.name not in WALK_SKIPPED:
                        below.append(entry.path)
        except OSError:
            return
        if 'pyvenv.cfg' in names and depth > 0:
            return
        self.files(folder, names)
        for path in sorted(below):
            self.folder(path, depth + 1)

    def files(self, folder, names):
        for name in sorted(names):
            match = self.tagged.fullmatch(name)
            if not match or any(name == match[1] + ending for ending in self.endings):
                continue
            if any(match[1] + ending in names for ending in [*self.endings, '.py']):
                continue
            self.found.append({'file': text(os.path.join(folder, name)), 'built_for': text(match[2])})


def extension_facts(path):
    walk = Walk()
    walked = []
    for entry in paths(path):
        real = os.path.realpath(entry)
        if is_standard(entry) or not os.path.isdir(real) or any(real == above or real.startswith(above + os.sep)
                                                               for above in walked):
            continue
        walked.append(real)
        walk.folder(entry)
    return {'extensions': walk.found[:ITEMS_MAX], 'extension_count': len(walk.found), 'extensions_cut': walk.cut}


# The explanation -----------------------------------------------------------------------------------------------------


class Told:
    """What the other process told of itself after the application was imported, or before it ended."""

    def __init__(self, told):
        records = [os.fsdecode(record) for record in told.split(b'\0')]
        self.is_whole = 'e' in records
        self.odd_path = next((record[1:] for record in records if record[:1] == 'n'), None)
        self.odd_entries = [record[1:] for record in records if record[:1] == 'x']
        self.finders = [record[1:] for record in records if record[:1] == 'f'] if self.is_whole else None
        has_path = self.is_whole and self.odd_path is None
        self.path = [record[1:] for record in records if record[:1] == 'p'] if has_path else paths(overlay)

    def notes(self):
        notes = []
        if not self.is_whole:
            notes.append('the process ended while it imported the application; what follows is from before')
        if self.odd_path is not None:
            notes.append('the application replaced sys.path by an object of type %s; what follows is from before'
                         % text(self.odd_path))
        if self.odd_entries:
            notes.append('sys.path has entries that are no strings: ' + text(', '.join(self.odd_entries[:10])))
        gone = [text(entry) for entry in paths(overlay) if entry not in self.path]
        if gone:
            notes.append('the application took off sys.path: ' + ', '.join(gone[:20]))
        return notes


def python_facts():
    import _imp
    return {'version': sys.version.split()[0], 'abi': _imp.extension_suffixes()[0].strip('.').rpartition('.')[0],
            'prefix': text(sys.prefix), 'base_prefix': text(sys.base_prefix), 'executable': text(sys.executable),
            'executable_works': os.access(sys.executable, os.X_OK),
            'standard_library': text(os.path.dirname(os.__file__))}


def interpreter_notes():
    if not group['others']:
        return []
    return ['what stands here is of the main interpreter; that of %s has a sys.path of its own'
            % text(', '.join(group['others']))]


def library_notes():
    """The same X.Y from somewhere else mostly works, and where it does not nobody thinks of it."""
    library = os.path.realpath(os.path.dirname(os.__file__))
    own = os.path.realpath(os.path.join(os.path.dirname(os.path.dirname(group['built_for'])), 'lib',
                                        os.path.basename(os.path.dirname(os.__file__))))
    if library == own or not os.path.isdir(own):
        return []
    return ['the standard library in %s is not that of the Python %s that this host embeds (%s): an extension module '
            'of it that does not fit fails when it is imported' % (text(library), sys.version.split()[0], text(own))]


def path_facts(told):
    origins = Origins(told.path)
    entries = [entry_facts(entry, place, origins) for place, entry in enumerate(told.path[:ITEMS_MAX])]
    closed_entries = [{'for': 'sys.path', 'path': one['entry'], 'component': text(closed(entry))}
                      for one, entry in zip(entries, told.path) if one.get('state') == 'closed']
    return {'python': python_facts(), 'path': entries, 'closed': closed_entries, 'pth_missing': origins.missing(),
            'finders': finder_facts(told.finders, origins.code()), 'notes': told.notes() + interpreter_notes() + library_notes(),
            'stdlib_shadows': standard_shadows(told.path)[:ITEMS_MAX]}


def explain(told):
    import_from_standard_library()
    import json
    told = Told(told)
    send('path', json.dumps(path_facts(told)))
    send('installed', json.dumps({'duplicates': duplicate_facts(told.path), **extension_facts(told.path)}))
