"""What the service tells: events, and their form as one line each. Pure; where the lines go is the caller's business.

A line holds no secret: details are the messages of our errors, which hold none, and the whole line is masked once more.
"""

import json
import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from vault_asc.clock import iso
from vault_asc.secret import mask

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Event(NamedTuple):
    """Something that has happened.

    Attributes:
        name: what, in one or two words.
        level: of `logging`.
        target: whose, None for those of the whole service.
        facts: further values, none of them secret.
    """

    name: str
    level: int
    target: str | None = None
    facts: Mapping[str, Any] = _NOTHING


Tell = Callable[[Event], None]


def as_json(event: Event, now: float) -> str:
    """One line of JSON in ASCII, so that no control character or line separator is in it."""
    head = {"time": iso(now), "level": _level(event), "event": event.name}
    whose = {} if event.target is None else {"target": event.target}
    return mask(json.dumps({**head, **whose, **event.facts}, default=str))


def as_text(event: Event, now: float) -> str:
    """One line for people: `TIME LEVEL event target=sales left=299 detail="..."`, without what there is not (`None`)."""
    facts = {**({} if event.target is None else {"target": event.target}), **event.facts}
    said = "".join(f" {name}={_value(value)}" for name, value in facts.items() if value is not None)
    return mask(f"{iso(now)} {_level(event).upper():<7} {event.name}{said}")


def _level(event: Event) -> str:
    return logging.getLevelName(event.level).lower()


def _value(value: Any) -> str:
    """Plain where that is unambiguous, else as a JSON string, which escapes everything that is not ASCII."""
    text = str(value)
    plain = text.isascii() and text.isprintable() and text and not set(text) & set(' "=\\')
    return text if plain else json.dumps(text)
