#!/bin/sh
# What `make bench` runs once everything is built: a fresh cluster, the whole suite, the table. Nothing else should run meanwhile.
#
#   tools/bench.sh FOLDER-OF-THE-BINARIES [SECONDS-PER-WORKLOAD]
#
# The cluster lies in a temporary folder under ${SAGO_BENCH_DIR:-$SAGO_CACHE}: the disk that is measured.
set -eu
binaries=${1:?usage: tools/bench.sh FOLDER-OF-THE-BINARIES [SECONDS]}
seconds=${2:-${SAGO_BENCH_SECONDS:-10}}
where=${SAGO_BENCH_DIR:-${SAGO_CACHE:-$HOME/.cache/sago}}
mkdir -p "$where"
folder=$(mktemp -d "$where/bench.XXXXXX")

demo=
clean() {
    code=$?
    trap - EXIT INT TERM
    if [ -n "$demo" ] && kill -0 "$demo" 2>/dev/null; then
        kill -TERM "$demo" 2>/dev/null || true
        wait "$demo" 2>/dev/null || true
    fi
    [ "$code" = 0 ] || [ ! -s "$folder/log" ] || tail -n 20 "$folder/log" >&2
    rm -rf "$folder"
    exit "$code"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

: >"$folder/ready"
"$binaries/sago" demo --dir "$folder/cluster" --no-sample --json >"$folder/ready" 2>"$folder/log" &
demo=$!
tries=0
until [ "$(wc -l <"$folder/ready")" -gt 0 ]; do
    kill -0 "$demo" 2>/dev/null || { echo "bench: sago demo ended before it was ready" >&2; exit 1; }
    tries=$((tries + 1))
    [ "$tries" -lt 1200 ] || { echo "bench: sago demo was not ready after two minutes" >&2; exit 1; }
    sleep 0.1
done

# The suite deletes thousands of objects a second, which is what a breaker is there to stop.
bucket=$(sed -n 's/.*"bucket":"\([^"]*\)".*/\1/p' "$folder/ready" | head -n 1)
"$binaries/sago" bucket breaker set "$bucket" --limit off --config "$folder/cluster/operator"

echo "$(date -u +%Y-%m-%d), $(nproc) cores, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), kernel $(uname -r), commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
echo "command: make bench ($seconds s a workload), file system $(stat -f -c %T "$folder")"
echo
"$binaries/loadgen" suite --demo-json "$folder/ready" --local "$folder" --seconds "$seconds" \
    ${SAGO_BENCH_JSON:+--json "$SAGO_BENCH_JSON"}
