"""Who may do what, on a real server: every operation with every shipped policy, each token without the default policy.

What is expected, and how each row is tried, is in `policy_table`. The calls are plain HTTP and owe nothing to the
product's own client.
"""

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.conftest import NO_RIGHTS, Root
from tests.integration.policy_table import EXPECTED, KINDS, OPERATIONS, PREFIX, PREFIXES, ROLES, Operation
from tests.vaults import VaultUnderTest, wait_for_kv
from vault_asc import policy
from vault_asc.secret import Secret


class Scene:
    """The store that the operations are tried on, its tokens, and its restoration after a change."""

    def __init__(self, vault: VaultUnderTest, root: Root) -> None:
        self.vault, self.root = vault, root
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = str(vault.ca_file) if vault.ca_file else True
        tag = secrets.token_hex(4)
        self.names = {
            "kv": f"kv-{tag}",
            "nexla": f"nexla-{tag}",
            "approle": f"approle-{tag}",
            "policy": f"bystander-{tag}",
            "p": PREFIX,
            "device": vault.audit_device or "unknown",
        }
        self.tokens: dict[str, Secret] = {}

    def build(self) -> None:
        for mount in (self.names["kv"], self.names["nexla"]):
            self.root("POST", f"sys/mounts/{mount}", {"type": "kv", "options": {"version": "2"}})
            wait_for_kv(self.vault, mount)
        self.root("POST", f"sys/auth/{self.names['approle']}", {"type": "approle"})
        self.root("POST", f"auth/{self.names['approle']}/role/job", {})
        self.root("PUT", f"sys/policies/acl/{self.names['policy']}", {"policy": NO_RIGHTS})
        for name in ("default", "second"):
            self.root("POST", f"{self.names['nexla']}/data/asc/nexla/{name}", {"data": {"service_key": "none"}})
        for prefix in PREFIXES:
            self.fill(prefix)
        texts = self.texts()
        for role in ROLES:
            team = {"team": "team-a", "teamless": ""}.get(role)
            self.tokens[role] = self.token(texts[role], team)
        bystander = self.root("POST", "auth/token/create", {"policies": [self.names["policy"]]})["auth"]
        self.names |= {"accessor": bystander["accessor"]}

    def texts(self) -> dict[str, str]:
        store = {"mount": self.names["kv"], "prefix": PREFIX}
        service_key = ("asc/nexla/default", self.names["nexla"])
        team = policy.render("team", mount=self.names["kv"], prefix="asc")
        return {
            "nobody": NO_RIGHTS,
            "key-admin": policy.render("key-admin", **store),
            "registrar": policy.render("registrar", **store),
            "minter": policy.render("minter", **store, key="prod"),
            "publisher": policy.render("publisher", **store, nexla_mount=service_key[1], nexla_path=service_key[0]),
            "auditor": policy.render("auditor", **store),
            "agent": policy.agent(["prod"], [service_key[::-1]], **store),
            "team": team,
            "teamless": team,
            "break-glass": policy.render("break-glass", **store, key="prod"),
        }

    def token(self, text: str, team: str | None = None) -> Secret:
        """A token with one policy; of an entity when `team` is given, with the metadata `team` when it is not empty."""
        name = f"matrix-{secrets.token_hex(4)}"
        self.root("PUT", f"sys/policies/acl/{name}", {"policy": text})
        body: dict[str, Any] = {"policies": [name], "no_default_policy": True, "ttl": "10m"}
        if team is None:
            return Secret(self.root("POST", "auth/token/create", body)["auth"]["client_token"])
        metadata = {"team": team} if team else {}
        entity = self.root("POST", "identity/entity", {"name": name, "metadata": metadata})["data"]["id"]
        accessor = self.root("GET", "sys/auth")["data"]["token/"]["accessor"]
        alias = {"name": name, "canonical_id": entity, "mount_accessor": accessor}
        self.root("POST", "identity/entity-alias", alias)
        role = {"allowed_entity_aliases": [name], "token_no_default_policy": True, "allowed_policies": [name]}
        self.root("POST", f"auth/token/roles/{name}", role)
        self.names["entity"] = entity
        answer = self.root("POST", f"auth/token/create/{name}", {**body, "entity_alias": name})
        return Secret(answer["auth"]["client_token"])

    def fill(self, prefix: str) -> None:
        """Two versions of all three secrets of `prod` and `other`, and nothing else that an operation may have made."""
        for kind in KINDS:
            base = f"{prefix}/{kind}"
            for name in ("prod", "other", "new"):
                self.root("DELETE", f"{self.names['kv']}/metadata/{base}/{name}")
            for name in ("prod", "other"):
                for number in (1, 2):
                    self.root("POST", f"{self.names['kv']}/data/{base}/{name}", {"data": {"value": number}})

    def attempt(self, role: str, operation: Operation) -> int:
        """The status that the operation is answered with; what it changed is put back."""
        status = self.send(self.tokens[role], operation)
        if operation.changes and status in operation.allowed:
            self.fill(PREFIX)
        return status

    def send(self, token: Secret, operation: Operation) -> int:
        headers = {"X-Vault-Token": token.reveal()}
        if operation.method == "PATCH":
            headers["Content-Type"] = "application/merge-patch+json"
        return self.session.request(
            operation.method,
            f"{self.vault.address}/v1/{operation.path.format(**self.names)}",
            json=self.filled(operation.body),
            headers=headers,
            timeout=10,
            allow_redirects=False,
        ).status_code

    def filled(self, body: object) -> object:
        if isinstance(body, dict):
            return {name: self.filled(value) for name, value in body.items()}
        if isinstance(body, list):
            return [self.filled(value) for value in body]
        return body.format(**self.names) if isinstance(body, str) else body

    def close(self) -> None:
        self.session.close()
        for mount in (self.names["kv"], self.names["nexla"]):
            self.root("DELETE", f"sys/mounts/{mount}")
        self.root("DELETE", f"sys/auth/{self.names['approle']}")


