import re
import shutil
from functools import cache
from pathlib import Path
from typing import Final

import hcl2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault_asc import policy
from vault_asc.errors import ConfigError
from vault_asc.names import Custody, check_name, check_path, transit_key
from vault_asc.policy import shipped
from vault_asc.policy.stanzas import STANZA

FOLDER: Final = Path(__file__).parents[1] / "policies"
VALUES: Final = {"key": "prod", "role": "sales", "nexla_mount": "secret", "nexla_path": "asc/nexla/default"}
PREFIXES: Final = ("asc", "asc/team-a")
ALL: Final = tuple(Custody)
DEPLOYMENTS: Final = (*((custody,) for custody in Custody), ALL)

# The only places where `+` may stand, always as the last segment: any key of this store, or any one object of Vault.
WIDE_SYSTEM_PATHS: Final = {"sys/policies/acl/+", "sys/audit-hash/+", "identity/entity/id/+"}
WIDE_ROLES: Final = {"key-admin", "registrar", "role-admin", "auditor", "team"}
NARROWED: Final = [name for name, shipped_policy in policy.SHIPPED.items() if "key" in shipped_policy.optional]

# What may follow the name of a key in Transit and in the engine, and for whom.
BELOW_A_KEY: Final = dict.fromkeys(("import", "import_version", "stage"), "key-admin") | dict.fromkeys(
    ("config", "promote", "rollback", "retire", "enable", "disable"), "registrar"
)
JWS_ONLY: Final = {
    "input": [],
    "marshaling_algorithm": ["jws"],
    "hash_algorithm": ["sha2-256"],
    "key_version": [],
}
IMPORT_VERSION: Final = {"ciphertext": [], "hash_function": ["SHA256"]}


def render(
    name: str,
    prefix: str = "asc",
    mount: str = "secret",
    custodies: tuple[Custody, ...] = (Custody.KV,),
    key: str | None = None,
    role: str | None = None,
) -> str:
    needs = policy.SHIPPED[name].parameters
    given = {"key": key, "role": role}
    values = {what: VALUES[what] for what in needs} | {what: value for what, value in given.items() if value}
    return policy.render(name, mount=mount, prefix=prefix, custodies=custodies, **values)


def fits(name: str, prefix: str = "asc", custodies: tuple[Custody, ...] = ALL) -> bool:
    """The policy of all teams has no store of one team, and some are for one custody."""
    return (name != "team" or "/" not in prefix) and policy.SHIPPED[name].custody in {None, *custodies}


@cache
def parsed(text: str) -> dict[str, set[str]]:
    stanzas: dict[str, set[str]] = {}
    for stanza in hcl2.loads(text)["path"]:
        for path, body in stanza.items():
            plain = path.strip('"')
            assert plain not in stanzas, f"{plain} is there twice"
            limits = {"required_parameters", "allowed_parameters"}
            assert {name for name in body if not name.startswith("__")} - limits == {"capabilities"}
            stanzas[plain] = {word.strip('"') for word in body["capabilities"]}
    return stanzas


def limits(text: str) -> dict[str, tuple[dict[str, list[str]], list[str]]]:
    """Allowed values of each parameter, and required parameters, of the paths that have any."""
    found = {}
    for stanza in hcl2.loads(text)["path"]:
        for path, body in stanza.items():
            if "allowed_parameters" in body or "required_parameters" in body:
                allowed = {
                    name.strip('"'): [value.strip('"') for value in values]
                    for name, values in body.get("allowed_parameters", {}).items()
                    if not name.startswith("__")
                }
                found[path.strip('"')] = (allowed, [name.strip('"') for name in body.get("required_parameters", [])])
    return found


def all_texts() -> list[tuple[str, str]]:
    texts = [
        (name, render(name, prefix, custodies=custodies))
        for name in policy.SHIPPED
        for prefix in PREFIXES
        for custodies in DEPLOYMENTS
        if fits(name, prefix, custodies)
    ]
    service_keys = [("secret", "asc/nexla/x")]
    for custodies in DEPLOYMENTS:
        text = policy.agent(["a", "b"], service_keys, roles=["c"], mount="secret", prefix="asc", custodies=custodies)
        texts.append(("agent", text))
    return texts


