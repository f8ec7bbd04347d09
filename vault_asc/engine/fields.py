"""The fields of a request: what each is called and may hold, and taking a body apart by that. Pure.

Clients of Vault send most values as strings, so a string is read as what the field holds where that leaves no doubt.
Everything else is refused, unknown fields too. Values are repeated in messages only as far as an ID may be long: a
private key may stand in the wrong field.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

from vault_asc.clock import parse_duration
from vault_asc.engine.request import RequestError
from vault_asc.names import check_name
from vault_asc.secret import safe_text

_SHOWN_MAX: Final = 40  # characters; an issuer ID has 36, a line of a key 64
_NAME_MAX: Final = 63
_NUMBER_MAX: Final = 10**9
_DIGITS: Final = r"(?a)[0-9]{1,9}"
_DECIMAL: Final = r"(?a)[0-9]{0,9}\.?[0-9]{1,9}"


class Kind(StrEnum):
    """What a field holds, in the words of `path-help`."""

    STRING = "string"
    SECONDS = "duration in seconds"
    NUMBER = "integer"
    DECIMAL = "float"
    BOOLEAN = "bool"
    STRINGS = "list of strings"


class Field(NamedTuple):
    """A field of a body.

    Attributes:
        name: as it is written.
        kind: what it holds.
        text: what it means, for `path-help` and OpenAPI.
        secret: whether its value must never be shown.
    """

    name: str
    kind: Kind
    text: str
    secret: bool = False


def taken(data: Mapping[str, Any], fields: Iterable[Field]) -> dict[str, Any]:
    """The values that were sent, of the type that their field has; absent fields are absent."""
    known = {field.name: field for field in fields}
    found = {}
    for name, value in data.items():
        field = known.get(name)
        if field is None:
            raise _unknown(name, known)
        found[name] = _READERS[field.kind](name, value)
    return found


def checked_name(name: str, what: str) -> str:
    """A name by the grammar of `vault_asc.names`, else `ConfigError` or `RequestError`."""
    if len(name) > _NAME_MAX:  # long enough to be a line of a key
        raise RequestError(f"a {what} name of {len(name)} characters is not allowed", hint=f"use at most {_NAME_MAX}")
    return check_name(name, what)


def shown(text: str) -> str:
    """A value as messages quote it, its length alone when it is longer than any ID."""
    return f'"{safe_text(text)}"' if len(text) <= _SHOWN_MAX else f"of {len(text)} characters"


def _unknown(name: str, known: Iterable[str]) -> RequestError:
    if len(name) > _SHOWN_MAX:
        return RequestError(f"unknown field of {len(name)} characters", hint=_fields_here(known))
    import difflib

    near = difflib.get_close_matches(name, known, 1)
    return RequestError(
        f"unknown field {shown(name)}, nothing was done",
        hint=f'did you mean "{near[0]}"?' if near else _fields_here(known),
    )


def _fields_here(known: Iterable[str]) -> str:
    names = ", ".join(sorted(known))
    return f"fields here: {names}" if names else "there are no fields here"


def _string(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise _mistyped(name, value, "a string")
    return value


def _whole(name: str, value: object) -> int:
    if isinstance(value, str) and re.fullmatch(_DIGITS, value):
        return int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise _mistyped(name, value, "a whole number")
    if abs(value) > _NUMBER_MAX:  # not printed: very many digits are an error of their own
        raise RequestError(f"{name} is out of range", hint=f"use a number up to {_NUMBER_MAX}")
    return value


def _seconds(name: str, value: object) -> int:
    if isinstance(value, str) and not re.fullmatch(_DIGITS, value):
        if len(value) > _SHOWN_MAX:
            raise RequestError(f"{name} of {len(value)} characters is not a duration", hint="write 1140, 19m or 90s")
        return parse_duration(value, name)
    return _whole(name, value)


def _decimal(name: str, value: object) -> float:
    if isinstance(value, str) and re.fullmatch(_DECIMAL, value):
        return float(value)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _mistyped(name, value, "a number")
    if not abs(value) <= _NUMBER_MAX:  # "not" first: NaN is no number either
        raise RequestError(f"{name} is out of range", hint=f"use a number up to {_NUMBER_MAX}")
    return float(value)


def _boolean(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in {"true", "false"}:
        return value.lower() == "true"
    raise _mistyped(name, value, "true or false")


def _strings(name: str, value: object) -> tuple[str, ...]:
    """A list, or one string alone; commas do not separate, because an entry may hold some. Repetitions are dropped."""
    if isinstance(value, str):
        return (value,) if value else ()
    if not isinstance(value, list | tuple):
        raise _mistyped(name, value, "a list of strings")
    return tuple(dict.fromkeys(_string(f"an entry of {name}", entry) for entry in value))


def _mistyped(name: str, value: object, wanted: str) -> RequestError:
    return RequestError(
        f"{name} is {_TYPES.get(type(value), 'no JSON value')}, not {wanted}",
        hint="leave it out to keep what is there" if value is None else f"write {name} as {wanted}",
    )


_TYPES: Final[Mapping[type, str]] = {
    type(None): "null",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "an object",
}
_READERS: Final[Mapping[Kind, Callable[[str, object], Any]]] = {
    Kind.STRING: _string,
    Kind.SECONDS: _seconds,
    Kind.NUMBER: _whole,
    Kind.DECIMAL: _decimal,
    Kind.BOOLEAN: _boolean,
    Kind.STRINGS: _strings,
}
