"""Does a token's `scope` allow a request? Apple's rule, with a switch for each thing that Apple does not say."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, unquote_plus

_IGNORED: Final = frozenset({"limit", "cursor", "sort"})  # Apple: these parameters never matter


@dataclass(frozen=True, slots=True)
class ScopeReading:
    """What Apple's text leaves open; the defaults refuse when in doubt.

    Attributes:
        decode_percent: `%5B` in the request equals `[` in the entry.
        further_parameters: an entry without a query allows requests with one.
    """

    decode_percent: bool = True
    further_parameters: bool = False


def allows(entry: str, method: str, path: str, query: str, reading: ScopeReading) -> bool:
    """Whether one entry, such as `GET /v1/apps?filter[platform]=IOS`, matches a request."""
    verb, _, target = entry.partition(" ")
    if verb != "GET" or method != "GET":  # the only method that Apple names
        return False
    scope_path, _, scope_query = target.partition("?")
    decode = unquote if reading.decode_percent else str
    if decode(scope_path) != decode(path):
        return False
    wanted = _parameters(scope_query, reading)
    return wanted == _parameters(query, reading) or (reading.further_parameters and not wanted)


def _parameters(query: str, reading: ScopeReading) -> list[tuple[str, str]]:
    """What counts of a query, in an order of its own: Apple ignores the order."""
    decode = unquote_plus if reading.decode_percent else str
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    return sorted((decode(name), decode(value)) for name, _, value in pairs if decode(name) not in _IGNORED)
