"""What KV version 2 holds: a version of a secret, and the metadata of all its versions. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

DEFAULT_MAX_VERSIONS: Final = 10  # what KV v2 keeps when neither the secret nor the mount says otherwise


@dataclass(frozen=True)
class KvSecret:
    """One version of a KV v2 secret. `data` may hold key material and is never shown."""

    data: Mapping[str, Any] = field(repr=False)
    version: int
    created_time: str
    deletion_time: str = ""


class KvVersion(NamedTuple):
    """What the metadata says of one version."""

    created_time: str
    deletion_time: str
    destroyed: bool

    @property
    def readable(self) -> bool:
        """Whether its data can still be read. A deletion planned for the future counts as gone soon, so as gone."""
        return not self.destroyed and not self.deletion_time


class KvMetadata(NamedTuple):
    """Versions of a secret without any of its values."""

    current_version: int
    max_versions: int
    delete_version_after: str
    versions: Mapping[int, KvVersion]


NO_METADATA: Final = KvMetadata(0, 0, "0s", {})
"""The metadata of a secret that was never written."""
