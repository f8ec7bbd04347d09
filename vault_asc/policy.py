"""The shipped Vault policies: texts from `policies/*.hcl`, filled in for one store, and which of them grants what.

Light, because commands ask it for the hint of a denied call: no HTTP library, no HCL parser. A value enters a text only
after `vault_asc.names` has accepted it, so nothing that means something in HCL or in a policy path gets in.
"""

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Final

from vault_asc.errors import ConfigError
from vault_asc.names import check_name, check_path
from vault_asc.secret import safe_text

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable


@dataclass(frozen=True)
class Shipped:
    """A shipped policy.

    Attributes:
        name: name of its file, and of the role that it is for.
        summary: one line for a list of policies.
        parameters: what has to be named besides mount and prefix: `key`, or `nexla_mount` and `nexla_path`.
    """

    name: str
    summary: str
    parameters: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rule:
    """One stanza of a policy: a path, which may hold `+` for one segment, and what is allowed there."""

    path: str
    capabilities: frozenset[str]

    def grants(self, path: str, capability: str) -> bool:
        """Whether this stanza allows `capability` on `path`."""
        pattern = "/".join("[^/]+" if part == "+" else re.escape(part) for part in self.path.split("/"))
        return capability in self.capabilities and re.fullmatch(pattern, path) is not None


_TEAM: Final = "team"

SHIPPED: Final[Mapping[str, Shipped]] = {
    policy.name: policy
    for policy in (
        Shipped("key-admin", "imports and stages keys, cannot read one back"),
        Shipped("registrar", "promotes, rolls back, disables and enables keys"),
        Shipped("minter", "mints tokens from one key", ("key",)),
        Shipped("publisher", "reads one Nexla service key", ("nexla_mount", "nexla_path")),
        Shipped("auditor", "sees everything that is no secret"),
        Shipped(_TEAM, "mints from every key of the caller's own team"),
        Shipped("break-glass", "destroys one key for good", ("key",)),
    )
}
"""The policies that have a file. The Agent's is composed of theirs, see `agent`."""

AGENT: Final = Shipped("agent", "mints and publishes for the targets of one configuration")

SELF_PATHS: Final = ("auth/token/lookup-self", "auth/token/renew-self", "sys/capabilities-self")
"""What every shipped policy grants, so that tokens need no default policy."""

_SERVICE_KEYS: Final = "nexla"  # below the prefix, where service keys usually are
_PLAIN_MOUNT: Final = "secret"
_PLAIN_LAST: Final = r"[a-z0-9-]*"
_STANZA: Final = r'(?ms)(?:^#[^\n]*\n)*^path "(?P<path>[^"]+)" \{\n(?P<body>.*?)^\}\n'
_COMMENT: Final = r"(?m)^\s*(?:#|//).*$"
_ANY_PATH: Final = r'"([^"\n]+)"\s*[:=]?\s*\{'  # of HCL and of JSON alike; too many matches only make us careful
_WORD: Final = r'"([a-z]+)"'


def render(
    name: str,
    *,
    mount: str,
    prefix: str,
    key: str | None = None,
    nexla_mount: str | None = None,
    nexla_path: str | None = None,
) -> str:
    """The text of a shipped policy for one store. `ConfigError` for an unknown name, or a value that is not plain."""
    shipped = _shipped(name)
    values = _checked(shipped, mount, prefix, key, nexla_mount, nexla_path)
    return Template(_text(shipped)).substitute(values)


def agent(keys: Collection[str], service_keys: Collection[tuple[str, str]] = (), *, mount: str, prefix: str) -> str:
    """The policy of an Agent: minter of each key and publisher of each service key, every stanza once.

    Args:
        keys: names of the keys of its targets.
        service_keys: mount and path of each Nexla service key that it uses.
        mount: KV mount of the store.
        prefix: prefix of the store.
    """
    if not keys:
        raise ConfigError("an Agent without a key needs no policy", hint="add a [[targets]] table")
    store = {"mount": mount, "prefix": prefix}
    texts = [render("minter", **store, key=key) for key in sorted(set(keys))]
    texts += [render("publisher", **store, nexla_mount=m, nexla_path=p) for m, p in sorted(set(service_keys))]
    # Backwards, so that what ends every text stays at the end when it is left once.
    stanzas = {found["path"]: found[0] for text in reversed(texts) for found in reversed([*re.finditer(_STANZA, text)])}
    head = f"# {AGENT.name}: {AGENT.summary} (minter and publisher of each).\n"
    return "\n".join([head, *reversed(stanzas.values())])


def policy_name(
    name: str,
    *,
    mount: str = _PLAIN_MOUNT,
    prefix: str,
    key: str | None = None,
    nexla_mount: str | None = None,
    nexla_path: str | None = None,
) -> str:
    """The name under which a policy is written to Vault, such as `asc-minter-prod` or `asc-team-a-minter-prod`.

    Vault has one flat space of names without upper case, and a write replaces silently. So what could be read as the
    name of another store's policy too (other mount, unusual prefix or service key) ends in a digest of all values.
    """
    shipped = AGENT if name == AGENT.name else _shipped(name)
    values = _checked(shipped, mount, prefix, key, nexla_mount, nexla_path)
    last = key or (nexla_path or "").rpartition("/")[2]
    plain = "-".join([*prefix.split("/"), name, *([last] if last else [])]).lower()
    usual = nexla_path is None or (nexla_mount, nexla_path) == (mount, f"{prefix}/{_SERVICE_KEYS}/{last}")
    if mount == _PLAIN_MOUNT and usual and re.fullmatch(_PLAIN_LAST, last) and _is_plain_prefix(prefix):
        return plain
    digest = hashlib.sha256("\0".join([name, *values.values()]).encode()).hexdigest()
    return f"{plain}-{digest[:8]}"


