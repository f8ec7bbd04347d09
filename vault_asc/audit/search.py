"""One pass over the lines of an audit log: who signed, read a token, took one out of a wrapping token, read a key. Pure.

A log has gigabytes. A line is taken apart only when it names one of the paths that matter, and what one line leaves
behind is small: readers are counted, not kept.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from vault_asc.audit.entry import CUBBYHOLE, UNWRAPPING, Caller, Entry, parse
from vault_asc.audit.token_reads import SoughtReads, TokenReads

_ENDS: Final = (b"}\n", b"}")
_OPENING: Final = (UNWRAPPING.encode(), CUBBYHOLE.encode())
_WRAPPED: Final = b'"wrap_info"'
# Two times as fast as looking for each value in turn.
_signing_values: Final = re.compile(rb'"(?:input|signature)"\s*:\s*"([^"]*)"').findall


@dataclass(frozen=True)
class Sought:
    """What is looked for.

    Attributes:
        namespace: of the keys, without slashes around it.
        sign_path: path of Transit up to and with `sign/`.
        private_paths: of the private parts whose readers matter.
        until: Unix seconds; reads after that do not matter.
        values: inputs and signatures as they stand in the log.
        salted: hash of a value that signing calls have: where none has it, the log is of another device.
        reads: of tokens of the engine.
    """

    namespace: str
    sign_path: str
    private_paths: frozenset[str]
    until: float
    values: frozenset[str] = field(repr=False)
    salted: str
    reads: SoughtReads


class Reader(NamedTuple):
    """Who read a private part, and which version; None when the log does not say."""

    path: str
    version: int | None
    caller: Caller


class Reads(NamedTuple):
    """How often somebody read it, and when first and last: (Unix seconds, time as the log has it)."""

    times: int
    first: tuple[float, str]
    last: tuple[float, str]

    def plus(self, other: "Reads") -> "Reads":
        """Both together."""
        return Reads(self.times + other.times, min(self.first, other.first), max(self.last, other.last))


@dataclass(frozen=True)
class Findings:
    """What a log holds.

    Attributes:
        lines: how many lines it has.
        unreadable: how many of them are cut off, or are no entry although they name a path that matters.
        first: the first entry, None when there is none.
        last: the last entry.
        signing: lines of signing calls, of any key.
        salted: whether any of them is hashed with the salt of the device.
        entries: signing calls with one of the values, and those whose answer was wrapped.
        opened: calls that took a signature, a token or a whole answer out of a wrapping token, or wrapped it again.
        readers: of the private parts.
        given: lines with a token of the engine, of any key.
        given_salted: whether any of them has the key ID hashed with the salt of the device.
        token_reads: reads of tokens of the engine that matter, see `TokenReads`.
    """

    lines: int = 0
    unreadable: int = 0
    first: Entry | None = None
    last: Entry | None = None
    signing: int = 0
    salted: bool = False
    entries: tuple[Entry, ...] = ()
    opened: tuple[Entry, ...] = ()
    readers: Mapping[Reader, Reads] = field(default_factory=dict)
    given: int = 0
    given_salted: bool = False
    token_reads: tuple[Entry, ...] = ()


def search(lines: Iterable[bytes], sought: Sought) -> Findings:
    """Look through the lines of one log."""
    found = _Pass(sought)
    for line in lines:
        found.take(line)
    return found.findings()


class Together(NamedTuple):
    """Entries and readers of several logs, in order of time; see `Findings`."""

    entries: list[Entry]
    opened: list[Entry]
    readers: dict[Reader, Reads]
    token_reads: list[Entry]


def together(findings: Iterable[Findings]) -> Together:
    """What several logs hold, whatever their order; an entry that is in two of them counts once."""
    found = [*findings]
    readers: dict[Reader, Reads] = {}
    for one in found:
        for reader, reads in one.readers.items():
            _add(readers, reader, reads)
    return Together(
        _in_order(entry for one in found for entry in one.entries),
        _in_order(entry for one in found for entry in one.opened),
        dict(sorted(readers.items(), key=lambda item: item[1].first)),
        _in_order(entry for one in found for entry in one.token_reads),
    )


def _in_order(entries: Iterable[Entry]) -> list[Entry]:
    # Of two devices: the same call, hashed in another way.
    once = {(entry.request_id, entry.kind, entry.wrapping, entry.opened): entry for entry in entries}
    return sorted(once.values(), key=lambda entry: entry.moment)


class _Pass:
    """Counts and entries, while the lines go by."""

    def __init__(self, sought: Sought) -> None:
        self._sought = sought
        self._sign_path, self._salted = sought.sign_path.encode(), sought.salted.encode()
        self._values = frozenset(value.encode() for value in sought.values)
        self._paths = (*_OPENING, *(path.encode() for path in sought.private_paths))
        self._lines = self._unreadable = self._signing = 0
        self._with_salt = False
        self._first: Entry | None = None
        self._last = b""
        self._entries: list[Entry] = []
        self._opened: list[Entry] = []
        self._readers: dict[Reader, Reads] = {}
        self._reads = TokenReads(sought.reads)

    def take(self, line: bytes) -> None:
        self._lines += 1
        if not line.endswith(_ENDS) and not line.rstrip().endswith(b"}"):
            self._unreadable += bool(line.strip())
            return
        self._last = line
        if self._first is None:
            self._first = parse(line)
        if self._matters(line):
            self._keep(parse(line))

    def findings(self) -> Findings:
        return Findings(
            self._lines,
            self._unreadable,
            self._first,
            parse(self._last),
            self._signing,
            self._with_salt,
            tuple(self._entries),
            tuple(self._opened),
            self._readers,
            self._reads.given,
            self._reads.salted,
            tuple(self._reads.entries),
        )

    def _matters(self, line: bytes) -> bool:
        if self._sign_path in line:
            self._signing += 1
            self._with_salt = self._with_salt or self._salted in line
            if _WRAPPED in line or not self._values.isdisjoint(_signing_values(line)):
                return True
        return self._reads.matters(line) or any(path in line for path in self._paths)

    def _keep(self, entry: Entry | None) -> None:
        if entry is None:
            self._unreadable += 1
        elif entry.opens():  # in whatever namespace: a wrapping token says itself where it belongs
            if entry.wrapped or "token" in entry.answer or [*entry.whole_answers(), *entry.signatures()]:
                self._opened.append(entry)
        elif self._reads.take(entry) or entry.namespace != self._sought.namespace:
            return  # a read of a token matters in whatever namespace: the token alone is proof
        elif entry.path.startswith(self._sought.sign_path):  # the values stand in other calls too, such as our look-up
            self._entries.append(entry)
        elif entry.path in self._sought.private_paths and entry.gave_secret() and entry.moment <= self._sought.until:
            when = (entry.moment, entry.time)
            _add(self._readers, Reader(entry.path, entry.secret_version(), entry.caller), Reads(1, when, when))


def _add(readers: dict[Reader, Reads], reader: Reader, reads: Reads) -> None:
    readers[reader] = readers[reader].plus(reads) if reader in readers else reads
