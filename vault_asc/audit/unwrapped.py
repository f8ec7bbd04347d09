"""What came out of wrapping tokens, led back to the calls whose answers went in. Pure.

A caller of Transit or the engine may have the answer wrapped; then that call shows no signature and no token, and the
call that takes it out does. Both have the hash of the wrapping token. Source: Vault's API of `sys/wrapping`; measured with OpenBao 2.7.2.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from vault_asc.audit.entry import Entry


class Unwrapped(NamedTuple):
    """A call that signed (by Transit, or the engine), and a call that took its answer out of the wrapping token."""

    signing: Entry
    opening: Entry


def unwrapped(signing: Iterable[Entry], opening: Iterable[Entry]) -> list[Unwrapped]:
    """Each wrapped call with the calls that took its answer out, also where it was wrapped again in between."""
    by_token: dict[str, list[Entry]] = defaultdict(list)
    for entry in opening:
        for token in entry.opened:
            by_token[token].append(entry)
    return [Unwrapped(call, entry) for call in signing if call.wrapped for entry in _chain(call, by_token)]


def whole(call: Entry, data: Mapping[str, Any]) -> str:
    """The whole answer to a call, as Vault keeps it behind a wrapping token; of a call whose answer has no lease."""
    answer = {
        "request_id": call.request_id,
        "lease_id": "",
        "renewable": False,
        "lease_duration": 0,
        "data": data,
        "wrap_info": None,
        "warnings": None,
        "auth": None,
    }
    text = json.dumps(answer, separators=(",", ":"))
    for sign in "<>&":  # which Go writes so that a browser does not take them for HTML
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _chain(call: Entry, by_token: Mapping[str, list[Entry]]) -> Iterator[Entry]:
    seen, tokens = set[str](), [*call.wrapping]
    while tokens:
        for entry in by_token.get(tokens.pop(), ()):
            if entry.request_id not in seen:
                seen.add(entry.request_id)
                tokens.extend(entry.wrapping)
                if not entry.wrapped:
                    yield entry
