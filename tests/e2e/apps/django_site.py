"""A small Django site in one file: sessions, forms with CSRF tokens, upload and download."""

import hashlib

from django import forms
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import FileResponse, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

BLOCK = bytes(range(256)) * 256

settings.configure(
    SECRET_KEY='for tests only, never for a site', ALLOWED_HOSTS=['*'], ROOT_URLCONF=__name__, USE_TZ=True,
    SESSION_ENGINE='django.contrib.sessions.backends.signed_cookies',
    INSTALLED_APPS=['django.contrib.sessions'],
    MIDDLEWARE=['django.contrib.sessions.middleware.SessionMiddleware', 'django.middleware.common.CommonMiddleware',
                'django.middleware.csrf.CsrfViewMiddleware'])


class NameForm(forms.Form):
    name = forms.CharField(max_length=40)


def index(request):
    return HttpResponse(f'hello from Django, {request.session.get("name", "stranger")}')


def login(request):
    if request.method == 'GET':
        return HttpResponse(get_token(request))
    form = NameForm(request.POST)
    if not form.is_valid():
        return HttpResponse(form.errors.as_json(), status=400)
    request.session['name'] = form.cleaned_data['name']
    return HttpResponseRedirect('/')


@csrf_exempt
def upload(request):
    digest = hashlib.sha256()
    for piece in request.FILES['file'].chunks():
        digest.update(piece)
    return HttpResponse(digest.hexdigest())


def download(request, count):
    return StreamingHttpResponse((BLOCK for _ in range(count)), content_type='application/octet-stream')


def this_file(request):
    return FileResponse(open(__file__, 'rb'))


urlpatterns = [path('', index), path('login', login), path('upload', upload),
               path('download/<int:count>', download), path('file', this_file)]
application = get_wsgi_application()
