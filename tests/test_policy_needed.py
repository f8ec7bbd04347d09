import re

import pytest

from tests.test_policy import DEPLOYMENTS, VALUES, fits, parsed, render
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
        *(
            f"asc/keys/{path}"
            for path in ("", "prod", "prod/stage", "prod/promote", "prod/retire", "prod/disable", "prod/x")
        ),
        *(f"asc/roles/{path}" for path in ("", "sales", "prod")),
        *(f"asc/token/{path}" for path in ("sales", "prod", "NoName")),
        "asc/config",
        "asc/info",
        "other/token/sales",
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
        if fits(name, custodies=custodies)
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
                r"( --key prod| --role sales| --role prod| --nexla ACCOUNT)?( --custody kv| --custody transit| --custody engine)?\)",
                hint,
            )
            assert parts is not None, hint
            # The role of a reader is the one that was asked for, the parsed texts are of one alone.
            assert expected.get(parts[1]) == parts[2] or parts[3] == " --role prod"
            option = {"key": " --key prod", "role": parts[3], "nexla_mount": " --nexla ACCOUNT"}
            assert parts[3] == next((option[what] for what in policy.SHIPPED[parts[2]].parameters), None)
            where = {"asc-transit": Custody.TRANSIT, "asc": Custody.ENGINE}.get(path.split("/")[0], Custody.KV)
            assert parts[4] == (None if usual else f" --custody {where}")


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
        ("asc/token/sales", "read", "token-reader --role sales --custody engine"),
        ("asc/keys/prod", "create", "key-admin --custody engine"),
        ("asc/keys/prod/stage", "update", "key-admin --custody engine"),
        ("asc/keys/prod/promote", "update", "registrar --custody engine"),
        ("asc/roles/sales", "read", "auditor --custody engine"),
        ("asc/roles/sales", "create", "role-admin --custody engine"),
        ("asc/roles/sales", "delete", "role-admin --custody engine"),
        ("asc/keys/prod", "delete", "break-glass --key prod --custody engine"),
        ("asc/config", "read", "auditor --custody engine"),
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


def test_needed_in_a_mount_of_the_engine_below_the_prefix() -> None:
    def needed(path: str, capability: str) -> str | None:
        where = {"mount": "secret", "prefix": "asc/team-a", "engine_mount": "asc/team-a"}
        return policy.needed(path, capability, service_keys=(), custodies=(Custody.ENGINE,), **where)

    assert str(needed("asc/team-a/token/sales", "read")).endswith("(vault-asc policy write token-reader --role sales)")
    assert needed("asc/token/sales", "read") is None
    assert needed("asc/team-a/config", "update") is None
