"""A small Flask site: sessions, forms, upload and download."""

import hashlib

from flask import Flask, Response, redirect, request, session

application = Flask(__name__)
application.secret_key = 'for tests'
BLOCK = bytes(range(256)) * 256


@application.route('/')
def index():
    return f'hello from Flask, {session.get("name", "stranger")}'


@application.route('/login', methods=['POST'])
def login():
    session['name'] = request.form['name']
    return redirect('/')


@application.route('/upload', methods=['POST'])
def upload():
    file = request.files['file']
    digest = hashlib.sha256()
    for piece in iter(lambda: file.stream.read(1 << 20), b''):
        digest.update(piece)
    return digest.hexdigest()


@application.route('/download/<int:count>')
def download(count):
    return Response((BLOCK for _ in range(count)), mimetype='application/octet-stream')
