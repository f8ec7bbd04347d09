"""A policy's text taken apart: paths, capabilities, and what belongs to one custody. For texts of ours.

A stanza that belongs to one custody begins its comment with `# custody kv:`, to some with `# custody kv, transit:`.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from vault_asc import acl
from vault_asc.names import Custody

STANZA: Final = r'(?ms)(?:^#[^\n]*\n)*^path "(?P<path>[^"]+)" \{\n(?P<body>.*?)^\}\n'
_CAPABILITIES: Final = r"(?m)^ *capabilities *= *\[([^\]]*)\]$"
_WORD: Final = r'"([a-z]+)"'
_OF_CUSTODY: Final = r"# custody ([a-z]+(?:, [a-z]+)*): "


@dataclass(frozen=True)
class Rule:
    """One stanza of a policy: a path, which may hold `+` for one segment, and what is allowed there."""

    path: str
    capabilities: frozenset[str]

    def fits(self, path: str) -> bool:
        """Whether this stanza is about that path."""
        # Measured: "+" stands for an empty segment too, so "keys/+" covers "keys/".
        pattern = "/".join("[^/]*" if part == "+" else re.escape(part) for part in self.path.split("/"))
        return re.fullmatch(pattern, path) is not None

    def grants(self, path: str, capability: str) -> bool:
        """Whether this stanza allows `capability` on `path`."""
        return capability in self.capabilities and self.fits(path)


# Whoever looks for the policy that grants something takes the same few texts apart again and again.
@lru_cache(maxsize=256)
def rules(text: str) -> tuple[Rule, ...]:
    """The stanzas of a policy of ours; this is no parser for other policies. Limits of parameters are left out."""
    return tuple(Rule(found["path"], _capabilities(found["body"])) for found in re.finditer(STANZA, text))


def for_custodies(text: str, custodies: Collection[str]) -> str:
    """The text without the stanzas that belong to other custodies."""
    kept = []
    for block in text.split("\n\n"):
        marked = re.match(_OF_CUSTODY, block)
        if marked is None or any(Custody(name) in custodies for name in marked[1].split(", ")):
            kept.append(block)
    return "\n\n".join(kept)


def lost_paths(old: str, new: str) -> list[str]:
    """Paths that an existing policy has, whoever wrote it and in HCL or JSON, and that the text to replace it has not."""
    here = {rule.path for rule in rules(new)}
    return sorted({stanza.path for stanza in acl.stanzas(old)} - here)


def _capabilities(body: str) -> frozenset[str]:
    # From that line alone: the values that parameters may have are words too.
    return frozenset(word for line in re.findall(_CAPABILITIES, body) for word in re.findall(_WORD, line))