def needed(
    path: str, capability: str, *, mount: str, prefix: str, service_keys: Collection[tuple[str, str]] = ()
) -> str | None:
    """A hint: which shipped policy grants `capability` on `path`, and how to write it; None when none does.

    Args:
        path: as in a policy, such as `secret/data/asc/keys/prod`; for `list` with or without its last slash.
        capability: such as `read`.
        mount: KV mount of the store.
        prefix: prefix of the store.
        service_keys: mount and path of the Nexla service keys that are not at `<prefix>/nexla/<name>`.
    """
    if path in SELF_PATHS:
        return "use a token with any shipped policy (vault-asc policy list)"
    asked = f"{path.rstrip('/')}/" if capability == "list" and path.startswith(f"{mount}/") else path
    for name, values in _candidates(path, mount, prefix, service_keys):
        try:
            text = render(name, mount=mount, prefix=prefix, **values)
        except ConfigError:  # the last word of the path is no name of a key
            continue
        if any(rule.grants(asked, capability) for rule in rules(text)):
            written = policy_name(name, mount=mount, prefix=prefix, **values)
            option = f" --key {values['key']}" if "key" in values else " --nexla ACCOUNT" if values else ""
            return f'use a token with the shipped policy "{written}" (vault-asc policy write {name}{option})'
    return None


def rules(text: str) -> list[Rule]:
    """The stanzas of a policy of ours; this is no parser for other policies."""
    return [Rule(found["path"], frozenset(re.findall(_WORD, found["body"]))) for found in re.finditer(_STANZA, text)]


def lost_paths(old: str, new: str) -> list[str]:
    """Paths that an existing policy has, whoever wrote it and in HCL or JSON, and that the text to replace it has not."""
    here = {rule.path for rule in rules(new)}
    return sorted({path for path in re.findall(_ANY_PATH, re.sub(_COMMENT, "", old)) if path not in here} - {"path"})


def _candidates(
    path: str, mount: str, prefix: str, service_keys: Collection[tuple[str, str]]
) -> Iterator[tuple[str, dict[str, str]]]:
    """Policies with the values that would make them fit: what is most probably missing first, then the least power."""
    key = {"key": path.rpartition("/")[2]}
    yield "minter", key
    usual = f"{mount}/data/{prefix}/{_SERVICE_KEYS}/"
    for nexla_mount, nexla_path in [*service_keys, (mount, f"{prefix}/{_SERVICE_KEYS}/{path.removeprefix(usual)}")]:
        yield "publisher", {"nexla_mount": nexla_mount, "nexla_path": nexla_path}
    yield from (("auditor", {}), ("key-admin", {}), ("registrar", {}), ("break-glass", key))


def _shipped(name: str) -> Shipped:
    if name not in SHIPPED:
        raise ConfigError(
            f"there is no shipped policy {name!r}", hint=f"choose one of: {', '.join([*SHIPPED, AGENT.name])}"
        )
    return SHIPPED[name]


def _checked(
    shipped: Shipped, mount: str, prefix: str, key: str | None, nexla_mount: str | None, nexla_path: str | None
) -> dict[str, str]:
    """The values of a policy's placeholders, all there, none too many, none with a meaning in HCL or in a path."""
    given = {"key": key, "nexla_mount": nexla_mount, "nexla_path": nexla_path}
    values = {"mount": mount, "prefix": prefix} | {what: value for what, value in given.items() if value is not None}
    if missing := [what for what in shipped.parameters if what not in values]:
        option = "--key NAME" if missing[0] == "key" else "--nexla ACCOUNT"
        raise ConfigError(f'policy "{shipped.name}" is for one {_what(missing[0])}', hint=f"name it with {option}")
    if extra := [what for what in values if what not in {"mount", "prefix", *shipped.parameters}]:
        raise ConfigError(f'policy "{shipped.name}" is not for one {_what(extra[0])}', hint="leave that out")
    for what, value in values.items():
        check_name(value) if what == "key" else check_path(value, _what(what))
    above, _, _ = prefix.rpartition("/")
    if shipped.name == _TEAM and above:
        raise ConfigError(
            f'policy "{_TEAM}" is for the prefix of all teams, which has one segment, not for "{safe_text(prefix)}"',
            hint=f'set store.prefix to the part before the team: "{safe_text(above)}"',
        )
    return values


def _what(parameter: str) -> str:
    return {"nexla_mount": "mount of a Nexla service key", "nexla_path": "path of a Nexla service key"}.get(
        parameter, parameter
    )


def _is_plain_prefix(prefix: str) -> bool:
    """Whether `<prefix>-<role>[-<last>]` can be taken apart in one way only."""
    first, _, team = prefix.partition("/")
    keyed = "|".join(policy.name for policy in SHIPPED.values() if policy.parameters)
    return (
        re.fullmatch(r"[a-z0-9]+", first) is not None
        and (not team or re.fullmatch(_PLAIN_LAST, team) is not None)
        and re.search(rf"(?:^|-)(?:{keyed})(?:-|$)", team) is None
    )


@cache
def _text(shipped: Shipped) -> str:
    # In a wheel the files are beside this module, in a checkout they are at the top.
    places: tuple[Traversable, ...] = (files("vault_asc") / "policies", Path(__file__).parents[1] / "policies")
    for place in places:
        found = place / f"{shipped.name}.hcl"
        if found.is_file():
            return found.read_text(encoding="utf-8")
    raise ConfigError(f'the text of policy "{shipped.name}" is missing', hint="install vault-asc again")
