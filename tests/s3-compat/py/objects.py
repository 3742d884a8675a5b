"""Objects: put, get, head, delete, copy; ranges, conditions, metadata, checksums, special keys."""

import base64
import datetime
import hashlib
import io
import zlib

from common import *

BUCKET = new_bucket()


def put(key, data=b"", **more):
    return S3.put_object(Bucket=BUCKET, Key=key, Body=data, **more)


def get(key, **more):
    return S3.get_object(Bucket=BUCKET, Key=key, **more)["Body"].read()


def test_buckets():
    name = new_bucket()
    assert name in [bucket["Name"] for bucket in S3.list_buckets()["Buckets"]]
    assert S3.head_bucket(Bucket=name)["BucketRegion"] == REGION
    assert S3.get_bucket_location(Bucket=name)["LocationConstraint"] is None
    assert "Status" not in S3.get_bucket_versioning(Bucket=name)
    refused("BucketAlreadyOwnedByYou", lambda: S3.create_bucket(Bucket=name), 409)
    S3.put_object(Bucket=name, Key="a/b", Body=b"x")
    refused("BucketNotEmpty", lambda: S3.delete_bucket(Bucket=name), 409)
    S3.delete_object(Bucket=name, Key="a/b")
    S3.delete_bucket(Bucket=name)
    refused("404", lambda: S3.head_bucket(Bucket=name), 404)
    refused("NoSuchBucket", lambda: S3.list_objects_v2(Bucket=name), 404)
    refused("NoSuchBucket", lambda: S3.put_object(Bucket=name, Key="k", Body=b""), 404)
    refused("NoSuchBucket", lambda: S3.delete_bucket(Bucket=name), 404)
    S3.create_bucket(Bucket=name)
    assert "Contents" not in S3.list_objects_v2(Bucket=name)
    S3.put_object(Bucket=name, Key="k", Body=b"new")
    answer = raw("PUT", "/Bad_Name", sign("PUT", "/Bad_Name", {}))
    assert (answer.status, answer.code) == (400, "InvalidBucketName"), answer


def test_objects_of_every_size_class_come_back():
    for size in [0, 1, 4095, 4096, 4097, 65536, 300_000, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1, 9 * MIB + 17]:
        data = noise(size)
        answer = put("size", data)
        assert answer["ETag"] == f'"{hashlib.md5(data).hexdigest()}"', size
        assert get("size") == data, size
        head = S3.head_object(Bucket=BUCKET, Key="size")
        assert (head["ContentLength"], head["ETag"]) == (size, answer["ETag"])
        assert abs(head["LastModified"] - datetime.datetime.now(datetime.timezone.utc)) < datetime.timedelta(minutes=5)


def test_missing_things():
    refused("NoSuchKey", lambda: get("nothing"), 404)
    refused("404", lambda: S3.head_object(Bucket=BUCKET, Key="nothing"), 404)
    assert S3.delete_object(Bucket=BUCKET, Key="nothing")["ResponseMetadata"]["HTTPStatusCode"] == 204
    error = refused("NoSuchKey", lambda: get("not/here"))
    assert error.response["Error"]["Resource"] == f"/{BUCKET}/not/here"
    assert error.response["ResponseMetadata"]["HTTPHeaders"]["x-amz-request-id"] == \
        error.response["ResponseMetadata"]["RequestId"]


def test_ranges():
    for size in [3000, 10 * MIB + 5]:
        data = noise(size)
        put("ranged", data)
        for _ in range(40):
            first = RANDOM.randrange(size)
            last = min(size + 10, first + RANDOM.choice([0, 1, 100, 70_000, 5 * MIB]))
            answer = S3.get_object(Bucket=BUCKET, Key="ranged", Range=f"bytes={first}-{last}")
            assert answer["Body"].read() == data[first:last + 1], (first, last)
            assert answer["ContentRange"] == f"bytes {first}-{min(last, size - 1)}/{size}"
            assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert get("ranged", Range=f"bytes={size - 7}-") == data[-7:]
        assert get("ranged", Range="bytes=-11") == data[-11:]
        assert get("ranged", Range=f"bytes=-{size * 2}") == data
        error = refused("InvalidRange", lambda: get("ranged", Range=f"bytes={size}-"), 416)
        assert error.response["ResponseMetadata"]["HTTPHeaders"]["content-range"] == f"bytes */{size}"
        head = S3.head_object(Bucket=BUCKET, Key="ranged", Range="bytes=5-9")
        assert (head["ContentLength"], head["ResponseMetadata"]["HTTPStatusCode"]) == (5, 206)
    put("empty", b"")
    refused("InvalidRange", lambda: get("empty", Range="bytes=0-"), 416)
    etag = put("ranged", data)["ETag"]
    assert get("ranged", PartNumber=1) == data
    for tag, expected in [(etag, data[:4]), ('"other"', data)]:
        headers = sign("GET", f"/{BUCKET}/ranged", {"range": "bytes=0-3", "if-range": tag})
        answer = raw("GET", f"/{BUCKET}/ranged", headers)
        assert answer.body == expected, (tag, answer.status, answer.headers, len(answer.body))


