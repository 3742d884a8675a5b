"""Listings of 2,500 keys, with and without delimiter, compared with a model: a sorted list of keys."""

from common import *


def model(keys, prefix="", delimiter="", after=""):
    """Everything behind `after`: (name, is a prefix), in order. A rolled-up prefix stands once, at its own place."""
    out = []
    for key in sorted(keys, key=str.encode):
        if not key.startswith(prefix):
            continue
        at = key.find(delimiter, len(prefix)) if delimiter else -1
        item = (key[:at + len(delimiter)], True) if at >= 0 else (key, False)
        if item[0].encode() > after.encode() and (not out or out[-1] != item):
            out.append(item)
    return out


def listed(page):
    found = [(item["Key"], False) for item in page.get("Contents", [])]
    found += [(item["Prefix"], True) for item in page.get("CommonPrefixes", [])]
    return sorted(found, key=lambda item: item[0].encode())


def fill(keys):
    bucket = new_bucket()
    for key in keys:
        S3.put_object(Bucket=bucket, Key=key, Body=b"")
    return bucket


def wide():
    """2,500 keys: flat ones, deep ones, names around the separator, keys beside directories of the same name."""
    chosen = random.Random(7)
    keys = {f"flat-{number:04}" for number in range(900)}
    letters = ["a", "b", "aa", "a-", "a.", "a0", "ü", " ", "%", "+"]
    while len(keys) < 2500:
        keys.add("/".join(chosen.choice(letters) for _ in range(chosen.randrange(1, 6))) + chosen.choice(["", "", "/"]))
        keys.add(f"deep/{chosen.randrange(40)}/{chosen.randrange(40)}")
    return sorted(keys)[:2500]


KEYS = wide()
BUCKET = fill(KEYS)


def all_v2(**wanted):
    found, pages = [], 0
    size = wanted.pop("size", 1000)
    while True:
        page = S3.list_objects_v2(Bucket=BUCKET, MaxKeys=size, **wanted)
        items = listed(page)
        assert page["KeyCount"] == len(items) <= size
        found += items
        pages += 1
        if not page["IsTruncated"]:
            return found, pages
        assert items, "a truncated page is never empty"
        wanted["ContinuationToken"] = page["NextContinuationToken"]


def all_v1(**wanted):
    found = []
    size = wanted.pop("size", 1000)
    while True:
        page = S3.list_objects(Bucket=BUCKET, MaxKeys=size, **wanted)
        items = listed(page)
        found += items
        if not page["IsTruncated"]:
            return found
        wanted["Marker"] = page.get("NextMarker") or items[-1][0]


def test_all_of_it():
    expected = model(KEYS)
    assert len(expected) == 2500
    found, pages = all_v2()
    assert (found, pages) == (expected, 3)
    assert all_v1() == expected
    assert all_v2(size=333)[0] == expected


def test_with_a_delimiter():
    for prefix in ["", "a", "a/", "deep/", "deep/1", "deep/1/", "flat-", "zzz", "ü/", " /"]:
        expected = model(KEYS, prefix, "/")
        assert all_v2(Prefix=prefix, Delimiter="/")[0] == expected, prefix
        assert all_v1(Prefix=prefix, Delimiter="/", size=3) == expected, prefix


def test_random_prefixes_delimiters_and_markers():
    chosen = random.Random(11)
    for _ in range(150):
        key = chosen.choice(KEYS)
        prefix = key[:chosen.randrange(0, 6)] if chosen.random() < 0.7 else ""
        delimiter = chosen.choice(["", "/", "/", "/", "a", "0/", "-", "//"])
        after = chosen.choice(["", chosen.choice(KEYS), chosen.choice(KEYS)[:3], "a/", "deep/1", "~"])
        size = chosen.choice([1, 2, 7, 100, 1000])
        expected = model(KEYS, prefix, delimiter, after)
        what = (prefix, delimiter, after, size)
        found, pages = [], 0
        wanted = {"Prefix": prefix, "Delimiter": delimiter, "StartAfter": after}
        while pages < 12:
            page = S3.list_objects_v2(Bucket=BUCKET, MaxKeys=size, **wanted)
            found += listed(page)
            pages += 1
            if not page["IsTruncated"]:
                assert found == expected, (what, found[:5], expected[:5])
                break
            wanted["ContinuationToken"] = page["NextContinuationToken"]
        assert found == expected[:len(found)] and found[:size] == expected[:size], what
        page = listed(S3.list_objects(Bucket=BUCKET, MaxKeys=size, Prefix=prefix, Delimiter=delimiter, Marker=after))
        assert page == expected[:size], what


def test_what_a_listing_says():
    bucket = fill(["x y", "x/é", "z"])
    S3.put_object(Bucket=bucket, Key="z", Body=b"12345")
    page = S3.list_objects_v2(Bucket=bucket, Delimiter="/", FetchOwner=True, StartAfter="a b")
    item = page["Contents"][-1]
    head = S3.head_object(Bucket=bucket, Key="z")
    assert (item["Size"], item["ETag"], item["StorageClass"]) == (5, head["ETag"], "STANDARD")
    assert item["LastModified"].replace(microsecond=0) == head["LastModified"]
    assert item["Owner"]["ID"] and page["StartAfter"] == "a b" and page["Delimiter"] == "/"
    assert page["Name"] == bucket and page["KeyCount"] == 3 and page["MaxKeys"] == 1000
    assert "Owner" not in S3.list_objects_v2(Bucket=bucket)["Contents"][0]
    for size, count in [(0, 0), (1, 1), (5000, 3)]:
        page = S3.list_objects_v2(Bucket=bucket, MaxKeys=size)
        assert (page["KeyCount"], page["IsTruncated"]) == (count, size == 1)
    refused("InvalidArgument", lambda: S3.list_objects_v2(Bucket=bucket, MaxKeys=-1), 400)
    refused("InvalidArgument", lambda: S3.list_objects_v2(Bucket=bucket, ContinuationToken="a b"), 400)
    path, query = f"/{bucket}", "encoding-type=url&list-type=2&prefix=x"
    body = raw("GET", path, sign("GET", path, {}, query=query), query=query).body.decode()
    assert "<Key>x%20y</Key>" in body.replace("x+y", "x%20y") and "<Key>x/%C3%A9</Key>" in body, body
    query = "list-type=2&prefix=x"
    body = raw("GET", path, sign("GET", path, {}, query=query), query=query).body.decode()
    assert "<Key>x y</Key>" in body and "<Key>x/é</Key>" in body, body
    query = "encoding-type=other&list-type=2"
    answer = raw("GET", path, sign("GET", path, {}, query=query), query=query)
    assert (answer.status, answer.code) == (400, "InvalidArgument"), answer


def test_a_listing_sees_every_change_at_once():
    bucket = new_bucket()
    keys = set()
    chosen = random.Random(13)
    for step in range(200):
        key = "/".join(chosen.choice("abc") for _ in range(chosen.randrange(1, 4)))
        if chosen.random() < 0.6:
            S3.put_object(Bucket=bucket, Key=key, Body=b"x")
            keys.add(key)
        else:
            S3.delete_object(Bucket=bucket, Key=key)
            keys.discard(key)
        delimiter = chosen.choice(["", "/"])
        found = listed(S3.list_objects_v2(Bucket=bucket, Delimiter=delimiter))
        assert found == model(keys, "", delimiter), (step, key)


run(globals())