def flags(text: str, name: str) -> list[str]:
    """What the linter has against a policy."""
    found = []
    for path, capabilities in parsed(text).items():
        segments = path.split("/")
        if "*" in path:
            found.append(f"{path}: glob")
        if any("+" in segment and segment != "+" for segment in segments):
            found.append(f"{path}: + inside a segment, where it is no wildcard")
        above_settings = segments[-1] in BELOW_A_KEY and segments[1:-1] == ["keys", "+"]
        if "+" in segments[:-1] and not (above_settings and BELOW_A_KEY[segments[-1]] == name):
            found.append(f"{path}: + elsewhere than as the last segment")
        if segments[1:2] and segments[1] in {"export", "backup", "restore", "byok-export", "encrypt", "hmac"}:
            found.append(f"{path}: leads to a key, or to another use of it")
        if segments[1:2] == ["sign"] and len(segments) > 3:
            found.append(f"{path}: a hash in the path")
        if segments[-1] == "+" and path not in WIDE_SYSTEM_PATHS and name not in WIDE_ROLES:
            found.append(f"{path}: every key, in a policy for one")
        if segments[-1] == "+" and segments[0] in {"sys", "auth", "identity"} and path not in WIDE_SYSTEM_PATHS:
            found.append(f"{path}: every object of Vault")
        if segments[1:2] and segments[1] in {"delete", "undelete", "destroy"} and name != "break-glass":
            found.append(f"{path}: destroys")
        of_role = name == "role-admin" and path.startswith("asc/roles/")
        if "delete" in capabilities and name != "break-glass" and not of_role:
            found.append(f"{path}: deletes")
        found += [f"{path}: {word}" for word in capabilities & {"sudo", "deny", "patch", "root"}]
        if re.fullmatch(r"asc-transit/(sign/.*|keys/.*/.*)", path) and not limits(text).get(path, ({}, []))[0]:
            found.append(f"{path}: any parameters")
        found += in_engine(path, segments, capabilities)
    return found


def in_engine(path: str, segments: list[str], capabilities: set[str]) -> list[str]:
    """The same, of paths in the engine."""
    found = []
    if segments[:2] == ["asc", "keys"] and len(segments) == 3 and "update" in capabilities:
        found.append(f"{path}: replaces a key that is in use")
    if segments[:2] == ["asc", "token"] and (capabilities != {"read"} or "+" in segments):
        found.append(f"{path}: tokens otherwise than by a read, or of every role")
    if path == "asc/config" and capabilities != {"read"}:
        found.append(f"{path}: lifetimes and leases of all")
    return found


@pytest.mark.parametrize(("name", "text"), all_texts())
def test_policy_is_hcl_without_a_flag_and_with_all_that_a_token_needs(name: str, text: str) -> None:
    assert flags(text, name) == []
    stanzas = parsed(text)
    assert [stanzas[path] for path in policy.SELF_PATHS] == [{"read"}, {"update"}, {"update"}]
    assert "$" not in text
    assert {rule.path: set(rule.capabilities) for rule in policy.rules(text)} == stanzas


@pytest.mark.parametrize(
    "stanza",
    [
        'path "secret/data/asc/keys/*" { capabilities = ["read"] }',
        'path "secret/data/asc*" { capabilities = ["read"] }',
        'path "secret/+/asc/keys/prod" { capabilities = ["read"] }',
        'path "secret/data/+/keys/prod" { capabilities = ["read"] }',
        'path "secret/data/asc/keys/a+" { capabilities = ["read"] }',
        'path "secret/data/asc/private/+" { capabilities = ["read"] }',
        'path "secret/destroy/asc/private/prod" { capabilities = ["update"] }',
        'path "secret/metadata/asc/private/prod" { capabilities = ["delete"] }',
        'path "sys/audit" { capabilities = ["read", "sudo"] }',
        'path "secret/data/asc/keys/prod" { capabilities = ["deny"] }',
        'path "auth/token/roles/+" { capabilities = ["read"] }',
        'path "asc-transit/keys/*" { capabilities = ["read"] }',
        'path "asc-transit/sign/asc.+" { capabilities = ["update"] }',
        'path "asc-transit/sign/asc.prod" { capabilities = ["update"] }',
        'path "asc-transit/sign/asc.prod/sha2-512" { capabilities = ["update"] allowed_parameters = { "input" = [] } }',
        'path "asc-transit/keys/+/config" { capabilities = ["update"] allowed_parameters = { "exportable" = [] } }',
        'path "asc-transit/keys/asc.prod/config" { capabilities = ["update"] }',
        'path "asc-transit/export/signing-key/asc.prod" { capabilities = ["read"] }',
        'path "asc-transit/backup/asc.prod" { capabilities = ["read"] }',
        'path "asc/keys/prod" { capabilities = ["create", "update"] }',
        'path "asc/keys/+/promote" { capabilities = ["update"] }',
        'path "asc/roles/sales" { capabilities = ["delete"] }',
        'path "asc/token/+" { capabilities = ["read"] }',
        'path "asc/token/sales" { capabilities = ["read", "update"] }',
        'path "asc/config" { capabilities = ["read", "update"] }',
    ],
)
def test_linter_sees_what_is_too_broad(stanza: str) -> None:
    assert flags(stanza, "minter")


