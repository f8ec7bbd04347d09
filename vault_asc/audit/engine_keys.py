"""Which versions of keys in the engine may have signed a token: the engine shows the public keys of those it keeps."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from vault_asc.audit.known import KnownKey
from vault_asc.audit.marks import Marks
from vault_asc.errors import VaultError
from vault_asc.store import Store
from vault_asc.vault import Engine, InvalidTokenError


class EngineSigner(NamedTuple):
    """A version of a key in the engine."""

    engine_key: str
    key_version: int


def engine_signers(store: Store, keys: Sequence[KnownKey], mark: Marks) -> tuple[EngineSigner, ...]:
    """The versions in the configured mount whose public key the signature fits.

    First those of the keys with the key ID, then all: a key that was written with `vault write` has no record. What the
    token may not read, and a mount that is none of the engine, is left out.
    """
    if not mark.signature:
        return ()
    engine, first = store.engine, [key.name for key in keys if key.engine_versions]
    found = tuple(_fitting(engine, first, mark))
    return found or tuple(_fitting(engine, [name for name in _names(engine) if name not in first], mark))


def _names(engine: Engine) -> list[str]:
    where = f"{engine.mount}/keys/"
    try:
        answer = engine.vault.ask("LIST", where, "list")
        with engine.vault.reading(where):
            return [str(name) for name in answer["keys"] if not name.endswith("/")]
    except InvalidTokenError:
        raise
    except VaultError:
        return []


def _fitting(engine: Engine, names: Sequence[str], mark: Marks) -> Iterator[EngineSigner]:
    for name in names:
        try:
            found = engine.find(name)
        except InvalidTokenError:
            raise
        except VaultError:  # not readable, damaged, or in a mount of something else that has keys too
            continue
        for version in found.versions if found is not None else ():
            if mark.made_by(version.public_key):
                yield EngineSigner(name, version.number)
