"""Callables of several kinds, for application: and callable:."""


def answering(text):
    def app(environ, start_response):
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [text.encode()]
    return app


def make():
    return answering('made by a factory')


class Holder:
    app = staticmethod(answering('found in a class'))


other_name = answering('under another name')
not_callable = 'a string'
