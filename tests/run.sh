#!/bin/sh
# Builds pyfpm and runs its tests: unit tests, end-to-end tests, both again under sanitizers, the fuzz corpora.
# The last line says "N passed, N failed, N skipped" for all of them together; the exit status is 0 only when
# something ran and nothing failed.

set -u
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
exec </dev/null
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 1
cd "$root" || exit 1
PATH=$PATH:/usr/sbin:/sbin
export PATH

usage() {
    cat <<END
usage: sh tests/run.sh [PART] [PYTEST-OPTION...]

PART is one of
  all        everything (when none is given)
  unit       unit tests, preset dev (-Werror)
  e2e        end-to-end tests, preset release
  asan       unit and end-to-end tests, preset asan
  fuzz       the fuzz targets over their seed corpora, preset fuzz

What follows goes to pytest:
  sh tests/run.sh e2e -k reload
  sh tests/run.sh e2e tests/e2e/test_wsgi.py -x
END
}

part=all
case "${1-}" in
-h | --help) usage; exit 0 ;;
all | unit | e2e | asan | fuzz) part=$1; shift ;;
-* | '') ;;
*) usage >&2; exit 64 ;;
esac

passed=0
failed=0
skipped=0
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
jobs=$(nproc)
python=/usr/bin/python3

heading() {
    printf '\n==== %s\n' "$*"
}

# Counts a failure that no test runner counted, and names it.
fail() {
    failed=$((failed + 1))
    echo "FAILED: $*"
}

# What is missing ------------------------------------------------------------------------------------------

packages="build-essential cmake pkg-config libfcgi-dev libyaml-dev libpython3-dev libuv1-dev libjansson-dev
libcmocka-dev lighttpd man-db python3-venv python3-virtualenv python3-pip
python3-pytest python3-flask python3-django"

missing_packages() {
    for package in $packages; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || echo "$package"
    done
    command -v nginx >/dev/null || echo nginx-light
}

install_missing() {
    missing=$(missing_packages | tr '\n' ' ')
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        echo "not installed, and only root can: $missing" >&2
        return 1
    fi
    heading "installing $missing"
    # The web servers' packages would start services; the tests start their own.
    policy=/usr/sbin/policy-rc.d
    made_policy=no
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy && made_policy=yes
    fi
    apt-get update -q && apt-get install -q -y --no-install-recommends $missing
    status=$?
    [ $made_policy = no ] || rm -f $policy
    return $status
}

# Building -------------------------------------------------------------------------------------------------

build() {
    preset=$1
    shift
    heading "building preset $preset"
    cmake --preset "$preset" "$@" >"$work/configure" 2>&1 || { cat "$work/configure"; return 1; }
    cmake --build --preset "$preset" -j "$jobs" >"$work/build" 2>&1 || { cat "$work/build"; return 1; }
}

# Unit tests -----------------------------------------------------------------------------------------------

# Adds a cmocka program's own count of its tests.
count_of() {
    sed -n "s/^\[ *$1 *\] \([0-9][0-9]*\) test(s).*/\1/p" "$work/unit" | tail -n 1 | grep . || echo 0
}

unit_tests() {
    for program in "build/$1"/tests/unit/test_*; do
        [ -x "$program" ] && [ -f "$program" ] || continue
        timeout 600 "$program" >"$work/unit" 2>&1
        status=$?
        good=$(count_of PASSED)
        bad=$(count_of FAILED)
        left=$(count_of SKIPPED)
        passed=$((passed + good))
        failed=$((failed + bad))
        skipped=$((skipped + left))
        if [ "$status" -ne 0 ] || [ "$bad" -ne 0 ]; then
            cat "$work/unit"
            [ "$bad" -ne 0 ] || fail "$program ended with status $status"
        fi
        echo "$program: $good passed, $bad failed, $left skipped"
    done
}

# End-to-end tests -----------------------------------------------------------------------------------------

e2e_tests() {
    build=$1
    shift
    rm -f "$work/report.xml"
    PYFPM_BUILD=$build PYTHONDONTWRITEBYTECODE=1 $python -m pytest -p no:cacheprovider -q \
        --junitxml="$work/report.xml" --rootdir=tests/e2e "$@"
    status=$?
    if [ ! -s "$work/report.xml" ]; then
        fail "pytest ended with status $status before it ran anything"
        return
    fi
    counts=$($python - "$work/report.xml" <<'END'
import sys
import xml.etree.ElementTree as tree
suite = tree.parse(sys.argv[1]).getroot().find('testsuite')
total, failures, errors, skipped = (int(suite.get(name)) for name in ('tests', 'failures', 'errors', 'skipped'))
print(total - failures - errors - skipped, failures + errors, skipped)
END
    )
    set -- $counts
    passed=$((passed + $1))
    failed=$((failed + $2))
    skipped=$((skipped + $3))
    case $status in
    0 | 1 | 5) ;;
    *) fail "pytest ended with status $status" ;;
    esac
}

# Names the folder of the end-to-end tests unless the options name a test themselves.
e2e_run() {
    build=$1
    shift
    for option; do
        case $option in
        tests/e2e/*) e2e_tests "$build" "$@"; return ;;
        esac
    done
    e2e_tests "$build" tests/e2e "$@"
}

# The parts ------------------------------------------------------------------------------------------------

run_unit() {
    build dev || { fail 'preset dev does not build'; return; }
    heading 'unit tests'
    unit_tests dev
}

run_e2e() {
    build release || { fail 'preset release does not build'; return; }
    heading 'end-to-end tests'
    e2e_run build/release "$@"
}

run_asan() {
    build asan -DPYFPM_PYTHONS=$python || { fail 'preset asan does not build'; return; }
    ASAN_OPTIONS=abort_on_error=0:detect_stack_use_after_return=1
    UBSAN_OPTIONS=print_stacktrace=1
    LSAN_OPTIONS=suppressions=$root/tests/lsan.supp:print_suppressions=0
    export ASAN_OPTIONS UBSAN_OPTIONS LSAN_OPTIONS
    heading 'unit tests with sanitizers'
    unit_tests asan
    heading 'end-to-end tests with sanitizers'
    e2e_run build/asan "$@"
    unset ASAN_OPTIONS UBSAN_OPTIONS LSAN_OPTIONS
}

# Replays the seeds; finding new inputs takes longer and is done by hand (docs/HACKING.md).
run_fuzz() {
    if ! command -v clang >/dev/null || [ ! -f tests/fuzz/CMakeLists.txt ]; then
        echo 'fuzz targets: skipped, clang is not installed'
        skipped=$((skipped + 1))
        return
    fi
    build fuzz -DPYFPM_PYTHONS=$python || { fail 'preset fuzz does not build'; return; }
    heading 'fuzz corpora'
    for target in build/fuzz/tests/fuzz/fuzz_*; do
        [ -x "$target" ] && [ -f "$target" ] || continue
        name=${target##*/fuzz_}
        if timeout 120 "$target" -runs=0 "tests/fuzz/corpus/$name" >"$work/fuzz" 2>&1; then
            passed=$((passed + 1))
        else
            tail -n 50 "$work/fuzz"
            fail "$target"
        fi
    done
}

if install_missing; then
    case $part in
    all) run_unit; run_e2e "$@"; run_asan "$@"; run_fuzz ;;
    *) "run_$part" "$@" ;;
    esac
else
    fail 'packages are missing'
fi

printf '\n%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
