"""A PEP 517 build backend for this one package: a wheel is a zip with three files of description."""

import base64
import hashlib
import pathlib
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
NAME, VERSION = 'pyfpm_demo', '1.0'
INFO = f'{NAME}-{VERSION}.dist-info'


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    contents = {path.relative_to(HERE).as_posix(): path.read_bytes()
                for path in sorted((HERE / NAME).rglob('*')) if path.is_file() and path.suffix != '.pyc'}
    contents[f'{INFO}/METADATA'] = f'Metadata-Version: 2.1\nName: pyfpm-demo\nVersion: {VERSION}\n'.encode()
    contents[f'{INFO}/WHEEL'] = (b'Wheel-Version: 1.0\nGenerator: build_backend\n'
                                 b'Root-Is-Purelib: true\nTag: py3-none-any\n')
    record = ''
    for path, data in contents.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()
        record += f'{path},sha256={digest},{len(data)}\n'
    contents[f'{INFO}/RECORD'] = (record + f'{INFO}/RECORD,,\n').encode()

    name = f'{NAME}-{VERSION}-py3-none-any.whl'
    with zipfile.ZipFile(pathlib.Path(wheel_directory) / name, 'w') as wheel:
        for path, data in contents.items():
            wheel.writestr(path, data)
    return name
