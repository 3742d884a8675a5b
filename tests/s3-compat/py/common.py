"""What all programs here share: where the server is, clients, a signature made by hand, raw sockets, a runner.

The server is named by the environment, so that the same programs run against any:
SAGO_ENDPOINT, SAGO_ACCESS_KEY, SAGO_SECRET_KEY, SAGO_REGION (us-east-1), and, for what needs a second user,
SAGO_OTHER_ACCESS_KEY and SAGO_OTHER_SECRET_KEY.
"""

import datetime
import hashlib
import hmac
import os
import random
import socket
import sys
import time
import traceback
import urllib.parse

try:
    import boto3
    import botocore
    from botocore.config import Config
    from botocore.exceptions import ClientError
except ImportError as error:
    sys.exit(f"{sys.executable} has no boto3 ({error}); install it or name another interpreter in SAGO_PYTHON")

ENDPOINT = os.environ["SAGO_ENDPOINT"]
ACCESS_KEY = os.environ["SAGO_ACCESS_KEY"]
SECRET_KEY = os.environ["SAGO_SECRET_KEY"]
REGION = os.environ.get("SAGO_REGION", "us-east-1")
OTHER_ACCESS_KEY = os.environ.get("SAGO_OTHER_ACCESS_KEY")
OTHER_SECRET_KEY = os.environ.get("SAGO_OTHER_SECRET_KEY")
HOST, PORT = urllib.parse.urlsplit(ENDPOINT).hostname, urllib.parse.urlsplit(ENDPOINT).port

MIB = 1 << 20


def client(access_key=ACCESS_KEY, secret_key=SECRET_KEY, region=REGION, **config):
    """A client that tries once, so that every refusal is seen as it came."""
    options = {"retries": {"max_attempts": 1, "mode": "standard"}, "s3": {"addressing_style": "path"}}
    options.update(config)
    return boto3.client(
        "s3",
        endpoint_url=ENDPOINT,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name=region,
        config=Config(**options),
    )


S3 = client()
RANDOM = random.Random(int(os.environ.get("SAGO_SEED", "1")))


def new_bucket(s3=None):
    name = f"t{time.time_ns():x}-{os.getpid()}-{RANDOM.randrange(1 << 30)}"
    (s3 or S3).create_bucket(Bucket=name)
    return name


def noise(size):
    return random.Random(size).randbytes(size)


def refused(code, call, status=None):
    """The call must be refused with this code."""
    try:
        answer = call()
    except ClientError as error:
        found = error.response["Error"]["Code"]
        assert found == code, f"expected {code}, got {found}: {error}"
        found = error.response["ResponseMetadata"]["HTTPStatusCode"]
        assert status in (None, found), f"expected status {status}, got {found}"
        return error
    raise AssertionError(f"expected {code}, got {answer}")


# ---------------------------------------------------------------------------------------------------------------------
# Signature version 4 by hand, from its published description.


def _hmac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def signing_key(secret, day, region=REGION, service="s3"):
    return _hmac(_hmac(_hmac(_hmac(b"AWS4" + secret.encode(), day), region), service), "aws4_request")


def sign(method, path, headers, body=b"", query="", at=None, access_key=ACCESS_KEY, secret_key=SECRET_KEY,
         region=REGION, service="s3", payload=None, signed=None):
    """Headers of a request, with their signature. `path` and `query` are percent-encoded already."""
    at = at or datetime.datetime.now(datetime.timezone.utc)
    stamp, day = at.strftime("%Y%m%dT%H%M%SZ"), at.strftime("%Y%m%d")
    payload = payload or hashlib.sha256(body).hexdigest()
    all_headers = {"host": f"{HOST}:{PORT}", "x-amz-date": stamp, "x-amz-content-sha256": payload}
    all_headers.update({name.lower(): value for name, value in headers.items()})
    names = sorted(signed or all_headers)
    canonical = "\n".join(
        [method, path, "&".join(sorted(pair if "=" in pair else pair + "=" for pair in query.split("&"))) if query else ""]
        + [f"{name}:{all_headers[name].strip()}" for name in names]
        + ["", ";".join(names), payload]
    )
    scope = f"{day}/{region}/{service}/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = signing_key(secret_key, day, region, service)
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    all_headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={access_key}/{scope}, SignedHeaders={';'.join(names)}, Signature={signature}"
    )
    all_headers["_scope"], all_headers["_signature"], all_headers["_key"] = scope, signature, key
    return all_headers


