"""What a token may do on the sensitive paths of a key, compared with what shipped policies grant there. Pure.

The list is fixed and stands in docs/policies.md too. It holds what leads to a private part, to a signature, to another
key in use, to the end of a key, or to rights that a token does not have.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from vault_asc.errors import ConfigError
from vault_asc.names import transit_key
from vault_asc.policy import Rule, rules

ROOT: Final = "root"
"""What Vault names as the only capability of a root token, on every path."""

SENSITIVE: Final[Mapping[str, str]] = {
    "{mount}/data/{prefix}/keys/{key}": "the record: write brings another version or custody into use, or stops the key",
    "{mount}/data/{prefix}/private/{key}": "the private part, in custody transit its escrow: read is the key itself",
    "{mount}/data/{prefix}/staged/{key}": "the note about a staged version",
    "{mount}/subkeys/{prefix}/private/{key}": "the fields of the private part",
    "{mount}/metadata/{prefix}/keys/{key}": "write prunes records, delete removes them",
    "{mount}/metadata/{prefix}/private/{key}": "write prunes private parts, delete removes them",
    "{mount}/metadata/{prefix}/staged/{key}": "write prunes notes, delete removes them",
    "{mount}/metadata/{prefix}/keys/": "names of keys",
    "{mount}/metadata/{prefix}/private/": "names of private parts",
    "{mount}/metadata/{prefix}/staged/": "names of notes",
    "{mount}/delete/{prefix}/keys/{key}": "takes versions of the record away",
    "{mount}/delete/{prefix}/private/{key}": "takes versions of the private part away",
    "{mount}/delete/{prefix}/staged/{key}": "takes versions of the note away",
    "{mount}/undelete/{prefix}/keys/{key}": "brings deleted versions of the record back",
    "{mount}/undelete/{prefix}/private/{key}": "brings deleted versions of the private part back",
    "{mount}/undelete/{prefix}/staged/{key}": "brings deleted versions of the note back",
    "{mount}/destroy/{prefix}/keys/{key}": "destroys versions of the record",
    "{mount}/destroy/{prefix}/private/{key}": "destroys versions of the private part",
    "{mount}/destroy/{prefix}/staged/{key}": "destroys versions of the note",
    "{mount}/config": "how many versions are kept",
    "{mount}/data/{prefix}/keys/{other}": "the record of another key",
    "{mount}/data/{prefix}/private/{other}": "the private part of another key",
    "{transit}/wrapping_key": "what keys are wrapped with for an import",
    "{transit}/keys/": "names of keys in Transit",
    "{transit}/keys/{transit_key}": "public keys and settings; update makes a new key, delete removes one",
    "{transit}/keys/{transit_key}/import": "a first version",
    "{transit}/keys/{transit_key}/import_version": "a further version",
    "{transit}/keys/{transit_key}/config": "settings: retire versions, but also make the key exportable",
    "{transit}/keys/{transit_key}/rotate": "a version that nobody has imported",
    "{transit}/keys/{transit_key}/trim": "destroys versions",
    "{transit}/keys/{transit_key}/soft-delete": "stops the key",
    "{transit}/keys/{transit_key}/csr": "signs a certificate request",
    "{transit}/sign/{transit_key}": "signs, so mints",
    "{transit}/sign/{transit_key}/sha2-512": "signs with another hash",
    "{transit}/hmac/{transit_key}": "another use of the key",
    "{transit}/export/signing-key/{transit_key}": "the key itself, once it is exportable",
    "{transit}/byok-export/{other_transit_key}/{transit_key}": "the key itself, wrapped, once it is exportable",
    "{transit}/backup/{transit_key}": "the key itself, once plain-text backup is allowed",
    "{transit}/restore/{transit_key}": "replaces the key",
    "{transit}/sign/{other_transit_key}": "signs with another key",
    "{transit}/keys/{other_transit_key}/config": "settings of another key",
    "{engine}/keys/": "names of keys in the engine",
    "{engine}/keys/{key}": "public facts; create makes the key, update replaces it at once, delete removes it",
    "{engine}/keys/{key}/stage": "a further version",
    "{engine}/keys/{key}/promote": "brings the staged version into use",
    "{engine}/keys/{key}/rollback": "brings the version before into use",
    "{engine}/keys/{key}/retire": "forgets the version before",
    "{engine}/keys/{key}/enable": "lets the key sign again",
    "{engine}/keys/{key}/disable": "stops the key",
    "{engine}/roles/": "names of roles",
    "{engine}/roles/{role}": "what the role gives: write widens it, or has another key sign",
    "{engine}/token/{role}": "a token",
    "{engine}/config": "lifetimes and leases of all roles",
    "{engine}/info": "which version of the engine answers",
    "{engine}/keys/{other}": "another key",
    "{engine}/roles/{other_role}": "another role",
    "{engine}/token/{other_role}": "a token of another role",
    "{service_key}": "a Nexla service key",
    "sys/policies/acl/{policy}": "the policy of the key's minters: write it and have any right",
    "sys/policy/{policy}": "the same by its old path",
    "sys/mounts": "what is mounted",
    "sys/mounts/{mount}": "removes the mount with all keys",
    "sys/mounts/{transit}": "removes the mount with all keys",
    "sys/mounts/{engine}": "removes the mount with all keys",
    "sys/mounts/{engine}/tune": "settings of the mount: also which fields the audit log shows as they are, the private key too",
    "sys/remount": "moves mounts to other paths",
    "sys/audit": "the audit devices",
    "sys/audit/file": "switches an audit device on or off",
    "sys/auth/approle": "how tokens are given out",
    "sys/raw/core/keyring": "Vault's own storage",
    "sys/seal": "stops Vault",
    "sys/plugins/catalog/secret/asc": "which programs Vault runs, and gives the keys of the engine to",
    "sys/plugins/reload/backend": "starts the engine anew, another version perhaps",
    "sys/leases/revoke": "ends leases of others, whose Agents then read again",
    "auth/token/create": "makes further tokens",
    "auth/token/revoke-accessor": "ends tokens of others",
    "identity/entity": "who belongs to which team",
    "auth/token/lookup-self": "what a token needs to know itself",
    "auth/token/renew-self": "what a token needs to live on",
    "sys/capabilities-self": "what this comparison asks",
}
"""Path and why it is in the list. `{other}` is a key that need not exist, `{other_role}` such a role; `{transit}` is the
Transit mount, `{engine}` that of the engine."""

NOT_SEEN: Final = (
    "limits of parameters, such as in which form a key may sign: read them in the policy (vault policy read)",
    "other paths than those of the list",
    "what other tokens may do, also those that the holder of this one can get",
)

_OTHER: Final = "another-key"
_OTHER_ROLE: Final = "another-role"
_WILD: Final = "+"


class Ground(NamedTuple):
    """Where a key lies, for the paths of the list.

    Attributes:
        mount: KV mount of the store.
        prefix: prefix of the store.
        transit_mount: Transit mount of the store.
        engine_mount: mount of the engine.
        policies: name in Vault of the minter policy of each key.
        service_keys: mount and path of each Nexla service key.
        roles: those of the engine; of none, the role of a key has its name.
    """

    mount: str
    prefix: str
    transit_mount: str
    engine_mount: str
    policies: Mapping[str, str]
    service_keys: Collection[tuple[str, str]]
    roles: Collection[str] = ()

    def paths(self) -> list[str]:
        """The sensitive paths of all keys, each once."""
        found = (path for key in self.policies for template in SENSITIVE for path in self._filled(template, key))
        return [*dict.fromkeys(found)]

    def _filled(self, template: str, key: str) -> Iterator[str]:
        if template == "{service_key}":
            yield from (f"{mount}/data/{path}" for mount, path in self.service_keys)
            return
        roles = self.roles or tuple(self.policies)
        other = _unlike(_OTHER, self.policies)
        values = {
            "mount": self.mount,
            "prefix": self.prefix,
            "transit": self.transit_mount,
            "engine": self.engine_mount,
        }
        values |= {"key": key, "other": other, "policy": self.policies[key], "other_role": _unlike(_OTHER_ROLE, roles)}
        if "{role}" in template:
            yield from (template.format(**values, role=role) for role in roles)
            return
        try:
            values["transit_key"] = transit_key(self.prefix, key)
            values["other_transit_key"] = transit_key(self.prefix, other)
        except ConfigError:  # a prefix of which no name in Transit can be made
            if "transit_key}" in template:
                return
        yield template.format(**values)


def _unlike(name: str, known: Collection[str]) -> str:
    while name in known:
        name += "-2"
    return name


class Right(NamedTuple):
    """A capability on a path."""

    path: str
    capability: str


class Comparison(NamedTuple):
    """What a token lacks, and what it has too much."""

    lacks: tuple[Right, ...]
    too_much: tuple[Right, ...]

    @property
    def equal(self) -> bool:
        """Whether the token is as the policies say, as far as that can be seen."""
        return not self.lacks and not self.too_much


def compare(texts: Collection[str], granted: Mapping[str, frozenset[str]]) -> Comparison:
    """Compare the capabilities of a token, by path, with what the texts of shipped policies grant."""
    stanzas = [rule for text in texts for rule in rules(text)]
    lacks: list[Right] = []
    too_much: list[Right] = []
    for path, has in granted.items():
        wanted = _wanted(stanzas, path)
        too_much += (Right(path, capability) for capability in sorted(has - wanted))
        if ROOT not in has:
            lacks += (Right(path, capability) for capability in sorted(wanted - has))
    return Comparison(tuple(lacks), tuple(too_much))


def _wanted(stanzas: Iterable[Rule], path: str) -> frozenset[str]:
    """What a token with all these stanzas has on a path, by Vault's rule: the most exact one alone, equal ones added."""
    fitting = [rule for rule in stanzas if rule.fits(path)]
    best = max((_exactness(rule) for rule in fitting), default=0)
    return frozenset(word for rule in fitting if _exactness(rule) == best for word in rule.capabilities)


def _exactness(rule: Rule) -> int:
    at = rule.path.find(_WILD)
    return len(rule.path) + 1 if at < 0 else at
