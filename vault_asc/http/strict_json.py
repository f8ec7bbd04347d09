"""JSON as a careful reader takes it, where `json.loads` alone takes more than the standard and more than is safe.

Refused: what is not UTF-8, NaN and infinities (1e999 too), an object with the same key twice, nesting deeper than 32,
integers beyond 2**53 (RFC 8259 section 6: not portable between readers).
"""

import json
import math
from typing import Any, Final

DEPTH_MAX: Final = 32
INTEGER_MAX: Final = 2**53
_DIGITS_MAX: Final = len(str(-INTEGER_MAX))  # looked at first: int() of very many digits is slow, then an error


class StrictJSONError(ValueError):
    """A fixed text that says what is wrong; it never holds a part of the document."""


def loads(document: bytes) -> Any:
    """The value of a JSON document, or `StrictJSONError`.

    The error has neither cause nor context: those of `json` and of the decoder carry the whole document.
    """
    try:
        value = json.loads(
            document.decode("utf-8"),
            parse_constant=_refuse_constant,
            parse_int=_integer,
            parse_float=_number,
            object_pairs_hook=_object,
        )
        _check_depth(value, DEPTH_MAX)
    except StrictJSONError as exc:
        reason = str(exc)
    except UnicodeDecodeError:
        reason = "not UTF-8"
    except ValueError:
        reason = "not JSON"
    except RecursionError:
        reason = "nested too deep"
    else:
        return value
    raise StrictJSONError(reason)


def _refuse_constant(_name: str) -> None:
    raise StrictJSONError("a number that is not finite")


def _integer(digits: str) -> int:
    if len(digits) > _DIGITS_MAX or abs(int(digits)) > INTEGER_MAX:
        raise StrictJSONError("an integer beyond 2**53")
    return int(digits)


def _number(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise StrictJSONError("a number that is not finite")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise StrictJSONError("an object with the same key twice")
    return members


def _check_depth(value: Any, levels_left: int) -> None:
    if not isinstance(value, dict | list):
        return
    if levels_left == 0:
        raise StrictJSONError("nested too deep")
    for member in value.values() if isinstance(value, dict) else value:
        _check_depth(member, levels_left - 1)
