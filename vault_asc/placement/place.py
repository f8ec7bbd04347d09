"""Where one version of a key lies, as a value."""

from typing import NamedTuple

from vault_asc.key.public_key import PublicKey, public_key
from vault_asc.record import Record


class Place(NamedTuple):
    """Where one version of a key lies, and where others of it do; the fields of the record that say so."""

    private_version: int | None = None
    transit_key: str | None = None
    transit_version: int | None = None
    role: str | None = None
    engine_version: int | None = None
    public_key: str | None = None


def beside(record: Record) -> Place:
    """What a record keeps of a key whichever version is current: its places in the other custodies."""
    return Place(record.private_version, transit_key=record.transit_key, role=record.role)


def public_half(text: str, spki_sha256: str) -> PublicKey | None:
    """The public key in a PEM text, provided that it has this fingerprint."""
    try:
        found = public_key(text)
    except ValueError:
        return None
    return found if found.spki_sha256 == spki_sha256 else None
