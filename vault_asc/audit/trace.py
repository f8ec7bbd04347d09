"""From a token to the call that signed it: asks Vault for the hashes, reads the logs, compares. See docs/audit.md."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from vault_asc.audit.entry import RESPONSE, Entry
from vault_asc.audit.known import KnownKey, keys_with
from vault_asc.audit.log import lines
from vault_asc.audit.marks import Marks, marks
from vault_asc.audit.search import Findings, Reader, Reads, Sought, search, together
from vault_asc.key.public_key import public_key
from vault_asc.store import Store
from vault_asc.tokens import Token
from vault_asc.vault import Auditing

_ALWAYS_ASKED: Final = "jws"  # the marshaling_algorithm of every call that signs a token


class Signed(NamedTuple):
    """A call that signed the token: proved, because no two signatures are alike."""

    entry: Entry
    key_version: int
    entity_name: str | None


class Similar(NamedTuple):
    """A call that signed the same header and payload, and of which the log does not show this signature."""

    entry: Entry
    entity_name: str | None


@dataclass(frozen=True)
class Trace:
    """What was found.

    Attributes:
        token: that was looked for.
        device: audit device whose salt was used.
        keys: keys of the store with the token's key ID.
        genuine: whether the signature is of the key; None when no record has the public key.
        signed: calls that signed it: one, unless an entry is in two logs of different devices.
        similar: calls that may have signed it, when none is proved.
        readers: of the private parts of the keys until the token expired, when none is proved.
        logs: what each log holds.
    """

    token: Token
    device: str
    keys: tuple[KnownKey, ...]
    genuine: bool | None
    signed: tuple[Signed, ...]
    similar: tuple[Similar, ...]
    readers: Mapping[Reader, Reads]
    logs: Mapping[Path, Findings]


@dataclass(frozen=True)
class Tracer:
    """Traces tokens of one store.

    Attributes:
        store: whose records tell which key a token is of.
        auditing: calls to the server that has written the log.
        device: name of its audit device.
        namespace: of the store, without slashes around it, "" for none.
    """

    store: Store
    auditing: Auditing
    device: str
    namespace: str = ""

    def trace(self, token: Token, logs: Iterable[Path]) -> Trace:
        """Find out who signed a token. `ConfigError` for a log that cannot be read, or an unknown device."""
        mark, keys = marks(token), tuple(keys_with(self.store, token.key_id))
        known = self._signatures(mark, {version for key in keys for version in key.transit_versions})
        inputs = {mark.content, self._hashed(mark.content)}
        sought = self._sought(token, keys, inputs | {*known})
        found = {log: search(lines(log), sought) for log in logs}
        entries, readers = together(found.values())
        known |= self._signatures(mark, {s.key_version for e in entries for s in e.signatures()} - {*known.values()})
        signed = tuple(self._signed(entry, known) for entry in entries if _version(entry, known) is not None)
        return Trace(
            token,
            self.device,
            keys,
            _genuine(mark, keys),
            signed,
            () if signed else self._similar(entries, inputs),
            {} if signed else _of_these(readers, keys, self.store),
            found,
        )

    def _sought(self, token: Token, keys: Sequence[KnownKey], values: set[str]) -> Sought:
        layout = self.store.layout
        return Sought(
            self.namespace,
            f"{layout.transit_mount}/sign/",
            frozenset(_private_path(self.store, key.name) for key in keys),
            token.expires_at,
            frozenset(values),
            self._hashed(_ALWAYS_ASKED),
        )

    def _signatures(self, mark: Marks, versions: Iterable[int]) -> dict[str, int]:
        """Key version by what stands in the log for its signature, hashed, or in clear where the mount is tuned so."""
        return {
            value: version
            for version in versions
            for signature in mark.signatures(version)
            for value in (signature, self._hashed(signature))
        }

    def _hashed(self, value: str) -> str:
        return self.auditing.hashed(self.device, value)

    def _signed(self, entry: Entry, known: Mapping[str, int]) -> Signed:
        return Signed(entry, _version(entry, known) or 0, self._entity(entry))

    def _similar(self, entries: Iterable[Entry], inputs: set[str]) -> tuple[Similar, ...]:
        """One entry for each call that did not fail, the response where there is one."""
        calls: dict[str, Entry] = {}
        for entry in entries:
            if not inputs.isdisjoint(entry.inputs()) and (entry.kind == RESPONSE or entry.request_id not in calls):
                calls[entry.request_id] = entry
        return tuple(Similar(entry, self._entity(entry)) for entry in calls.values() if not entry.failed)

    def _entity(self, entry: Entry) -> str | None:
        return self.auditing.entity_name(entry.caller.entity_id)


def _version(entry: Entry, known: Mapping[str, int]) -> int | None:
    found = (signature for signature in entry.signatures() if known.get(signature.value) == signature.key_version)
    return next((signature.key_version for signature in found), None)


def _genuine(mark: Marks, keys: Iterable[KnownKey]) -> bool | None:
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
