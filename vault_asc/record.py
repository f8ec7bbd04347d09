"""What a record says of a key, and what a note says of a staged version: values, and how they lie in KV. Pure."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

from vault_asc.errors import VaultError
from vault_asc.key.identity import Identity, KeyType, is_key_id
from vault_asc.names import Custody, is_name, strictest
from vault_asc.secret import safe_text

FORMAT: Final = 1
_TRANSIT_NAME: Final = r"(?a)[A-Za-z0-9_](?:[A-Za-z0-9_-]|\.(?!\.))*"


class State(StrEnum):
    """Whether tokens may be minted from a key."""

    ENABLED = "enabled"
    DISABLED = "disabled"


class BadRecordError(VaultError):
    """What lies where a record should be is none that this version reads."""


class Record(NamedTuple):
    """The public facts of a key. Times are ISO 8601 in UTC; the fingerprint is the SHA-256 of the public key (SPKI).

    Attributes:
        private_version: version of the private part; in custody transit that of the escrow, None without escrow.
        transit_key: name of the key in Transit, None when it has none there.
        transit_version: its version that signs, in custody transit.
        role: the role in the engine that its tokens are read by, None when it is not there.
        engine_version: its version that signs, in custody engine.
        public_key: base64 of the SPKI, in custodies whose private part is not at hand to compare with.
        moved_from: where a copy may still lie that others may read or use, until the move is finished.
        removing: from where what lies there is being removed for good, None when no removal was begun.
    """

    custody: Custody
    identity: Identity
    spki_sha256: str
    state: State
    private_version: int | None
    imported_at: str
    imported_by: str
    changed_by: str
    transit_key: str | None = None
    transit_version: int | None = None
    role: str | None = None
    engine_version: int | None = None
    public_key: str | None = None
    moved_from: Custody | None = None
    removing: Custody | None = None

    @property
    def version(self) -> int:
        """The version that signs, in the numbers of the custody."""
        number: int | None = getattr(self, _VERSION_FIELDS[self.custody])
        if number is None:
            raise BadRecordError(f"the record names no {VERSION_NAMES[self.custody]}")
        return number

    @property
    def version_name(self) -> str:
        """The same for people."""
        return f"{VERSION_NAMES[self.custody]} {self.version}"

    def dump(self) -> dict[str, Any]:
        """As it is written to Vault."""
        facts = {k: v for k, v in self._asdict().items() if k != "identity" and v is not None}
        issuer = {} if self.identity.issuer_id is None else {"issuer_id": self.identity.issuer_id}
        return {
            "format": FORMAT,
            "key_id": self.identity.key_id,
            "key_type": str(self.identity.key_type),
            "audience": self.identity.audience,
            **issuer,
            **{k: str(v) if isinstance(v, StrEnum) else v for k, v in facts.items()},
        }

    @classmethod
    def load(cls, data: Mapping[str, Any], where: str) -> "Record":
        """From Vault; `BadRecordError` when it is no record of ours or of a newer format."""
        if data.get("format") != FORMAT:
            raise BadRecordError(
                f'"{where}" has format {safe_text(repr(data.get("format")), 20)}, this version of vault-asc reads format {FORMAT}',
                hint="upgrade vault-asc, or look at who wrote there: vault kv metadata get",
            )
        try:
            return cls._loaded(data)
        except (KeyError, ValueError, TypeError) as exc:
            raise BadRecordError(
                f'"{where}" is no record of vault-asc: {type(exc).__name__} {safe_text(str(exc))}',
                hint="roll it back to its last good version: vault kv rollback, or import the key under another name",
            ) from exc

    @classmethod
    def _loaded(cls, data: Mapping[str, Any]) -> "Record":
        custody = Custody(data["custody"])
        for needed in _NEEDED[custody]:
            if data[needed] is None:
                raise ValueError(f"{needed} is null")
        return cls(
            custody=custody,
            identity=_identity(data),
            spki_sha256=str(data["spki_sha256"]),
            state=State(data["state"]),
            private_version=_number(data, "private_version"),
            imported_at=safe_text(str(data["imported_at"])),
            imported_by=safe_text(str(data["imported_by"])),
            changed_by=safe_text(str(data["changed_by"])),
            transit_key=_transit_key(data),
            transit_version=_number(data, "transit_version"),
            role=_role(data),
            engine_version=_number(data, "engine_version"),
            public_key=None if data.get("public_key") is None else str(data["public_key"]),
            moved_from=None if data.get("moved_from") is None else Custody(data["moved_from"]),
            removing=None if data.get("removing") is None else Custody(data["removing"]),
        )


class StoredRecord(NamedTuple):
    """A record as read: its name, its KV version (the check-and-set value) and when that was written."""

    name: str
    record: Record
    version: int
    written_at: str


class Note(NamedTuple):
    """Public facts of a staged version, with its number in each place where it lies."""

    private_version: int | None
    key_id: str
    spki_sha256: str
    staged_at: str
    staged_by: str
    transit_version: int | None = None
    engine_version: int | None = None

    def version(self, custody: Custody) -> int | None:
        """Its number in a custody, None when it is not there."""
        number: int | None = getattr(self, _VERSION_FIELDS[custody])
        return number

    @property
    def version_name(self) -> str:
        """The version that was staged, for people, in the custody that it was staged in."""
        custody = strictest(
            custody for custody in Custody if custody is Custody.KV or self.version(custody) is not None
        )
        return f"{VERSION_NAMES[custody]} {self.version(custody)}"

    def dump(self) -> dict[str, Any]:
        """As it is written to Vault."""
        return {k: v for k, v in self._asdict().items() if v is not None}

    @classmethod
    def load(cls, data: Mapping[str, Any]) -> "Note | None":
        """From Vault; None for what is no note: it only means that nothing is staged."""
        try:
            return cls(
                _number(data, "private_version"),
                _key_id(data),
                safe_text(str(data["spki_sha256"])),
                safe_text(str(data["staged_at"])),
                safe_text(str(data["staged_by"])),
                _number(data, "transit_version"),
                _number(data, "engine_version"),
            )
        except (KeyError, ValueError, TypeError):
            return None


VERSION_NAMES: Final[Mapping[Custody, str]] = {
    Custody.KV: "private version",
    Custody.TRANSIT: "Transit version",
    Custody.ENGINE: "engine version",
}
_VERSION_FIELDS: Final[Mapping[Custody, str]] = {
    Custody.KV: "private_version",
    Custody.TRANSIT: "transit_version",
    Custody.ENGINE: "engine_version",
}
_NEEDED: Final[Mapping[Custody, tuple[str, ...]]] = {
    Custody.KV: ("private_version",),
    Custody.TRANSIT: ("transit_key", "transit_version", "public_key"),
    Custody.ENGINE: ("role", "engine_version", "public_key"),
}


def _key_id(data: Mapping[str, Any]) -> str:
    if not is_key_id(data["key_id"]):
        raise ValueError("key_id")
    return str(data["key_id"])


def _identity(data: Mapping[str, Any]) -> Identity:
    issuer = data.get("issuer_id")
    if issuer is not None and not isinstance(issuer, str):
        raise ValueError("issuer_id")
    return Identity(_key_id(data), issuer, KeyType(data["key_type"]), str(data["audience"]))


def _number(data: Mapping[str, Any], field: str) -> int | None:
    if data.get(field) is None:
        return None
    number = int(data[field])
    if number < 1:  # Vault would take 0 for "the newest"
        raise ValueError(f"{field} is {number}")
    return number


def _role(data: Mapping[str, Any]) -> str | None:
    """Part of a path too."""
    role = data.get("role")
    if role is not None and not is_name(role):
        raise ValueError("role")
    return role


def _transit_key(data: Mapping[str, Any]) -> str | None:
    """It becomes part of a path, so it is read as strictly as a name that somebody has typed."""
    name = data.get("transit_key")
    if name is None:
        return None
    if not isinstance(name, str) or re.fullmatch(_TRANSIT_NAME, name) is None:
        raise ValueError("transit_key")
    return name
