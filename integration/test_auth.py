"""Who may do what: signatures, clocks, presigned URLs, rights; and requests that are bent on purpose."""

import subprocess
from datetime import datetime, timedelta, timezone

import pytest
from botocore.exceptions import ClientError

from harness.data import noise
from harness.process import clean_env
from harness.proxy import NARROW, READER
from harness.wire import UNSIGNED, Keys, Request, hours_ago, path_of, presign


@pytest.fixture(scope="module")
def there(s3, bucket):
    s3.put_object(Bucket=bucket, Key="auth/there", Body=b"content")
    return "auth/there"


def outcome(request: Request) -> tuple[int, str | None]:
    answer = request.send()
    return answer.status, answer.code


def test_right_signature(stack, bucket, there):
    assert stack.request("GET", bucket, there).send().body == b"content"


def test_wrong_signature(stack, bucket, there):
    for method in ("GET", "PUT", "DELETE"):
        request = stack.request(method, bucket, there, bend_signature=True)
        assert outcome(request) == (403, "SignatureDoesNotMatch")
    assert stack.request("GET", bucket, there).send().body == b"content"


def test_wrong_secret(stack, bucket, there):
    keys = Keys(stack.keys.access, "another secret")
    assert outcome(stack.request("GET", bucket, there, keys=keys)) == (403, "SignatureDoesNotMatch")


def test_unknown_access_key(stack, bucket, there):
    keys = Keys("NOBODY", "another secret")
    assert outcome(stack.request("GET", bucket, there, keys=keys)) == (403, "InvalidAccessKeyId")


def test_the_backends_own_keys_are_worth_nothing_here(stack, storage, bucket, there):
    keys = Keys(storage.access, storage.secret)
    assert outcome(stack.request("GET", bucket, there, keys=keys)) == (403, "InvalidAccessKeyId")


def test_no_signature(stack, bucket, there):
    for method in ("GET", "PUT", "DELETE", "HEAD"):
        assert stack.request(method, bucket, there, keys=None).send().status == 403
    assert stack.request("GET", bucket, there, keys=None).send().code == "AccessDenied"