@pytest.mark.parametrize("custody", Custody)
@pytest.mark.parametrize("name", policy.SHIPPED)
def test_only_the_promised_roles_touch_private_parts(name: str, custody: Custody) -> None:
    if not fits(name, custodies=(custody,)):
        return
    text = render(name, custodies=(custody,))
    private = {word for path, words in parsed(text).items() if "/data/" in path and "private" in path for word in words}
    expected: dict[Custody, dict[str, set[str]]] = {
        Custody.KV: {"minter": {"read"}, "team": {"read"}, "key-admin": {"create", "update"}},
        Custody.TRANSIT: {"key-admin": {"create", "update"}},
        Custody.ENGINE: {},
    }
    assert private == expected[custody].get(name, set())


@pytest.mark.parametrize("name", policy.SHIPPED)
def test_what_each_custody_adds(name: str) -> None:
    tm, prod = "asc-transit", "asc-transit/keys/asc.prod"
    imports = {
        f"{tm}/wrapping_key": {"read"},
        f"{tm}/keys/+": {"read"},
        f"{tm}/keys/+/import": {"update"},
        f"{tm}/keys/+/import_version": {"update"},
    }
    private = {"secret/data/asc/private/+": {"create", "update"}}
    transit: dict[str, dict[str, set[str]]] = {
        "minter": {f"{tm}/sign/asc.prod": {"update"}},
        "key-admin": imports | private,
        "registrar": {f"{tm}/keys/+": {"read"}, f"{tm}/keys/+/config": {"update"}},
        "auditor": {f"{tm}/keys/": {"list"}, f"{tm}/keys/+": {"read"}},
        "break-glass": {prod: {"read", "delete"}, f"{prod}/config": {"update"}},
    }
    kv = {
        "key-admin": private,
        "minter": {"secret/data/asc/private/prod": {"read"}},
        "team": {"secret/data/asc/{{identity.entity.metadata.team}}/private/+": {"read"}},
    }
    facts, names = {"asc/keys/+": {"read"}, "asc/roles/+": {"read"}}, {"asc/keys/": {"list"}, "asc/roles/": {"list"}}
    verbs = ("promote", "rollback", "retire", "enable", "disable")
    every_role = {"asc/roles/+": {"create", "read", "update", "delete"}}
    engine: dict[str, dict[str, set[str]]] = {
        "minter": {"asc/token/prod": {"read"}},
        "key-admin": facts | {"asc/keys/+": {"create", "read"}, "asc/keys/+/stage": {"update"}, "asc/keys/": {"list"}},
        "registrar": facts | {f"asc/keys/+/{verb}": {"update"} for verb in verbs},
        "role-admin": facts | names | every_role | {"asc/config": {"read"}},
        "token-reader": {"asc/token/sales": {"read"}},
        "auditor": facts | names | {"asc/config": {"read"}, "asc/info": {"read"}},
        "break-glass": {f"asc/{kind}/prod": {"read", "delete"} for kind in ("keys", "roles")},
    }
    wanted = dict(zip(Custody, (kv, transit, engine), strict=True))
    found = {
        custody: parsed(render(name, custodies=(custody,))) for custody in Custody if fits(name, custodies=(custody,))
    }
    common = {path for path in found[Custody.ENGINE] if all(path in texts for texts in found.values())}
    if len(found) == 1:
        common = {*policy.SELF_PATHS}
    for custody, texts in found.items():
        assert {path: words for path, words in texts.items() if path not in common} == wanted[custody].get(name, {})
    together: dict[str, set[str]] = {}
    for texts in found.values():
        together |= texts
    assert parsed(render(name, custodies=ALL)) == together


