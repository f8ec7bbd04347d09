"""From a token to the call that signed it: asks Vault for the hashes, reads the logs, compares. See docs/audit.md."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from vault_asc.audit.entry import RESPONSE, Entry
from vault_asc.audit.known import KnownKey, keys_with
from vault_asc.audit.log import lines
from vault_asc.audit.marks import Marks, marks
from vault_asc.audit.proof import Proof, Signatures, proofs, unproved
from vault_asc.audit.search import Findings, Reader, Reads, Sought, Together, search, together
from vault_asc.audit.signers import Signer, Signers, signers
from vault_asc.audit.unwrapped import unwrapped
from vault_asc.clock import Clock, system_clock
from vault_asc.key.public_key import public_key
from vault_asc.store import Store
from vault_asc.tokens import Token
from vault_asc.vault import Auditing

_ALWAYS_ASKED: Final = "jws"  # the marshaling_algorithm of every call that signs a token


class Signed(NamedTuple):
    """A call that signed the token: proved, because no two signatures are alike.

    Attributes:
        entry: of the call.
        key_version: in Transit.
        entity_name: of its caller.
        opening: the call that took the signature out of a wrapping token, None when the answer was not wrapped.
        opening_entity_name: of the caller of that.
    """

    entry: Entry
    key_version: int
    entity_name: str | None
    opening: Entry | None = None
    opening_entity_name: str | None = None


class Similar(NamedTuple):
    """A call that may have signed the token, or has had its signature, and of which the log proves no more."""

    entry: Entry
    entity_name: str | None


@dataclass(frozen=True)
class Trace:
    """What was found.

    Attributes:
        token: that was looked for.
        device: audit device whose salt was used.
        keys: keys of the store with the token's key ID.
        genuine: whether the signature is of the key; None when neither records nor Transit tell the public key.
        signed: calls that signed it: one, unless an entry is in two logs of different devices.
        similar: calls that signed the same header and payload, when none is proved.
        readers: of the private parts of the keys until the token expired, when none is proved.
        logs: what each log holds.
        signers: versions in Transit whose public key the signature fits.
        wrapped: other signing calls whose answer was wrapped, when none is proved.
        opened: calls that took this signature out of a wrapping token of unknown origin, when none is proved.
        until: Unix seconds until when it can have been signed: its expiry, or the moment of asking if that was earlier.
    """

    token: Token
    device: str
    keys: tuple[KnownKey, ...]
    genuine: bool | None
    signed: tuple[Signed, ...]
    similar: tuple[Similar, ...]
    readers: Mapping[Reader, Reads]
    logs: Mapping[Path, Findings]
    signers: tuple[Signer, ...] = ()
    wrapped: tuple[Similar, ...] = ()
    opened: tuple[Similar, ...] = ()
    until: float = 0.0


@dataclass(frozen=True)
class Tracer:
    """Traces tokens of one store.

    Attributes:
        store: whose records tell which key a token is of.
        auditing: calls to the server that has written the log.
        device: name of its audit device.
        namespace: of the store, without slashes around it, "" for none.
        clock: to know how far the logs have to reach.
    """

    store: Store
    auditing: Auditing
    device: str
    namespace: str = ""
    clock: Clock = system_clock

    def trace(self, token: Token, logs: Iterable[Path]) -> Trace:
        """Find out who signed a token. `ConfigError` for a log that cannot be read, or an unknown device."""
        until = min(token.expires_at, self.clock())
        mark, keys = marks(token), tuple(keys_with(self.store, token.key_id))
        made_by = signers(self.store, keys, mark)
        known = Signatures(mark, self._hashed, _versions(keys, made_by))
        inputs, salted = frozenset({mark.content, self._hashed(mark.content)}), self._hashed(_ALWAYS_ASKED)
        sought = self._sought(token, keys, inputs | known.values(), salted)
        found = {log: search(lines(log), sought) for log in logs}
        held = together(found.values())
        known.add(signature.key_version for entry in held.entries for signature in entry.signatures())
        signed = tuple(self._signed(proof) for proof in proofs(held, known))
        candidates = {} if signed else self._candidates(held, known, inputs, self._paths(keys, made_by), salted)
        return Trace(
            token,
            self.device,
            keys,
            _genuine(mark, keys, made_by),
            signed,
            readers={} if signed else _of_these(held.readers, keys, self.store),
            logs=found,
            signers=made_by.proved,
            until=until,
            similar=candidates.get("similar", ()),
            wrapped=candidates.get("wrapped", ()),
            opened=candidates.get("opened", ()),
        )

    def _sought(self, token: Token, keys: Sequence[KnownKey], values: frozenset[str], salted: str) -> Sought:
        return Sought(
            self.namespace,
            self._sign_path(),
            frozenset(_private_path(self.store, key.name) for key in keys),
            token.expires_at,
            values,
            salted,
        )

    def _sign_path(self) -> str:
        return f"{self.store.layout.transit_mount}/sign/"

    def _paths(self, keys: Iterable[KnownKey], made_by: Signers) -> frozenset[str]:
        """Where the key signs; empty when it is not known which key it is."""
        of_records = {name for key in keys for name in key.transit_keys}
        names = {signer.transit_key for signer in made_by.proved} or of_records
        return frozenset(self._sign_path() + name for name in names)

    def _hashed(self, value: str) -> str:
        return self.auditing.hashed(self.device, value)

    def _signed(self, proof: Proof) -> Signed:
        opening = proof.opening
        name = None if opening is None else self._entity(opening)
        return Signed(proof.signing, proof.key_version, self._entity(proof.signing), opening, name)

    def _candidates(
        self, held: Together, known: Signatures, inputs: frozenset[str], paths: frozenset[str], salted: str
    ) -> dict[str, tuple[Similar, ...]]:
        similar = [entry for entry in held.entries if not inputs.isdisjoint(entry.inputs())]
        calls = {entry.request_id for entry in similar}
        wrapped = [
            entry
            for entry in unproved(held, known, {salted, _ALWAYS_ASKED})
            if entry.request_id not in calls and (not paths or _key_path(entry) in paths)
        ]
        opened = [entry for entry in held.opened if known.version(entry) is not None]
        return {"similar": self._calls(similar), "wrapped": self._calls(wrapped), "opened": self._calls(opened)}

    def _calls(self, entries: Iterable[Entry]) -> tuple[Similar, ...]:
        """One entry for each call that did not fail, the response where there is one."""
        calls: dict[str, Entry] = {}
        for entry in entries:
            if entry.kind == RESPONSE or entry.request_id not in calls:
                calls[entry.request_id] = entry
        return tuple(Similar(entry, self._entity(entry)) for entry in calls.values() if not entry.failed)

    def _entity(self, entry: Entry) -> str | None:
        return self.auditing.entity_name(entry.caller.entity_id)


def _versions(keys: Iterable[KnownKey], made_by: Signers) -> set[int]:
    listed = {signer.key_version for signer in (*made_by.listed, *made_by.proved)}
    return listed.union(*(key.transit_versions for key in keys))


def _genuine(mark: Marks, keys: Iterable[KnownKey], made_by: Signers) -> bool | None:
    if made_by.proved:
        return True
    try:
        publics = [public_key(key.public_key) for key in keys if key.public_key is not None]
    except ValueError:  # a record that somebody has damaged
        return None
    return any(public.verifies(mark.signature, mark.message) for public in publics) if publics else None


def _key_path(entry: Entry) -> str:
    """Without the hash that may follow the key."""
    mount, sign, key = entry.path.rpartition("/sign/")
    return mount + sign + key.partition("/")[0]


def _of_these(readers: Mapping[Reader, Reads], keys: Iterable[KnownKey], store: Store) -> dict[Reader, Reads]:
    """Without those who read a version that is known to be another key ID's."""
    others = {_private_path(store, key.name): key.other_private_versions for key in keys}
    return {reader: reads for reader, reads in readers.items() if reader.version not in others[reader.path]}


def _private_path(store: Store, name: str) -> str:
    return f"{store.layout.mount}/data/{store.layout.private(name)}"
