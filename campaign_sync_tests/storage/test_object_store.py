"""The file storage in a bucket: listings are fresh, no bucket is created, old versions are known."""

from datetime import UTC, datetime
from typing import Any

import pytest
from upath import UPath

from campaign_sync.storage.files import FileStorage, FileStorageError
from campaign_sync.storage.object_versions import days_kept
from campaign_sync_tests.object_store import LOCKED, Bucket
from campaign_sync_tests.storage.test_files import NOON, WINDOW

pytestmark = pytest.mark.xdist_group("s3")


def test_what_another_process_writes_or_removes_is_seen_at_once(s3: dict[str, str]) -> None:
    bucket = Bucket(s3)
    files = FileStorage(bucket.url)
    assert (files.names(""), files.documents("erasures"), files.folders("responses/nord/opens")) == ([], [], [])
    files.write_document("erasures/1.json", b"1")
    files.write_document("erasures/1.json", b"11")
    files.write_rows("feedback/nord", WINDOW, [["a"]], {})
    for name in ("20260101T000000Z-a", "20260102T000000Z-b"):
        files.write_document(f"snapshots/nord/newsletter/{name}.parquet", b"")
    files.write_cached("sent_people/nord/1", NOON, b"old")
    files.write_cached("sent_people/nord/1", NOON, b"new")
    assert (files.documents("erasures"), files.read_document("erasures/1.json")) == (["erasures/1.json"], b"11")
    assert len(files.frames("snapshots/nord")) == 2
    assert files.read_cached("sent_people/nord/1") == b"new"

    for key in ("erasures/2.json", "snapshots/nord/other/c.parquet", "responses/nord/opens/day=2026-11-23/d.parquet"):
        bucket.client.put_object(Bucket=bucket.name, Key=f"some/frames/{key}", Body=b"3")
    bucket.client.delete_object(Bucket=bucket.name, Key="some/frames/erasures/1.json")
    assert files.documents("erasures") == ["erasures/2.json"]
    assert files.frames("snapshots/nord")[-1] == "snapshots/nord/other/c.parquet"
    assert files.folders("responses/nord/opens") == ["day=2026-11-23"]
    assert files.was_written_before("erasures/2.json", datetime(2999, 1, 1, tzinfo=UTC))
    files.remove_folder("responses/nord/opens/day=2026-11-23")
    for name in [*files.names("feedback"), "erasures/2.json", "erasures/2.json"]:
        files.remove_rows(name)
    assert {name.split("/")[0] for name in files.names("")} == {"snapshots", "sent_people"}
    assert (files.unfinished(), files.old_versions(), files.keeps_unknown_versions) == ([], None, False)
    assert FileStorage("gs://bucket/frames").keeps_unknown_versions


def test_a_bucket_that_is_missing_or_down_is_named_and_never_made(
    s3: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = FileStorage("s3://no-bucket/frames")
    for use in (missing.probe, lambda: missing.documents("erasures"), lambda: missing.write_document("a", b"")):
        with pytest.raises(FileStorageError, match="it doesn't exist; check"):
            use()
    assert "no-bucket" not in [bucket["Name"] for bucket in Bucket(s3).client.list_buckets()["Buckets"]]

    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    fresh = FileStorage("s3://no-bucket/frames")
    type(fresh.base.fs).clear_instance_cache()
    with pytest.raises(FileStorageError, match="EndpointConnectionError; check"):
        FileStorage("s3://no-bucket/frames").read_document("a")
    type(fresh.base.fs).clear_instance_cache()


EXPIRATION = {"NoncurrentDays": 30}


@pytest.mark.parametrize(
    ("rule", "days"),
    [
        ({}, 30),
        ({"Filter": {"Prefix": "some/frames/"}}, 30),
        ({"Prefix": "some"}, 30),
        ({"Filter": {"And": {"Prefix": "some/", "Tags": []}}}, None),
        ({"Status": "Disabled"}, None),
        ({"Filter": {"Prefix": "other"}}, None),
        ({"Prefix": "other"}, None),
        ({"NoncurrentVersionExpiration": {"NoncurrentDays": 30, "NewerNoncurrentVersions": 2}}, None),
        ({"Filter": {"Tag": {"Key": "a", "Value": "b"}}}, None),
        ({"NoncurrentVersionExpiration": {}, "Expiration": {"Days": 30}}, None),
    ],
)
def test_only_a_rule_for_all_old_versions_is_a_limit(rule: dict[str, Any], days: int | None) -> None:
    complete = {"Status": "Enabled", "NoncurrentVersionExpiration": EXPIRATION, **rule}
    assert days_kept([complete], "some/frames/snapshots/") == days
    assert days_kept([complete, {"Status": "Enabled", "Expiration": {"Days": 1}}], "some/frames/snapshots/") == days
    assert days_kept([], "some/frames/snapshots/") is None


def test_old_versions_are_counted_where_people_are(s3: dict[str, str]) -> None:
    bucket = Bucket(s3)
    bucket.keep_versions()
    files = FileStorage(bucket.url)
    for content in (b"names no person", b""):
        files.write_document("reports/nord/latest.html", content)
    old = files.old_versions()
    assert old is not None
    assert (sum(old.counts.values()), old.problem, len(old.unlimited)) == (0, None, 5)

    name, _ = files.write_rows("feedback/nord", WINDOW, [["a"]], {})
    files.remove_rows(name)
    old = files.old_versions()
    assert old is not None
    assert (old.counts["feedback"], sum(old.counts.values())) == (2, 2)
    assert "2 old versions" in (old.problem or "")
    bucket.add_rule(NoncurrentVersionExpiration=EXPIRATION)
    old = files.old_versions()
    assert old is not None
    assert (old.problem, old.limit) == (None, "its lifecycle rules remove old versions after 30 days")


def test_the_permissions_are_named_that_show_what_a_bucket_keeps(
    s3: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: UPath) -> None:
        raise PermissionError("Access Denied")

    monkeypatch.setattr("campaign_sync.storage.files.find_old_versions", refuse)
    with pytest.raises(FileStorageError, match=r"allow s3:GetBucketVersioning, s3:ListBucketVersions, "):
        FileStorage(Bucket(s3).url).old_versions()


def test_locked_versions_are_named(s3: dict[str, str]) -> None:
    bucket = Bucket(s3, **LOCKED)
    lock = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Years": 10}}}
    bucket.client.put_object_lock_configuration(Bucket=bucket.name, ObjectLockConfiguration=lock)
    bucket.add_rule(NoncurrentVersionExpiration=EXPIRATION)
    old = FileStorage(bucket.url).old_versions()
    assert old is not None
    assert "not before their object lock ends, 10 years after" in old.limit