@pytest.mark.parametrize("name", ["role-admin", "token-reader"])
def test_policies_of_the_engine_are_refused_elsewhere(name: str) -> None:
    with pytest.raises(ConfigError, match="is for custody engine") as caught:
        render(name, custodies=(Custody.KV, Custody.TRANSIT))
    assert caught.value.hint == 'add --custody engine, or "engine" to store.custodies'


def test_the_role_of_a_key_has_its_name_unless_another_is_said() -> None:
    for name, path in {"minter": "token", "break-glass": "roles"}.items():
        for role in ("prod", "sales"):
            said = None if role == "prod" else role
            text = parsed(render(name, custodies=(Custody.ENGINE,), key="prod", role=said))
            assert [found for found in text if found.startswith(f"asc/{path}/")] == [f"asc/{path}/{role}"]
            assert policy.policy_name(name, prefix="asc", key="prod", role=said) == f"asc-{name}-prod"
    one_role = parsed(render("role-admin", custodies=ALL, role="sales"))
    assert one_role["asc/roles/sales"] == {"create", "read", "update", "delete"}
    assert "asc/roles/+" not in one_role


def test_an_agent_reads_tokens_of_each_key_by_its_own_role() -> None:
    found = parsed(policy.agent({"a": "a", "b": "sales"}, mount="secret", prefix="asc", custodies=ALL))
    assert [path for path in found if path.startswith("asc/token/")] == ["asc/token/a", "asc/token/sales"]


def test_limits_of_parameters_are_these() -> None:
    assert limits(render("minter", custodies=ALL)) == {"asc-transit/sign/asc.prod": (JWS_ONLY, [*JWS_ONLY])}
    assert limits(render("key-admin", custodies=ALL)) == {
        "asc-transit/keys/+/import": (IMPORT_VERSION | {"type": ["ecdsa-p256"]}, []),
        "asc-transit/keys/+/import_version": (IMPORT_VERSION, []),
    }
    assert limits(render("registrar", custodies=ALL)) == {
        "asc-transit/keys/+/config": ({"min_encryption_version": []}, [])
    }
    assert limits(render("break-glass", custodies=ALL)) == {
        "asc-transit/keys/asc.prod/config": ({"deletion_allowed": []}, [])
    }
    for name in ("publisher", "auditor", "team", "role-admin", "token-reader"):
        assert not limits(render(name, custodies=ALL))


@pytest.mark.parametrize("name", NARROWED)
@pytest.mark.parametrize("prefix", PREFIXES)
def test_an_admin_of_one_key_has_the_same_for_that_key_alone(name: str, prefix: str) -> None:
    wide = render(name, prefix, custodies=ALL)
    narrow = parsed(render(name, prefix, custodies=ALL, key="prod"))
    in_transit = transit_key(prefix, "prod")
    expected = {
        path.replace("asc-transit/keys/+", f"asc-transit/keys/{in_transit}").replace("/+", "/prod"): words
        for path, words in parsed(wide).items()
    }
    expected["asc/roles/+"] = expected.pop("asc/roles/prod")  # or it would hide what role-admin grants
    assert narrow == expected
    assert policy.policy_name(name, prefix=prefix, key="prod") == f"{prefix.replace('/', '-')}-{name}-prod"


def test_a_prefix_without_a_name_in_transit_is_refused_for_that_custody_alone() -> None:
    assert "x.y" in render("minter", "x.y")
    with pytest.raises(ConfigError, match="has a dot"):
        render("minter", "x.y", custodies=(Custody.TRANSIT,))


def test_the_transit_mount_is_checked() -> None:
    text = policy.render("auditor", mount="secret", prefix="asc", transit_mount="a/b", custodies=ALL)
    assert 'path "a/b/keys/+"' in text
    with pytest.raises(ConfigError, match="Transit mount"):
        policy.render("auditor", mount="secret", prefix="asc", transit_mount="a*", custodies=ALL)