def test_conditional_reads():
    etag = put("conditional", b"x")["ETag"]
    head = S3.head_object(Bucket=BUCKET, Key="conditional")
    now, hour = head["LastModified"], datetime.timedelta(hours=1)
    for call in [lambda **more: get("conditional", **more),
                 lambda **more: S3.head_object(Bucket=BUCKET, Key="conditional", **more)]:
        call(IfMatch=etag)
        call(IfNoneMatch='"other"')
        call(IfModifiedSince=now - hour)
        call(IfUnmodifiedSince=now)
        call(IfMatch=etag, IfUnmodifiedSince=now - hour)
        call(IfNoneMatch='"other"', IfModifiedSince=now)
        refused("304", lambda: call(IfNoneMatch=etag), 304)
        refused("304", lambda: call(IfNoneMatch="*"), 304)
        refused("304", lambda: call(IfModifiedSince=now), 304)
        for bad in [{"IfMatch": '"other"'}, {"IfUnmodifiedSince": now - hour}]:
            try:
                call(**bad)
                raise AssertionError(f"{bad} should not hold")
            except ClientError as error:
                assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 412, error
    headers = sign("GET", f"/{BUCKET}/conditional", {"if-none-match": f'"a", W/{etag}, "b"'})
    answer = raw("GET", f"/{BUCKET}/conditional", headers)
    assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", etag), answer


def test_conditional_writes():
    put("once", b"1", IfNoneMatch="*")
    refused("PreconditionFailed", lambda: put("once", b"2", IfNoneMatch="*"), 412)
    etag = S3.head_object(Bucket=BUCKET, Key="once")["ETag"]
    refused("PreconditionFailed", lambda: put("once", b"2", IfMatch='"other"'), 412)
    put("once", b"3", IfMatch=etag)
    assert get("once") == b"3"
    refused("NoSuchKey", lambda: put("never", b"2", IfMatch=etag), 404)


def test_metadata():
    user = {"colour": "blue", "empty": "", "spaced": "a  b", "x-1.y_z": "v" * 500}
    system = {
        "ContentType": "image/png", "CacheControl": "max-age=60, public", "ContentEncoding": "gzip",
        "ContentDisposition": 'attachment; filename="a b.png"', "ContentLanguage": "ko, en",
        "Expires": datetime.datetime(2030, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc),
    }
    put("meta", b"x", Metadata=user, **system)
    for answer in [S3.head_object(Bucket=BUCKET, Key="meta"), S3.get_object(Bucket=BUCKET, Key="meta")]:
        assert answer["Metadata"] == user
        for name, value in system.items():
            assert answer[name] == value, (name, answer[name])
    put("meta", b"x")
    head = S3.head_object(Bucket=BUCKET, Key="meta")
    assert (head["Metadata"], head["ContentType"]) == ({}, "binary/octet-stream")
    assert "CacheControl" not in head
    text = "=?UTF-8?B?" + base64.b64encode("史庫".encode()).decode() + "?="
    put("meta", b"x", Metadata={"title": text})
    shown = S3.head_object(Bucket=BUCKET, Key="meta")["Metadata"]["title"]
    assert "史庫".encode() in (base64.b64decode(shown[10:-2]), shown.encode("latin-1", "replace")), shown
    refused("MetadataTooLarge", lambda: put("meta", b"x", Metadata={"big": "v" * 2048}), 400)


