"""Multipart uploads: 100 MiB in parallel, checksums of both kinds, copies, listings, and everything that is refused."""

import base64
import hashlib
import io
import zlib

from boto3.s3.transfer import TransferConfig
from common import *

BUCKET = new_bucket()
PART = 5 * MIB


def begin(key, **more):
    return S3.create_multipart_upload(Bucket=BUCKET, Key=key, **more)["UploadId"]


def part(key, upload, number, data, **more):
    answer = S3.upload_part(Bucket=BUCKET, Key=key, UploadId=upload, PartNumber=number, Body=data, **more)
    return {"PartNumber": number, "ETag": answer["ETag"],
            **{name: value for name, value in answer.items() if name.startswith("Checksum")}}


def complete(key, upload, parts, **more):
    return S3.complete_multipart_upload(
        Bucket=BUCKET, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}, **more)


def tag(pieces):
    return f'"{hashlib.md5(b"".join(hashlib.md5(piece).digest() for piece in pieces)).hexdigest()}-{len(pieces)}"'


def test_100_mib():
    data = noise(100 * MIB)
    settings = TransferConfig(multipart_threshold=8 * MIB, multipart_chunksize=8 * MIB, max_concurrency=4)
    S3.upload_fileobj(io.BytesIO(data), BUCKET, "hundred", Config=settings)
    head = S3.head_object(Bucket=BUCKET, Key="hundred", ChecksumMode="ENABLED")
    pieces = [data[at:at + 8 * MIB] for at in range(0, len(data), 8 * MIB)]
    assert (head["ContentLength"], head["ETag"]) == (len(data), tag(pieces))
    out = io.BytesIO()
    S3.download_fileobj(BUCKET, "hundred", out, Config=settings)
    assert out.getvalue() == data
    assert S3.get_object(Bucket=BUCKET, Key="hundred")["Body"].read() == data
    for _ in range(30):
        first = RANDOM.randrange(len(data))
        last = min(len(data) - 1, first + RANDOM.randrange(9 * MIB))
        answer = S3.get_object(Bucket=BUCKET, Key="hundred", Range=f"bytes={first}-{last}")
        assert answer["Body"].read() == data[first:last + 1], (first, last)
    refused("304", lambda: S3.get_object(Bucket=BUCKET, Key="hundred", IfNoneMatch=head["ETag"]))


