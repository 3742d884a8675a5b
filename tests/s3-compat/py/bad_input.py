"""Bad input: a clear answer, nothing stored, and the server goes on."""

import base64
import concurrent.futures
import hashlib

from common import *

BUCKET = new_bucket()
PATH = f"/{BUCKET}/k"


def nothing_stored():
    assert "Contents" not in S3.list_objects_v2(Bucket=BUCKET)
    assert "Uploads" not in S3.list_multipart_uploads(Bucket=BUCKET)


def is_refused(answer, status, code):
    assert (answer.status, answer.code) == (status, code), answer


def test_truncated_bodies():
    for size, stop in [(100, 50), (300_000, 299_999), (300_000, 0), (9 * MIB, 5 * MIB)]:
        data = noise(size)
        for payload in [None, "UNSIGNED-PAYLOAD"]:
            answer = raw("PUT", PATH, sign("PUT", PATH, {}, data, payload=payload), data, stop=stop)
            assert (answer.status, answer.code) in [(400, "IncompleteBody"), (0, None)], answer
    nothing_stored()


def test_no_length():
    headers = sign("PUT", PATH, {}, payload="UNSIGNED-PAYLOAD")
    lines = [f"PUT {PATH} HTTP/1.1", "connection: close", "transfer-encoding: chunked"]
    lines += [f"{name}: {value}" for name, value in headers.items() if not name.startswith("_")]
    answer = raw_bytes("\r\n".join(lines).encode() + b"\r\n\r\n1\r\nx\r\n0\r\n\r\n")
    is_refused(answer, 411, "MissingContentLength")
    nothing_stored()


def test_two_lengths():
    headers = sign("PUT", PATH, {}, b"x")
    fields = [f"{name}: {value}" for name, value in headers.items() if not name.startswith("_")]
    for lengths in [["content-length: 1", "transfer-encoding: chunked"], ["content-length: 1", "content-length: 2"],
                    ["content-length: -1"], ["content-length: 1, 2"], ["content-length: 99999999999999999999"],
                    ["transfer-encoding: chunked, identity"], ["content-length : 1"]]:
        lines = [f"PUT {PATH} HTTP/1.1", "connection: close"] + fields + lengths
        answer = raw_bytes("\r\n".join(lines).encode() + b"\r\n\r\nx")
        assert answer.status in (0, 400, 411, 501), (lengths, answer)
    nothing_stored()


def test_too_large():
    headers = sign("PUT", PATH, {}, payload="UNSIGNED-PAYLOAD")
    is_refused(raw("PUT", PATH, headers, b"", declared=5 * 1024 * MIB + 1), 400, "EntityTooLarge")
    headers = sign("PUT", PATH, {"x-junk": "x" * 20_000})
    answer = raw("PUT", PATH, headers, b"")
    assert answer.status in (400, 431), answer
    path = PATH + "?" + "x" * 20_000
    assert raw("GET", path, {}).status in (400, 414, 431)
    lines = [f"GET {PATH} HTTP/1.1"] + [f"x-{number}: y" for number in range(500)]
    assert raw_bytes("\r\n".join(lines).encode() + b"\r\n\r\n").status in (400, 431)
    endless = b"GET / HTTP/1.1\r\nx: " + b"y" * (1 << 20)
    assert raw_bytes(endless).status in (0, 400, 431)


def document(method, path, body, query, **more):
    return raw(method, path, sign(method, path, more.pop("headers", {}), body, query), body, query, **more)


def test_malformed_xml():
    upload = S3.create_multipart_upload(Bucket=BUCKET, Key="k")["UploadId"]
    bombs = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    xxe = b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
    for body in [
        b"", b"<", b"no xml", b"<Delete>", b"<Delete></Delete>", b"<Delete><Object></Object></Delete>",
        b"<Delete><Object><Key>a</Object></Key></Delete>", b"<Other/>", b"\xff\xfe", b"<Delete>" * 100_000,
        b"<Delete><Object><Key>\xff</Key></Object></Delete>", b"<Delete><Objet><Key>a</Key></Objet></Delete>",
        bombs + b"<Delete><Object><Key>&b;</Key></Object></Delete>",
        xxe + b"<Delete><Object><Key>&a;</Key></Object></Delete>",
        b"<Delete><Object><Key>a</Key><Key>b</Key></Object></Delete>",
        b"<Delete><Quiet>maybe</Quiet><Object><Key>a</Key></Object></Delete>",
    ]:
        answer = document("POST", f"/{BUCKET}", body, "delete")
        assert answer.status == 400, (body[:60], answer)
        assert answer.code in ("MalformedXML", "MissingRequestBodyError", "InvalidArgument"), (body[:60], answer)
    for body in [
        b"<", b"<CompleteMultipartUpload>", b"<CompleteMultipartUpload></CompleteMultipartUpload>",
        b"<CompleteMultipartUpload><Part><PartNumber>-1</PartNumber></Part></CompleteMultipartUpload>",
        b"<CompleteMultipartUpload><Part><ETag>x</ETag></Part></CompleteMultipartUpload>",
        b"<CompleteMultipartUpload><Part><PartNumber>x</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>",
        b"<CompleteMultipartUpload><Part><PartNumber>99999999999</PartNumber></Part></CompleteMultipartUpload>",
    ]:
        is_refused(document("POST", PATH, body, f"uploadId={upload}"), 400, "MalformedXML")
    is_refused(document("PUT", "/some-bucket", b"<CreateBucketConfiguration><Bad", ""), 400, "MalformedXML")
    elsewhere = b"<CreateBucketConfiguration><LocationConstraint>mars</LocationConstraint></CreateBucketConfiguration>"
    is_refused(document("PUT", "/some-bucket", elsewhere, ""), 400, "InvalidLocationConstraint")
    refused("404", lambda: S3.head_bucket(Bucket="some-bucket"))
    S3.abort_multipart_upload(Bucket=BUCKET, Key="k", UploadId=upload)
    nothing_stored()