def test_response_headers_can_be_chosen():
    put("response", b"x", ContentType="text/plain", CacheControl="no-cache", ContentDisposition="inline")
    answer = S3.get_object(
        Bucket=BUCKET, Key="response", ResponseContentType="image/gif", ResponseCacheControl="max-age=1",
        ResponseContentDisposition='attachment; filename="x"', ResponseContentLanguage="ko",
        ResponseContentEncoding="identity", ResponseExpires=datetime.datetime(2031, 1, 1),
    )
    assert answer["ContentType"] == "image/gif" and answer["CacheControl"] == "max-age=1"
    assert answer["ContentDisposition"] == 'attachment; filename="x"' and answer["ContentLanguage"] == "ko"
    path, query = f"/{BUCKET}/response", "response-content-type=a%0D%0Aset-cookie%3A%20b"
    answer = raw("GET", path, sign("GET", path, {}, query=query), query=query)
    assert answer.status == 400 and "set-cookie" not in answer.headers, answer


def crc32(data):
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


def test_checksums():
    data = noise(100_000)
    known = {
        "CRC32": crc32(data),
        "SHA1": base64.b64encode(hashlib.sha1(data).digest()).decode(),
        "SHA256": base64.b64encode(hashlib.sha256(data).digest()).decode(),
    }
    for name in ["CRC32", "SHA1", "SHA256", "CRC32C", "CRC64NVME"]:
        field = f"Checksum{name}"
        try:
            answer = put("sum", data, ChecksumAlgorithm=name)
        except botocore.exceptions.MissingDependencyException:
            assert name in ("CRC32C", "CRC64NVME"), "botocore has its own for the others"
            continue
        assert answer[field] == known.get(name, answer[field])
        shown = S3.get_object(Bucket=BUCKET, Key="sum", ChecksumMode="ENABLED")
        assert shown["Body"].read() == data, name
        assert shown[field] == answer[field]
        assert S3.head_object(Bucket=BUCKET, Key="sum", ChecksumMode="ENABLED")["ChecksumType"] == "FULL_OBJECT"
        shown = S3.get_object(Bucket=BUCKET, Key="sum", ChecksumMode="ENABLED", Range="bytes=0-9")
        assert field not in shown
    plain = client(request_checksum_calculation="when_required")
    answer = plain.put_object(Bucket=BUCKET, Key="unsummed", Body=data)
    assert not [field for field in answer if field.startswith("Checksum")]
    put("sum", data, ChecksumSHA256=known["SHA256"])
    refused("BadDigest", lambda: put("sum", data + b"x", ChecksumSHA256=known["SHA256"]), 400)
    refused("BadDigest", lambda: put("sum", data + b"x", ChecksumCRC32=known["CRC32"]), 400)
    refused("InvalidRequest", lambda: put("sum", data, ChecksumCRC32="xx"), 400)
    assert get("sum") == data


