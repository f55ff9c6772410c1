#!/bin/sh
# Shows pyfpm at work: builds it, makes a virtual environment with a small application, and serves it from two
# groups behind a private nginx on a free loopback port, until Ctrl-C. With --check it verifies both answers and
# exits. Everything but the build lies in a temporary folder that is removed at the end; an nginx of the
# system is not touched.

set -eu
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive

usage() {
    cat <<END
usage: sh packaging/quickstart.sh [--check]

Builds pyfpm and serves a demonstration with it until Ctrl-C.
  --check   verify the answers and exit: 0 when both groups answered
END
}

check=no
case "${1-}" in
'') ;;
--check) check=yes ;;
-h | --help) usage; exit 0 ;;
*) usage >&2; exit 64 ;;
esac

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd "$root"
PATH=$PATH:/usr/sbin:/sbin
python=/usr/bin/python3
pyfpm_pid=
nginx_pid=
folder=

say() {
    printf '==> %s\n' "$*"
}

stop_all() {
    status=$?
    trap - EXIT
    trap '' INT TERM
    for pid in $nginx_pid $pyfpm_pid; do
        kill -TERM "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    [ -z "$folder" ] || rm -rf "$folder"
    exit "$status"
}
trap stop_all EXIT
trap 'exit 0' INT
trap 'exit 143' TERM

# Installs the Debian packages that are missing; an ordinary user is told which.
install_missing() {
    missing=
    for package in build-essential cmake pkg-config libfcgi-dev libyaml-dev libpython3-dev libuv1-dev \
        libjansson-dev python3-venv; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' ||
            missing="$missing $package"
    done
    command -v nginx >/dev/null || missing="$missing nginx-light"
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        echo "These packages are missing, and only root can install them:$missing" >&2
        return 1
    fi
    say "installing$missing"
    # nginx's package would start a service on port 80: this demonstration needs the program only.
    made_policy=no
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
        chmod 755 /usr/sbin/policy-rc.d
        made_policy=yes
    fi
    status=0
    { apt-get update -q && apt-get install -q -y --no-install-recommends $missing; } || status=$?
    [ $made_policy = no ] || rm -f /usr/sbin/policy-rc.d
    return $status
}

build() {
    say 'building'
    cmake --preset release >"$folder/build.log" 2>&1 &&
        cmake --build --preset release -j "$(nproc)" >>"$folder/build.log" 2>&1 || {
        cat "$folder/build.log" >&2
        return 1
    }
}

make_environment() {
    say 'making a virtual environment and installing packaging/demo into it'
    $python -m venv "$folder/venv"
    PYTHONDONTWRITEBYTECODE=1 "$folder/venv/bin/pip" install --no-index --no-cache-dir --quiet --disable-pip-version-check packaging/demo
}

# One group has the environment as its python-home, the other as an overlay over the system's Python.
write_configuration() {
    identity=
    if [ "$(id -u)" -eq 0 ]; then
        identity='  user: nobody
  listen-group: www-data'
    fi
    cat >"$folder/pyfpm.yaml" <<END
global:
  control: $folder/control.sock
defaults:
  application: pyfpm_demo.wsgi:application
  processes: 2
$identity
groups:
  home:
    listen: $folder/home.sock
    python-home: $folder/venv
    env: {DEMO_GROUP: home}
  overlay:
    listen: $folder/overlay.sock
    python-path: [$folder/venv]
    env: {DEMO_GROUP: overlay}
END

    port=$($python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    [ "$(id -u)" -ne 0 ] || web_user='user www-data;'
    cp packaging/examples/pyfpm_params "$folder"
    cat >"$folder/nginx.conf" <<END
${web_user-}
daemon off;
pid $folder/nginx.pid;
error_log $folder/nginx.log;
events {}
http {
    access_log off;
    client_body_temp_path $folder/body;
    fastcgi_temp_path $folder/fastcgi;
    proxy_temp_path $folder/proxy;
    scgi_temp_path $folder/scgi;
    uwsgi_temp_path $folder/uwsgi;
    upstream home { server unix:$folder/home.sock; keepalive 4; }
    upstream overlay { server unix:$folder/overlay.sock; keepalive 4; }
    include pyfpm_params;
    fastcgi_keep_conn on;
    server {
        listen 127.0.0.1:$port;
        location / { fastcgi_pass home; }
        location /overlay { fastcgi_pass overlay; }
    }
}
END
}

# Waits for the sockets: pyfpm makes them before anything else, or says why not and exits.
wait_for_sockets() {
    until [ -S "$folder/home.sock" ] && [ -S "$folder/overlay.sock" ]; do
        kill -0 "$pyfpm_pid" 2>/dev/null || return 1
        sleep 0.1
    done
}

# Asks until there is an answer with status 200 that comes from the group, and prints it.
ask() {
    $python - "$1" "$2" <<'END'
import sys, time, urllib.request
url, group = sys.argv[1:]
end = time.monotonic() + 30
while True:
    try:
        answer = urllib.request.urlopen(url, timeout=5).read().decode()
        break
    except OSError as error:
        if time.monotonic() > end:
            sys.exit(f'{url}: {error}')
        time.sleep(0.1)
print(answer)
sys.exit(0 if answer.startswith(f'Hello from the group {group}\n') else f'{url}: not the answer of {group}')
END
}

install_missing
folder=$(mktemp -d)
chmod 755 "$folder"
build
make_environment
write_configuration

say "starting: build/release/bin/pyfpm --config $folder/pyfpm.yaml"
build/release/bin/pyfpm --config "$folder/pyfpm.yaml" &
pyfpm_pid=$!
wait_for_sockets
nginx -p "$folder" -e "$folder/nginx.log" -c "$folder/nginx.conf" &
nginx_pid=$!

url=http://127.0.0.1:$port
for place in / /overlay; do
    say "GET $url$place"
    case $place in
    /) group=home ;;
    *) group=overlay ;;
    esac
    ask "$url$place" "$group"
done

[ $check = no ] || exit 0
say "serving at $url/ and $url/overlay until Ctrl-C"
wait "$pyfpm_pid"