def test_the_mount_of_the_engine_is_checked() -> None:
    text = policy.render("token-reader", mount="secret", prefix="asc", role="x", engine_mount="a/b", custodies=ALL)
    assert 'path "a/b/token/x"' in text
    for mount in ("a*", "+", 'a"'):
        with pytest.raises(ConfigError, match="mount of the engine"):
            policy.render("token-reader", mount="secret", prefix="asc", role="x", engine_mount=mount, custodies=ALL)


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.hcl")), ids=lambda path: path.stem)
def test_each_file_is_a_head_and_stanzas_between_empty_lines(file: Path) -> None:
    head, *blocks = file.read_text(encoding="utf-8").split("\n\n")
    assert all(line.startswith("#") for line in head.splitlines())
    for block in blocks:
        assert re.fullmatch(STANZA, block.rstrip("\n") + "\n"), block
        marked = re.match(r"# custody (kv|transit|engine|kv, transit): ", block)
        custody = marked[1] if marked else policy.SHIPPED[file.stem].custody
        assert ("${transit_mount}" in block) == (custody == Custody.TRANSIT), block
        assert "${engine_mount}" not in block or custody == Custody.ENGINE, block
        assert marked is None or marked[1] != Custody.ENGINE or "${engine_mount}" in block, block
        assert block.count("custody") == (marked is not None), block


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.hcl")), ids=lambda path: path.stem)
def test_each_file_is_hcl_as_it_stands_and_says_for_whom(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert parsed(text)
    placeholders = set(re.findall(r"\$\{(\w+)\}", text))
    needs = set(policy.SHIPPED[file.stem].parameters)
    usual = {"transit_mount", "transit_key", "transit_keys", "engine_mount"}
    optional = {f"{what}s" for what in policy.SHIPPED[file.stem].optional}
    assert placeholders - usual <= {"mount", "prefix", "role", *optional, *needs}
    assert placeholders >= needs
    assert ({"keys", "transit_keys"} <= placeholders) == (file.stem in NARROWED)
    assert ({"role", "roles"} & placeholders != set()) == policy.SHIPPED[file.stem].takes("role")
    head = text.partition("\npath ")[0]
    assert head.startswith(f"# {file.stem}: ")
    assert all(word in head for word in ("\n# Who:", "\n# Grants:", "\n# Why so:"))


def test_each_file_is_a_shipped_policy() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(policy.SHIPPED)
    assert all(name == shipped.name for name, shipped in policy.SHIPPED.items())


BAD: Final = [
    "",
    "*",
    "+",
    "a/../b",
    "../x",
    "a*",
    'a"',
    "a\n",
    "${key}",
    "$key",
    "{{identity}}",
    "a b",
    "a//b",
    "/a",
    "a/",
]


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("what", ["mount", "prefix", "key", "role", "nexla_mount", "nexla_path"])
def test_value_with_a_meaning_is_refused(what: str, value: str) -> None:
    values = {"mount": "secret", "prefix": "asc"}
    name = {"role": "token-reader", "nexla_mount": "publisher", "nexla_path": "publisher"}.get(what, "minter")
    values |= {parameter: VALUES[parameter] for parameter in policy.SHIPPED[name].parameters} | {what: value}
    with pytest.raises(ConfigError):
        policy.render(name, **values, custodies=ALL)
    with pytest.raises(ConfigError):
        policy.policy_name(name, **values)


plain_or_not = st.one_of(st.text(max_size=5), st.from_regex(r"[a-z0-9][a-z0-9/*+.-]{0,5}", fullmatch=True))


@given(mount=plain_or_not, prefix=plain_or_not, key=plain_or_not)
def test_any_text_is_refused_or_is_exactly_that_key(mount: str, prefix: str, key: str) -> None:
    try:
        text = policy.render("minter", mount=mount, prefix=prefix, key=key)
    except ConfigError:
        return
    expected = {f"{mount}/data/{prefix}/keys/{key}", f"{mount}/data/{prefix}/private/{key}", *policy.SELF_PATHS}
    assert set(parsed(text)) == expected
    assert [check_name(key), check_path(mount, "mount"), check_path(prefix, "prefix")] == [key, mount, prefix]


def test_missing_and_superfluous_values_are_named() -> None:
    with pytest.raises(ConfigError, match='"minter" is for one key') as missing:
        policy.render("minter", mount="secret", prefix="asc")
    assert missing.value.hint == "name it with --key NAME"
    with pytest.raises(ConfigError, match='"token-reader" is for one role') as of_role:
        policy.render("token-reader", mount="secret", prefix="asc", custodies=ALL)
    assert of_role.value.hint == "name it with --role NAME"
    with pytest.raises(ConfigError, match='"auditor" is not for one role'):
        policy.render("auditor", mount="secret", prefix="asc", role="sales")
    with pytest.raises(ConfigError, match='"auditor" is not for one key'):
        policy.render("auditor", mount="secret", prefix="asc", key="prod")
    with pytest.raises(ConfigError, match="no shipped policy 'admin'") as unknown:
        policy.render("admin", mount="secret", prefix="asc")
    assert unknown.value.hint is not None
    assert "key-admin" in unknown.value.hint


@pytest.mark.parametrize("custodies", DEPLOYMENTS)
def test_agent_is_the_union_of_its_minters_readers_and_publishers(custodies: tuple[Custody, ...]) -> None:
    keys, service_keys = ["b", "a", "b"], [("kv", "team/nexla"), ("secret", "asc/nexla/x")]
    where = {"mount": "secret", "prefix": "asc", "transit_mount": "tr", "engine_mount": "en"}
    roles = ["a", "sales"]
    text = policy.agent(keys, service_keys, roles=roles, **where, custodies=custodies)
    parts = [
        *(policy.render("minter", **where, key=key, custodies=custodies) for key in keys),
        *(policy.render("token-reader", **where, role=role, custodies=ALL) for role in roles),
    ]
    for nexla_mount, nexla_path in service_keys:
        parts.append(
            policy.render("publisher", mount="secret", prefix="asc", nexla_mount=nexla_mount, nexla_path=nexla_path)
        )
    union: dict[str, set[str]] = {}
    for part in parts:
        union |= parsed(part)
    assert parsed(text) == union | {"auth/token/revoke-self": {"update"}}
    assert limits(text) == {path: limit for part in parts for path, limit in limits(part).items()}
    assert text.count("What every shipped policy has") == 1
    assert [rule.path for rule in policy.rules(text)][-3:] == list(policy.SELF_PATHS)


def test_an_agent_of_roles_alone_has_nothing_of_keys() -> None:
    text = policy.agent([], roles=["sales"], mount="secret", prefix="asc", custodies=(Custody.KV,))
    assert parsed(text).keys() == {"asc/token/sales", "auth/token/revoke-self", *policy.SELF_PATHS}


def test_agent_without_a_key_is_refused() -> None:
    with pytest.raises(ConfigError, match="without a key"):
        policy.agent([], mount="secret", prefix="asc")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"name": "key-admin", "prefix": "asc"}, "asc-key-admin"),
        ({"name": "minter", "prefix": "asc", "key": "prod"}, "asc-minter-prod"),
        ({"name": "minter", "prefix": "asc/team-a", "key": "prod"}, "asc-team-a-minter-prod"),
        ({"name": "agent", "prefix": "asc/team-a"}, "asc-team-a-agent"),
        (
            {"name": "publisher", "prefix": "asc", "nexla_mount": "secret", "nexla_path": "asc/nexla/default"},
            "asc-publisher-default",
        ),
    ],
)
def test_usual_names_are_plain(values: dict[str, str], expected: str) -> None:
    assert policy.policy_name(**values) == expected