def test_checksums_by_hand():
    """CRC-32C and CRC-64/NVME of the published check string, as headers; right ones are taken, wrong ones are not."""
    data, path = b"123456789", f"/{BUCKET}/check"
    for name, value in [("crc32c", "e3069283"), ("crc64nvme", "ae8b14860a799888"), ("crc32", "cbf43926")]:
        right = base64.b64encode(bytes.fromhex(value)).decode()
        wrong = base64.b64encode(bytes(len(value) // 2)).decode()
        header = f"x-amz-checksum-{name}"
        answer = raw("PUT", path, sign("PUT", path, {header: right}, data), data)
        assert (answer.status, answer.headers[header]) == (200, right), answer
        answer = raw("PUT", path, sign("PUT", path, {header: wrong}, data), data)
        assert (answer.status, answer.code) == (400, "BadDigest"), answer
        headers = sign("GET", path, {"x-amz-checksum-mode": "ENABLED"})
        assert raw("GET", path, headers).headers[header] == right
    both = {"x-amz-checksum-crc32": crc32(data), "x-amz-checksum-sha1": "x" * 28}
    answer = raw("PUT", path, sign("PUT", path, both, data), data)
    assert (answer.status, answer.code) == (400, "InvalidRequest"), answer
    answer = raw("PUT", path, sign("PUT", path, {"x-amz-sdk-checksum-algorithm": "CRC32"}, data), data)
    assert (answer.status, answer.code) == (400, "InvalidRequest"), answer


def test_content_md5():
    data = noise(70_000)
    right = base64.b64encode(hashlib.md5(data).digest()).decode()
    put("md5", data, ContentMD5=right)
    refused("BadDigest", lambda: put("md5", data + b"x", ContentMD5=right), 400)
    refused("InvalidDigest", lambda: put("md5", data, ContentMD5="abc"), 400)
    assert get("md5") == data


def test_special_keys():
    keys = [
        "a//b", "a/", "a", "/", "//", "/a", ".", "..", "../x", "a/./b", "a/../b", " ", "a b", "a+b", "a%b", "a%2Fb",
        "ünï/cødé", "한글/史庫.epub", "\U0001f4da", "'\"<>&", "a?b#c", "a=b&c=d", "*(~!)", "x" * 1024, "é" * 512,
        "e\u0301", "\u00e9", "\x01\x1f", "a\\b", "-", "a:b;c,d@e$", "\t",
    ]
    bucket = new_bucket()
    for index, key in enumerate(keys):
        S3.put_object(Bucket=bucket, Key=key, Body=str(index).encode())
    for index, key in enumerate(keys):
        body = S3.get_object(Bucket=bucket, Key=key)["Body"].read()
        assert body == str(index).encode(), (key, body)
    found = []
    for page in S3.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 7}):
        found += [item["Key"] for item in page["Contents"]]
    assert found == sorted(keys, key=str.encode), found
    copied = new_bucket()
    for key in keys:
        S3.copy_object(Bucket=copied, Key=key, CopySource={"Bucket": bucket, "Key": key})
    assert S3.list_objects_v2(Bucket=copied)["KeyCount"] == len(keys)
    answer = S3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys if key.isprintable()]})
    assert "Errors" not in answer
    for key in keys:
        if not key.isprintable():
            S3.delete_object(Bucket=bucket, Key=key)
    assert "Contents" not in S3.list_objects_v2(Bucket=bucket)
    S3.delete_bucket(Bucket=bucket)


def test_keys_over_1024_bytes():
    for key in ["x" * 1025, "é" * 513]:
        refused("KeyTooLongError", lambda: put(key, b"x"), 400)
        refused("KeyTooLongError", lambda: get(key), 400)
        refused("KeyTooLongError", lambda: S3.create_multipart_upload(Bucket=BUCKET, Key=key), 400)


def test_delete_many():
    keys = [f"many/{number:04}" for number in range(1000)]
    for key in keys[:50]:
        put(key, b"x")
    answer = S3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": key} for key in keys]})
    assert sorted(item["Key"] for item in answer["Deleted"]) == keys
    assert S3.list_objects_v2(Bucket=BUCKET, Prefix="many/")["KeyCount"] == 0
    put("many/1", b"x")
    delete = {"Objects": [{"Key": "many/1"}, {"Key": "x" * 1025}], "Quiet": True}
    answer = S3.delete_objects(Bucket=BUCKET, Delete=delete)
    assert "Deleted" not in answer and answer["Errors"][0]["Code"] == "KeyTooLongError", answer
    refused("MalformedXML", lambda: S3.delete_objects(
        Bucket=BUCKET, Delete={"Objects": [{"Key": str(number)} for number in range(1001)]}), 400)


def test_copy():
    for size in [10, 300_000, 9 * MIB]:
        data = noise(size)
        made = put("source", data, Metadata={"a": "1"}, ContentType="text/plain")
        for bucket in [BUCKET] + [new_bucket() for _ in range(5)]:
            answer = S3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{BUCKET}/source")
            assert answer["CopyObjectResult"]["ETag"] == made["ETag"]
            shown = S3.get_object(Bucket=bucket, Key="copy", ChecksumMode="ENABLED")
            assert shown["Body"].read() == data
            assert (shown["Metadata"], shown["ContentType"]) == ({"a": "1"}, "text/plain")
            assert shown["ChecksumCRC32"] == crc32(data)
    S3.copy_object(Bucket=BUCKET, Key="copy", CopySource=f"{BUCKET}/source", MetadataDirective="REPLACE",
                   Metadata={"b": "2"}, ContentType="text/html")
    head = S3.head_object(Bucket=BUCKET, Key="copy")
    assert (head["Metadata"], head["ContentType"]) == ({"b": "2"}, "text/html")
    itself = {"Bucket": BUCKET, "Key": "copy", "CopySource": f"{BUCKET}/copy"}
    refused("InvalidRequest", lambda: S3.copy_object(**itself), 400)
    S3.copy_object(**itself, MetadataDirective="REPLACE", Metadata={"c": "3"})
    assert S3.head_object(Bucket=BUCKET, Key="copy")["Metadata"] == {"c": "3"}
    assert get("copy") == data
    refused("NoSuchKey", lambda: S3.copy_object(Bucket=BUCKET, Key="x", CopySource=f"{BUCKET}/nothing"), 404)
    refused("NoSuchBucket", lambda: S3.copy_object(Bucket=BUCKET, Key="x", CopySource="no-such-bucket/a"), 404)
    etag = S3.head_object(Bucket=BUCKET, Key="source")["ETag"]
    source = {"Bucket": BUCKET, "Key": "x", "CopySource": f"{BUCKET}/source"}
    refused("PreconditionFailed", lambda: S3.copy_object(**source, CopySourceIfNoneMatch=etag), 412)
    refused("PreconditionFailed", lambda: S3.copy_object(**source, CopySourceIfMatch='"other"'), 412)
    S3.copy_object(**source, CopySourceIfMatch=etag)


