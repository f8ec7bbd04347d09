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
from vault_asc.secret import Secret
from vault_asc.store import Store
from vault_asc.tokens import Signer, Token, TokenRequest
from vault_asc.vault import Engine, MissingVersionError, Transit

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
                raise _lost_version(self.store, stored, gone) from gone
        try:
            return self._minted(again, request)
        except MissingVersionError as gone:
            raise _lost_version(self.store, again, gone) from gone

    def _minted(self, stored: StoredRecord, request: TokenRequest) -> Minted:
        if stored.record.custody is Custody.ENGINE:
            return Minted(_engine_token(self.store, stored, request, self.clock()), stored)
        signer = _SIGNERS[stored.record.custody](self.store, stored)
        return Minted(tokens.mint(stored.record.identity, request, signer, self.clock()), stored)


def role_token(engine: Engine, role: str, request: TokenRequest, now: float) -> Token:
    """A token by a role of the engine, without a record: the role alone says which key signs.

    `NotFoundError` when there is no such role, `TokenRequestError` when it does not give that.
    """
    return _read_token(engine.token(role, request), role, request, now)


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
        record = self.stored.record
        text = self.transit.sign(str(record.transit_key), record.version, message)
        signature = _decoded(text)
        if not self.public.verifies(signature, message):
            raise _foreign_key(self.stored, "what it signs does not verify with the record's public key")
        return signature


def _decoded(signature: str) -> bytes:
    """From base64url; empty, which verifies nowhere, when it is none."""
    import jwt

    try:
        return jwt.utils.base64url_decode(signature)
    except ValueError:
        return b""


def _transit_signer(store: Store, stored: StoredRecord) -> TransitSigner:
    return TransitSigner(store.transit, stored, _public_key(stored))


def _public_key(stored: StoredRecord) -> "PublicKey":
    """The one that the record pins."""
    from vault_asc.key.public_key import public_key

    try:
        public = public_key(str(stored.record.public_key))
    except ValueError:
        public = None
    if public is None or public.spki_sha256 != stored.record.spki_sha256:
        raise _foreign_key(stored, "the record's public key has not the record's fingerprint")
    return public


def _engine_token(store: Store, stored: StoredRecord, request: TokenRequest, now: float) -> Token:
    """A token by the version of the record, believed only when it is of the record's key and says what was asked for."""
    from vault_asc.inspection import decode

    record = stored.record
    role = str(record.role)
    token = _read_token(store.engine.token(role, request, record.version), role, request, now)
    message, _, signature = token.value.reveal().rpartition(".")
    if token.key_id != record.identity.key_id or not _public_key(stored).verifies(
        _decoded(signature), message.encode()
    ):
        raise _foreign_key(stored, "the token is not signed by the record's key")
    said = decode(token.value.reveal())[1]
    who = tokens.claims(record.identity, request, 0)
    if any(said.get(claim) != who.get(claim) for claim in ("iss", "sub", "aud")):
        raise _foreign_key(stored, "the token is of another issuer or audience")
    return token


def _read_token(value: Secret, role: str, request: TokenRequest, now: float) -> Token:
    """What the engine gave, provided that Apple would take it now, and that it is no wider than what was asked for."""
    from vault_asc.inspection import broken_rules, token_in

    token = token_in(value.reveal())
    if token is None:
        raise VaultError(f'what role "{role}" gave is no token', hint="look at it: vault read, vault secrets list")
    longest = request.asked_lifetime or tokens.MAX_LIFETIME
    if token.expires_at - token.issued_at > longest or (request.scope and token.scope != request.scope):
        raise VaultError(
            f'the token of role "{role}" is wider than what was asked for, so it was not used',
            hint="check what is mounted there (vault secrets list), and report it",
        )
    for rule in broken_rules(value.reveal(), now)[:1]:
        raise VaultError(
            f'the token of role "{role}" would be refused by Apple, so it was not used: {rule}',
            hint="compare the clock of this host with that of Vault's active node, which makes the token",
        )
    return token


def _foreign_key(stored: StoredRecord, why: str) -> VaultError:
    return VaultError(
        f'{stored.record.version_name} of key "{stored.name}" does not belong to the record: {why}, so no token was minted',
        hint=f"find out who wrote it (vault kv metadata get, the audit log), then {_back(stored)}",
    )


_SIGNERS: dict[Custody, Callable[[Store, StoredRecord], Signer]] = {
    Custody.KV: private_key_of,
    Custody.TRANSIT: _transit_signer,
}


def _lost_version(store: Store, stored: StoredRecord, gone: MissingVersionError) -> VaultError:
    if stored.record.custody is Custody.ENGINE and f'key "{stored.name}"' not in gone.message:
        return _lost_role(store, stored, gone)
    how = {
        "deleted": f"was deleted at {gone.deleted_at}",
        "destroyed": "was destroyed",
        "retired": "is retired",
    }.get(gone.state, _MISSING[stored.record.custody].format(gone.message))
    hint = gone.hint
    if gone.state == "retired":
        hint = f"vault-asc key retire {stored.name} makes it the oldest version that may sign"
    elif gone.state == "missing":
        # Vault prunes the oldest first: with this version all earlier ones are gone.
        hint = f"{hint}, or {_forward(stored)}" if hint else _forward(stored)
        if stored.record.custody is Custody.TRANSIT:
            hint = f"{hint}, or bring it back from escrow or file: vault-asc key move {stored.name} --custody kv"
    return MissingVersionError(
        f'{stored.record.version_name} of key "{stored.name}" {how}',
        hint=hint or _back(stored),
        state=gone.state,
        deleted_at=gone.deleted_at,
    )


def _lost_role(store: Store, stored: StoredRecord, gone: MissingVersionError) -> VaultError:
    """For a role that is gone, or gives tokens of another key."""
    role = stored.record.role
    return MissingVersionError(
        f'key "{stored.name}" gives no token by its role "{role}": {gone.message}',
        hint=f"point the role to it: vault write {store.layout.engine_mount}/roles/{role} key={stored.name};"
        f" if the key is gone too, {_forward(stored)}",
        state=gone.state,
    )


_MISSING: Mapping[Custody, str] = {
    Custody.KV: "is missing (never written, or pruned by max_versions)",
    Custody.TRANSIT: "is missing (deleted with its key, or never imported)",
    Custody.ENGINE: "is missing: {}",
}


def _back(stored: StoredRecord) -> str:
    if stored.record.version <= 1:  # there is nothing earlier to go back to
        return _forward(stored)
    return f"go back to an older version (vault-asc key rollback {stored.name}) or {_forward(stored)}"


def _forward(stored: StoredRecord) -> str:
    return f"rotate to a new key (vault-asc key rotate {stored.name} FILE)"