def test_a_document_too_large():
    parts = b"<Part><PartNumber>1</PartNumber><ETag>x</ETag></Part>"
    body = b"<CompleteMultipartUpload>" + parts * 200_000 + b"</CompleteMultipartUpload>"
    answer = document("POST", PATH, body, "uploadId=" + "0" * 32)
    assert (answer.status, answer.code) in [(400, "MaxMessageLengthExceeded"), (0, None)], answer
    body = b"<CompleteMultipartUpload>" + parts * 10_001 + b"</CompleteMultipartUpload>"
    is_refused(document("POST", PATH, body, "uploadId=" + "0" * 32), 400, "MalformedXML")


def test_digests_of_documents():
    body = b"<Delete><Object><Key>k</Key></Object></Delete>"
    S3.put_object(Bucket=BUCKET, Key="k", Body=b"x")
    wrong = base64.b64encode(bytes(16)).decode()
    is_refused(document("POST", f"/{BUCKET}", body, "delete", headers={"content-md5": wrong}), 400, "BadDigest")
    is_refused(document("POST", f"/{BUCKET}", body, "delete", headers={"content-md5": "x"}), 400, "InvalidDigest")
    headers = {"x-amz-checksum-crc32": "AAAAAA=="}
    is_refused(document("POST", f"/{BUCKET}", body, "delete", headers=headers), 400, "BadDigest")
    assert S3.head_object(Bucket=BUCKET, Key="k")
    right = base64.b64encode(hashlib.md5(body).digest()).decode()
    assert document("POST", f"/{BUCKET}", body, "delete", headers={"content-md5": right}).status == 200
    nothing_stored()


def test_odd_requests():
    for method, path, query in [
        ("GET", "/..", ""), ("GET", "/../etc/passwd", ""), ("PUT", "/a", ""), ("PUT", "/192.168.0.1", ""),
        ("PUT", "/" + "x" * 64, ""), ("GET", "/%00", ""), ("PUT", "/xn--bucket", ""), ("GET", "/-/", ""),
        ("GET", "/UPPER/k", ""), ("PUT", "/" + urllib.parse.quote("bücket"), ""),
    ]:
        answer = raw(method, path, sign(method, path, {}, query=query), query=query)
        assert answer.status == 400, (method, path, answer)
    for method, path in [("PATCH", PATH), ("POST", PATH), ("POST", "/"), ("OPTIONS", PATH), ("TRACE", PATH)]:
        answer = raw(method, path, sign(method, path, {}))
        assert answer.status in (400, 403, 405, 501), (method, answer)
    form = {"content-type": "multipart/form-data; boundary=x"}
    is_refused(raw("POST", f"/{BUCKET}", form, b"--x--"), 501, "NotImplemented")
    path = f"/{BUCKET}/" + "%ff%fe"
    assert raw("PUT", path, sign("PUT", path, {})).status in (400, 403)
    for bad in [b"\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00", b"GET / HTTP/9.9\r\n\r\n",
                b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]:
        assert raw_bytes(bad, half_close=True).status in (0, 400, 403, 505), bad
    for text in ["bytes=5-2", "bytes=a-b", "bytes=0-0,-1" + ",0-0" * 1000, "chapters=1-2", "bytes=",
                 "bytes=99999999999999999999-"]:
        S3.put_object(Bucket=BUCKET, Key="k", Body=b"content")
        answer = raw("GET", PATH, sign("GET", PATH, {"range": text}))
        assert answer.status in (200, 400, 416), (text, answer)
    S3.delete_object(Bucket=BUCKET, Key="k")
    nothing_stored()


def test_a_refused_body_is_answered_all_the_same():
    data = noise(900_000)
    for _ in range(10):
        headers = sign("PUT", PATH, {}, data, secret_key="wrong")
        is_refused(raw("PUT", PATH, headers, data), 403, "SignatureDoesNotMatch")


def test_a_hundred_slow_bodies_hold_nobody_up():
    data = noise(200_000)
    slow = []
    for number in range(100):
        path = f"/{BUCKET}/slow{number}"
        headers = sign("PUT", path, {}, data)
        lines = [f"PUT {path} HTTP/1.1", f"content-length: {len(data)}"]
        lines += [f"{name}: {value}" for name, value in headers.items() if not name.startswith("_")]
        connection = socket.create_connection((HOST, PORT), timeout=30)
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + data[:1000])
        slow.append(connection)
    began = time.time()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(S3.put_object, Bucket=BUCKET, Key=f"quick{n}", Body=b"x" * 100_000) for n in range(40)]:
            done.result()
    assert time.time() - began < 20
    for number, connection in enumerate(slow):
        if number % 2:
            connection.sendall(data[1000:])
            assert b"200 OK" in connection.recv(65536)
        connection.close()
    found = {item["Key"] for item in S3.list_objects_v2(Bucket=BUCKET)["Contents"]}
    assert found == {f"quick{n}" for n in range(40)} | {f"slow{n}" for n in range(1, 100, 2)}
    for key in found:
        S3.delete_object(Bucket=BUCKET, Key=key)


run(globals())