def test_no_two_policies_have_the_same_name() -> None:
    prefixes = [
        "asc",
        "ASC",
        "asc/team",
        "asc-team",
        "asc/team-a",
        "asc-team/a",
        "asc/team/a",
        "asc/minter",
        "asc/x-minter-y",
    ]
    prefixes += ["asc/key", "asc/break", "asc/key-admin", "asc/break-glass"]
    prefixes += ["asc/role", "asc/token", "asc/role-admin", "asc/x-token-reader", "asc/x-role-admin-y"]
    prefixes += ["asc/registrar", "asc/x-registrar-y", "asc/x-key-admin", "asc/x-key"]
    keys = ["prod", "auditor", "y-auditor", "team", "key-admin", "admin", "glass-prod", "registrar", "x-registrar"]
    names: list[str] = []
    for mount in ("secret", "secret2"):
        for prefix in prefixes:
            for name, one in policy.SHIPPED.items():
                if not fits(name, prefix):
                    continue
                if one.keyed:
                    names += [policy.policy_name(name, mount=mount, prefix=prefix, key=key) for key in keys]
                elif one.takes("role"):
                    names += [policy.policy_name(name, mount=mount, prefix=prefix, role=role) for role in keys]
                if not one.parameters:
                    names.append(policy.policy_name(name, mount=mount, prefix=prefix))
                elif one.takes("nexla_mount"):
                    for path in (f"{prefix}/nexla/prod", "nexla/prod", f"{prefix}/nexla/Prod"):
                        names += [
                            policy.policy_name(name, mount=mount, prefix=prefix, nexla_mount=m, nexla_path=path)
                            for m in ("secret", "secret2")
                        ]
    assert len({name.lower() for name in names}) == len(names)
    assert all(re.fullmatch(r"[a-z0-9_.-]+", name) for name in names)


