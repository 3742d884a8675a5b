"""Who may do what: presigned URLs, wrong and missing credentials, clocks, scopes, signatures of bodies."""

import base64
import datetime
import hashlib
import urllib.error
import urllib.request
import zlib

from common import *

BUCKET = new_bucket()
PATH = f"/{BUCKET}/k"
S3.put_object(Bucket=BUCKET, Key="k", Body=b"content")


def fetch(url, method="GET", data=None, headers=None):
    request = urllib.request.Request(url, method=method, data=data, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def is_refused(answer, status, code):
    assert (answer.status, answer.code) == (status, code), answer


def minutes(count):
    return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=count)


def test_presigned():
    S3 = client(signature_version="s3v4")
    url = S3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "k"}, ExpiresIn=60)
    assert fetch(url) == (200, b"content")
    status, body = fetch(url.replace("/k?", "/other?"))
    assert status == 403 and b"SignatureDoesNotMatch" in body, body
    status, body = fetch(url, "PUT", b"x")
    assert status == 403 and b"SignatureDoesNotMatch" in body, body
    status, body = fetch(url, headers={"x-amz-meta-added": "x"})
    assert status == 403 and b"AccessDenied" in body, body
    url = S3.generate_presigned_url("put_object", Params={"Bucket": BUCKET, "Key": "put", "ContentType": "text/x"},
                                    ExpiresIn=60)
    status, body = fetch(url, "PUT", b"by url", {"content-type": "text/x"})
    assert status == 200, body
    shown = S3.get_object(Bucket=BUCKET, Key="put")
    assert (shown["Body"].read(), shown["ContentType"]) == (b"by url", "text/x")
    params = {"Bucket": BUCKET, "Key": "k", "ResponseContentDisposition": "attachment; filename=\"ü.txt\""}
    assert fetch(S3.generate_presigned_url("get_object", Params=params))[0] in (200, 400)
    old = client(signature_version="s3").generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "k"})
    status, body = fetch(old)
    assert status == 400 and b"s3v4" in body, body


def presigned(at, expires, method="GET", path=PATH, access_key=ACCESS_KEY, secret=SECRET_KEY, region=REGION,
              service="s3", day=None, end="aws4_request"):
    stamp, day = at.strftime("%Y%m%dT%H%M%SZ"), day or at.strftime("%Y%m%d")
    scope = f"{day}/{region}/{service}/{end}"
    query = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Credential": f"{access_key}/{scope}", "X-Amz-Date": stamp,
        "X-Amz-Expires": str(expires), "X-Amz-SignedHeaders": "host",
    }
    text = "&".join(f"{name}={urllib.parse.quote(value, safe='')}" for name, value in sorted(query.items()))
    canonical = "\n".join([method, path, text, f"host:{HOST}:{PORT}", "", "host", "UNSIGNED-PAYLOAD"])
    to_sign = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    signature = hmac.new(signing_key(secret, day, region, service), to_sign.encode(), hashlib.sha256).hexdigest()
    return text + f"&X-Amz-Signature={signature}"


def test_presigned_times():
    def at(when, expires, **more):
        return raw("GET", PATH, {}, query=presigned(when, expires, **more))

    assert at(minutes(0), 60).status == 200
    assert at(minutes(-60 * 24 * 6), 604_800).status == 200
    is_refused(at(minutes(-2), 60), 403, "AccessDenied")
    is_refused(at(minutes(-60 * 24 * 8), 604_800), 403, "AccessDenied")
    is_refused(at(minutes(20), 60), 403, "RequestTimeTooSkewed")
    for expires in ["0", "-5", "604801", "99999999999999999999", "soon", ""]:
        is_refused(at(minutes(0), expires), 400, "AuthorizationQueryParametersError")
    is_refused(at(minutes(0), 60, region="eu-west-1"), 400, "AuthorizationQueryParametersError")
    is_refused(at(minutes(0), 60, service="sts"), 400, "AuthorizationQueryParametersError")
    is_refused(at(minutes(0), 60, end="aws5_request"), 400, "AuthorizationQueryParametersError")
    is_refused(at(minutes(0), 60, day="20200101"), 403, "SignatureDoesNotMatch")
    is_refused(at(minutes(0), 60, secret="wrong"), 403, "SignatureDoesNotMatch")
    is_refused(at(minutes(0), 60, access_key="NOBODY"), 403, "InvalidAccessKeyId")


