"""A Nexla auth template as far as it matters here: its parameters, and where in a request each of them ends up.

It reads what the API shows, which may be little, and decides nothing. No value of a template leaves this module except
the text around a placeholder, and that is not shown in a `repr`.

Source: docs/nexla-api.md, sections 2 and 5; `${name}` is replaced by the parameter, `${name}.as_integer` by a number.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

_PLACEHOLDER: Final = r"\$\{([^{}]+)\}(\.as_integer)?"
_AUTHORIZATION: Final = "authorization"


@dataclass(frozen=True)
class Place:
    """One occurrence of a placeholder.

    Attributes:
        key: key of the template's config.
        bound: whether it becomes part of the Authorization header.
        whole_header: whether the Authorization header is nothing but this.
        number: whether it is made a number, so can hold no token.
    """

    key: str
    bound: bool = False
    whole_header: bool = False
    number: bool = False


@dataclass(frozen=True)
class Parameter:
    """An auth parameter. `places` is empty when no config value uses it, or the config is not shown."""

    name: str
    secured: bool
    places: tuple[Place, ...] = ()

    @property
    def bound(self) -> bool:
        """Whether it becomes part of the Authorization header."""
        return any(place.bound for place in self.places)

    @property
    def may_hold_text(self) -> bool:
        """Whether it can hold a token at all."""
        return not self.places or any(not place.number for place in self.places)


@dataclass(frozen=True)
class Template:
    """An auth template.

    Attributes:
        parameters: those that Nexla names; else, when only the config is shown, its placeholders.
        config_shown: whether the places of the parameters are known.
        adds_bearer: whether another part of the template puts `Bearer` in front.
    """

    id: int
    name: str = ""
    parameters: tuple[Parameter, ...] = ()
    config_shown: bool = False
    adds_bearer: bool = False

    @property
    def usable(self) -> tuple[Parameter, ...]:
        """The parameters that can be the token's: used by the config where that is shown, and not numbers."""
        return tuple(p for p in self.parameters if p.may_hold_text and (p.places or not self.config_shown))

    def parameter(self, name: str) -> Parameter | None:
        """The parameter of that name."""
        return next((p for p in self.parameters if p.name == name), None)


def templates_in(credential: Mapping[str, Any]) -> tuple[Template, ...]:
    """The auth templates that a credential shows: its own first, then the others of its vendor; the fullest of each."""
    vendor = credential.get("vendor")
    others = vendor.get("auth_templates") if isinstance(vendor, dict) else None
    found: dict[int, Template] = {}
    for data in (credential.get("auth_template"), *(others if isinstance(others, list) else ())):
        template = read_template(data)
        if template is not None and (template.id not in found or not found[template.id].parameters):
            found[template.id] = template
    return tuple(found.values())


def template_in_use(credential: Mapping[str, Any]) -> int | None:
    """ID of the template that the credential was made with, when it shows one."""
    template = read_template(credential.get("auth_template"))
    return None if template is None else template.id


def read_template(data: Any) -> Template | None:
    """A template from its object, or from its bare ID; None when it is neither."""
    if isinstance(data, int) and not isinstance(data, bool):
        return Template(data)
    if not isinstance(data, dict) or not isinstance(data.get("id"), int) or isinstance(data["id"], bool):
        return None
    shown = isinstance(data.get("config"), dict) and bool(data["config"])
    config = dict(_leaves(data["config"])) if shown else {}
    places = _places(config)
    return Template(
        data["id"],
        data["name"] if isinstance(data.get("name"), str) else "",
        tuple(_parameters(data.get("auth_parameters"), places)),
        shown,
        any(key.endswith("prefix") and text.strip().lower() == "bearer" for key, text in config.items()),
    )


def _parameters(declared: Any, places: Mapping[str, Sequence[Place]]) -> Iterator[Parameter]:
    entries = [item for item in declared if isinstance(item, dict)] if isinstance(declared, list) else []
    named = {item["name"]: item for item in entries if isinstance(item.get("name"), str)}
    for name in named or places:
        yield Parameter(name, named.get(name, {}).get("secured") is True, tuple(places.get(name, ())))


def _places(config: Mapping[str, str]) -> dict[str, list[Place]]:
    places: dict[str, list[Place]] = {}
    for key, text in config.items():
        for value, bound, header in _values(key, text, config):
            for found in re.finditer(_PLACEHOLDER, value):
                places.setdefault(found[1], []).append(_place(key, value, found, bound=bound, header=header))
    return places


def _place(key: str, value: str, found: re.Match[str], *, bound: bool, header: bool) -> Place:
    before, after = value[: found.start()].strip(), value[found.end() :].strip()
    return Place(
        key,
        bound=bound,
        whole_header=header and not before and not after,
        number=found[2] is not None,
    )


def _values(key: str, text: str, config: Mapping[str, str]) -> Iterator[tuple[str, bool, bool]]:
    """The values in a config entry: text, whether it is bound to Authorization, whether it is that header itself."""
    if key == "request.headers":  # name:value,name:value
        for entry in text.split(","):
            name, _, value = entry.partition(":")
            is_header = name.strip().lower() == _AUTHORIZATION
            yield value, is_header, is_header
            yield name, False, False
    elif key == "api.key.auth.value":
        in_header = config.get("api.key.include.mode", "HEADER").strip().upper() == "HEADER"
        is_header = in_header and config.get("api.key.auth.key", "").strip().lower() == _AUTHORIZATION
        yield text, is_header, is_header
    else:
        # These end in the Authorization header by Nexla's own making, which adds the word in front itself.
        yield text, key == "oauth2.access.token" or key.startswith("token."), False


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """The texts of a config by dotted key, however it is nested."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, member in value.items():
            yield from _leaves(member, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for number, member in enumerate(value):
            yield from _leaves(member, f"{key}.{number}")
