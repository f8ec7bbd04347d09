"""What an ACL policy, whoever wrote it, grants on one path. Pure; it errs on the side of "may grant".

Vault has no call that says which policies grant a path, only what one token may do. So texts are read here, HCL and
JSON, by Vault's published rules: an exact path wins, then the one whose first wildcard comes latest; stanzas of one path
add up, and `deny` beats the rest. A path with a template (`{{...}}`) counts as matching whatever it may stand for.
"""

import json
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

_STRING: Final = r'"(?:[^"\\]|\\.)*"'
_COMMENT: Final = rf"(?s)({_STRING})|#[^\n]*|//[^\n]*|/\*.*?\*/"
_HEAD: Final = rf"({_STRING})\s*[:=]?\s*\{{"
_CAPABILITIES: Final = r'"?capabilities"?\s*[:=]\s*\[([^\]]*)\]'
_LEGACY: Final = r'"?policy"?\s*[:=]\s*"(\w+)"'
_LEGACY_MEANING: Final = {
    "deny": frozenset({"deny"}),
    "read": frozenset({"read", "list"}),
    "write": frozenset({"create", "read", "update", "delete", "list"}),
    "sudo": frozenset({"create", "read", "update", "delete", "list", "sudo"}),
}
_NO_PATH: Final = {"path"}  # JSON's outermost key
_ANY_PATH: Final = "{{unreadable}}*"


class Stanza(NamedTuple):
    """One path of a policy and what is allowed there; None when that could not be read."""

    path: str
    capabilities: frozenset[str] | None


def stanzas(text: str) -> list[Stanza]:
    """All stanzas of a policy."""
    plain = re.sub(_COMMENT, lambda found: found[1] or " ", text)
    return [
        Stanza(path, _capabilities(_body(plain, head.end())))
        for head in re.finditer(_HEAD, plain)
        if (path := _path(head[1])) not in _NO_PATH and not path.endswith("_parameters")
    ]


def grants(text: str, path: str, capability: str) -> bool:
    """Whether a policy allows `capability` on `path`, or may: what could not be read counts as allowed."""
    matching = [stanza for stanza in stanzas(text) if _matches(stanza.path, path)]
    plain = {stanza.path for stanza in matching if "{{" not in stanza.path}
    first = max(plain, key=lambda pattern: _priority(pattern, path), default=None)
    return any(
        _allow([stanza for stanza in matching if stanza.path == pattern], capability)
        for pattern in {stanza.path for stanza in matching} - plain | {first}
    )


def surely_grants(text: str, path: str, capability: str) -> bool:
    """Whether a policy allows `capability` on `path` to whoever has it: templates and what could not be read do not."""
    matching = [stanza for stanza in stanzas(text) if _matches(stanza.path, path) and "{{" not in stanza.path]
    first = max((stanza.path for stanza in matching), key=lambda pattern: _priority(pattern, path), default=None)
    counting = [stanza for stanza in matching if stanza.path == first]
    return all(stanza.capabilities is not None for stanza in counting) and _allow(counting, capability)


def _allow(stanzas: list[Stanza], capability: str) -> bool:
    """Whether the stanzas of one path together allow it."""
    known = [stanza.capabilities for stanza in stanzas if stanza.capabilities is not None]
    allowed = frozenset[str]().union(*known)
    return len(known) < len(stanzas) or (capability in allowed and "deny" not in allowed)


def _path(quoted: str) -> str:
    """The path of a stanza, as Vault reads what stands between the quotes."""
    try:
        return str(json.loads(quoted)).removeprefix("/")
    except ValueError:  # an escape that JSON has not, or a control character
        return _ANY_PATH


def _matches(pattern: str, path: str) -> bool:
    return re.fullmatch("".join(_regex(pattern)), path) is not None


def _regex(pattern: str) -> Iterator[str]:
    body = pattern.removesuffix("*")
    for number, segment in enumerate(body.split("/")):
        yield "/" if number else ""
        yield (
            "[^/]+"
            if segment == "+"
            else "".join(
                ".*" if part.startswith("{{") else re.escape(part) for part in re.split(r"(\{\{.*?\}\})", segment)
            )
        )
    if body != pattern:
        yield ".*"


def _priority(pattern: str, path: str) -> tuple[bool, int, bool, int, int, str]:
    """Vault's order of matching paths; the largest counts."""
    wild = min((at for at in (pattern.find("+"), pattern.find("*")) if at >= 0), default=len(pattern))
    return (pattern == path, wild, not pattern.endswith("*"), -pattern.count("+"), len(pattern), pattern)


def _body(text: str, start: int) -> str:
    """What stands between an opening brace, which ends before `start`, and its closing one."""
    depth = 1
    for found in re.finditer(rf"{_STRING}|[{{}}]", text[start:]):
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        if depth == 0:
            return text[start : start + found.start()]
    return text[start:]


def _capabilities(body: str) -> frozenset[str] | None:
    lists, words = re.findall(_CAPABILITIES, body), re.findall(_LEGACY, body)
    # Nothing, or several, of which one may be the name of a parameter, or letters written as escapes.
    if len(lists) + len(words) != 1 or "\\" in "".join(lists):
        return None
    return _LEGACY_MEANING.get(words[0]) if words else frozenset(re.findall(r"\w+", lists[0]))
