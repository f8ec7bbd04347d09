"""Who may do what, on a real server: every operation with every shipped policy, each token without the default policy.

Once for each custody, for a deployment whose keys are all in that. What is expected, and how each row is tried, is in
`policy_table`, `transit_table` and `engine_table`. The calls are plain HTTP and owe nothing to the product's own client; what the
product's commands need is in `test_policy_commands`.
"""

import contextlib
import json
import secrets
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import pytest
import urllib3

from tests.conftest import NO_RIGHTS, Root
from tests.integration import engine_table, transit_table
from tests.integration.entities import token_of_team
from tests.integration.policy_table import EXPECTED, KINDS, OPERATIONS, PREFIX, PREFIXES, ROLES, Operation
from tests.support import key_id, new_key
from tests.vaults import VaultUnderTest, wait_for_kv
from vault_asc import policy
from vault_asc.errors import VaultError
from vault_asc.key.wrapping import wrapped
from vault_asc.names import ENGINE_TYPE, Custody
from vault_asc.secret import Secret

KV: Final = Custody.KV
TRANSIT: Final = Custody.TRANSIT
ENGINE: Final = Custody.ENGINE
COLUMNS: Final = {KV: ROLES, TRANSIT: transit_table.ROLES, ENGINE: engine_table.ROLES}
ALL_OPERATIONS: Final = OPERATIONS | transit_table.OPERATIONS | engine_table.OPERATIONS


def denied(rows: Iterable[str], custody: Custody) -> dict[str, tuple[str, ...]]:
    """What is expected of the rows of another custody."""
    return {name: ("Y" if name in engine_table.OPEN else ".",) * len(COLUMNS[custody]) for name in rows}


ALL_EXPECTED: Final = {
    KV: EXPECTED | denied(transit_table.OPERATIONS, KV) | denied(engine_table.OPERATIONS, KV),
    TRANSIT: transit_table.KV_ROWS | transit_table.EXPECTED | denied(engine_table.OPERATIONS, TRANSIT),
    ENGINE: engine_table.KV_ROWS | denied(transit_table.OPERATIONS, ENGINE) | engine_table.EXPECTED,
}
VERSIONS: Final = 4  # keys that the engine's operations write


