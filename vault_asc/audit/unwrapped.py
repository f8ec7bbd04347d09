"""What came out of wrapping tokens, led back to the signing calls whose answers went in. Pure.

A caller of Transit may have the answer wrapped; then the signing call shows no signature, and the call that takes it out
does. Both have the hash of the wrapping token. Source: Vault's API of `sys/wrapping`; measured with OpenBao 2.7.2.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from vault_asc.audit.entry import Entry


class Unwrapped(NamedTuple):
    """A signing call, and a call that took its answer out of the wrapping token."""

    signing: Entry
    opening: Entry


def unwrapped(signing: Iterable[Entry], opening: Iterable[Entry]) -> list[Unwrapped]:
    """Each wrapped signing call with the calls that took its answer out, also where it was wrapped again in between."""
    by_token: dict[str, list[Entry]] = defaultdict(list)
    for entry in opening:
        for token in entry.opened:
            by_token[token].append(entry)
    return [Unwrapped(call, entry) for call in signing if call.wrapped for entry in _chain(call, by_token)]


def whole_answer(call: Entry, key_version: int, signature: str) -> str:
    """The whole answer to a signing call, as Vault keeps it behind a wrapping token."""
    answer = {
        "request_id": call.request_id,
        "lease_id": "",
        "renewable": False,
        "lease_duration": 0,
        "data": {"key_version": key_version, "signature": signature},
        "wrap_info": None,
        "warnings": None,
        "auth": None,
    }
    return json.dumps(answer, separators=(",", ":"))


def _chain(call: Entry, by_token: Mapping[str, list[Entry]]) -> Iterator[Entry]:
    seen, tokens = set[str](), [*call.wrapping]
    while tokens:
        for entry in by_token.get(tokens.pop(), ()):
            if entry.request_id not in seen:
                seen.add(entry.request_id)
                tokens.extend(entry.wrapping)
                if not entry.wrapped:
                    yield entry
