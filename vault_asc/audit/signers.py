"""Which versions of keys in Transit may have made a signature: Transit shows their public keys, records only some."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from vault_asc.audit.known import KnownKey
from vault_asc.audit.marks import Marks
from vault_asc.errors import ConfigError, NotFoundError, PermissionDeniedError
from vault_asc.store import Store
from vault_asc.vault import InvalidTokenError


class Signer(NamedTuple):
    """A version of a key in Transit."""

    transit_key: str
    key_version: int


class Signers(NamedTuple):
    """What Transit says.

    Attributes:
        listed: versions of the keys that the token may be of.
        proved: those of all looked at whose public key the signature fits.
    """

    listed: tuple[Signer, ...]
    proved: tuple[Signer, ...]


def signers(store: Store, keys: Sequence[KnownKey], mark: Marks) -> Signers:
    """Look at the keys with the key ID; when none of their versions has signed, at all keys of the Transit mount.

    A version that is only staged, or that records tell of no more, has a key ID that is in no record. What the token
    may not read is left out: then there are the versions of the records.
    """
    names = {name for key in keys for name in _names(store, key)}
    listed = [*_listed(store, names, mark)]
    proved = tuple(signer for signer, fits in listed if fits)
    if not proved and mark.signature:
        others = _listed(store, set(_all(store)) - names, mark)
        proved = tuple(signer for signer, fits in others if fits)
    return Signers(tuple(signer for signer, _ in listed), proved)


def _names(store: Store, key: KnownKey) -> Iterator[str]:
    yield from key.transit_keys
    with suppress(ConfigError):  # a prefix that keys in Transit cannot have
        yield store.layout.transit(key.name)


def _all(store: Store) -> list[str]:
    where = f"{store.layout.transit_mount}/keys/"
    try:
        answer = store.vault.ask("LIST", where, "list")
    except InvalidTokenError:
        raise
    except (NotFoundError, PermissionDeniedError):
        return []
    with store.vault.reading(where):
        return [str(name) for name in answer["keys"]]


def _listed(store: Store, names: Iterable[str], mark: Marks) -> Iterator[tuple[Signer, bool]]:
    for name in sorted(names):
        try:
            found = store.transit.find(name)
        except InvalidTokenError:
            raise
        except (NotFoundError, PermissionDeniedError):
            continue
        for number, pem in (found.public_keys if found is not None else {}).items():
            yield Signer(name, number), mark.made_by(pem)