class Scene:
    """The store that the operations are tried on, its tokens, and its restoration after a change."""

    def __init__(self, vault: VaultUnderTest, root: Root) -> None:
        self.vault, self.root = vault, root
        ca_file = {"ca_certs": str(vault.ca_file)} if vault.ca_file else {}
        self.pool = urllib3.connection_from_url(vault.address, timeout=10, retries=False, **ca_file)
        tag = secrets.token_hex(4)
        self.names = {
            "kv": f"kv-{tag}",
            "nexla": f"nexla-{tag}",
            "transit": f"transit-{tag}",
            "engine": f"engine-{tag}",
            "plugin": ENGINE_TYPE,
            "approle": f"approle-{tag}",
            "policy": f"bystander-{tag}",
            "p": PREFIX,
            "device": vault.audit_device or "unknown",
        }
        for number in range(1, VERSIONS + 1):
            self.names |= {f"pem{number}": new_key().pem.reveal(), f"kid{number}": key_id(number)}
        # The only line of base64 that is full: it ends within the private part.
        self.lines = [self.names[f"pem{number}"].splitlines()[1].encode() for number in range(1, VERSIONS + 1)]
        self.leaked: list[str] = []
        self.custodies = [custody for custody in Custody if custody is not ENGINE or vault.plugin_dir is not None]
        self.tokens: dict[tuple[Custody, str], Secret] = {}

    def build(self) -> None:
        for mount in (self.names["kv"], self.names["nexla"]):
            self.root("POST", f"sys/mounts/{mount}", {"type": "kv", "options": {"version": "2"}})
            wait_for_kv(self.vault, mount)
        self.root("POST", f"sys/auth/{self.names['approle']}", {"type": "approle"})
        self.root("POST", f"auth/{self.names['approle']}/role/job", {})
        self.root("PUT", f"sys/policies/acl/{self.names['policy']}", {"policy": NO_RIGHTS})
        for name in ("default", "second"):
            self.root("POST", f"{self.names['nexla']}/data/asc/nexla/{name}", {"data": {"service_key": "none"}})
        transit = self.names["transit"]
        self.root("POST", f"sys/mounts/{transit}", {"type": "transit"})
        wrapping_key = self.root("GET", f"{transit}/wrapping_key")["data"]["public_key"]
        self.names["ciphertext"] = wrapped(new_key(), wrapping_key)
        for prefix in PREFIXES:
            self.fill(prefix)
        self.fill_transit(transit_table.KEYS)
        if ENGINE in self.custodies:
            self.root("POST", f"sys/mounts/{self.names['engine']}", {"type": ENGINE_TYPE})
            self.fill_engine()
        for custody in self.custodies:
            texts = self.texts(custody)
            for role in COLUMNS[custody]:
                team = {"team": "team-a", "teamless": ""}.get(role)
                self.tokens[custody, role] = self.token(texts[role], team)
        bystander = self.root("POST", "auth/token/create", {"policies": [self.names["policy"]]})["auth"]
        self.names |= {"accessor": bystander["accessor"]}

    def texts(self, *custodies: Custody) -> dict[str, str]:
        """The policy of each column, for a deployment with these custodies."""
        service_key = {"nexla_mount": self.names["nexla"], "nexla_path": "asc/nexla/default"}
        where = {
            "mount": self.names["kv"],
            "transit_mount": self.names["transit"],
            "engine_mount": self.names["engine"],
        }

        def text(name: str, /, chosen: Sequence[str] = custodies, prefix: str = PREFIX, **values: str) -> str:
            return policy.render(name, prefix=prefix, custodies=chosen, **where, **values)

        in_engine = {}
        if ENGINE in custodies:
            in_engine = {
                "role-admin": text("role-admin"),
                "token-reader": text("token-reader", role="sales"),
                "roles/1": text("role-admin", role="sales"),
            }
        return in_engine | {
            "nobody": NO_RIGHTS,
            "key-admin": text("key-admin"),
            "registrar": text("registrar"),
            "minter": text("minter", key="prod"),
            "publisher": text("publisher", **service_key),
            "auditor": text("auditor"),
            "agent": policy.agent(
                ["prod"],
                [(service_key["nexla_mount"], service_key["nexla_path"])],
                roles=["sales"] if ENGINE in custodies else [],
                prefix=PREFIX,
                custodies=custodies,
                **where,
            ),
            "team": text("team", prefix="asc"),
            "teamless": text("team", prefix="asc"),
            "break-glass": text("break-glass", key="prod"),
            "both": text("minter", (KV, TRANSIT), key="prod"),
            "admin/1": text("key-admin", key="prod"),
            "registrar/1": text("registrar", key="prod"),
        }

    def token(self, text: str, team: str | None = None) -> Secret:
        """A token with one policy; of an entity when `team` is given, with the metadata `team` when it is not empty."""
        if team is not None:
            token, self.names["entity"] = token_of_team(self.root, text, team)
            return token
        name = f"matrix-{secrets.token_hex(4)}"
        self.root("PUT", f"sys/policies/acl/{name}", {"policy": text})
        body = {"policies": [name], "no_default_policy": True, "ttl": "10m"}
        return Secret(self.root("POST", "auth/token/create", body)["auth"]["client_token"])

    def fill(self, prefix: str) -> None:
        """Two versions of all three secrets of `prod` and `other`, and nothing else that an operation may have made."""
        for kind in KINDS:
            base = f"{prefix}/{kind}"
            for name in ("prod", "other", "new"):
                self.root("DELETE", f"{self.names['kv']}/metadata/{base}/{name}")
            for name in ("prod", "other"):
                for number in (1, 2):
                    self.root("POST", f"{self.names['kv']}/data/{base}/{name}", {"data": {"value": number}})

    def fill_transit(self, keys: Sequence[str]) -> None:
        """Two versions of each key, as an import leaves them, and nothing else that an operation may have made."""
        transit, ciphertext = self.names["transit"], self.names["ciphertext"]
        version = {"ciphertext": ciphertext, "hash_function": "SHA256"}
        for key in (*keys, *transit_table.NEW_KEYS):
            with contextlib.suppress(VaultError):  # there is none
                self.root("POST", f"{transit}/keys/{key}/soft-delete-restore", {})
            with contextlib.suppress(VaultError):
                self.root("POST", f"{transit}/keys/{key}/config", {"deletion_allowed": True})
                self.root("DELETE", f"{transit}/keys/{key}")
        for key in keys:
            self.root("POST", f"{transit}/keys/{key}/import", {**version, "type": "ecdsa-p256"})
            self.root("POST", f"{transit}/keys/{key}/import_version", version)

    def fill_engine(self) -> None:
        """A version that is current, one before it and one that waits, of each key; the roles; and nothing else."""
        engine = self.names["engine"]
        for kind in ("roles", "keys"):
            with contextlib.suppress(VaultError):  # none is there
                for name in self.root("LIST", f"{engine}/{kind}")["data"]["keys"]:
                    self.root("DELETE", f"{engine}/{kind}/{name}")
        self.root("DELETE", f"{engine}/config")
        bodies = [self.filled(engine_table.key_body(number)) for number in (1, 2, 3)]
        for name in engine_table.KEYS:
            for body in bodies[:2]:
                self.root("POST", f"{engine}/keys/{name}", body)
            self.root("POST", f"{engine}/keys/{name}/stage", bodies[2])
        self.root("POST", f"{engine}/keys/spare", bodies[0])
        for name, role in engine_table.ROLES_THERE.items():
            self.root("POST", f"{engine}/roles/{name}", role)

    def attempt(self, custody: Custody, role: str, operation: Operation) -> int:
        """The status that the operation is answered with; what it changed is put back."""
        status = self.send(self.tokens[custody, role], operation)
        if operation.changes and status in operation.allowed:
            self.put_back(operation)
        if operation.path.endswith("/revoke-self") and status in operation.allowed:
            self.tokens[custody, role] = self.token(self.texts(custody)[role])
        return status

    def put_back(self, operation: Operation) -> None:
        if operation.path.startswith("{engine}/"):
            self.fill_engine()
        elif operation.path.startswith("{transit}/"):
            self.fill_transit([key for key in transit_table.KEYS if f"/{key}" in operation.path])
        else:
            self.fill(PREFIX)

    def send(self, token: Secret, operation: Operation) -> int:
        headers = {"X-Vault-Token": token.reveal()}
        if operation.method == "PATCH":
            headers["Content-Type"] = "application/merge-patch+json"
        body = None if operation.body is None else json.dumps(self.filled(operation.body))
        path = f"/v1/{operation.path.format(**self.names)}"
        answer = self.pool.urlopen(operation.method, path, body, headers, redirect=False)
        self.leaked += [path for line in self.lines if line in answer.data]
        return answer.status

    def filled(self, body: object) -> object:
        if isinstance(body, dict):
            return {name: self.filled(value) for name, value in body.items()}
        if isinstance(body, list):
            return [self.filled(value) for value in body]
        return body.format(**self.names) if isinstance(body, str) else body

    def close(self) -> None:
        self.pool.close()
        for mount in ("kv", "nexla", "transit", "engine"):
            self.root("DELETE", f"sys/mounts/{self.names[mount]}")
        self.root("DELETE", f"sys/auth/{self.names['approle']}")


