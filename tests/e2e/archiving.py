"""What tests of archives share: a bucket's credentials, and how far the archive of a store is, by its status."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import yaml
from e2e.bucket import Bucket
from rstore_testkit.load import wait_until
from rstore_testkit.store import Store

SECRET = "archive-credentials"
DESTINATION = "s3://backups/stores"
_REGION = "us-east-1"


def credentials(access_key: str) -> str:
    """Returns the manifest of the Secret with this access key."""
    data = {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": _REGION}
    encoded = {name: base64.b64encode(value.encode()).decode() for name, value in data.items()}
    return yaml.safe_dump({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "data": encoded})


def backup_to(bucket: Bucket, log_interval: str = "1s") -> dict[str, Any]:
    """Returns a ``spec.backup`` whose archive is in the bucket."""
    return {
        "destination": DESTINATION,
        "endpoint": bucket.endpoint,
        "credentialsSecret": SECRET,
        "logInterval": log_interval,
    }


def use_credentials(monkeypatch: pytest.MonkeyPatch, access_key: str) -> None:
    """Puts the credentials into the environment of this process and of the commands that it runs."""
    for name, value in (
        ("AWS_ACCESS_KEY_ID", access_key),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_REGION", _REGION),
    ):
        monkeypatch.setenv(name, value)


async def wait_archived(store: Store, revision: int) -> dict[str, Any]:
    """Waits until the status shows that a revision is archived; returns ``status.backup``."""

    async def archived() -> bool:
        return bool((await store.status()).get("backup", {}).get("archivedRevision", 0) >= revision)

    await wait_until(archived, what=f"revision {revision} archived", poll_seconds=0.5)
    backup: dict[str, Any] = (await store.status())["backup"]
    return backup
