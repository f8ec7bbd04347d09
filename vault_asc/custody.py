"""From a key's custody to something that signs, and the one way in which a named key is minted from.

Every mint reads the record, then exactly the private version that it points to, and compares key ID and public key:
so rotation, rollback and swapped keys are seen before a token leaves. Not here: how tokens look (tokens).
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from vault_asc import tokens
from vault_asc.clock import Clock
from vault_asc.errors import PrivateKeyError, TokenRequestError, VaultError
from vault_asc.key.private_key import PrivateKey, stored_private_key
from vault_asc.names import Custody
from vault_asc.store import State, Store, StoredRecord
from vault_asc.tokens import Signer, Token, TokenRequest
from vault_asc.vault import MissingVersionError


class Minted(NamedTuple):
    """A token and the record that it was minted by."""

    token: Token
    stored: StoredRecord


class TokenSource(Protocol):
    """Gives tokens of one key."""

    def token(self, request: TokenRequest) -> Minted:
        """Mint a token."""
        ...


class KeyTokenSource:
    """Mints from a key by its name, in whatever custody the record names."""

    def __init__(self, store: Store, name: str, clock: Clock) -> None:
        self.store = store
        self.name = name
        self.clock = clock

    def token(self, request: TokenRequest) -> Minted:
        """Mint a token of the key that is current at this moment."""
        stored, signer = current_signer(self.store, self.name)
        return Minted(tokens.mint(stored.record.identity, request, signer, self.clock()), stored)


def current_signer(store: Store, name: str) -> tuple[StoredRecord, Signer]:
    """The record and its signer, read together.

    When the private version is gone the record is read once more: it may just have been replaced.
    """
    stored = _enabled(store.read(name))
    try:
        return stored, _signer(store, stored)
    except MissingVersionError as gone:
        again = _enabled(store.read(name))
        if again.version == stored.version:
            raise _lost_private_part(stored, gone) from gone
    try:
        return again, _signer(store, again)
    except MissingVersionError as gone:
        raise _lost_private_part(again, gone) from gone


def _enabled(stored: StoredRecord) -> StoredRecord:
    if stored.record.state is not State.ENABLED:
        raise TokenRequestError(
            f'key "{stored.name}" was disabled by {stored.record.changed_by} at {stored.written_at}',
            hint=f"if that is over: vault-asc key enable {stored.name}",
        )
    return stored


def _signer(store: Store, stored: StoredRecord) -> Signer:
    return _SIGNERS[stored.record.custody](store, stored)


def _kv_signer(store: Store, stored: StoredRecord) -> PrivateKey:
    """The key itself, checked against the record, so that nobody can swap it without the record's writer."""
    secret = store.read_private(stored)
    where = f'private version {secret.version} of key "{stored.name}"'
    try:
        key = stored_private_key(str(secret.data["private_key"]))
    except KeyError as exc:
        raise VaultError(f"{where} holds no private_key", hint=_back(stored)) from exc
    except PrivateKeyError as exc:
        raise VaultError(f"{where} is not usable: {exc.message}", hint=_back(stored)) from exc
    if key.spki_sha256 != stored.record.spki_sha256 or secret.data.get("key_id") != stored.record.identity.key_id:
        raise VaultError(
            f"{where} does not belong to the record: fingerprint or key ID differ, so no token was minted",
            hint=f"find out who wrote it (vault kv metadata get), then {_back(stored)}",
        )
    return key


_SIGNERS: dict[Custody, Callable[[Store, StoredRecord], Signer]] = {Custody.KV: _kv_signer}


def _lost_private_part(stored: StoredRecord, gone: MissingVersionError) -> VaultError:
    how = {"deleted": f"was deleted at {gone.deleted_at}", "destroyed": "was destroyed"}.get(
        gone.state, "is missing (never written, or pruned by max_versions)"
    )
    return MissingVersionError(
        f'private version {stored.record.private_version} of key "{stored.name}" {how}',
        # Vault prunes the oldest first: with this version all earlier ones are gone.
        hint=gone.hint or (_forward(stored) if gone.state == "missing" else _back(stored)),
        state=gone.state,
        deleted_at=gone.deleted_at,
    )


def _back(stored: StoredRecord) -> str:
    if stored.record.private_version <= 1:  # there is nothing earlier to go back to
        return _forward(stored)
    return f"go back to an older version (vault-asc key rollback {stored.name}) or {_forward(stored)}"


def _forward(stored: StoredRecord) -> str:
    return f"rotate to a new key (vault-asc key rotate {stored.name} FILE)"
