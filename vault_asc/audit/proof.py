"""Which calls have made a signature: compares what the log has with the hashes of what it would have. Pure but for those.

The hashes come from Vault, by a function that is handed in.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from typing import NamedTuple

from vault_asc.audit.entry import Entry
from vault_asc.audit.marks import Marks
from vault_asc.audit.unwrapped import Unwrapped, whole


class Proof(NamedTuple):
    """The call that signed, and the one that took the signature out of a wrapping token, if it was in one."""

    signing: Entry
    key_version: int
    opening: Entry | None = None


class Signatures:
    """One signature as it may stand in the log, hashed, or in clear where the mount is tuned so."""

    def __init__(self, mark: Marks, hashed: Callable[[str], str], versions: Iterable[int]) -> None:
        """With the versions of the key that may have signed; `hashed` asks Vault."""
        self._mark, self._hashed = mark, hashed
        self._versions: set[int] = set()
        self._known: dict[str, int] = {}
        self.add(versions)

    def add(self, versions: Iterable[int]) -> None:
        """Further versions that may have signed."""
        for version in set(versions) - self._versions:
            self._versions.add(version)
            for signature in self._mark.signatures(version):
                self._known |= {signature: version, self._hashed(signature): version}

    def values(self) -> frozenset[str]:
        """What is to be looked for."""
        return frozenset(self._known)

    def version(self, entry: Entry) -> int | None:
        """The version with which an entry shows the signature, None when it does not."""
        found = (s.key_version for s in entry.signatures() if self._known.get(s.value) == s.key_version)
        return next(found, None)

    def version_in_whole(self, found: Unwrapped) -> int | None:
        """The same where the log has one hash of the whole answer."""
        answers = {*found.opening.whole_answers()}
        asked = found.signing.asked.get("key_version")
        versions = {asked} if isinstance(asked, int) and asked in self._versions else self._versions
        return next((version for version in sorted(versions) if answers and self._whole(found, version, answers)), None)

    def _whole(self, found: Unwrapped, version: int, answers: Container[str]) -> bool:
        signatures = self._mark.signatures(version)
        texts = [whole(found.signing, {"key_version": version, "signature": value}) for value in signatures]
        return any(text in answers or self._hashed(text) in answers for text in texts)


def proofs(signing: Iterable[Entry], links: Iterable[Unwrapped], known: Signatures) -> Iterator[Proof]:
    """The calls that have made the signature; `links` are those whose answers came out of wrapping tokens."""
    for entry in signing:
        if (version := known.version(entry)) is not None:
            yield Proof(entry, version)
    for found in links:
        version = known.version(found.opening)
        if version is None:
            version = known.version_in_whole(found)
        if version is not None:
            yield Proof(found.signing, version, found.opening)


def unproved(
    signing: Iterable[Entry], links: Iterable[Unwrapped], known: Signatures, salted: Container[object]
) -> Iterator[Entry]:
    """The calls whose answer was wrapped and did not come out as another signature, as far as the log shows.

    `salted` is what a call has as `marshaling_algorithm` when its hashes can be compared.
    """
    others = {
        found.signing.request_id
        for found in links
        if [*found.opening.signatures()] and known.version(found.opening) is None
    }
    for entry in signing:
        comparable = entry.asked.get("marshaling_algorithm") in salted
        if entry.wrapped and not entry.failed and not (comparable and entry.request_id in others):
            yield entry


def seen_versions(signing: Sequence[Entry], links: Iterable[Unwrapped]) -> Iterator[int]:
    """The versions with which the calls have signed, as far as the log has them."""
    for entry in signing:
        asked = entry.asked.get("key_version")
        if entry.wrapped and isinstance(asked, int):
            yield asked
    for entry in (*signing, *(found.opening for found in links)):
        yield from (signature.key_version for signature in entry.signatures())
