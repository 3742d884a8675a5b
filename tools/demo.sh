#!/bin/sh
# What `make demo` runs once everything is installed and built: starts a cluster of three nodes, stores a book and a picture with the
# AWS CLI, reads them through the mount, writes through the mount and reads by S3, kills a node and does it all again.
#
#   tools/demo.sh PATH-OF-SAGO
#
# On a terminal the cluster stays up until Ctrl-C, in ${SAGO_DEMO_DIR:-$SAGO_CACHE/demo}, and the next run finds it again. Without a
# terminal everything happens in a temporary folder, and the exit code tells whether it worked.
set -eu
sago=${1:?usage: tools/demo.sh PATH-OF-SAGO}
here=$(cd "$(dirname "$0")" && pwd)

scratch=$(mktemp -d "${TMPDIR:-/tmp}/sago-demo.XXXXXX")
stay=
if [ -t 1 ] && [ -z "${SAGO_ONCE:-}" ]; then
    stay=1
    folder=${SAGO_DEMO_DIR:-${SAGO_CACHE:-$HOME/.cache/sago}/demo}
else
    folder=${SAGO_DEMO_DIR:-$scratch/cluster}
fi
mkdir -p "$folder"

demo=
clean() {
    code=$?
    trap - EXIT INT TERM
    if [ -n "$demo" ] && kill -0 "$demo" 2>/dev/null; then
        kill -TERM "$demo" 2>/dev/null || true
        wait "$demo" 2>/dev/null || true
    fi
    if [ "$code" != 0 ] && [ -s "$scratch/log" ]; then
        echo "demo: failed; the cluster's last words:" >&2
        tail -n 20 "$scratch/log" >&2
    fi
    rm -rf "$scratch"
    exit "$code"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

step() { printf '\n== %s\n' "$*"; }
fail() { printf 'demo: %s\n' "$*" >&2; exit 1; }

step "starting three nodes, an S3 gateway and a mount under $folder"
: >"$scratch/ready"
"$sago" demo --dir "$folder" --json >"$scratch/ready" 2>"$scratch/log" &
demo=$!
tries=0
until [ "$(wc -l <"$scratch/ready")" -gt 0 ]; do
    kill -0 "$demo" 2>/dev/null || fail "sago demo ended before it was ready"
    tries=$((tries + 1))
    [ "$tries" -lt 1200 ] || fail "sago demo was not ready after two minutes"
    sleep 0.1
done
# One value of the JSON line, by a Python expression over `d`.
ready() { python3 -c 'import json, sys; d = json.loads(open(sys.argv[1]).readline()); print(eval(sys.argv[2]))' "$scratch/ready" "$1"; }

endpoint=$(ready 'd["endpoint"]')
bucket=$(ready 'd["bucket"]')
mount=$(ready 'd["mount"]')
AWS_ACCESS_KEY_ID=$(ready 'd["access_key"]')
AWS_SECRET_ACCESS_KEY=$(ready 'd["secret_key"]')
AWS_DEFAULT_REGION=$(ready 'd["region"]')
export AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_DEFAULT_REGION
# Nothing of the caller's own AWS settings may lead the demo elsewhere.
export AWS_CONFIG_FILE="$scratch/none" AWS_SHARED_CREDENTIALS_FILE="$scratch/none" AWS_EC2_METADATA_DISABLED=true AWS_PAGER=
unset AWS_PROFILE AWS_SESSION_TOKEN AWS_ENDPOINT_URL 2>/dev/null || true
s3() { aws --endpoint-url "$endpoint" s3 "$@" --only-show-errors; }
echo "S3 at $endpoint, bucket $bucket, mounted at $mount"

book=$(dpkg -L developers-reference 2>/dev/null | grep '\.epub$' | head -n 1)
[ -r "${book:-}" ] || fail "no EPUB found: tools/setup.sh --for demo installs the package developers-reference"
python3 "$here/demo-picture.py" "$scratch/shelf.png"

# Stores the book and the picture by S3 and reads them through the mount; writes a note through the mount and reads it by S3.
both_ways() {
    s3 cp "$book" "s3://$bucket/$1/book.epub"
    s3 cp "$scratch/shelf.png" "s3://$bucket/$1/shelf.png"
    cmp "$book" "$mount/$1/book.epub"
    cmp "$scratch/shelf.png" "$mount/$1/shelf.png"
    echo "put by S3, read through the mount: $(wc -c <"$book") bytes of $(basename "$book"), $(wc -c <"$scratch/shelf.png") of shelf.png: equal"
    printf 'written through the mount, %s\n' "$1" >"$mount/$1/note.txt"
    s3 cp "s3://$bucket/$1/note.txt" "$scratch/note.txt"
    cmp "$scratch/note.txt" "$mount/$1/note.txt"
    echo "written through the mount, read by S3: \"$(cat "$scratch/note.txt")\""
}

step "a book and a picture, three copies each"
both_ways all-three

victim=$(ready 'd["nodes"][-1]["id"]')
step "kill -9 of node $victim"
kill -9 "$(ready 'd["nodes"][-1]["pid"]')"
cmp "$book" "$mount/all-three/book.epub"
echo "the book still reads the same"

step "the same again with two of three nodes"
both_ways two-of-three

# What the readers of two licences do: download, open with their own passphrase, and not with the other's.
config=$(ready 'd["config"]')
drm=$(ready 'd["drm"]')
operate() { "$sago" "$@" --config "$config"; }
operator() { "$sago" "$@" --config "$(ready 'd["dir"]')/operator"; }

step "the same book goes out wrapped: encrypted once, licensed to two readers"
user=$(ready 'd["user"]')
operator drm right grant "$user" lend >/dev/null
operate bucket create library --owner "$user" --drm lcp >/dev/null
s3 cp "$book" "s3://library/book.epub"
operate drm title protect library --wait
operate drm title show library/book.epub
for reader in 1 2; do
    printf '비밀 %s' "$reader" >"$scratch/passphrase-$reader"
    operate drm licence issue library/book.epub --user "reader-$reader" --hint "the number of the reader" --days 14 \
        --passphrase-file "$scratch/passphrase-$reader" --out "$scratch/licence-$reader.lcpl" >"$scratch/licence-$reader"
    url=$(operate drm token "$(cat "$scratch/licence-$reader")")
    curl -fsS "$url" -o "$scratch/reader-$reader.epub"
    "$sago" drm verify "$scratch/reader-$reader.epub" --passphrase-file "$scratch/passphrase-$reader" --root "$drm/root.pem" \
        --crl "$drm/crl.pem" --extract "$scratch/opened-$reader" >"$scratch/verified"
    echo "reader $reader: downloaded $(wc -c <"$scratch/reader-$reader.epub") bytes, opened and verified"
done
mkdir "$scratch/plain"
python3 -m zipfile -e "$book" "$scratch/plain"
diff -r -x META-INF "$scratch/plain" "$scratch/opened-1" >/dev/null || fail "what reader 1 reads is not the book"
echo "what a reader reads is the book, byte for byte"
if "$sago" drm verify "$scratch/reader-1.epub" --passphrase-file "$scratch/passphrase-2" --root "$drm/root.pem" >/dev/null 2>&1; then
    fail "reader 2 has opened the file of reader 1"
fi
echo "reader 2 cannot open the file of reader 1"
if s3 cp "s3://library/book.epub" "$scratch/stolen.epub" 2>/dev/null; then fail "the plain book was read by S3"; fi
echo "nobody without the right reads the plain book by S3"
url=$(operate drm token "$(cat "$scratch/licence-1")")
operate drm revoke "$(cat "$scratch/licence-1")"
code=$(curl -sS -o "$scratch/refused" -w '%{http_code}' "$url")
[ "$code" = 403 ] || fail "a revoked licence was answered $code"
echo "its download is refused from that moment on: $code"
operate drm report

step "it works. How to go on"
cat <<TEXT
  export AWS_ACCESS_KEY_ID=$AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY=$AWS_SECRET_ACCESS_KEY AWS_DEFAULT_REGION=$AWS_DEFAULT_REGION
  aws --endpoint-url $endpoint s3 ls --recursive s3://$bucket/
  ls -l $mount
  node $victim again: $(ready '" ".join(d["nodes"][-1].get("start", [])) or "see the output of sago demo"')
  health and figures: $(ready 'd["admin"]')/status  $(ready 'd["admin"]')/metrics
TEXT
if [ -n "$stay" ]; then
    echo "  the cluster runs until you press Ctrl-C; \`make demo\` brings it back with its files"
    wait "$demo" || fail "the cluster ended by itself"
fi
