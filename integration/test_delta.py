"""Delta tables: a commit is a PUT of the next log entry that must not be there yet, so of two writers one loses and tries again."""

import json
import threading

import deltalake
import pyarrow
import pytest
from botocore.exceptions import ClientError
from deltalake.exceptions import CommitFailedError

from harness.data import shares_a_run


@pytest.fixture
def options(stack):
    return {
        "AWS_ENDPOINT_URL": stack.endpoint, "AWS_ACCESS_KEY_ID": stack.keys.access, "AWS_SECRET_ACCESS_KEY": stack.keys.secret,
        "AWS_REGION": "us-east-1", "AWS_ALLOW_HTTP": "true", "conditional_put": "etag",
    }


def rows(start: int, count: int) -> pyarrow.Table:
    return pyarrow.table({"n": list(range(start, start + count)), "text": [f"a row that is number {n}" for n in range(start, start + count)]})


def numbers(where: str, options, version=None) -> list[int]:
    table = deltalake.DeltaTable(where, version=version, storage_options=options)
    return sorted(table.to_pyarrow_table()["n"].to_pylist())


def test_a_table_is_written_read_and_kept(s3, raw, bucket, prefix, options):
    where = f"s3://{bucket}/{prefix}table"
    deltalake.write_deltalake(where, rows(0, 1000), storage_options=options)
    deltalake.write_deltalake(where, rows(1000, 500), mode="append", storage_options=options)
    table = deltalake.DeltaTable(where, storage_options=options)
    table.delete("n < 100")
    assert numbers(where, options) == list(range(100, 1500))
    assert numbers(where, options, version=0) == list(range(1000))
    table.update(updates={"text": "'other'"}, predicate="n = 100")
    table.optimize.compact()
    table.create_checkpoint()
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    again = deltalake.DeltaTable(where, storage_options=options)
    assert again.version() == table.version() and numbers(where, options) == list(range(100, 1500))
    listed = [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]]
    assert f"{prefix}table/_delta_log/_last_checkpoint" in listed
    for key in listed:
        plain = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        stored = raw.get_object(Bucket=bucket, Key=key)["Body"].read()
        assert len(plain) < 16 or not shares_a_run(stored, plain), key


def test_of_two_commits_of_one_version_one_loses(s3, bucket, prefix, options):
    where = f"s3://{bucket}/{prefix}table"
    deltalake.write_deltalake(where, rows(0, 10), storage_options=options)
    one, two = (deltalake.DeltaTable(where, storage_options=options) for _ in range(2))
    one.delete("n = 1")
    # It read what is not there any more; nothing of what it wrote is seen.
    with pytest.raises(CommitFailedError):
        two.delete("n = 2")
    assert numbers(where, options) == [0, *range(2, 10)]
    two.update_incremental()
    two.delete("n = 2")
    assert numbers(where, options) == [0, *range(3, 10)] and two.version() == 2
    # The storage says so itself: the entry that is there stays.
    entry = {"Bucket": bucket, "Key": f"{prefix}table/_delta_log/{1:020}.json"}
    before = s3.get_object(**entry)["Body"].read()
    with pytest.raises(ClientError) as error:
        s3.put_object(**entry, Body=b"{}", IfNoneMatch="*")
    assert error.value.response["Error"]["Code"] == "PreconditionFailed"
    assert s3.get_object(**entry)["Body"].read() == before


def test_writers_at_once_all_get_in(s3, bucket, prefix, options):
    where, writers, commits = f"s3://{bucket}/{prefix}table", 3, 6
    deltalake.write_deltalake(where, rows(0, 1), storage_options=options)
    failures = []

    def write(writer: int) -> None:
        try:
            for commit in range(commits):
                start = 1 + (writer * commits + commit) * 10
                deltalake.write_deltalake(where, rows(start, 10), mode="append", storage_options=options)
        except Exception as error:  # told by the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    # Nobody's rows are lost, and every version was written once.
    assert numbers(where, options) == list(range(1 + writers * commits * 10))
    log = [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}table/_delta_log/")["Contents"]]
    commits_seen = [key for key in log if key.endswith(".json")]
    assert len(commits_seen) == 1 + writers * commits
    added = [
        json.loads(line)["add"]["path"]
        for key in commits_seen
        for line in s3.get_object(Bucket=bucket, Key=key)["Body"].read().splitlines()
        if b'"add"' in line
    ]
    assert len(added) == len(set(added)) == 1 + writers * commits
