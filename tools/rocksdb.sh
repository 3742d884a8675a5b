#!/bin/sh
# Compiles RocksDB once for a machine, where every clone and profile links it: ${SAGO_CACHE:-~/.cache/sago}/rocksdb/VERSION/librocksdb.a
#
#   tools/rocksdb.sh [--where]
#
# --where  compile nothing; print the folder, made or not
#
# The sources are those of the librocksdb-sys crate that Cargo.lock names. Its own build script compiles 343 files one by one, which all read the same
# headers; here some are included together in one unit each, as RocksDB's own "unity" build does: a third of the time. The switches
# are those of that build script for Linux; look at them again when the crate is updated. `ROCKSDB_COMPILE=1 cargo build` compiles it the slow way.
set -eu
cd "$(dirname "$0")/.."

# Files of one unit. The largest unit takes 1.4 GiB of memory to compile.
files=18
unit_kib=1500000

fail() { printf 'rocksdb: %s\n' "$*" >&2; exit 1; }
locked() { sed -n "/^name = \"$1\"\$/{n;s/^version = \"\(.*\)\"\$/\1/p;}" Cargo.lock; }
source_of() { find "${CARGO_HOME:-$HOME/.cargo}/registry/src" -maxdepth 2 -name "$1-$(locked "$1")" 2>/dev/null | head -n 1; }

version=$(locked librocksdb-sys)
out=${SAGO_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/sago}/rocksdb/$version
case ${1:-} in
    '') ;;
    --where) printf '%s\n' "$out"; exit 0 ;;
    *) fail "unknown argument $1" ;;
esac
[ ! -f "$out/librocksdb.a" ] || exit 0

cargo fetch --quiet --locked
rocksdb=$(source_of librocksdb-sys)
lz4=$(source_of lz4-sys)
if [ -z "$rocksdb" ] || [ -z "$lz4" ]; then
    fail "cargo keeps the sources of its crates elsewhere; set ROCKSDB_COMPILE=1 to let it compile RocksDB itself"
fi

mkdir -p "$out"
work=$(mktemp -d "$out/compiling.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

grep -v '^util/build_version.cc$' "$rocksdb/rocksdb_lib_sources.txt" | sed 's/^.*$/#include "&"/' | split -l "$files" -a 2 --additional-suffix=.cc - "$work/unit-"
echo '#include "build_version.cc"' >"$work/unit-version.cc"

jobs=$(nproc)
fit=$(($(sed -n 's/^MemAvailable: *\([0-9]*\) kB$/\1/p' /proc/meminfo) / unit_kib))
[ "$jobs" -le "$fit" ] || jobs=$fit
[ "$jobs" -ge 1 ] || jobs=1

if [ -z "${CXX:-}" ]; then
    CXX=c++
    ! command -v ccache >/dev/null 2>&1 || CXX='ccache c++'
fi
export CXX
flags="-std=c++20 -O3 -fPIC -ffunction-sections -fdata-sections -w -include cstdint -I$rocksdb/rocksdb/include -I$rocksdb/rocksdb -I$rocksdb
-I$lz4/liblz4/lib -DLZ4=1 -DNDEBUG=1 -DHAVE_ALIGNED_NEW -DHAVE_UINT128_EXTENSION -DOS_LINUX -DROCKSDB_PLATFORM_POSIX -DROCKSDB_LIB_IO_POSIX
-DROCKSDB_SCHED_GETCPU_PRESENT -DROCKSDB_AUXV_GETAUXVAL_PRESENT -DROCKSDB_FALLOCATE_PRESENT -DROCKSDB_RANGESYNC_PRESENT"
export flags

cd "$work"
units=$(ls unit-*.cc | wc -l)
printf 'rocksdb: compiling %s: %s units, %s at a time; some minutes\n' "$version" "$units" "$jobs"
# shellcheck disable=SC2016  # expanded by the inner shell, once for each unit
ls unit-*.cc | xargs -P "$jobs" -I{} sh -c '$CXX $flags -c {} -o {}.o && echo "rocksdb: {} done"' || fail "a unit did not compile"
ar qcs librocksdb.a unit-*.o
# Whole or not there at all.
mv librocksdb.a "$out/librocksdb.a"
