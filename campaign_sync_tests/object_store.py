"""A real server with the protocol of S3 for the tests, in a thread of the process that runs them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

REGION = "eu-central-1"
LOCKED = {"ObjectLockEnabledForBucket": True}


@contextmanager
def s3_server() -> Iterator[dict[str, str]]:
    """Yield the environment variables by which the server is reached."""
    from moto.server import ThreadedMotoServer  # takes half a second, which only tests with a store need

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield {
            "AWS_ENDPOINT_URL_S3": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "invented",
            "AWS_SECRET_ACCESS_KEY": "invented, too",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_MAX_ATTEMPTS": "1",
        }
    finally:
        server.stop()


class Bucket:
    """A bucket of its own.

    Args:
        environment: of `s3_server`.
        options: of CreateBucket.
    """

    def __init__(self, environment: dict[str, str], **options: Any) -> None:
        import boto3

        self.name = f"bucket-{uuid4().hex}"
        self.environment = environment
        self.client = boto3.client(
            "s3",
            endpoint_url=environment["AWS_ENDPOINT_URL_S3"],
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
            region_name=REGION,
        )
        self.client.create_bucket(Bucket=self.name, CreateBucketConfiguration={"LocationConstraint": REGION}, **options)

    @property
    def url(self) -> str:
        """A folder in the bucket, for `storage.frames`."""
        return f"s3://{self.name}/some/frames"

    def keep_versions(self) -> None:
        """Switch versioning on."""
        self.client.put_bucket_versioning(Bucket=self.name, VersioningConfiguration={"Status": "Enabled"})

    def add_rule(self, **rule: Any) -> None:
        """Replace the lifecycle rules by one."""
        rules = [{"ID": "r", "Status": "Enabled", "Filter": {"Prefix": "some/"}, **rule}]
        self.client.put_bucket_lifecycle_configuration(Bucket=self.name, LifecycleConfiguration={"Rules": rules})

    def contents(self) -> dict[str, bytes]:
        """Return what everybody finds in the bucket, by key."""
        entries = self.client.list_objects_v2(Bucket=self.name).get("Contents", [])
        return {
            entry["Key"]: self.client.get_object(Bucket=self.name, Key=entry["Key"])["Body"].read() for entry in entries
        }

    def restore(self, contents: dict[str, bytes]) -> None:
        """Let everybody find what was there before, and nothing else."""
        for key in self.contents():
            self.client.delete_object(Bucket=self.name, Key=key)
        for key, content in contents.items():
            self.client.put_object(Bucket=self.name, Key=key, Body=content)