def test_texts_are_found_in_a_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tmp_path / "vault_asc"
    shutil.copytree(FOLDER, installed / "policies")
    monkeypatch.setattr(shipped, "files", lambda package: tmp_path / package)
    (installed / "policies" / "minter.hcl").write_text("# from the wheel\n", encoding="utf-8")
    shipped.text_of.cache_clear()
    assert render("minter") == "# from the wheel\n"
    shipped.text_of.cache_clear()


def test_missing_text_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped, "files", lambda package: tmp_path / package)
    monkeypatch.setattr(shipped, "__file__", str(tmp_path / "vault_asc" / "policy" / "shipped.py"))
    shipped.text_of.cache_clear()
    with pytest.raises(ConfigError, match='text of policy "minter" is missing'):
        render("minter")
    shipped.text_of.cache_clear()


@pytest.mark.parametrize(
    ("old", "lost"),
    [
        ("", []),
        ("# only a comment", []),
        ('# path "secret/x" { }\n  // path "secret/y" {}', []),
        ('path "secret/x" { capabilities = ["read"] }', ["secret/x"]),
        ('path "secret/x/*"\n{\n}\npath "a" {}', ["a", "secret/x/*"]),
        ('{"path": {"secret/x": {"capabilities": ["read"]}}}', ["secret/x"]),
        ('path "auth/token/lookup-self" { capabilities = ["read"] }', []),
        (
            '{"path": {"t/sign/x": {"capabilities": ["update"], "allowed_parameters": {"input": []}}}}',
            ["t/sign/x"],
        ),
        ('path "t/sign/x" {\n  allowed_parameters = {\n    "input" = []\n  }\n}', ["t/sign/x"]),
    ],
)
def test_what_a_write_would_take_away(old: str, lost: list[str]) -> None:
    assert policy.lost_paths(old, policy.render("auditor", mount="secret", prefix="asc")) == lost


@pytest.mark.parametrize("name", policy.SHIPPED)
def test_a_policy_takes_nothing_away_from_itself(name: str) -> None:
    for custodies in DEPLOYMENTS:
        if not fits(name, custodies=custodies):
            continue
        text = render(name, custodies=custodies)
        assert policy.lost_paths(text, text) == []
        assert policy.lost_paths(text, render(name, custodies=ALL)) == []


def test_a_custody_taken_away_is_told() -> None:
    both = render("minter", custodies=ALL)
    places = {
        Custody.KV: "secret/data/asc/private/prod",
        Custody.TRANSIT: "asc-transit/sign/asc.prod",
        Custody.ENGINE: "asc/token/prod",
    }
    for kept in Custody:
        lost = [places[custody] for custody in Custody if custody is not kept]
        assert policy.lost_paths(both, render("minter", custodies=(kept,))) == sorted(lost)
    other_role = render("minter", custodies=ALL, key="prod", role="sales")
    assert policy.lost_paths(both, other_role) == [places[Custody.ENGINE]]


@pytest.mark.parametrize(("prefix", "above"), [("asc/team-a", "asc"), ("a/b/c", "a/b")])
def test_the_policy_of_all_teams_is_for_the_prefix_above_them(prefix: str, above: str) -> None:
    for made in (policy.render, policy.policy_name):
        with pytest.raises(ConfigError, match="which has one segment") as caught:
            made("team", mount="secret", prefix=prefix)
        assert str(caught.value.hint).endswith(f'"{above}"')
