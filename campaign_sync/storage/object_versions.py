"""Old versions of objects: what a bucket with the protocol of S3 keeps of files that were replaced or removed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from upath import UPath

FOLDERS = ("assets", "feedback", "responses", "sent_people", "snapshots")
"""The folders of the file storage whose files have data of people."""

PERMISSIONS = (
    "s3:GetBucketVersioning, s3:ListBucketVersions, s3:GetLifecycleConfiguration and "
    "s3:GetBucketObjectLockConfiguration"
)
"""What `find_old_versions` needs."""

_UNKNOWN_OPERATION = {"NotImplemented", "MethodNotAllowed"}
"""Codes of stores that have no versions: the operation isn't known to them."""


@dataclass(frozen=True)
class OldVersions:
    """How many old versions a bucket keeps in each folder, and how long."""

    counts: Mapping[str, int]
    """By folder: versions that aren't the newest one."""
    days: Mapping[str, int | None]
    """By folder: how long a lifecycle rule leaves them; None where no rule removes all of them."""
    lock: str | None = None
    """How long the bucket's object lock keeps every version from being removed; None without one."""

    @property
    def unlimited(self) -> list[str]:
        """The folders whose old versions no rule removes."""
        return [folder for folder, days in self.days.items() if days is None]

    @property
    def problem(self) -> str | None:
        """What is kept without a limit; None if nothing is."""
        count = sum(self.counts[folder] for folder in self.unlimited)
        if not count:
            return None
        return f"the bucket keeps {count:,} old versions of files that were replaced or removed, and {self.remedy}"

    @property
    def remedy(self) -> str:
        """Which rule is missing."""
        folders = ", ".join(f"{folder}/" for folder in self.unlimited)
        return (
            f"no lifecycle rule removes those in {folders}; add one with NoncurrentVersionExpiration, and without "
            "NewerNoncurrentVersions"
        )

    @property
    def limit(self) -> str:
        """When rules remove what they remove."""
        longest = max((days for days in self.days.values() if days is not None), default=0)
        lock = f", but not before their object lock ends, {self.lock} after they were written" if self.lock else ""
        return f"its lifecycle rules remove old versions after {longest} days{lock}"


def find_old_versions(base: UPath) -> OldVersions | None:
    """Return the old versions below a URL of S3; None if its bucket keeps none.

    Raises:
        OSError: the bucket refuses an answer. Drivers have further errors.
    """
    store = base.fs
    bucket, prefix, _ = store.split_path(base.path)
    if "Status" not in _call(store, "get_bucket_versioning", bucket):
        return None
    rules = _call(store, "get_bucket_lifecycle_configuration", bucket, "NoSuchLifecycleConfiguration")
    keys = {folder: f"{prefix.strip('/')}/{folder}/".lstrip("/") for folder in FOLDERS}
    return OldVersions(
        {folder: _count(store, bucket, key) for folder, key in keys.items()},
        {folder: days_kept(rules.get("Rules", []), key) for folder, key in keys.items()},
        _lock(_call(store, "get_object_lock_configuration", bucket, "ObjectLockConfigurationNotFoundError")),
    )


def _call(store: Any, operation: str, bucket: str, *absent: str, **more: str) -> dict[str, Any]:
    """Return a bucket's answer, or nothing if it has nothing of the kind."""
    try:
        answer: dict[str, Any] = store.call_s3(operation, Bucket=bucket, **more)
    except OSError as error:
        code = getattr(error.__cause__, "response", {}).get("Error", {}).get("Code")
        if code in _UNKNOWN_OPERATION.union(absent):
            return {}
        raise
    return answer


def _count(store: Any, bucket: str, prefix: str) -> int:
    return sum(not version["IsLatest"] for page in _pages(store, bucket, prefix) for version in page)


def _pages(store: Any, bucket: str, prefix: str) -> Iterator[list[dict[str, Any]]]:
    markers: dict[str, str] = {}
    while True:
        page = _call(store, "list_object_versions", bucket, Prefix=prefix, **markers)
        yield page.get("Versions", [])
        if not page.get("IsTruncated"):
            return
        markers = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}


def days_kept(rules: Sequence[Mapping[str, Any]], prefix: str) -> int | None:
    """Return after how many days a rule removes every old version below a prefix; None if no rule does."""
    days = []
    for rule in rules:
        expiration = rule.get("NoncurrentVersionExpiration", {})
        condition = rule.get("Filter", {})
        condition = condition.get("And", condition)
        begins = rule.get("Prefix") or condition.get("Prefix") or ""
        is_for_all = set(condition) <= {"Prefix"} and prefix.startswith(begins)
        if rule["Status"] == "Enabled" and is_for_all and not expiration.get("NewerNoncurrentVersions"):
            days.append(expiration.get("NoncurrentDays"))
    return min(filter(None, days), default=None)


def _lock(configuration: Mapping[str, Any]) -> str | None:
    retention = configuration.get("ObjectLockConfiguration", {}).get("Rule", {}).get("DefaultRetention", {})
    unit = next((unit for unit in ("Days", "Years") if retention.get(unit)), None)
    return f"{retention[unit]} {unit.lower()}" if unit else None