@pytest.mark.parametrize("size", [0, 1000, 1_200_000, 3_000_001])
def test_forms(stack, storage, s3, bucket, prefix, tmp_path, size):
    """As boto3 signs a form and curl, like a browser, sends it."""
    data = noise(size)
    (tmp_path / "file.bin").write_bytes(data)
    conditions = [["starts-with", "$key", prefix], ["content-length-range", size, size], {"Content-Type": "text/plain"}]
    fields = {"Content-Type": "text/plain"}
    form = s3.generate_presigned_post(bucket, prefix + "${filename}", fields, conditions, 60)

    def send(**changed) -> str:
        fields = {**form["fields"], **changed}.items()
        arguments = [word for name, value in fields for word in ("--form-string", f"{name}={value}")]
        done = subprocess.run(
            ["curl", "-sS", "-o", tmp_path / "answer", "-w", "%{http_code}", *arguments, "-F", f"file=@{tmp_path / 'file.bin'}", form["url"]],
            env=clean_env(), capture_output=True, text=True, timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert send() == "204"
    got = s3.get_object(Bucket=bucket, Key=f"{prefix}file.bin")
    assert got["Body"].read() == data and got["ContentType"] == "text/plain" and got["ServerSideEncryption"] == "AES256"
    for changed in ({"key": "elsewhere"}, {"x-amz-meta-more": "x"}, {"x-amz-signature": "0" * 64}):
        assert send(**changed) == "403"
    (tmp_path / "file.bin").write_bytes(data + b"x")
    assert send() == "400"
    assert s3.get_object(Bucket=bucket, Key=f"{prefix}file.bin")["Body"].read() == data


@pytest.mark.parametrize("hours", [-1.0, 1.0, 26.0])
def test_skewed_clock(stack, bucket, there, hours):
    status, code = outcome(stack.request("GET", bucket, there, when=hours_ago(hours)))
    assert (status, code) == (403, "RequestTimeTooSkewed")


def test_a_few_minutes_of_skew_are_fine(stack, bucket, there):
    assert stack.request("GET", bucket, there, when=hours_ago(0.1)).send().status == 200


def test_scope_day_must_be_the_date(stack, bucket, there):
    request = stack.request("GET", bucket, there)
    head, _ = request.head()
    day = datetime.now(timezone.utc)
    forged = head.replace(f"/{day:%Y%m%d}/".encode(), f"/{day - timedelta(days=1):%Y%m%d}/".encode())
    connection = request.connect()
    connection.sendall(forged)
    from harness.wire import read_answer

    assert read_answer(connection).status in (400, 403)
    connection.close()


def test_unsigned_amz_headers(stack, bucket, there):
    """What is not covered by the signature could be anybody's."""
    for name, value in (("x-amz-meta-extra", "1"), ("x-amz-acl", "public-read"), ("x-amz-security-token", "x")):
        answer = stack.request("PUT", bucket, f"{there}-unsigned", unsigned_headers={name: value}).send()
        assert answer.status in (400, 403), (name, answer)
    assert stack.request("GET", bucket, f"{there}-unsigned").send().status == 404


def test_payload_hash_header_is_demanded(stack, bucket, there):
    request = stack.request("GET", bucket, there)
    head, _ = request.head()
    lines = [line for line in head.split(b"\r\n") if not line.startswith(b"x-amz-content-sha256")]
    connection = request.connect()
    connection.sendall(b"\r\n".join(lines))
    from harness.wire import read_answer

    assert read_answer(connection).status in (400, 403)
    connection.close()


def test_forged_envelope_header(stack, s3, bucket, prefix):
    """A client that writes the proxy's own metadata name is refused, in any spelling."""
    for name in ("x-amz-meta-s3cloak", "X-Amz-Meta-S3Cloak"):
        status, code = outcome(stack.request("PUT", bucket, f"{prefix}object", body=b"x", headers={name: "v1"}))
        assert status == 400 and code in ("InvalidArgument", "InvalidRequest"), code
    assert stack.request("GET", bucket, f"{prefix}object").send().status == 404


def test_unknown_operations(stack, bucket, there):
    assert outcome(stack.request("PUT", bucket, there, query=[("annotation", "x")], body=b"x")) == (501, "NotImplemented")
    assert outcome(stack.request("DELETE", bucket, there, query=[("unheard-of", "")])) == (501, "NotImplemented")
    assert outcome(stack.request("GET", bucket, there, query=[("torrent", "")])) == (501, "NotImplemented")
    assert outcome(stack.request("POST", bucket, there, query=[("select", ""), ("select-type", "2")], body=b"<x/>"))[0] == 501
    assert stack.request("GET", bucket, there).send().body == b"content"


def test_bare_operations_are_not_run_for_unknown_subresources(stack, bucket, there):
    """A storage that does not know `?website` deletes the bucket."""
    for name in ("website", "analytics", "metadataConfiguration", "nonsense"):
        answer = stack.request("DELETE", bucket, query=[(name, "")]).send()
        assert answer.status in (204, 404, 501), (name, answer)
    assert stack.request("HEAD", bucket).send().status == 200
    assert stack.request("GET", bucket, there).send().body == b"content"


@pytest.mark.parametrize("size", [7000, 20_000, 100_000])
def test_huge_headers_get_an_answer(stack, bucket, there, size):
    answer = stack.request("GET", bucket, there, headers={"x-padding": "a" * size}).send()
    if size <= 7000:
        assert answer.status == 200
    else:
        assert 400 <= answer.status < 500
    assert stack.request("GET", bucket, there).send().status == 200


def test_metadata_beyond_2_kib(stack, bucket, prefix):
    answer = stack.request("PUT", bucket, f"{prefix}object", body=b"x", headers={"x-amz-meta-big": "v" * 2100}).send()
    assert (answer.status, answer.code) == (400, "MetadataTooLarge")
    assert stack.request("GET", bucket, f"{prefix}object").send().status == 404
    # A storage with S3's own limit of 2 KiB has to take the envelope, too; the error says how much that is.
    answer = stack.request("PUT", bucket, f"{prefix}object", body=b"x", headers={"x-amz-meta-big": "v" * 1900}).send()
    assert (answer.status, answer.code) == (400, "MetadataTooLarge")
    assert b"Your metadata has 1903 bytes" in answer.body
    answer = stack.request("PUT", bucket, f"{prefix}object", body=b"x", headers={"x-amz-meta-big": "v" * 1300}).send()
    assert answer.status == 200


def test_garbage_does_not_hurt(stack, bucket, there):
    request = stack.request("GET", bucket, there)
    for garbage in (b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\0" * 100 + b"\r\n\r\n"):
        connection = request.connect()
        connection.sendall(garbage)
        connection.settimeout(3)
        try:
            connection.recv(1000)
        except (TimeoutError, ConnectionError):
            pass
        connection.close()
    assert request.send().body == b"content"


class TestPresigned:
    def test_get(self, stack, bucket, there):
        _, query = presign(stack.endpoint, stack.keys, "GET", path_of(bucket, there), 60)
        assert stack.request("GET", bucket, there, keys=None, query=query).send().body == b"content"

    def test_put_and_get_by_boto3(self, stack, s3, bucket, prefix):
        import urllib.request

        data = noise(100_000)
        where = {"Bucket": bucket, "Key": f"{prefix}a b+ü"}
        url = s3.generate_presigned_url("put_object", Params=where, ExpiresIn=60)
        with urllib.request.urlopen(urllib.request.Request(url, data=data, method="PUT", headers={"Content-Type": ""})) as answer:
            assert answer.status == 200
        params = {**where, "ResponseContentType": "text/x-chosen"}
        with urllib.request.urlopen(s3.generate_presigned_url("get_object", Params=params, ExpiresIn=60)) as answer:
            assert answer.read() == data
            assert answer.headers["Content-Type"] == "text/x-chosen"

    def test_hoisted_headers_are_read_as_headers(self, stack, s3, bucket, prefix):
        """SDKs put x-amz-meta-* and checksums of a presigned PUT into its query."""
        path = path_of(bucket, f"{prefix}object")
        _, query = presign(stack.endpoint, stack.keys, "PUT", path, 60, query=[("x-amz-meta-hoisted", "yes")])
        answer = stack.request("PUT", bucket, f"{prefix}object", keys=None, query=query, body=b"abc").send()
        assert answer.status == 200
        assert s3.head_object(Bucket=bucket, Key=f"{prefix}object")["Metadata"] == {"hoisted": "yes"}

    def test_expired(self, stack, bucket, there):
        _, query = presign(stack.endpoint, stack.keys, "GET", path_of(bucket, there), 60, when=hours_ago(0.1))
        answer = stack.request("GET", bucket, there, keys=None, query=query).send()
        assert (answer.status, answer.code) == (403, "AccessDenied")

    def test_not_yet_valid(self, stack, bucket, there):
        _, query = presign(stack.endpoint, stack.keys, "GET", path_of(bucket, there), 60, when=hours_ago(-2))
        assert stack.request("GET", bucket, there, keys=None, query=query).send().status == 403

    @pytest.mark.parametrize("seconds", [0, -5, 604_801])
    def test_life_out_of_bounds(self, stack, bucket, there, seconds):
        _, query = presign(stack.endpoint, stack.keys, "GET", path_of(bucket, there), seconds)
        assert stack.request("GET", bucket, there, keys=None, query=query).send().status in (400, 403)

    def test_for_another_key_or_method(self, stack, bucket, there):
        _, query = presign(stack.endpoint, stack.keys, "GET", path_of(bucket, "auth/other"), 60)
        assert stack.request("GET", bucket, there, keys=None, query=query).send().code == "SignatureDoesNotMatch"
        _, query = presign(stack.endpoint, stack.keys, "GET", path_of(bucket, there), 60)
        assert stack.request("DELETE", bucket, there, keys=None, query=query).send().code == "SignatureDoesNotMatch"

    def test_parameter_added_afterwards(self, stack, bucket, there):
        _, query = presign(stack.endpoint, stack.keys, "GET", path_of(bucket, there), 60)
        query = [*query, ("response-content-type", "text/html")]
        assert stack.request("GET", bucket, there, keys=None, query=query).send().code == "SignatureDoesNotMatch"


class TestRights:
    """The keys of lesser credentials; the demo has only the full one."""

    def test_reader_reads(self, stack, storage, bucket, there):
        assert stack.request("GET", bucket, there, keys=READER).send().body == b"content"
        assert stack.client(keys=READER).list_objects_v2(Bucket=bucket, Prefix=there)["KeyCount"] == 1

    def test_reader_does_not_write(self, stack, storage, bucket, there):
        for method in ("PUT", "DELETE"):
            assert outcome(stack.request(method, bucket, there, keys=READER, payload=UNSIGNED)) == (403, "AccessDenied")
        for call in ("create_bucket", "delete_bucket"):
            with pytest.raises(ClientError) as error:
                getattr(stack.client(keys=READER), call)(Bucket="data-of-a-reader")
            assert error.value.response["Error"]["Code"] == "AccessDenied"
        assert stack.request("GET", bucket, there).send().body == b"content"

    def test_narrow_keeps_to_its_prefix(self, stack, storage, buckets):
        bucket = buckets["data"]
        assert stack.request("PUT", bucket, "mine/object", keys=NARROW, body=b"x").send().status == 200
        assert stack.request("GET", bucket, "mine/object", keys=NARROW).send().body == b"x"
        for where, key in ((bucket, "other/object"), (buckets["opaque"], "mine/object"), (bucket, "min")):
            for method in ("PUT", "GET", "DELETE"):
                assert outcome(stack.request(method, where, key, keys=NARROW)) == (403, "AccessDenied")

    def test_narrow_batch_delete_is_checked_per_key(self, stack, storage, s3, bucket, there):
        s3.put_object(Bucket=bucket, Key="mine/doomed", Body=b"x")
        try:
            answer = stack.client(keys=NARROW).delete_objects(
                Bucket=bucket, Delete={"Objects": [{"Key": "mine/doomed"}, {"Key": there}]}
            )
            assert [error["Code"] for error in answer["Errors"]] == ["AccessDenied"]
        except ClientError as error:
            assert error.response["Error"]["Code"] == "AccessDenied"
        assert stack.request("GET", bucket, there).send().body == b"content"


def test_the_system_bucket_is_nobodys(stack, storage, s3):
    assert "s3cloak-system" not in [entry["Name"] for entry in s3.list_buckets()["Buckets"]]
    for call, more in (
        (s3.list_objects_v2, {}), (s3.get_object, {"Key": "format"}), (s3.put_object, {"Key": "format", "Body": b"x"}),
        (s3.delete_bucket, {}), (s3.create_bucket, {}), (s3.head_bucket, {}),
    ):
        with pytest.raises(ClientError) as error:
            call(Bucket="s3cloak-system", **more)
        assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 403, 404, 409)


def test_virtual_host_style(stack, storage, bucket, there):
    port = stack.proxy.http
    answer = stack.request("GET", bucket, there, path=f"/{there}", host=f"{bucket}.s3.test:{port}").send()
    assert answer.body == b"content"
    answer = stack.request("GET", bucket, there, path=f"/{there}", host=f"{bucket}.other.test:{port}").send()
    assert answer.status >= 400
