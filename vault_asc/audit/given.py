"""Whether the engine gave a token, and by which call: one match is exact, as no two tokens are alike. Pure but for hashes.

The hashes come from Vault, by a function that is handed in.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final, NamedTuple

from vault_asc.audit.entry import Entry
from vault_asc.audit.marks import Marks
from vault_asc.audit.proof import Proof
from vault_asc.audit.token_reads import SoughtReads, key_version, of_engine, unanswered
from vault_asc.audit.unwrapped import Unwrapped, whole
from vault_asc.tokens import Token

_HEADER: Final = "Authorization: Bearer "  # what the engine's `header` begins with


class GivenToken:
    """One token as it may stand in the log, hashed, or in clear where mount or device are set so.

    Attributes:
        key_id: hash of its key ID; an answer with that has hashes that can be compared.
    """

    def __init__(self, token: Token, mark: Marks, hashed: Callable[[str], str], versions: Iterable[int]) -> None:
        """With the versions of the key that may have signed; `hashed` asks Vault."""
        self._token, self._texts, self._hashed = token, mark.tokens(), hashed
        self._versions = sorted(set(versions))
        self._clear = {form for text in self._texts for form in (text, _HEADER + text)}
        self._values = self._clear | {hashed(text) for text in self._clear}
        self.key_id = hashed(token.key_id)

    def shown(self, entry: Entry) -> bool:
        """Whether an answer holds this token."""
        return any(value in self._values for value in _values(entry))

    def in_clear(self, entry: Entry) -> bool:
        """Whether everybody who reads the log has the token."""
        return any(value in self._clear for value in _values(entry))

    def alike(self, entry: Entry) -> bool:
        """Whether an answer holds a token of the same key and expiry, which may be this one as far as that tells."""
        answer = entry.answer
        return answer.get("expires_at") == self._token.expires_at and answer.get("key_id") in {
            self.key_id,
            self._token.key_id,
        }

    def another(self, entry: Entry) -> bool:
        """Whether an answer holds another token for certain: the expiry differs, or its hashes can be compared."""
        expires_at = entry.answer.get("expires_at")
        if not isinstance(expires_at, int) or self.shown(entry):
            return False
        comparable = entry.answer.get("key_id") == self.key_id
        return expires_at != self._token.expires_at or (bool(self._texts) and comparable)

    def version(self, found: Unwrapped) -> int | None:
        """The version that signed when this token came out of a wrapping token, None when it did not, or may not have."""
        if self.shown(found.opening):
            return key_version(found.opening.answer)
        answers = {*found.opening.whole_answers()}
        return next((number for number in self._versions if answers and self._whole(found, number, answers)), None)

    def _whole(self, found: Unwrapped, number: int, answers: AbstractSet[str]) -> bool:
        texts = (whole(found.signing, self._data(text, number)) for text in self._texts)
        return any(text in answers or self._hashed(text) in answers for text in texts)

    def _data(self, text: str, number: int) -> Mapping[str, Any]:
        return {
            "expires_at": self._token.expires_at,
            "header": _HEADER + text,
            "key_id": self._token.key_id,
            "key_version": number,
            "scope": list(self._token.scope),
            "token": text,
        }


class Given(NamedTuple):
    """What the reads of a log tell of a token.

    Attributes:
        proofs: the reads that gave it.
        held: answers with it of mounts that are none of the engine: somebody keeps a copy there.
        alike: reads that gave a token of the same key and expiry.
        wrapped: wrapped reads of the time when it was made, unless another token came out.
        unanswered: reads of that time to which no log has an answer.
        opened: calls that took it out of a wrapping token.
    """

    proofs: tuple[Proof, ...]
    held: tuple[Entry, ...]
    alike: tuple[Entry, ...]
    wrapped: tuple[Entry, ...]
    unanswered: tuple[Entry, ...]
    opened: tuple[Entry, ...]


def given(
    reads: Iterable[Entry], links: Iterable[Unwrapped], opened: Iterable[Entry], known: GivenToken, sought: SoughtReads
) -> Given:
    """Sort the reads; `links` are wrapped ones with what came out, `opened` all that came out of wrapping tokens."""
    engine = [entry for entry in reads if of_engine(entry, sought.mount)]
    then = [entry for entry in engine if sought.window.holds(entry.moment)]
    others = {link.signing.request_id for link in links if known.another(link.opening)}
    return Given(
        tuple(_proofs(engine, links, known)),
        tuple(entry for entry in reads if known.shown(entry) and not of_engine(entry, sought.mount)),
        tuple(entry for entry in engine if known.alike(entry)),
        tuple(entry for entry in then if entry.wrapped and entry.request_id not in others),
        tuple(unanswered(then)),
        tuple(entry for entry in opened if known.shown(entry)),
    )


def _proofs(reads: Iterable[Entry], links: Iterable[Unwrapped], known: GivenToken) -> Iterator[Proof]:
    for entry in reads:
        if known.shown(entry):
            yield Proof(entry, key_version(entry.answer))
    for found in links:
        version = known.version(found)
        if version is not None:
            yield Proof(found.signing, version, found.opening)


def _values(entry: Entry) -> Iterator[str]:
    for name in ("token", "header"):
        value = entry.answer.get(name)
        if isinstance(value, str):
            yield value
