"""From a token to the call that signed it: asks Vault for the hashes, reads the logs, compares. See docs/audit.md."""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, NamedTuple

from vault_asc.audit.entry import RESPONSE, Entry
from vault_asc.audit.known import KnownKey, keys_with
from vault_asc.audit.log import lines
from vault_asc.audit.marks import Marks, marks
from vault_asc.audit.proof import Proof, Signatures, proofs, seen_versions, unproved
from vault_asc.audit.search import Findings, Reader, Reads, Sought, search, together
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
        logs: what each log holds.
        signers: versions in Transit whose public key the signature fits.
        until: Unix seconds until when it can have been signed: its expiry, or the moment of asking if that was earlier.
        similar: when none is proved: calls that signed the same header and payload.
        wrapped: when none is proved: other signing calls of the key whose answer was wrapped, and may be this signature.
        opened: when none is proved: calls that took this signature out of a wrapping token of unknown origin.
        readers: when none is proved: of the private parts of the keys until the token expired.
    """

    token: Token
    device: str
    keys: tuple[KnownKey, ...]
    genuine: bool | None
    signed: tuple[Signed, ...]
    logs: Mapping[Path, Findings]
    signers: tuple[Signer, ...]
    until: float
    similar: tuple[Similar, ...] = ()
    wrapped: tuple[Similar, ...] = ()
    opened: tuple[Similar, ...] = ()
    readers: Mapping[Reader, Reads] = field(default_factory=dict)


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
        inputs = frozenset({mark.content, self._hashed(mark.content)})
        sought = self._sought(token, keys, inputs | known.values())
        found = {log: search(lines(log), sought) for log in logs}
        held = together(found.values())
        links = unwrapped(held.entries, held.opened)
        known.add(seen_versions(held.entries, links))
        signed = tuple(self._signed(proof) for proof in proofs(held.entries, links, known))
        trace = Trace(token, self.device, keys, _genuine(mark, keys, made_by), signed, found, made_by.proved, until)
        if signed:
            return trace
        similar = [entry for entry in held.entries if not inputs.isdisjoint(entry.inputs())]
        wrapped = unproved(held.entries, links, known, {sought.salted, _ALWAYS_ASKED})
        return replace(
            trace,
            similar=self._calls(similar),
            wrapped=self._calls(self._of_key(wrapped, keys, made_by), {entry.request_id for entry in similar}),
            opened=self._calls(entry for entry in held.opened if known.version(entry) is not None),
            readers=_of_these(held.readers, keys, self.store),
        )

    def _sought(self, token: Token, keys: Sequence[KnownKey], values: frozenset[str]) -> Sought:
        return Sought(
            self.namespace,
            self._sign_path(),
            frozenset(_private_path(self.store, key.name) for key in keys),
            token.expires_at,
            values,
            self._hashed(_ALWAYS_ASKED),
        )

    def _sign_path(self) -> str:
        return f"{self.store.layout.transit_mount}/sign/"

    def _of_key(self, entries: Iterable[Entry], keys: Iterable[KnownKey], made_by: Signers) -> Iterator[Entry]:
        """Calls of the key, or all when it is not known which key it is."""
        names = {signer.transit_key for signer in (*made_by.proved, *made_by.listed)}
        names |= {name for key in keys for name in key.transit_keys}
        for entry in entries:
            if not names or entry.path.removeprefix(self._sign_path()).partition("/")[0] in names:
                yield entry

    def _hashed(self, value: str) -> str:
        return self.auditing.hashed(self.device, value)

    def _signed(self, proof: Proof) -> Signed:
        opening = proof.opening
        name = None if opening is None else self._entity(opening)
        return Signed(proof.signing, proof.key_version, self._entity(proof.signing), opening, name)

    def _calls(self, entries: Iterable[Entry], without: Container[str] = ()) -> tuple[Similar, ...]:
        """One entry for each call that did not fail, the response where there is one."""
        calls: dict[str, Entry] = {}
        for entry in entries:
            if entry.request_id not in without and (entry.kind == RESPONSE or entry.request_id not in calls):
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


def _of_these(readers: Mapping[Reader, Reads], keys: Iterable[KnownKey], store: Store) -> dict[Reader, Reads]:
    """Without those who read a version that is known to be another key ID's."""
    others = {_private_path(store, key.name): key.other_private_versions for key in keys}
    return {reader: reads for reader, reads in readers.items() if reader.version not in others[reader.path]}


def _private_path(store: Store, name: str) -> str:
    return f"{store.layout.mount}/data/{store.layout.private(name)}"
