"""The aws command line: what people type."""

import filecmp
import json
import pathlib
import shutil
import subprocess
import tempfile

from common import *

BUCKET = new_bucket()
WORK = pathlib.Path(tempfile.mkdtemp())
AWS = os.environ.get("SAGO_AWS")


def command():
    if AWS:
        return [AWS]
    try:
        import awscli  # noqa: F401
        return [sys.executable, "-m", "awscli"]
    except ImportError:
        found = shutil.which("aws")
        assert found, f"neither {sys.executable} has awscli nor is there an aws in PATH; name one in SAGO_AWS"
        return [found]


def aws(*words, code=0):
    """Runs a command; any `code` but 0 means that it must fail, which the versions do with different codes."""
    # Version 1 of the command line presigns with signature version 2 unless it is told not to.
    (WORK / "config").write_text("[default]\ns3 =\n    signature_version = s3v4\n    addressing_style = path\n")
    environment = dict(os.environ, AWS_ACCESS_KEY_ID=ACCESS_KEY, AWS_SECRET_ACCESS_KEY=SECRET_KEY,
                       AWS_DEFAULT_REGION=REGION, AWS_CONFIG_FILE=str(WORK / "config"), AWS_PAGER="",
                       AWS_SHARED_CREDENTIALS_FILE=str(WORK / "none"), AWS_EC2_METADATA_DISABLED="true")
    done = subprocess.run(command() + ["--endpoint-url", ENDPOINT, *words], env=environment, capture_output=True,
                          text=True, timeout=300)
    assert (done.returncode == 0) == (code == 0), f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout if code == 0 else done.stderr


def test_copy_there_and_back():
    source, back = WORK / "source", WORK / "back"
    for index, size in enumerate([0, 1, 5000, 300_000, 21 * MIB]):
        path = source / f"d{index % 2}" / f"file {index}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(noise(size))
    aws("s3", "cp", "--recursive", str(source), f"s3://{BUCKET}/tree/")
    aws("s3", "sync", f"s3://{BUCKET}/tree/", str(back))
    for path in source.rglob("*.bin"):
        assert filecmp.cmp(path, back / path.relative_to(source), shallow=False), path
    text = aws("s3", "ls", f"s3://{BUCKET}/tree/")
    assert "PRE d0/" in text and "PRE d1/" in text, text
    assert "file 4.bin" in aws("s3", "ls", "--recursive", f"s3://{BUCKET}/")
    assert aws("s3", "sync", str(source), f"s3://{BUCKET}/tree/") == "", "nothing has changed"
    aws("s3", "mv", f"s3://{BUCKET}/tree/d0/file 4.bin", f"s3://{BUCKET}/moved")
    aws("s3", "rm", "--recursive", f"s3://{BUCKET}/tree/")
    assert aws("s3", "ls", f"s3://{BUCKET}/").split()[-1] == "moved"
    aws("s3", "rm", f"s3://{BUCKET}/moved")


def test_buckets():
    name = BUCKET + "-cli"
    aws("s3", "mb", f"s3://{name}")
    assert name in aws("s3", "ls")
    aws("s3api", "put-object", "--bucket", name, "--key", "k")
    assert "BucketNotEmpty" in aws("s3", "rb", f"s3://{name}", code=1)
    aws("s3", "rb", "--force", f"s3://{name}")
    assert name not in aws("s3", "ls")
    assert "NoSuchBucket" in aws("s3", "ls", f"s3://{name}", code=1)


def test_presign_and_api():
    path = WORK / "object"
    path.write_bytes(b"hello")
    answer = json.loads(aws("s3api", "put-object", "--bucket", BUCKET, "--key", "a b", "--body", str(path),
                            "--metadata", "a=1", "--content-type", "text/plain", "--checksum-algorithm", "SHA256"))
    assert answer["ChecksumSHA256"]
    head = json.loads(aws("s3api", "head-object", "--bucket", BUCKET, "--key", "a b", "--checksum-mode", "ENABLED"))
    assert head["Metadata"] == {"a": "1"} and head["ChecksumSHA256"] == answer["ChecksumSHA256"]
    import urllib.request
    url = aws("s3", "presign", f"s3://{BUCKET}/a b").strip()
    assert urllib.request.urlopen(url).read() == b"hello"
    assert "404" in aws("s3api", "head-object", "--bucket", BUCKET, "--key", "none", code=1)
    aws("s3", "rm", f"s3://{BUCKET}/a b")


try:
    run(globals())
finally:
    shutil.rmtree(WORK, ignore_errors=True)