def chunked(data, signed, size, headers, trailers=""):
    """`data` framed as aws-chunked in chunks of `size`; `signed` are the headers that `sign` returned, or None."""
    out, previous = b"", signed and signed["_signature"]
    for at in list(range(0, len(data), size)) + [len(data)]:
        piece = data[at:at + size]
        head = f"{len(piece):x}"
        if signed:
            text = "\n".join([
                "AWS4-HMAC-SHA256-PAYLOAD", signed["x-amz-date"], signed["_scope"], previous,
                hashlib.sha256(b"").hexdigest(), hashlib.sha256(piece).hexdigest(),
            ])
            previous = hmac.new(signed["_key"], text.encode(), hashlib.sha256).hexdigest()
            head += f";chunk-signature={previous}"
        out += head.encode() + b"\r\n" + piece + (b"\r\n" if piece else b"")
    if signed and trailers:
        text = "\n".join([
            "AWS4-HMAC-SHA256-TRAILER", signed["x-amz-date"], signed["_scope"], previous,
            hashlib.sha256(trailers.replace("\r\n", "\n").encode()).hexdigest(),
        ])
        signature = hmac.new(signed["_key"], text.encode(), hashlib.sha256).hexdigest()
        trailers += f"x-amz-trailer-signature:{signature}\r\n"
    return out + trailers.encode() + b"\r\n"


class Answer:
    def __init__(self, raw):
        head, _, self.body = raw.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split(" ")[1]) if lines[0] else 0
        self.headers = {line.split(":", 1)[0].lower(): line.split(":", 1)[1].strip() for line in lines[1:]}
        text = self.body.decode("utf-8", "replace")
        self.code = text.split("<Code>")[1].split("</Code>")[0] if "<Code>" in text else None

    def __repr__(self):
        return f"{self.status} {self.code} {self.headers} {self.body[:300]!r}"


def raw(method, path, headers, body=b"", query="", declared=None, stop=None, wait=30):
    """Sends exactly these bytes and reads until the connection ends. `stop` cuts the body there."""
    lines = [f"{method} {path}{'?' + query if query else ''} HTTP/1.1"]
    fields = {name: value for name, value in headers.items() if not name.startswith("_")}
    fields.setdefault("host", f"{HOST}:{PORT}")
    fields["connection"] = "close"
    if declared is None and ("content-length" not in fields) and (body or method in ("PUT", "POST")):
        declared = len(body)
    if declared is not None:
        fields["content-length"] = str(declared)
    lines += [f"{name}: {value}" for name, value in fields.items()]
    return raw_bytes("\r\n".join(lines).encode() + b"\r\n\r\n" + (body if stop is None else body[:stop]),
                     stop is not None, wait)


def raw_bytes(data, half_close=False, wait=30):
    with socket.create_connection((HOST, PORT), timeout=wait) as connection:
        try:
            connection.sendall(data)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass
        received = b""
        try:
            while piece := connection.recv(65536):
                received += piece
        except ConnectionResetError:
            pass
        return Answer(received)


def run(names):
    """Runs the functions of a module whose names begin with `test_`, or those named on the command line."""
    wanted = sys.argv[1:]
    tests = [(name, value) for name, value in names.items() if name.startswith("test_") and callable(value)]
    if wanted:
        tests = [(name, value) for name, value in tests if any(word in name for word in wanted)]
    failed = 0
    for name, test in tests:
        began = time.time()
        try:
            test()
            print(f"ok      {name} ({time.time() - began:.1f} s)", flush=True)
        except Exception:
            failed += 1
            print(f"FAILED  {name}", flush=True)
            traceback.print_exc(file=sys.stdout)
    print(f"{len(tests) - failed} of {len(tests)} passed (boto3 {boto3.__version__}, botocore {botocore.__version__})")
    sys.exit(1 if failed or not tests else 0)