def test_wrong_and_missing_credentials():
    bad = client(ACCESS_KEY, "wrong")
    refused("SignatureDoesNotMatch", lambda: bad.get_object(Bucket=BUCKET, Key="k"), 403)
    refused("SignatureDoesNotMatch", lambda: bad.put_object(Bucket=BUCKET, Key="k", Body=b"evil"), 403)
    refused("SignatureDoesNotMatch", lambda: bad.list_buckets(), 403)
    nobody = client("NOBODY", SECRET_KEY)
    refused("InvalidAccessKeyId", lambda: nobody.get_object(Bucket=BUCKET, Key="k"), 403)
    refused("InvalidAccessKeyId", lambda: client("x" * 500, "y").list_buckets(), 403)
    for method, path, query in [
        ("GET", PATH, ""), ("HEAD", PATH, ""), ("PUT", PATH, ""), ("DELETE", PATH, ""), ("GET", f"/{BUCKET}", ""),
        ("GET", "/", ""), ("PUT", "/new-bucket", ""), ("DELETE", f"/{BUCKET}", ""), ("POST", f"/{BUCKET}", "delete"),
        ("POST", PATH, "uploads"), ("PUT", PATH, "partNumber=1&uploadId=" + "0" * 32),
        ("POST", PATH, "uploadId=" + "0" * 32), ("GET", f"/{BUCKET}", "uploads"),
    ]:
        answer = raw(method, path, {}, b"", query=query)
        assert answer.status == 403 and answer.code in (None, "AccessDenied"), (method, path, answer)
    assert S3.get_object(Bucket=BUCKET, Key="k")["Body"].read() == b"content"