@pytest.fixture(scope="module")
def scene(vault: VaultUnderTest, root: Root) -> Iterator[Scene]:
    built = Scene(vault, root)
    built.build()
    yield built
    built.close()


def test_each_row_has_an_operation_and_a_cell_for_each_role(pytestconfig: pytest.Config) -> None:
    assert list(EXPECTED) == list(OPERATIONS)
    assert {len(cells) for cells in EXPECTED.values()} == {len(ROLES)}
    assert {cell for cells in EXPECTED.values() for cell in cells} == {"Y", "."}
    if reporter := pytestconfig.pluginmanager.get_plugin("terminalreporter"):
        cells = len(EXPECTED) * len(ROLES)
        reporter.write_line(f"policy matrix: {len(EXPECTED)} operations x {len(ROLES)} roles = {cells} cells")


def test_each_shipped_policy_is_a_column() -> None:
    assert set(ROLES) == {*policy.SHIPPED, policy.AGENT.name, "nobody", "teamless"}


@pytest.mark.parametrize("name", OPERATIONS)
def test_row(scene: Scene, name: str) -> None:
    operation = OPERATIONS[name]
    observed = {role: scene.attempt(role, operation) for role in ROLES}
    wanted = dict(zip(ROLES, EXPECTED[name], strict=True))
    allowed = {role: "Y" if status in operation.allowed else "." for role, status in observed.items()}
    assert allowed == wanted, observed
    assert {observed[role] for role in ROLES if wanted[role] == "."} <= {403}


def test_row_can_fail_in_both_directions(scene: Scene) -> None:
    root = scene.vault.root_token
    operation = OPERATIONS["read private part"]
    assert scene.send(root, operation) in operation.allowed
    assert scene.send(scene.token(NO_RIGHTS), operation) == 403


@pytest.mark.parametrize("team", ["+", "*", "team-*", "team-a/keys", "team-a/../team-b", "{{x}}"])
def test_strange_team_name_opens_nothing(scene: Scene, team: str) -> None:
    token = scene.token(policy.render("team", mount=scene.names["kv"], prefix="asc"), team)
    for name in ("read private part", "read private part of team-b", "read record", "list records", "list teams"):
        assert scene.send(token, OPERATIONS[name]) in {400, 403}


def test_kv_operations_are_ones_that_the_server_knows(scene: Scene) -> None:
    # A misspelt path is answered with 403 as well, so a row of dots proves something only if root gets through.
    kv = {name: operation for name, operation in OPERATIONS.items() if operation.path.startswith("{kv}/")}
    assert len(kv) > 60
    for name, operation in kv.items():
        assert scene.send(scene.vault.root_token, operation) in operation.allowed, name
        for prefix in PREFIXES if operation.changes else ():
            scene.fill(prefix)