def test_parts_may_come_in_any_order_and_again():
    pieces = [noise(PART), noise(PART + 1), noise(77)]
    upload = begin("order", Metadata={"a": "1"}, ContentType="text/css")
    part("order", upload, 7, b"not this one")
    parts = [part("order", upload, number, pieces[number // 3 - 1]) for number in (9, 3, 6)]
    part("order", upload, 3, b"replaced")
    parts[1] = part("order", upload, 3, pieces[0])
    refused("404", lambda: S3.head_object(Bucket=BUCKET, Key="order"))
    parts.sort(key=lambda item: item["PartNumber"])
    answer = complete("order", upload, parts)
    assert answer["ETag"] == tag(pieces)
    shown = S3.get_object(Bucket=BUCKET, Key="order")
    assert shown["Body"].read() == b"".join(pieces)
    assert (shown["Metadata"], shown["ContentType"]) == ({"a": "1"}, "text/css")
    # An answer may be lost on its way: the same call gives it again.
    assert complete("order", upload, parts)["ETag"] == answer["ETag"]
    refused("NoSuchUpload", lambda: S3.list_parts(Bucket=BUCKET, Key="order", UploadId=upload), 404)
    S3.put_object(Bucket=BUCKET, Key="order", Body=b"new")
    refused("NoSuchUpload", lambda: complete("order", upload, parts), 404)


def test_what_is_refused():
    upload = begin("refused")
    small = part("refused", upload, 1, b"small")
    last = part("refused", upload, 2, noise(PART))
    refused("EntityTooSmall", lambda: complete("refused", upload, [small, last]), 400)
    refused("InvalidPartOrder", lambda: complete("refused", upload, [last, small]), 400)
    refused("InvalidPartOrder", lambda: complete("refused", upload, [last, last]), 400)
    refused("InvalidPart", lambda: complete("refused", upload, [last, {"PartNumber": 3, "ETag": last["ETag"]}]), 400)
    refused("InvalidPart", lambda: complete("refused", upload, [{"PartNumber": 2, "ETag": small["ETag"]}]), 400)
    refused("InvalidPart", lambda: complete("refused", upload, [{"PartNumber": 2, "ETag": "no md5"}]), 400)
    refused("MalformedXML", lambda: complete("refused", upload, []), 400)
    for number in [0, -1, 10_001]:
        refused("InvalidArgument", lambda: part("refused", upload, number, b"x"), 400)
    for wrong in ["0" * 32, "nonsense", upload.upper() + "x"]:
        refused("NoSuchUpload", lambda: part("refused", wrong, 1, b"x"), 404)
        refused("NoSuchUpload", lambda: complete("refused", wrong, [last]), 404)
        refused("NoSuchUpload", lambda: S3.abort_multipart_upload(Bucket=BUCKET, Key="refused", UploadId=wrong), 404)
    refused("NoSuchUpload", lambda: part("another key", upload, 1, b"x"), 404)
    refused("404", lambda: S3.head_object(Bucket=BUCKET, Key="refused"))
    S3.abort_multipart_upload(Bucket=BUCKET, Key="refused", UploadId=upload)
    refused("NoSuchUpload", lambda: part("refused", upload, 1, b"x"), 404)
    refused("NoSuchBucket", lambda: S3.create_multipart_upload(Bucket="no-such-bucket", Key="x"), 404)


def test_a_condition_of_the_completion():
    S3.put_object(Bucket=BUCKET, Key="held", Body=b"x")
    upload = begin("held")
    parts = [part("held", upload, 1, b"y")]
    refused("PreconditionFailed", lambda: complete("held", upload, parts, IfNoneMatch="*"), 412)
    assert S3.get_object(Bucket=BUCKET, Key="held")["Body"].read() == b"x"
    S3.delete_object(Bucket=BUCKET, Key="held")
    complete("held", upload, parts, IfNoneMatch="*")
    assert S3.get_object(Bucket=BUCKET, Key="held")["Body"].read() == b"y"


def b64(data):
    return base64.b64encode(data).decode()


def test_checksums():
    pieces = [noise(PART), noise(100)]
    whole = b"".join(pieces)
    sums = {
        "CRC32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
        "SHA1": lambda data: hashlib.sha1(data).digest(),
        "SHA256": lambda data: hashlib.sha256(data).digest(),
    }
    for name, of in sums.items():
        upload = begin("sum", ChecksumAlgorithm=name)
        parts = [part("sum", upload, number + 1, piece, ChecksumAlgorithm=name) for number, piece in enumerate(pieces)]
        assert parts[1][f"Checksum{name}"] == b64(of(pieces[1]))
        composite = b64(of(b"".join(of(piece) for piece in pieces))) + "-2"
        listing = S3.list_parts(Bucket=BUCKET, Key="sum", UploadId=upload)
        assert listing["ChecksumAlgorithm"] == name and listing["Parts"][0][f"Checksum{name}"] == b64(of(pieces[0]))
        wrong = [dict(parts[0], **{f"Checksum{name}": parts[1][f"Checksum{name}"]}), parts[1]]
        refused("InvalidPart", lambda: complete("sum", upload, wrong), 400)
        refused("BadDigest", lambda: complete("sum", upload, parts, **{f"Checksum{name}": b64(of(whole)) }), 400)
        answer = complete("sum", upload, parts)
        assert (answer[f"Checksum{name}"], answer["ChecksumType"]) == (composite, "COMPOSITE")
        shown = S3.get_object(Bucket=BUCKET, Key="sum", ChecksumMode="ENABLED")
        assert (shown[f"Checksum{name}"], shown["ChecksumType"]) == (composite, "COMPOSITE")
        assert shown["Body"].read() == whole
    upload = begin("sum", ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT")
    parts = [part("sum", upload, number + 1, piece, ChecksumAlgorithm="CRC32") for number, piece in enumerate(pieces)]
    refused("InvalidRequest", lambda: complete("sum", upload, parts, MpuObjectSize=5), 400)
    refused("BadDigest", lambda: complete("sum", upload, parts, ChecksumCRC32=parts[0]["ChecksumCRC32"],
                                          ChecksumType="FULL_OBJECT"), 400)
    answer = complete("sum", upload, parts, MpuObjectSize=len(whole), ChecksumType="FULL_OBJECT",
                      ChecksumCRC32=b64(sums["CRC32"](whole)))
    assert answer["ChecksumCRC32"] == b64(sums["CRC32"](whole))
    shown = S3.get_object(Bucket=BUCKET, Key="sum", ChecksumMode="ENABLED")
    assert (shown["Body"].read(), shown["ChecksumType"]) == (whole, "FULL_OBJECT")
    refused("InvalidRequest", lambda: begin("sum", ChecksumAlgorithm="SHA1", ChecksumType="FULL_OBJECT"), 400)
    upload = begin("sum", ChecksumAlgorithm="SHA256")
    refused("InvalidRequest", lambda: part("sum", upload, 1, b"x", ChecksumAlgorithm="SHA1"), 400)
    plain = client(request_checksum_calculation="when_required")
    answer = plain.upload_part(Bucket=BUCKET, Key="sum", UploadId=upload, PartNumber=1, Body=b"x")
    assert answer["ChecksumSHA256"] == b64(sums["SHA256"](b"x")), "made here if the client sends none"
    refused("BadDigest", lambda: part("sum", upload, 1, b"x", ChecksumSHA256=b64(bytes(32))), 400)
    refused("BadDigest", lambda: part("sum", upload, 1, b"x", ContentMD5=b64(bytes(16)), ChecksumAlgorithm="SHA256"), 400)


def test_parts_copied_from_objects():
    data = noise(17 * MIB)
    S3.put_object(Bucket=BUCKET, Key="from", Body=data)
    for bucket in [BUCKET] + [new_bucket() for _ in range(3)]:
        upload = S3.create_multipart_upload(Bucket=bucket, Key="to")["UploadId"]
        parts = []
        for number, (first, last) in enumerate([(0, 6 * MIB - 1), (6 * MIB, 13 * MIB), (5, 9)]):
            answer = S3.upload_part_copy(
                Bucket=bucket, Key="to", UploadId=upload, PartNumber=number + 1, CopySource=f"{BUCKET}/from",
                CopySourceRange=f"bytes={first}-{last}")
            assert answer["CopyPartResult"]["ETag"] == f'"{hashlib.md5(data[first:last + 1]).hexdigest()}"'
            parts.append({"PartNumber": number + 1, "ETag": answer["CopyPartResult"]["ETag"]})
        S3.complete_multipart_upload(Bucket=bucket, Key="to", UploadId=upload, MultipartUpload={"Parts": parts})
        body = S3.get_object(Bucket=bucket, Key="to")["Body"].read()
        assert body == data[:6 * MIB] + data[6 * MIB:13 * MIB + 1] + data[5:10]
    upload = begin("to")
    copy = {"Bucket": BUCKET, "Key": "to", "UploadId": upload, "PartNumber": 1, "CopySource": f"{BUCKET}/from"}
    S3.upload_part_copy(**copy)
    refused("InvalidRange", lambda: S3.upload_part_copy(**copy, CopySourceRange=f"bytes=0-{len(data)}"), 416)
    for text in ["bytes=5-", "bytes=-5", "0-5", "bytes=9-5", "bytes=a-b"]:
        refused("InvalidArgument", lambda: S3.upload_part_copy(**copy, CopySourceRange=text), 400)
    refused("NoSuchKey", lambda: S3.upload_part_copy(**dict(copy, CopySource=f"{BUCKET}/nothing")), 404)


def test_listings():
    bucket = new_bucket()
    uploads = []
    for key in ["a", "b/1", "b/2", "c", "c"]:
        uploads.append((key, S3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]))
    uploads.sort()
    page = S3.list_multipart_uploads(Bucket=bucket)
    assert [(item["Key"], item["UploadId"]) for item in page["Uploads"]] == uploads
    page = S3.list_multipart_uploads(Bucket=bucket, Delimiter="/")
    assert [item["Prefix"] for item in page["CommonPrefixes"]] == ["b/"] and len(page["Uploads"]) == 3
    found, wanted = [], {}
    while True:
        page = S3.list_multipart_uploads(Bucket=bucket, MaxUploads=2, **wanted)
        found += [(item["Key"], item["UploadId"]) for item in page.get("Uploads", [])]
        if not page["IsTruncated"]:
            break
        wanted = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}
    assert found == uploads
    page = S3.list_multipart_uploads(Bucket=bucket, Prefix="b/", KeyMarker="b/1")
    assert [item["Key"] for item in page["Uploads"]] == ["b/2"]
    key, upload = uploads[0]
    for number in range(1, 26):
        S3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number * 400, Body=b"x" * number)
    found = []
    for page in S3.get_paginator("list_parts").paginate(
            Bucket=bucket, Key=key, UploadId=upload, PaginationConfig={"PageSize": 4}):
        found += [(item["PartNumber"], item["Size"]) for item in page["Parts"]]
    assert found == [(number * 400, number) for number in range(1, 26)]
    refused("BucketNotEmpty", lambda: S3.delete_bucket(Bucket=bucket), 409)
    for key, upload in uploads:
        S3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
    assert "Uploads" not in S3.list_multipart_uploads(Bucket=bucket)
    S3.delete_bucket(Bucket=bucket)


def test_a_thousand_and_more_parts_with_checksums():
    """More than a page of parts; the smallest size counts for all but the last, so only the last may be small."""
    upload = begin("pages", ChecksumAlgorithm="CRC32")
    for number in range(1, 1102):
        part("pages", upload, number, b"x", ChecksumAlgorithm="CRC32")
    last = part("pages", upload, 1102, noise(10), ChecksumAlgorithm="CRC32")
    complete("pages", upload, [last])
    assert S3.get_object(Bucket=BUCKET, Key="pages")["Body"].read() == noise(10)


run(globals())
