"""ListMultipartUploads: what S3 shows, also in front of storage that lists uploads in its own ways, over more of them than the
storage puts on a page."""

from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote

import pytest
from botocore.exceptions import ClientError

MANY = 1003


def begin(s3, bucket, keys) -> list[tuple[str, str]]:
    return sorted((key, s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]) for key in keys)


def page(s3, **query) -> tuple[list, list[str], dict]:
    shown = s3.list_multipart_uploads(**query)
    uploads = [(upload["Key"], upload["UploadId"]) for upload in shown.get("Uploads", [])]
    return uploads, [entry["Prefix"] for entry in shown.get("CommonPrefixes", [])], shown


def pages(s3, **query) -> tuple[list, list[str]]:
    """Everything, by the markers that each page gives."""
    uploads, prefixes = [], []
    while True:
        here, groups, shown = page(s3, **query)
        assert len(here) + len(groups) <= query.get("MaxUploads", 1000)
        uploads, prefixes = uploads + here, prefixes + groups
        if not shown["IsTruncated"]:
            return uploads, prefixes
        query |= {"KeyMarker": shown["NextKeyMarker"], "UploadIdMarker": shown.get("NextUploadIdMarker", "")}


def test_lists_of_uploads(s3, bucket, prefix):
    keys = [f"{prefix}{name}" for name in ("d", "b/2", "b/1", "a b+c%20d", "b/1", "c/x", "ü&<e>")]
    begun = begin(s3, bucket, keys)
    here = {"Bucket": bucket, "Prefix": prefix}
    try:
        uploads, prefixes, shown = page(s3, **here)
        assert sorted(uploads) == begun and [key for key, _ in uploads] == sorted(keys)
        assert (prefixes, shown["IsTruncated"], shown["Prefix"]) == ([], False, prefix)
        uploads, prefixes, _ = page(s3, **here, Delimiter="/")
        assert [key.removeprefix(prefix) for key, _ in uploads] == ["a b+c%20d", "d", "ü&<e>"]
        assert prefixes == [f"{prefix}b/", f"{prefix}c/"]
        assert sorted(page(s3, Bucket=bucket, Prefix=f"{prefix}b/", Delimiter="/")[0]) == [one for one in begun if "/b/" in one[0]]
        assert [key for key, _ in page(s3, **here, KeyMarker=f"{prefix}b/1")[0]] == sorted(keys)[3:]
        for size in (1, 2, 3):
            assert sorted(pages(s3, **here, MaxUploads=size)[0]) == begun
            uploads, prefixes = pages(s3, **here, MaxUploads=size, Delimiter="/")
            assert (len(uploads), prefixes) == (3, [f"{prefix}b/", f"{prefix}c/"])
        encoded = page(s3, **here, EncodingType="url")[0]
        assert encoded[0][0].endswith("/a%20b%2Bc%2520d")
        assert [(unquote(key), upload) for key, upload in encoded] == page(s3, **here)[0]
        with pytest.raises(ClientError) as error:
            s3.list_multipart_uploads(Bucket=bucket, EncodingType="xml")
        assert error.value.response["Error"]["Code"] == "InvalidArgument"
    finally:
        for key, upload in begun:
            s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
    assert page(s3, **here)[:2] == ([], [])


def test_more_uploads_than_a_page_of_the_storage(s3, storage, raw):
    """Made past the proxy, which shows them too. The last ones of the storage's first page are of one key."""
    bucket = "data-uploads"
    s3.create_bucket(Bucket=bucket)
    keys = [f"k/{at:04}" for at in range(MANY - 6)] + ["k/last"] * 6 + ["z"]
    with ThreadPoolExecutor(8) as pool:
        ids = pool.map(lambda key: raw.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"], keys)
        begun = sorted(zip(keys, ids))
    uploads, prefixes = pages(s3, Bucket=bucket)
    assert sorted(uploads) == begun and [key for key, _ in uploads] == sorted(keys) and not prefixes
    assert pages(s3, Bucket=bucket, Delimiter="/") == (begun[-1:], ["k/"])
    assert sorted(pages(s3, Bucket=bucket, Prefix="k/l", MaxUploads=4)[0]) == begun[-7:-1]
