"""From a key's custody to something that signs, and the one way in which a named key is minted from.

Every mint reads the record, then uses exactly the version that it points to, and compares key ID and public key: so
rotation, rollback and swapped keys are seen before a token leaves. Not here: how tokens look (tokens).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from vault_asc import tokens
from vault_asc.clock import Clock
from vault_asc.errors import PrivateKeyError, TokenRequestError, VaultError
from vault_asc.key.private_key import PrivateKey, stored_private_key
from vault_asc.names import Custody
from vault_asc.record import State, StoredRecord
from vault_asc.store import Store
from vault_asc.tokens import Signer, Token, TokenRequest
from vault_asc.vault import MissingVersionError, Transit

if TYPE_CHECKING:
    from vault_asc.key.public_key import PublicKey


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
        """Mint a token of the key that is current at this moment.

        When the version that the record points to is gone, the record is read once more: it may just have been replaced.
        """
        stored = _enabled(self.store.read(self.name))
        try:
            return self._minted(stored, request)
        except MissingVersionError as gone:
            again = _enabled(self.store.read(self.name))
            if again.version == stored.version:
                raise _lost_version(stored, gone) from gone
        try:
            return self._minted(again, request)
        except MissingVersionError as gone:
            raise _lost_version(again, gone) from gone

    def _minted(self, stored: StoredRecord, request: TokenRequest) -> Minted:
        signer = _SIGNERS[stored.record.custody](self.store, stored)
        return Minted(tokens.mint(stored.record.identity, request, signer, self.clock()), stored)


def _enabled(stored: StoredRecord) -> StoredRecord:
    if stored.record.state is not State.ENABLED:
        raise TokenRequestError(
            f'key "{stored.name}" was disabled by {stored.record.changed_by} at {stored.written_at}',
            hint=f"if that is over: vault-asc key enable {stored.name}",
        )
    return stored


def private_key_of(store: Store, stored: StoredRecord) -> PrivateKey:
    """The private part in KV, checked against the record, so that nobody can swap it without the record's writer."""
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


@dataclass(frozen=True)
class TransitSigner:
    """Signs in Vault, by one version of a key that never leaves it, and believes nothing but the record's public key."""

    transit: Transit
    stored: StoredRecord
    public: "PublicKey"

    def sign(self, message: bytes) -> bytes:
        """The signature. `MissingVersionError` when that version is retired or gone."""
        import jwt

        record = self.stored.record
        text = self.transit.sign(str(record.transit_key), record.version, message)
        try:
            signature = jwt.utils.base64url_decode(text)
        except ValueError:
            signature = b""
        if not self.public.verifies(signature, message):
            raise _foreign_key(self.stored, "what it signs does not verify with the record's public key")
        return signature


def _transit_signer(store: Store, stored: StoredRecord) -> TransitSigner:
    from vault_asc.key.public_key import public_key

    try:
        public = public_key(str(stored.record.public_key))
    except ValueError:
        public = None
    if public is None or public.spki_sha256 != stored.record.spki_sha256:
        raise _foreign_key(stored, "the record's public key has not the record's fingerprint")
    return TransitSigner(store.transit, stored, public)


def _foreign_key(stored: StoredRecord, why: str) -> VaultError:
    return VaultError(
        f'{stored.record.version_name} of key "{stored.name}" does not belong to the record: {why}, so no token was minted',
        hint=f"find out who wrote it (vault kv metadata get, the audit log), then {_back(stored)}",
    )


_SIGNERS: dict[Custody, Callable[[Store, StoredRecord], Signer]] = {
    Custody.KV: private_key_of,
    Custody.TRANSIT: _transit_signer,
}


def _lost_version(stored: StoredRecord, gone: MissingVersionError) -> VaultError:
    how = {
        "deleted": f"was deleted at {gone.deleted_at}",
        "destroyed": "was destroyed",
        "retired": "is retired",
    }.get(gone.state, _MISSING[stored.record.custody])
    hint = gone.hint
    if gone.state == "retired":
        hint = f"vault-asc key retire {stored.name} makes it the oldest version that may sign"
    elif gone.state == "missing":
        # Vault prunes the oldest first: with this version all earlier ones are gone.
        hint = hint or _forward(stored)
        if stored.record.custody is Custody.TRANSIT:
            hint = f"{hint}, or bring it back from escrow or file: vault-asc key move {stored.name} --custody kv"
    return MissingVersionError(
        f'{stored.record.version_name} of key "{stored.name}" {how}',
        hint=hint or _back(stored),
        state=gone.state,
        deleted_at=gone.deleted_at,
    )


_MISSING: Mapping[Custody, str] = {
    Custody.KV: "is missing (never written, or pruned by max_versions)",
    Custody.TRANSIT: "is missing (deleted with its key, or never imported)",
}


def _back(stored: StoredRecord) -> str:
    if stored.record.version <= 1:  # there is nothing earlier to go back to
        return _forward(stored)
    return f"go back to an older version (vault-asc key rollback {stored.name}) or {_forward(stored)}"


def _forward(stored: StoredRecord) -> str:
    return f"rotate to a new key (vault-asc key rotate {stored.name} FILE)"