def test_made_up_signatures_on_every_way_to_write():
    """A known access key and a signature out of thin air, with every kind of body there is."""
    upload = S3.create_multipart_upload(Bucket=BUCKET, Key="k")["UploadId"]
    for payload in [None, "UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
                    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"]:
        for method, path, query in [
            ("PUT", PATH, ""), ("PUT", PATH, f"partNumber=1&uploadId={upload}"), ("POST", f"/{BUCKET}", "delete"),
            ("POST", PATH, "uploads"), ("PUT", "/a-new-bucket", ""),
        ]:
            extra = {"x-amz-decoded-content-length": "4", "x-amz-trailer": "x-amz-checksum-crc32"}
            headers = sign(method, path, extra, b"evil", query, secret_key="made up", payload=payload)
            is_refused(raw(method, path, headers, b"4\r\nevil\r\n0\r\n\r\n", query), 403, "SignatureDoesNotMatch")
            for name in ["authorization"]:
                headers.pop(name)
            query_auth = f"{query}&" if query else ""
            query_auth += f"X-Amz-Credential={ACCESS_KEY}%2F20260101%2Fus-east-1%2Fs3%2Faws4_request"
            answer = raw(method, path, headers, b"4\r\nevil\r\n0\r\n\r\n", query_auth)
            assert answer.status in (400, 403), answer
    assert S3.get_object(Bucket=BUCKET, Key="k")["Body"].read() == b"content"
    S3.abort_multipart_upload(Bucket=BUCKET, Key="k", UploadId=upload)


def test_the_clock():
    for skew in [-14, 14]:
        assert raw("GET", PATH, sign("GET", PATH, {}, at=minutes(skew))).status == 200
    for skew in [-16, 16, -60 * 24 * 365]:
        is_refused(raw("GET", PATH, sign("GET", PATH, {}, at=minutes(skew))), 403, "RequestTimeTooSkewed")
    headers = sign("GET", PATH, {})
    headers["authorization"] = headers["authorization"].replace(headers["_scope"][:8], "20200101")
    is_refused(raw("GET", PATH, headers), 403, "SignatureDoesNotMatch")


def test_the_scope():
    error = refused("AuthorizationHeaderMalformed", lambda: client(region="eu-west-1").list_buckets(), 400)
    assert error.response["ResponseMetadata"]["HTTPHeaders"]["x-amz-bucket-region"] == REGION
    is_refused(raw("GET", PATH, sign("GET", PATH, {}, service="sts")), 400, "AuthorizationHeaderMalformed")
    headers = sign("GET", PATH, {})
    for broken in ["AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential=x", "Bearer abc", "",
                   headers["authorization"].replace("aws4_request", "aws4")]:
        answer = raw("GET", PATH, dict(headers, authorization=broken))
        assert answer.status in (400, 403), (broken, answer)
    is_refused(raw("GET", PATH, dict(headers, authorization="AWS AK:c2ln")), 400, "InvalidRequest")
    answer = raw("GET", PATH, {}, query=f"AWSAccessKeyId={ACCESS_KEY}&Signature=x&Expires=9999999999")
    is_refused(answer, 400, "InvalidRequest")


def test_one_way_at_a_time():
    headers = sign("GET", PATH, {})
    is_refused(raw("GET", PATH, headers, query=presigned(minutes(0), 60)), 400, "InvalidArgument")
    for name in ["authorization", "x-amz-date", "X-AMZ-Content-SHA256"]:
        lines = [f"GET {PATH} HTTP/1.1", "connection: close"]
        lines += [f"{key}: {value}" for key, value in headers.items() if not key.startswith("_")]
        lines.append(f"{name}: {headers[name.lower()]}")
        is_refused(raw_bytes("\r\n".join(lines).encode() + b"\r\n\r\n"), 400, "InvalidArgument")


def test_headers_that_must_be_signed():
    for extra in ["x-amz-acl", "x-amz-copy-source", "x-amz-meta-a", "x-amz-security-token"]:
        headers = sign("PUT", PATH, {}, b"x")
        headers[extra] = f"/{BUCKET}/put"
        is_refused(raw("PUT", PATH, headers, b"x"), 403, "AccessDenied")
    headers = sign("GET", PATH, {}, signed=["x-amz-date", "x-amz-content-sha256"])
    is_refused(raw("GET", PATH, headers), 403, "AccessDenied")
    assert S3.get_object(Bucket=BUCKET, Key="k")["Body"].read() == b"content"


def test_the_hash_of_the_body():
    data = noise(300_000)
    assert raw("PUT", PATH, sign("PUT", PATH, {}, data), data).status == 200
    headers = sign("PUT", PATH, {}, data)
    changed = data[:-1] + bytes([data[-1] ^ 1])
    is_refused(raw("PUT", PATH, headers, changed), 400, "XAmzContentSHA256Mismatch")
    assert raw("PUT", PATH, sign("PUT", PATH, {}, data, payload="UNSIGNED-PAYLOAD"), data).status == 200
    body = b"<Delete><Object><Key>k</Key></Object></Delete>"
    headers = sign("POST", f"/{BUCKET}", {}, body, "delete")
    answer = raw("POST", f"/{BUCKET}", headers, body.replace(b"k<", b"q<"), "delete")
    assert answer.status in (400, 403, 500) and answer.status != 200, answer
    assert S3.get_object(Bucket=BUCKET, Key="k")["Body"].read() == data


def crc32(data):
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


def put_chunked(data, kind, size=65536, trailer=None, declared="x-amz-checksum-crc32", change=None, length=None):
    """A streaming upload. `change` may alter the framed body before it is sent."""
    payload = {
        "unsigned": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "signed": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "signed trailer": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
    }[kind]
    extra = {"x-amz-decoded-content-length": str(len(data) if length is None else length),
             "content-encoding": "aws-chunked"}
    trailers = ""
    if kind != "signed":
        extra["x-amz-trailer"] = declared
        trailers = f"{declared}:{crc32(data)}\r\n" if trailer is None else trailer
    headers = sign("PUT", PATH, extra, payload=payload)
    body = chunked(data, None if kind == "unsigned" else headers, size, headers, trailers)
    return raw("PUT", PATH, headers, change(body) if change else body)


def test_streaming_uploads():
    for kind in ["unsigned", "signed", "signed trailer"]:
        for size, piece in [(0, 1), (1, 1), (1000, 1), (65536, 65536), (300_000, 8192), (5 * MIB + 3, MIB)]:
            data = noise(size)
            answer = put_chunked(data, kind, piece)
            assert answer.status == 200, (kind, size, answer)
            assert answer.headers["etag"] == f'"{hashlib.md5(data).hexdigest()}"'
            shown = S3.get_object(Bucket=BUCKET, Key="k", ChecksumMode="ENABLED")
            assert shown["Body"].read() == data and "ContentEncoding" not in shown, (kind, size)
            if kind != "signed":
                assert shown["ChecksumCRC32"] == answer.headers["x-amz-checksum-crc32"] == crc32(data)
    one_chunk = noise(20 * MIB)
    assert put_chunked(one_chunk, "unsigned", len(one_chunk)).status == 200
    assert S3.get_object(Bucket=BUCKET, Key="k")["Body"].read() == one_chunk


def test_streaming_uploads_that_are_refused():
    S3.put_object(Bucket=BUCKET, Key="k", Body=b"content")
    data = noise(100_000)

    def flip(body):
        at = body.index(b"\r\n") + 50_000
        return body[:at] + bytes([body[at] ^ 1]) + body[at + 1:]

    def no_end(body):
        return body[:body.rindex(b"\r\n0") + 2]

    is_refused(put_chunked(data, "signed", change=flip), 403, "SignatureDoesNotMatch")
    is_refused(put_chunked(data, "signed trailer", change=flip), 403, "SignatureDoesNotMatch")
    is_refused(put_chunked(data, "unsigned", change=flip), 400, "BadDigest")
    for kind in ["unsigned", "signed", "signed trailer"]:
        is_refused(put_chunked(data, kind, change=no_end), 400, "IncompleteBody")
        for length in [99_999, 100_001, 0]:
            is_refused(put_chunked(data, kind, length=length), 400, "IncompleteBody")
        assert put_chunked(data, kind, change=lambda body: b"ffffffffffffffff" + body[5:]).status == 400
        assert put_chunked(data, kind, change=lambda body: b"0" + body).status == 400
        assert put_chunked(data, kind, change=lambda body: body.replace(b"\r\n", b"\n")).status == 400
        assert put_chunked(data, kind, change=lambda body: body + b"more").status in (400, 403)
    assert put_chunked(data, "signed", len(data), change=lambda body: b"7fffffff" + body[5:]).status == 400
    is_refused(put_chunked(data, "unsigned", trailer=""), 400, "InvalidRequest")
    is_refused(put_chunked(data, "unsigned", trailer="x-amz-checksum-crc32:zzz\r\n"), 400, "InvalidRequest")
    wrong = f"x-amz-checksum-crc32:{crc32(b'other')}\r\n"
    is_refused(put_chunked(data, "unsigned", trailer=wrong), 400, "BadDigest")
    is_refused(put_chunked(data, "signed trailer", trailer=wrong), 400, "BadDigest")
    two = f"x-amz-checksum-crc32:{crc32(data)}\r\nx-amz-acl:public-read\r\n"
    assert put_chunked(data, "unsigned", trailer=two).status == 400
    is_refused(put_chunked(data, "unsigned", declared="content-length"), 400, "InvalidRequest")

    def forged(body):
        return body[:-80] + b"0" * 64 + body[-16:]

    assert put_chunked(data, "signed trailer", change=forged).status in (400, 403)

    def swapped(body):
        first = body.index(b"\r\n") + 2 + 65536 + 2
        second = body.index(b"\r\n0;") + 2
        return body[first:second] + body[:first] + body[second:]

    is_refused(put_chunked(data, "signed", change=swapped), 403, "SignatureDoesNotMatch")
    assert S3.get_object(Bucket=BUCKET, Key="k")["Body"].read() == b"content"


run(globals())