@pytest.fixture(scope="module")
def scene(request: pytest.FixtureRequest, vault: VaultUnderTest, root: Root) -> Iterator[Scene]:
    if vault.plugin_dir is not None:
        request.getfixturevalue("shared_engine_mount")  # registers the plugin
    built = Scene(vault, root)
    built.build()
    yield built
    built.close()


def test_each_row_has_an_operation_and_a_cell_for_each_role(pytestconfig: pytest.Config) -> None:
    assert list(EXPECTED) == list(OPERATIONS)
    for table in (transit_table, engine_table):
        assert list(table.EXPECTED) == list(table.OPERATIONS)
    assert len(ALL_OPERATIONS) == len(OPERATIONS) + len(transit_table.OPERATIONS) + len(engine_table.OPERATIONS)
    for custody, rows in ALL_EXPECTED.items():
        assert list(rows) == list(ALL_OPERATIONS)
        assert {len(cells) for cells in rows.values()} == {len(COLUMNS[custody])}
        assert {cell for cells in rows.values() for cell in cells} == {"Y", "."}
    if reporter := pytestconfig.pluginmanager.get_plugin("terminalreporter"):
        for custody, roles in COLUMNS.items():
            size = f"{len(ALL_OPERATIONS)} operations x {len(roles)} roles = {len(ALL_OPERATIONS) * len(roles)} cells"
            reporter.write_line(f"policy matrix, custody {custody}: {size}")


def test_each_shipped_policy_is_a_column() -> None:
    everywhere = {name for name, shipped in policy.SHIPPED.items() if shipped.custody is None}
    assert set(ROLES) == {*everywhere, policy.AGENT.name, "nobody", "teamless"}
    assert set(transit_table.ROLES) == {*ROLES, "both", "admin/1", "registrar/1"}
    assert set(engine_table.ROLES) == {*ROLES, *policy.SHIPPED, "admin/1", "registrar/1", "roles/1"}


