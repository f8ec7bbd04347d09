import json
import re
from pathlib import Path
from typing import Final

import pytest

from vault_asc import policy
from vault_asc.names import Custody
from vault_asc.rights import NOT_SEEN, SENSITIVE, Comparison, Ground, Right, compare

PAGE: Final = Path(__file__).parents[1] / "docs" / "policies.md"
GROUND: Final = Ground("kv", "asc/team-a", "tr", "en", {"prod": "asc-minter"}, [("kv", "asc/nexla/x"), ("n", "y")])


def test_the_list_is_that_of_the_documentation() -> None:
    text = PAGE.read_text(encoding="utf-8")
    table = text.split("| path | why |\n|---|---|\n", 1)[1].split("\n\n", 1)[0]
    assert dict(re.findall(r"^\| `([^`]+)` \| (.+) \|$", table, re.MULTILINE)) == SENSITIVE
    assert len(table.splitlines()) == len(SENSITIVE)
    for limit in NOT_SEEN:
        assert f"- {limit}\n" in text


def test_every_shipped_path_of_one_key_is_in_the_list() -> None:
    """Else a policy could lose or gain one without `policy check` seeing it."""
    values = {"key": "prod", "role": "prod", "nexla_mount": "kv", "nexla_path": "asc/nexla/x"}
    # Paths at which Vault shows what somebody already has a name of: nothing that leads on.
    left_out = {"sys/policies/acl", "sys/audit-hash/+", "identity/entity/id/+", "auth/token/lookup-accessor"}
    for name, shipped in policy.SHIPPED.items():
        if name == policy.TEAM:
            continue
        needs = {what: values[what] for what in shipped.parameters}
        text = policy.render(
            name,
            mount="kv",
            prefix="asc/team-a",
            transit_mount="tr",
            engine_mount="en",
            custodies=tuple(Custody),
            **needs,
        )
        for rule in policy.rules(text):
            if rule.path not in left_out:
                assert any(rule.fits(path) for path in GROUND.paths()), f"{name}: {rule.path}"


def test_paths_are_filled_in_and_each_is_there_once() -> None:
    paths = GROUND.paths()
    assert len(set(paths)) == len(paths) == len(SENSITIVE) + 1
    assert not [path for path in paths if re.search(r"[{}]|//", path)]
    assert {"tr/sign/asc.team-a.prod/sha2-512", "sys/policies/acl/asc-minter", "n/data/y"} <= {*paths}
    assert {"en/token/prod", "en/roles/prod", "en/token/another-role", "en/keys/another-key"} <= {*paths}
    of_roles = GROUND._replace(roles=("sales", "another-role")).paths()
    readable = {"en/token/sales", "en/token/another-role", "en/token/another-role-2"}
    assert {path for path in of_roles if path.startswith("en/token/")} == readable
    two = GROUND._replace(policies={"prod": "p", "another-key": "q"}).paths()
    assert {"kv/data/asc/team-a/private/another-key", "kv/data/asc/team-a/private/another-key-2"} <= {*two}
    assert len(set(two)) == len(two)


def test_a_prefix_without_a_name_in_transit_has_no_paths_of_keys_there() -> None:
    paths = GROUND._replace(prefix="x.y").paths()
    assert "kv/data/x.y/private/prod" in paths
    assert [path for path in paths if path.startswith("tr/")] == ["tr/wrapping_key", "tr/keys/"]


def stanza(path: str, *capabilities: str) -> str:
    return f'path "{path}" {{\n  capabilities = {json.dumps(capabilities)}\n}}\n'


@pytest.mark.parametrize(
    ("texts", "has", "lacks", "too_much"),
    [
        ([], [], [], []),
        ([], ["read"], [], ["read"]),
        ([("a/b", ["read"])], [], ["read"], []),
        ([("a/b", ["read"]), ("a/b", ["update"])], ["read", "update"], [], []),
        ([("a/b", ["read"]), ("a/+", ["update"])], ["read"], [], []),
        ([("a/b", ["read"]), ("a/+", ["update"])], ["read", "update"], [], ["update"]),
        ([("+/b", ["update"]), ("a/+", ["read"])], ["read"], [], []),
        ([("a/b", ["read", "update"])], ["create", "update"], ["read"], ["create"]),
        ([("a/b/c", ["read"])], [], [], []),
        ([("a/b", ["read"])], ["root"], [], ["root"]),
        ([], ["root"], [], ["root"]),
    ],
)
def test_comparison(texts: list[tuple[str, list[str]]], has: list[str], lacks: list[str], too_much: list[str]) -> None:
    found = compare([stanza(path, *words) for path, words in texts], {"a/b": frozenset(has)})
    assert found == Comparison(
        tuple(Right("a/b", word) for word in lacks), tuple(Right("a/b", word) for word in too_much)
    )
    assert found.equal == (not lacks and not too_much)
