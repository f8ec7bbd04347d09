"""From a token to the call that signed it: asks Vault for the hashes, reads the logs, compares. See docs/audit.md."""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, NamedTuple

from vault_asc.audit.engine_keys import EngineSigner, engine_signers
from vault_asc.audit.entry import RESPONSE, Entry
from vault_asc.audit.given import Given, GivenToken, given
from vault_asc.audit.known import KnownKey, keys_with
from vault_asc.audit.log import lines
from vault_asc.audit.marks import Marks, marks
from vault_asc.audit.proof import Proof, Signatures, proofs, seen_versions, unproved
from vault_asc.audit.search import Findings, Reader, Reads, Sought, Together, search, together
from vault_asc.audit.signers import Signer, Signers, signers
from vault_asc.audit.token_reads import SoughtReads, TokenRead, token_read, window_of
from vault_asc.audit.unwrapped import Unwrapped, unwrapped
from vault_asc.clock import Clock, system_clock
from vault_asc.key.public_key import public_key
from vault_asc.store import Store
from vault_asc.tokens import Token
from vault_asc.vault import Auditing

_ALWAYS_ASKED: Final = "jws"  # the marshaling_algorithm of every call that signs a token


class Signed(NamedTuple):
    """A call that signed the token, or had the engine sign it: proved, because no two signatures are alike.

    Attributes:
        entry: of the call.
        key_version: in Transit or the engine.
        entity_name: of its caller.
        opening: the call that took the signature out of a wrapping token, None when the answer was not wrapped.
        opening_entity_name: of the caller of that.
    """

    entry: Entry
    key_version: int
    entity_name: str | None
    opening: Entry | None = None
    opening_entity_name: str | None = None

    @property
    def read(self) -> TokenRead | None:
        """Mount and role when the engine gave the token, None when Transit signed it."""
        return token_read(self.entry)

    @property
    def lease_id(self) -> str:
        """Of the token in Vault, which Apple knows nothing of; "" for none, and where the log does not tell it."""
        return self.entry.lease_id or (self.opening.lease_id if self.opening is not None else "")


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
        engine_signers: the same in the engine.
        in_clear: whether the logs hold the token itself, so that their readers can use such tokens.
        held: answers with this token of mounts that are not known to be of the engine.
        until: Unix seconds until when it can have been signed: its expiry, or the moment of asking if that was earlier.
        similar: when none is proved: calls that signed the same header and payload.
        alike: when none is proved: reads that gave a token of the same key and expiry, when it may be this one.
        wrapped: when none is proved: other calls that signed with the key, or read a token when this one was made, and
            whose answer was wrapped and may be it.
        unanswered: when none is proved: reads of a token when this one was made to which no log has an answer.
        opened: when none is proved: calls that took it out of a wrapping token of unknown origin.
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
    engine_signers: tuple[EngineSigner, ...] = ()
    in_clear: bool = False
    held: tuple[Similar, ...] = ()
    similar: tuple[Similar, ...] = ()
    alike: tuple[Similar, ...] = ()
    wrapped: tuple[Similar, ...] = ()
    unanswered: tuple[Similar, ...] = ()
    opened: tuple[Similar, ...] = ()
    readers: Mapping[Reader, Reads] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class _Asked:
    """What Vault says of a token before a log is looked at, and what is looked for with it; parts of the token too."""

    mark: Marks
    keys: tuple[KnownKey, ...]
    in_transit: Signers
    in_engine: tuple[EngineSigner, ...]
    signatures: Signatures
    given: GivenToken
    inputs: frozenset[str]
    sought: Sought


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
        """Find out who minted a token. `ConfigError` for a log that cannot be read, or an unknown device."""
        asked = self._asked(token)
        found = {log: search(lines(log), asked.sought) for log in logs}
        held = together(found.values())
        links = unwrapped(held.entries, held.opened)
        asked.signatures.add(seen_versions(held.entries, links))
        reads = self._reads(asked, held)
        trace = Trace(
            token,
            self.device,
            asked.keys,
            True if asked.in_engine else _genuine(asked.mark, asked.keys, asked.in_transit),
            tuple(self._signed(proof) for proof in (*proofs(held.entries, links, asked.signatures), *reads.proofs)),
            found,
            asked.in_transit.proved,
            min(token.expires_at, self.clock()),
            asked.in_engine,
            any(asked.given.in_clear(entry) for entry in (*held.token_reads, *held.opened)),
            self._calls(reads.held),
        )
        return trace if trace.signed else self._unproved(trace, asked, held, links, reads)

    def _asked(self, token: Token) -> "_Asked":
        mark, keys = marks(token), tuple(keys_with(self.store, token.key_id))
        in_transit, in_engine = signers(self.store, keys, mark), engine_signers(self.store, keys, mark)
        signatures = Signatures(mark, self._hashed, _versions(keys, in_transit))
        given_token = GivenToken(token, mark, self._hashed, _engine_versions(keys, in_engine))
        inputs = frozenset({mark.content, self._hashed(mark.content)})
        sought = Sought(
            self.namespace,
            self._sign_path(),
            frozenset(_private_path(self.store, key.name) for key in keys),
            token.expires_at,
            inputs | signatures.values(),
            self._hashed(_ALWAYS_ASKED),
            SoughtReads(self.store.layout.engine_mount, token.expires_at, window_of(token), given_token.key_id),
        )
        return _Asked(mark, keys, in_transit, in_engine, signatures, given_token, inputs, sought)

    @staticmethod
    def _reads(asked: "_Asked", held: Together) -> Given:
        links = unwrapped(held.token_reads, held.opened)
        return given(held.token_reads, links, held.opened, asked.given, asked.sought.reads)

    def _unproved(
        self, trace: Trace, asked: "_Asked", held: Together, links: Sequence[Unwrapped], reads: Given
    ) -> Trace:
        """With the calls that may be it, as far as the log shows."""
        similar = [entry for entry in held.entries if not asked.inputs.isdisjoint(entry.inputs())]
        wrapped = unproved(held.entries, links, asked.signatures, {asked.sought.salted, _ALWAYS_ASKED})
        mine = (*self._of_key(wrapped, asked), *self._of_mount(reads.wrapped, asked))
        opened = (entry for entry in held.opened if asked.signatures.version(entry) is not None)
        return replace(
            trace,
            similar=self._calls(similar),
            alike=self._calls(entry for entry in reads.alike if not (trace.genuine and asked.given.another(entry))),
            wrapped=self._calls(mine, {entry.request_id for entry in similar}),
            unanswered=self._calls(self._of_mount(reads.unanswered, asked)),
            opened=self._calls((*opened, *reads.opened)),
            readers=_of_these(held.readers, asked.keys, self.store),
        )

    def _of_mount(self, entries: Iterable[Entry], asked: "_Asked") -> Iterator[Entry]:
        """Reads of the configured mount when the key is there, none when it is elsewhere, all when nobody knows it."""
        there = bool(asked.in_engine) or any(key.engine_versions for key in asked.keys)
        if not there and (asked.keys or asked.in_transit.proved):
            return
        for entry in entries:
            read = token_read(entry)
            where = None if read is None else (entry.namespace, read.mount)
            if not there or where == (self.namespace, self.store.layout.engine_mount):
                yield entry

    def _sign_path(self) -> str:
        return f"{self.store.layout.transit_mount}/sign/"

    def _of_key(self, entries: Iterable[Entry], asked: "_Asked") -> Iterator[Entry]:
        """Calls of the key in Transit, none when it is elsewhere, all when nobody knows it."""
        names = {signer.transit_key for signer in (*asked.in_transit.proved, *asked.in_transit.listed)}
        names |= {name for key in asked.keys for name in key.transit_keys}
        known = names or asked.keys or asked.in_engine
        for entry in entries:
            if not known or entry.path.removeprefix(self._sign_path()).partition("/")[0] in names:
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


def _engine_versions(keys: Iterable[KnownKey], made_by: Iterable[EngineSigner]) -> set[int]:
    return {signer.key_version for signer in made_by}.union(*(key.engine_versions for key in keys))


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
