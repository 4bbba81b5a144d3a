"""Buckets: made, listed, found, deleted; and versions of objects where the storage keeps them."""

import pytest
from botocore.exceptions import ClientError

from harness.data import md5_etag, noise


def test_life_of_a_bucket(s3, behind):
    name = "data-short-lived"
    s3.create_bucket(Bucket=name)
    assert s3.head_bucket(Bucket=name)["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert name in [entry["Name"] for entry in s3.list_buckets()["Buckets"]]
    assert name in [entry["Name"] for entry in behind.list_buckets()["Buckets"]]
    assert s3.get_bucket_location(Bucket=name)["LocationConstraint"] in (None, "us-east-1")
    s3.put_object(Bucket=name, Key="object", Body=b"x")
    s3.delete_object(Bucket=name, Key="object")
    s3.delete_bucket(Bucket=name)
    with pytest.raises(ClientError) as error:
        s3.head_bucket(Bucket=name)
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404


def test_bucket_that_is_not_empty(s3, buckets, prefix):
    s3.put_object(Bucket=buckets["opaque"], Key=f"{prefix}object", Body=b"x")
    with pytest.raises(ClientError) as error:
        s3.delete_bucket(Bucket=buckets["opaque"])
    assert error.value.response["Error"]["Code"] == "BucketNotEmpty"


@pytest.mark.parametrize("name", ["UPPER", "a_b", "-edge", "x" * 64, "192.168.0.1"])
def test_bad_names(stack, name):
    answer = stack.request("PUT", name).send()
    assert answer.status in (400, 403, 404) and answer.code


def test_made_twice(s3, buckets):
    try:
        s3.create_bucket(Bucket=buckets["data"])  # AWS lets it pass in us-east-1
    except ClientError as error:
        assert error.response["Error"]["Code"] in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists")
    assert s3.head_bucket(Bucket=buckets["data"])


def test_pass_through_calls(s3, storage, bucket):
    """What the proxy hands on, signed anew: here tags, in clear by design."""
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "team", "Value": "a b"}]})
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == [{"Key": "team", "Value": "a b"}]
    s3.put_object(Bucket=bucket, Key="tags/object", Body=b"x")
    s3.put_object_tagging(Bucket=bucket, Key="tags/object", Tagging={"TagSet": [{"Key": "k", "Value": "ü+"}]})
    assert s3.get_object_tagging(Bucket=bucket, Key="tags/object")["TagSet"] == [{"Key": "k", "Value": "ü+"}]
    s3.put_object(Bucket=bucket, Key="tags/other", Body=b"x", Tagging="a=1&b=2")
    tags = {tag["Key"]: tag["Value"] for tag in s3.get_object_tagging(Bucket=bucket, Key="tags/other")["TagSet"]}
    assert tags == {"a": "1", "b": "2"}
    assert s3.get_object(Bucket=bucket, Key="tags/object")["Body"].read() == b"x"


def test_versions(s3, storage):
    """Each version opens by itself and shows its own size and ETag."""
    name = "data-versions"
    s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    wanted = {}
    for index in range(3):
        data = noise(70_000 * index + 5, index)
        put = s3.put_object(Bucket=name, Key="object", Body=data)
        wanted[put["VersionId"]] = data
    assert len(wanted) == 3
    marker = s3.delete_object(Bucket=name, Key="object")
    assert marker["DeleteMarker"]
    for version, data in wanted.items():
        got = s3.get_object(Bucket=name, Key="object", VersionId=version)
        assert got["Body"].read() == data and got["VersionId"] == version
        assert s3.head_object(Bucket=name, Key="object", VersionId=version)["ETag"] == md5_etag(data)
    listed = s3.list_object_versions(Bucket=name)
    assert {e["VersionId"]: (e["Size"], e["ETag"]) for e in listed["Versions"]} == {
        version: (len(data), md5_etag(data)) for version, data in wanted.items()
    }
    assert [e["VersionId"] for e in listed["DeleteMarkers"]] == [marker["VersionId"]]
    answer = None
    with pytest.raises(ClientError) as answer:
        s3.get_object(Bucket=name, Key="object")
    assert answer.value.response["Error"]["Code"] == "NoSuchKey"
    s3.delete_object(Bucket=name, Key="object", VersionId=marker["VersionId"])
    latest = list(wanted.values())[-1]
    assert s3.get_object(Bucket=name, Key="object")["Body"].read() == latest


def test_what_is_refused_says_so(s3, bucket, prefix):
    s3.put_object(Bucket=bucket, Key=f"{prefix}source", Body=b"source")
    with pytest.raises(ClientError) as error:
        s3.get_object_torrent(Bucket=bucket, Key=f"{prefix}source")
    assert error.value.response["Error"]["Code"] == "NotImplemented"
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert len(error.value.response["Error"]["Message"]) > 10


OF_AN_UPLOAD = {
    "upload_part": {"PartNumber": 1, "Body": b"x"},
    "upload_part_copy": {"PartNumber": 1, "CopySource": "data-main/of-an-upload/source"},
    "complete_multipart_upload": {"MultipartUpload": {"Parts": [{"ETag": '"x"', "PartNumber": 1}]}},
    "abort_multipart_upload": {},
    "list_parts": {},
}


@pytest.mark.parametrize("call", OF_AN_UPLOAD)
def test_uploads_that_the_proxy_did_not_make_are_none(s3, raw, bucket, prefix, call):
    """They are never passed on: their parts would be stored as they came."""
    s3.put_object(Bucket=bucket, Key="of-an-upload/source", Body=b"source")
    named = {"Bucket": bucket, "Key": f"{prefix}target"}
    foreign = raw.create_multipart_upload(**named)["UploadId"]
    for upload in (foreign, "some"):
        with pytest.raises(ClientError) as error:
            getattr(s3, call)(**named, UploadId=upload, **OF_AN_UPLOAD[call])
        assert error.value.response["Error"]["Code"] == "NoSuchUpload"
    assert "Parts" not in raw.list_parts(**named, UploadId=foreign)
    raw.abort_multipart_upload(**named, UploadId=foreign)
    assert "Contents" not in raw.list_objects_v2(Bucket=bucket, Prefix=prefix)


def test_no_uploads_of_the_proxys_are_listed(s3, bucket):
    assert not s3.list_multipart_uploads(Bucket=bucket).get("Uploads")