@pytest.mark.parametrize("custody", Custody)
@pytest.mark.parametrize("name", ALL_OPERATIONS)
def test_row(scene: Scene, name: str, custody: Custody) -> None:
    operation, roles = ALL_OPERATIONS[name], COLUMNS[custody]
    if ENGINE not in scene.custodies and (custody is ENGINE or name in engine_table.OPERATIONS):
        pytest.skip("the server has no plugin directory in reach")
    observed = {role: scene.attempt(custody, role, operation) for role in roles}
    wanted = dict(zip(roles, ALL_EXPECTED[custody][name], strict=True))
    allowed = {role: "Y" if status in operation.allowed else "." for role, status in observed.items()}
    assert allowed == wanted, observed
    assert {observed[role] for role in roles if wanted[role] == "."} <= {403}


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


def test_operations_are_ones_that_the_server_knows(scene: Scene) -> None:
    # A misspelt path is answered with 403 as well, so a row of dots proves something only if root gets through.
    mounts = ("{kv}/", "{transit}/", *(["{engine}/"] if ENGINE in scene.custodies else []))
    known = {name: one for name, one in ALL_OPERATIONS.items() if one.path.startswith(mounts)}
    assert len(known) > 140
    for name, operation in known.items():
        status = scene.send(scene.vault.root_token, operation)
        assert status in operation.allowed, f"{name}: {status}"
        if operation.changes:
            scene.put_back(operation)
            for prefix in PREFIXES if operation.path.startswith("{kv}/") else ():
                scene.fill(prefix)


WRONG: Final = {
    "key-admin": (
        'keys/+" {\n  capabilities = ["create", "read"]',
        'keys/+" {\n  capabilities = ["create", "read", "update"]',
    ),
    "registrar": ("keys/+/retire", "keys/+/stage"),
    "role-admin": ('config" {\n  capabilities = ["read"]', 'config" {\n  capabilities = ["read", "update"]'),
    "minter": ('capabilities = ["read"]\n}\n\n# What', 'capabilities = ["read", "update"]\n}\n\n# What'),
    "token-reader": ("token/sales", "token/+"),
    "auditor": ("/info", "/token/sales"),
    "break-glass": ("/roles/prod", "/roles/+"),
}


@pytest.mark.parametrize("role", WRONG)
def test_a_policy_that_is_wrong_turns_the_matrix_red(scene: Scene, role: str) -> None:
    if ENGINE not in scene.custodies:
        pytest.skip("the server has no plugin directory in reach")
    right, wrong = WRONG[role]
    text = scene.texts(ENGINE)[role]
    assert text.count(right) == 1
    column = engine_table.ROLES.index(role)
    red = []
    scene.tokens[ENGINE, "wrong"] = scene.token(text.replace(right, wrong))
    for name, operation in engine_table.OPERATIONS.items():
        allowed = scene.attempt(ENGINE, "wrong", operation) in operation.allowed
        red += [name] if allowed != (engine_table.EXPECTED[name][column] == "Y") else []
    assert red


def test_no_answer_held_a_private_key(scene: Scene) -> None:
    """Of all that was asked before, by root too, and of each path of the engine now."""
    for name in engine_table.OPERATIONS if ENGINE in scene.custodies else ():
        operation = engine_table.OPERATIONS[name]
        if operation.path.startswith("{engine}/"):
            scene.send(scene.vault.root_token, operation)
    if ENGINE in scene.custodies:
        scene.fill_engine()
    assert scene.leaked == []
    scene.send(scene.vault.root_token, Operation("POST", "{kv}/data/asc/x", {"data": {"value": "{pem1}"}}))
    scene.send(scene.vault.root_token, Operation("GET", "{kv}/data/asc/x"))
    assert len(scene.leaked) == 1, "it would have been seen"
    scene.leaked.clear()


def test_what_break_glass_allows_it_then_removes(scene: Scene) -> None:
    token = scene.tokens[TRANSIT, "break-glass"]
    assert scene.send(token, ALL_OPERATIONS["set deletion_allowed"]) == 200
    assert scene.send(token, ALL_OPERATIONS["delete key"]) == 204
    assert scene.send(scene.vault.root_token, ALL_OPERATIONS["read key"]) == 404
    scene.fill_transit(transit_table.KEYS)
