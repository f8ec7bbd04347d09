import re

import pytest

from tests.test_policy import DEPLOYMENTS, VALUES, parsed, render
from vault_asc import policy
from vault_asc.names import Custody


def asked_paths() -> list[str]:
    kinds, verbs = ("keys", "private", "staged"), ("data", "metadata", "destroy", "delete", "undelete", "subkeys")
    return [
        *(f"secret/{verb}/asc/{kind}/prod" for kind in kinds for verb in verbs),
        *(f"secret/metadata/asc/{kind}/" for kind in kinds),
        "secret/config",
        "secret/data/asc/nexla/default",
        "secret/data/asc/keys/prod/more",
        "secret/data/asc/team-a/keys/prod",
        "secret/data/asc/keys/NoName",
        "other/data/asc/keys/prod",
        *(
            f"asc-transit/{path}"
            for path in ("sign/asc.prod", "sign/asc.prod/sha2-512", "sign/asc.Prod", "hmac/asc.prod")
        ),
        *(f"asc-transit/keys/asc.prod{below}" for below in ("", "/import", "/import_version", "/config", "/trim")),
        *(f"asc-transit/{path}" for path in ("keys/", "keys/other.x/config", "wrapping_key", "backup/asc.prod", "")),
        "other-transit/sign/asc.prod",
        "sys/policies/acl",
        "sys/policies/acl/x",
        "sys/audit-hash/file",
        "sys/seal",
        "auth/token/lookup-accessor",
    ]


def granting(path: str, capability: str, custodies: tuple[Custody, ...]) -> dict[str, str]:
    """The written names of the policies that grant this, by the parsed texts, and their own names."""
    return {
        policy.policy_name(name, prefix="asc", **{what: VALUES[what] for what in shipped.parameters}): name
        for name, shipped in policy.SHIPPED.items()
        for rule, words in parsed(render(name, custodies=custodies)).items()
        if capability in words and re.fullmatch(re.escape(rule).replace(r"\+", "[^/]*"), path)
    }


@pytest.mark.parametrize("deployed", DEPLOYMENTS)
@pytest.mark.parametrize("capability", ["create", "read", "update", "delete", "list", "patch", "sudo"])
def test_needed_agrees_with_what_is_rendered(capability: str, deployed: tuple[Custody, ...]) -> None:
    for path in asked_paths():
        usual = granting(path, capability, deployed)
        expected = usual or granting(path, capability, tuple(Custody))
        hint = policy.needed(path, capability, mount="secret", prefix="asc", custodies=deployed)
        assert (hint is None) == (not expected), path
        if hint is not None:
            parts = re.fullmatch(
                r'use a token with the shipped policy "(\S+)" \(vault-asc policy write (\S+?)'
                r"( --key prod| --nexla ACCOUNT)?( --custody kv| --custody transit)?\)",
                hint,
            )
            assert parts is not None, hint
            assert expected[parts[1]] == parts[2]
            option = {"key": " --key prod", "nexla_mount": " --nexla ACCOUNT"}
            assert parts[3] == next((option[what] for what in policy.SHIPPED[parts[2]].parameters), None)
            in_transit = path.startswith("asc-transit/")
            assert parts[4] == (None if usual else f" --custody {Custody.TRANSIT if in_transit else Custody.KV}")


@pytest.mark.parametrize(
    ("path", "capability", "role"),
    [
        ("secret/data/asc/keys/prod", "read", "minter"),
        ("secret/data/asc/private/prod", "read", "minter"),
        ("secret/data/asc/private/prod", "create", "key-admin"),
        ("secret/data/asc/keys/prod", "update", "registrar"),
        ("secret/metadata/asc/private/prod", "delete", "break-glass"),
        ("secret/metadata/asc/keys", "list", "auditor"),
        ("secret/metadata/asc/keys/", "list", "auditor"),
        ("secret/data/asc/nexla/default", "read", "publisher"),
        ("asc-transit/sign/asc.prod", "update", "minter --key prod --custody transit"),
        ("asc-transit/keys/asc.prod/import", "update", "key-admin --custody transit"),
        ("asc-transit/wrapping_key", "read", "key-admin --custody transit"),
        ("asc-transit/keys/asc.prod/config", "update", "registrar --custody transit"),
        ("asc-transit/keys/asc.prod", "delete", "break-glass --key prod --custody transit"),
        ("asc-transit/keys", "list", "auditor --custody transit"),
    ],
)
def test_needed_names_the_role_that_is_probably_missing(path: str, capability: str, role: str) -> None:
    hint = policy.needed(path, capability, mount="secret", prefix="asc")
    assert hint is not None
    assert f"policy write {role}" in hint


def test_needed_knows_what_every_policy_has_and_other_service_keys() -> None:
    hint = policy.needed("auth/token/lookup-self", "read", mount="secret", prefix="asc")
    assert hint == "use a token with any shipped policy (vault-asc policy list)"
    assert policy.needed("kv/data/n/x", "read", mount="secret", prefix="asc") is None
    other = policy.needed("kv/data/n/x", "read", mount="secret", prefix="asc", service_keys=[("kv", "n/x")])
    assert other is not None
    assert "policy write publisher" in other


def test_needed_for_another_prefix_and_transit_mount() -> None:
    hint = policy.needed(
        "tr/sign/asc.team-a.prod",
        "update",
        mount="secret",
        prefix="asc/team-a",
        transit_mount="tr",
        custodies=(Custody.TRANSIT,),
    )
    assert hint == (
        'use a token with the shipped policy "asc-team-a-minter-prod" (vault-asc policy write minter --key prod)'
    )
    assert policy.needed("tr/sign/asc.prod", "update", mount="secret", prefix="asc") is None
    assert policy.needed("asc-transit/sign/x.y.prod", "update", mount="secret", prefix="x.y") is None
