"""Reads of tokens of the secrets engine, as far as one line of the log shows them. Pure.

The engine can be mounted anywhere, so a read is told by the kind of mount that the log names, not by where it is. Source:
`vault_asc.engine.paths`; measured with OpenBao 2.7.2: numbers, lease and mount are in clear, all other values hashed.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from vault_asc.audit.entry import RESPONSE, Entry
from vault_asc.names import ENGINE_TYPES
from vault_asc.tokens import BACKDATES, Token

_CALL: Final = b"/token/"
_WRAPPED: Final = b'"wrap_info"'
_ANSWER: Final = b'"expires_at"'
_PATH: Final = r"(?s)(.+)/token/([^/]+)"
_STORES: Final = frozenset({"kv", "generic", "cubbyhole"})  # they answer whatever somebody has put there
_SLACK: Final = 60  # seconds between the time in a token and that of a line: a slow answer, a clock that was set
_MINUTE: Final = 60


class TokenRead(NamedTuple):
    """Of which mount, by which role."""

    mount: str
    role: str


class Window(NamedTuple):
    """Between which moments, in Unix seconds, the engine made a token: it sets `iat` itself, by the server's clock."""

    begin: float
    end: float

    def holds(self, moment: float) -> bool:
        """Whether a line of that moment may be about it."""
        return self.begin - _SLACK <= moment <= self.end + _SLACK


class SoughtReads(NamedTuple):
    """What is looked for.

    Attributes:
        mount: of the engine, as configured.
        expires_at: of the token, Unix seconds; the log has it in clear.
        window: when the token was made.
        salted: hash of the key ID: where no answer has it, the log is of another device.
    """

    mount: str
    expires_at: int
    window: Window
    salted: str


def window_of(token: Token) -> Window:
    """When the engine made this token, if it did."""
    least, most = BACKDATES
    begin = token.issued_at + least
    return Window(begin, max(begin, min(token.issued_at + most, token.expires_at)))


def token_read(entry: Entry) -> TokenRead | None:
    """Mount and role when the path has the form of a read of a token, on whatever mount."""
    found = re.fullmatch(_PATH, entry.path)
    return None if found is None else TokenRead(found[1], found[2])


def of_engine(entry: Entry, mount: str) -> bool:
    """Whether the path is on a mount of the engine: by its type, or as configured where that is not known.

    A mount of KV can hold copies of tokens, below the same names, written there so that somebody else is suspected.
    """
    read = token_read(entry)
    if read is None:
        return False
    kind = entry.mount_type
    return kind in ENGINE_TYPES or (read.mount == mount and kind not in _STORES)


class TokenReads:
    """Reads of tokens that matter, while the lines of a log go by.

    Attributes:
        given: lines with a token that the engine gave, of any key.
        salted: whether any of them has the key ID, hashed with the salt of the device.
        entries: answers with the token's expiry, on whatever mount; all wrapped reads; all reads of the window.
    """

    def __init__(self, sought: SoughtReads) -> None:
        self._sought = sought
        self._expiry = str(sought.expires_at).encode()
        self._salted = sought.salted.encode()
        self._in_window = re.compile(b"|".join(_minutes(sought.window))).search
        self.given = 0
        self.salted = False
        self.entries: list[Entry] = []

    def matters(self, line: bytes) -> bool:
        """Whether a line has to be taken apart for what is looked for."""
        if _CALL not in line:
            return False
        if _ANSWER in line:
            self.given += 1
            self.salted = self.salted or self._salted in line
            if self._expiry in line:
                return True
        return _WRAPPED in line or self._in_window(line) is not None

    def take(self, entry: Entry) -> bool:
        """Keep an entry when it is a read of a token; False for any other call."""
        if token_read(entry) is None:
            return False
        engine = of_engine(entry, self._sought.mount)
        expiring = entry.answer.get("expires_at") == self._sought.expires_at
        if expiring or (engine and (entry.wrapped or self._sought.window.holds(entry.moment))):
            self.entries.append(entry)
        return engine or expiring


def unanswered(reads: Sequence[Entry]) -> Iterator[Entry]:
    """Those to which no log has an answer: at the end of a log that was cut off, or of a server that died."""
    answered = {entry.request_id for entry in reads if entry.kind == RESPONSE}
    return (entry for entry in reads if entry.request_id not in answered and not entry.failed)


def key_version(answer: Mapping[str, Any]) -> int:
    """The version of the key that signed, 0 when the answer does not say."""
    version = answer.get("key_version")
    return version if isinstance(version, int) else 0


def _minutes(window: Window) -> Iterator[bytes]:
    """How the times of the window's minutes begin in a log."""
    first = int(window.begin - _SLACK) // _MINUTE * _MINUTE
    for moment in range(first, int(window.end) + _SLACK + 1, _MINUTE):
        yield datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:").encode()
