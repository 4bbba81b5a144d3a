"""Listings: plaintext sizes and client ETags on every page, in every version of the call."""

import pytest
from botocore.exceptions import ClientError

from harness.data import md5_etag, noise

NAMES = ["a", "b/1", "b/2", "b/c/3", "d", "e&<>", "f g", "ü", "z/9"]


@pytest.fixture(scope="module", params=["data", "opaque", "legacy"])
def tree(request, s3, buckets):
    """Objects of different sizes under one prefix, in a bucket of each kind."""
    bucket, prefix = buckets[request.param], "listings/"
    objects = {}
    for index, name in enumerate(NAMES):
        data = noise(index * 30_011, name)
        etag = s3.put_object(Bucket=bucket, Key=prefix + name, Body=data)["ETag"]
        assert request.param == "opaque" or etag == md5_etag(data)
        objects[prefix + name] = (len(data), etag)
    return bucket, prefix, objects


def shown(entries) -> dict:
    return {entry["Key"]: (entry["Size"], entry["ETag"]) for entry in entries}


def test_v2(s3, tree):
    bucket, prefix, objects = tree
    answer = s3.list_objects_v2(Bucket=bucket, Prefix=prefix)
    assert shown(answer["Contents"]) == objects
    assert answer["KeyCount"] == len(objects) and not answer["IsTruncated"]
    # A second time, from what the proxy remembers.
    assert shown(s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]) == objects


def test_v1(s3, tree):
    bucket, prefix, objects = tree
    assert shown(s3.list_objects(Bucket=bucket, Prefix=prefix)["Contents"]) == objects


def test_versions(s3, tree):
    bucket, prefix, objects = tree
    answer = s3.list_object_versions(Bucket=bucket, Prefix=prefix)
    # SeaweedFS shows no ETag for empty objects here.
    assert {k: v for k, v in shown(answer["Versions"]).items() if v[0]} == {k: v for k, v in objects.items() if v[0]}
    assert len(answer["Versions"]) == len(objects)
    assert all(entry["IsLatest"] for entry in answer["Versions"])


@pytest.mark.parametrize("size", [1, 2, 4, 100])
def test_paging(s3, tree, size):
    bucket, prefix, objects = tree
    for call in ("list_objects_v2", "list_objects"):
        pages = s3.get_paginator(call).paginate(Bucket=bucket, Prefix=prefix, PaginationConfig={"PageSize": size})
        seen = {}
        for page in pages:
            assert len(page["Contents"]) <= size
            seen |= shown(page["Contents"])
        assert seen == objects


def test_delimiter(s3, tree):
    bucket, prefix, objects = tree
    for call in (s3.list_objects_v2, s3.list_objects):
        answer = call(Bucket=bucket, Prefix=prefix, Delimiter="/")
        assert [entry["Prefix"] for entry in answer["CommonPrefixes"]] == [f"{prefix}b/", f"{prefix}z/"]
        top = {key: value for key, value in objects.items() if "/" not in key.removeprefix(prefix)}
        assert shown(answer["Contents"]) == top
    answer = s3.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}b/", Delimiter="/")
    assert [entry["Prefix"] for entry in answer["CommonPrefixes"]] == [f"{prefix}b/c/"]


def test_start_after_and_marker(s3, tree):
    bucket, prefix, objects = tree
    later = {key: value for key, value in objects.items() if key > f"{prefix}b/2"}
    assert shown(s3.list_objects_v2(Bucket=bucket, Prefix=prefix, StartAfter=f"{prefix}b/2")["Contents"]) == later
    assert shown(s3.list_objects(Bucket=bucket, Prefix=prefix, Marker=f"{prefix}b/2")["Contents"]) == later


def test_no_url_encoding(stack, tree):
    """Without `encoding-type` keys stand in the XML as they are."""
    bucket, prefix, objects = tree
    answer = stack.request("GET", bucket, query=[("list-type", "2"), ("prefix", f"{prefix}e")]).send()
    assert f"<Key>{prefix}e&amp;&lt;".encode() in answer.body
    size = objects[f"{prefix}e&<>"][0]
    assert f"<Size>{size}</Size>".encode() in answer.body


def test_empty(s3, bucket):
    answer = s3.list_objects_v2(Bucket=bucket, Prefix="nothing/here/")
    assert answer["KeyCount"] == 0 and "Contents" not in answer


def test_zero_keys_asked(s3, bucket, tree):
    answer = s3.list_objects_v2(Bucket=bucket, MaxKeys=0)
    assert answer.get("KeyCount", 0) == 0


def test_missing_bucket(s3):
    with pytest.raises(ClientError) as error:
        s3.list_objects_v2(Bucket="data-that-is-nowhere")
    assert error.value.response["Error"]["Code"] == "NoSuchBucket"


def test_tampered_and_legacy_entries_do_not_fail_the_page(s3, raw, bucket, prefix):
    """What cannot be vouched for is listed all the same, and its neighbours rightly."""
    data = noise(70_000)
    s3.put_object(Bucket=bucket, Key=f"{prefix}good", Body=data)
    s3.put_object(Bucket=bucket, Key=f"{prefix}bent", Body=data)
    stored = raw.get_object(Bucket=bucket, Key=f"{prefix}bent")
    body = stored["Body"].read()
    raw.put_object(Bucket=bucket, Key=f"{prefix}bent", Body=body[:-300] + b"\0" + body[-299:], Metadata=stored["Metadata"])
    raw.put_object(Bucket=bucket, Key=f"{prefix}plain", Body=b"legacy content")
    listed = shown(s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"])
    assert list(listed) == [f"{prefix}bent", f"{prefix}good", f"{prefix}plain"]
    assert listed[f"{prefix}good"] == (70_000, md5_etag(data))
    assert listed[f"{prefix}bent"][0] == 70_000
    assert listed[f"{prefix}bent"][1] != md5_etag(data)


def test_a_page_of_many(s3, bucket, prefix):
    """More entries than the proxy looks up at once."""
    wanted = {}
    for index in range(150):
        data = b"%d" % index * (index + 1)
        s3.put_object(Bucket=bucket, Key=f"{prefix}{index:03}", Body=data)
        wanted[f"{prefix}{index:03}"] = (len(data), md5_etag(data))
    assert shown(s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]) == wanted