def test_other_users():
    if not OTHER_ACCESS_KEY:
        return
    other = client(OTHER_ACCESS_KEY, OTHER_SECRET_KEY)
    put("mine", b"x")
    theirs = new_bucket(other)
    upload = S3.create_multipart_upload(Bucket=BUCKET, Key="u")["UploadId"]
    for call in [
        lambda: other.get_object(Bucket=BUCKET, Key="mine"),
        lambda: other.get_object(Bucket=BUCKET, Key="nothing"),
        lambda: other.put_object(Bucket=BUCKET, Key="mine", Body=b"y"),
        lambda: other.delete_object(Bucket=BUCKET, Key="mine"),
        lambda: other.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "mine"}]}),
        lambda: other.list_objects_v2(Bucket=BUCKET),
        lambda: other.list_objects(Bucket=BUCKET),
        lambda: other.list_multipart_uploads(Bucket=BUCKET),
        lambda: other.list_parts(Bucket=BUCKET, Key="u", UploadId=upload),
        lambda: other.upload_part(Bucket=BUCKET, Key="u", UploadId=upload, PartNumber=1, Body=b"x"),
        lambda: other.abort_multipart_upload(Bucket=BUCKET, Key="u", UploadId=upload),
        lambda: other.create_multipart_upload(Bucket=BUCKET, Key="u"),
        lambda: other.copy_object(Bucket=theirs, Key="stolen", CopySource=f"{BUCKET}/mine"),
        lambda: S3.copy_object(Bucket=theirs, Key="planted", CopySource=f"{BUCKET}/mine"),
        lambda: other.delete_bucket(Bucket=BUCKET),
        lambda: other.get_bucket_location(Bucket=BUCKET),
    ]:
        refused("AccessDenied", call, 403)
    for call in [lambda: other.head_object(Bucket=BUCKET, Key="mine"), lambda: other.head_bucket(Bucket=BUCKET)]:
        refused("403", call, 403)
    refused("BucketAlreadyExists", lambda: other.create_bucket(Bucket=BUCKET), 409)
    assert BUCKET not in [bucket["Name"] for bucket in other.list_buckets()["Buckets"]]
    assert get("mine") == b"x"


def test_what_is_not_there_says_so():
    put("plain", b"x")
    for call in [
        lambda: S3.get_bucket_cors(Bucket=BUCKET), lambda: S3.get_bucket_acl(Bucket=BUCKET),
        lambda: S3.get_object_tagging(Bucket=BUCKET, Key="plain"), lambda: put("plain", b"y", Tagging="a=b"),
        lambda: put("plain", b"y", ServerSideEncryption="AES256"),
        lambda: S3.put_bucket_policy(Bucket=BUCKET, Policy="{}"), lambda: S3.list_object_versions(Bucket=BUCKET),
    ]:
        refused("NotImplemented", call, 501)
    refused("AccessControlListNotSupported", lambda: put("plain", b"y", ACL="public-read"), 400)
    assert get("plain") == b"x"


def test_files_and_streams_through_the_transfer_manager():
    data = noise(21 * MIB + 3)
    S3.upload_fileobj(io.BytesIO(data), BUCKET, "transfer")
    out = io.BytesIO()
    S3.download_fileobj(BUCKET, "transfer", out)
    assert out.getvalue() == data


run(globals())
