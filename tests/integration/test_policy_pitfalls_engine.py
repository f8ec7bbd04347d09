"""Why the policies for the engine are written as they are: what such as look like them let through, on a real server."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Protocol

import pytest
import urllib3

from tests import keys
from tests.conftest import Root, TokenWith
from tests.support import key_id, new_key
from tests.vaults import VaultUnderTest
from vault_asc import policy
from vault_asc.names import Custody
from vault_asc.secret import Secret

SCOPE: Final = "GET /v1/apps"


class Send(Protocol):
    """`send(token, method, path, body=None)`: status and answer of one call, the path below the engine's mount."""

    def __call__(
        self, token: Secret, method: str, path: str, body: object = None, *, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]: ...


@pytest.fixture
def send(vault: VaultUnderTest, engine_mount: str) -> Iterator[Send]:
    ca_file = {"ca_certs": str(vault.ca_file)} if vault.ca_file else {}
    with urllib3.connection_from_url(vault.address, timeout=10, retries=False, **ca_file) as pool:

        def call(
            token: Secret, method: str, path: str, body: object = None, *, headers: dict[str, str] | None = None
        ) -> tuple[int, dict[str, Any]]:
            answer = pool.urlopen(
                method,
                path if path.startswith("/") else f"/v1/{engine_mount}/{path}",
                None if body is None else json.dumps(body),
                {"X-Vault-Token": token.reveal(), **(headers or {})},
                redirect=False,
            )
            found: dict[str, Any] = json.loads(answer.data) if answer.data.startswith(b"{") else {}
            return answer.status, found

        yield call


def body(number: int) -> dict[str, object]:
    """A new key, as it is written."""
    return {"private_key": new_key().pem.reveal(), "key_id": key_id(number), "issuer_id": keys.ISSUER_ID}


@pytest.fixture
def prod(root: Root, engine_mount: str) -> str:
    """Two keys, `prod` and `other`, with a role each, and a narrow role `sales` of the first; the fingerprint of that."""
    for number, name in enumerate(("prod", "other"), 1):
        root("POST", f"{engine_mount}/keys/{name}", body(number))
        root("POST", f"{engine_mount}/roles/{name}", {"key": name})
    root("POST", f"{engine_mount}/roles/sales", {"key": "prod", "scope": [SCOPE], "lifetime": 600})
    return str(root("GET", f"{engine_mount}/keys/prod")["data"]["spki_sha256"])


@pytest.fixture
def shipped(engine_mount: str) -> "Text":
    def text(name: str, **values: str) -> str:
        return policy.render(
            name, mount="kv", prefix="asc", engine_mount=engine_mount, custodies=(Custody.ENGINE,), **values
        )

    return text


class Text(Protocol):
    """`shipped(name, **values)`: the text of a shipped policy for this mount."""

    def __call__(self, name: str, **values: str) -> str: ...


def stanza(path: str, *capabilities: str, more: str = "") -> str:
    return f'path "{path}" {{\n  capabilities = {json.dumps(capabilities)}\n  {more}\n}}\n'


def test_create_alone_never_replaces_a_key(
    send: Send, root: Root, engine_mount: str, prod: str, token_with: TokenWith, shipped: Text
) -> None:
    admin, key = token_with(shipped("key-admin")), f"{engine_mount}/keys/prod"
    for method in ("POST", "PUT"):
        for change in (body(3), {"key_id": key_id(3)}):
            assert send(admin, method, "keys/prod", change)[0] == 403
    assert root("GET", key)["data"]["spki_sha256"] == prod
    assert send(admin, "POST", "keys/new", body(3))[0] == 200
    assert send(admin, "POST", "keys/new", body(4))[0] == 403, "not even what it has made itself"
    naive = token_with(stanza(f"{engine_mount}/keys/+", "create", "update"))
    assert send(naive, "POST", "keys/prod", body(5))[0] == 200
    assert root("GET", key)["data"]["spki_sha256"] != prod, "and current at once, without a second person"


def test_glob_over_keys_lets_one_person_swap_a_key(
    send: Send, root: Root, engine_mount: str, prod: str, token_with: TokenWith
) -> None:
    naive = token_with(stanza(f"{engine_mount}/keys/*", "create", "update"))
    assert send(naive, "POST", "keys/prod/stage", body(3))[0] == 200
    assert send(naive, "POST", "keys/prod/promote", {})[0] == 200
    assert root("GET", f"{engine_mount}/keys/prod")["data"]["spki_sha256"] != prod


def test_neither_of_two_people_can_bring_a_key_into_use(
    send: Send, root: Root, engine_mount: str, prod: str, token_with: TokenWith, shipped: Text
) -> None:
    admin, registrar = (token_with(shipped(name)) for name in ("key-admin", "registrar"))
    staged = body(3)
    assert send(admin, "POST", "keys/prod/stage", staged)[0] == 200
    assert send(admin, "POST", "keys/prod/promote", {})[0] == 403
    assert send(registrar, "POST", "keys/prod/stage", staged)[0] == 403
    assert root("GET", f"{engine_mount}/keys/prod")["data"]["spki_sha256"] == prod
    assert send(registrar, "POST", "keys/prod/promote", {"key_id": key_id(9)})[0] == 400
    assert send(registrar, "POST", "keys/prod/promote", {"key_id": key_id(3)})[0] == 200


def test_role_admin_who_reads_tokens_of_one_role_has_every_key_of_the_mount(
    send: Send, root: Root, engine_mount: str, prod: str, token_with: TokenWith, shipped: Text
) -> None:
    reader, admin = shipped("token-reader", role="sales"), shipped("role-admin")
    for alone in (reader, admin):
        assert send(token_with(alone), "GET", "token/other")[0] == 403
    both = token_with(reader, admin)
    assert send(both, "POST", "roles/sales", {"key": "other", "scope": [], "lifetime": 1140})[0] == 204
    status, answer = send(both, "GET", "token/sales")
    assert (status, answer["data"]["key_id"], answer["data"]["scope"]) == (200, key_id(2), [])


def test_key_admin_and_role_admin_in_one_hand_give_readers_of_a_role_a_foreign_key(
    send: Send, prod: str, token_with: TokenWith, shipped: Text
) -> None:
    """Without a registrar: no record tells of it. Mints by a record refuse such a token, readers of a role do not look."""
    admin, roles = shipped("key-admin"), shipped("role-admin")
    assert send(token_with(roles), "POST", "keys/evil", body(7))[0] == 403
    assert send(token_with(admin), "POST", "roles/sales", {"key": "prod"})[0] == 403
    both = token_with(admin, roles)
    assert send(both, "POST", "keys/evil", body(7))[0] == 200
    assert send(both, "POST", "roles/sales", {"key": "evil"})[0] == 204
    status, answer = send(token_with(shipped("token-reader", role="sales")), "GET", "token/sales")
    assert (status, answer["data"]["key_id"]) == (200, key_id(7))


def test_role_admin_of_one_role_can_be_held_to_one_key(
    send: Send, engine_mount: str, prod: str, token_with: TokenWith, shipped: Text
) -> None:
    narrow = token_with(shipped("role-admin", role="sales"))
    assert send(narrow, "POST", "roles/sales", {"key": "other"})[0] == 204
    assert send(narrow, "POST", "roles/prod", {"key": "other"})[0] == 403
    held = 'allowed_parameters = { "key" = ["prod"] "scope" = [] "lifetime" = [] }'
    own = token_with(stanza(f"{engine_mount}/roles/sales", "create", "update", more=held))
    for key, status in (("other", 403), ("prod", 204)):
        assert send(own, "POST", "roles/sales", {"key": key, "lifetime": 300})[0] == status


def test_key_admin_and_break_glass_replace_a_key_only_when_both_are_of_that_key(
    send: Send, root: Root, engine_mount: str, prod: str, token_with: TokenWith, shipped: Text
) -> None:
    glass, wide, narrow = (
        shipped("break-glass", key="prod"),
        shipped("key-admin"),
        shipped("key-admin", key="prod"),
    )
    hidden, added = token_with(wide, glass), token_with(narrow, glass)
    assert send(hidden, "DELETE", "keys/prod")[0] == 400, "two roles use it, and one of them is not the key's"
    root("DELETE", f"{engine_mount}/roles/sales")
    assert [send(hidden, "DELETE", path)[0] for path in ("roles/prod", "keys/prod")] == [204, 204]
    assert send(hidden, "POST", "keys/prod", body(3))[0] == 403, "the exact path of break-glass counts alone"
    assert send(added, "POST", "keys/prod", body(3))[0] == 200, "equal paths add up"


def test_role_admin_beside_break_glass_has_to_be_of_that_role(
    send: Send, prod: str, token_with: TokenWith, shipped: Text
) -> None:
    glass = shipped("break-glass", key="prod")
    for text, status in ((shipped("role-admin"), 403), (shipped("role-admin", role="prod"), 204)):
        assert send(token_with(text, glass), "POST", "roles/prod", {"lifetime": 300})[0] == status


@pytest.mark.parametrize(
    ("path", "also"),
    [
        ("token/sales*", ("GET", "token/sales-emea")),
        ("+/sales", ("GET", "roles/sales")),
        ("token/+", ("GET", "token/other")),
    ],
)
def test_wildcards_over_tokens_are_more_than_one_role(
    send: Send,
    root: Root,
    engine_mount: str,
    prod: str,
    token_with: TokenWith,
    shipped: Text,
    path: str,
    also: tuple[str, str],
) -> None:
    root("POST", f"{engine_mount}/roles/sales-emea", {"key": "other"})
    assert send(token_with(stanza(f"{engine_mount}/{path}", "read")), *also)[0] == 200
    assert send(token_with(shipped("token-reader", role="sales")), *also)[0] == 403


def test_limits_of_parameters_hold_for_reads_and_for_what_another_policy_grants(
    send: Send, engine_mount: str, prod: str, token_with: TokenWith, shipped: Text
) -> None:
    """So a reader can be held to less than its role, and no shipped policy does it: a mint says which version signs."""
    minter = shipped("minter", key="prod")
    limited = stanza(f"{engine_mount}/token/prod", "read", more='allowed_parameters = { "lifetime" = ["2m"] }')
    for query, alone, held in (
        ("", 200, 200),
        ("lifetime=2m", 200, 200),
        ("lifetime=3m", 200, 403),
        ("key_version=1", 200, 403),
        ("scope=GET%20/v1/apps", 200, 403),
    ):
        for text, status in (((minter,), alone), ((limited,), held), ((minter, limited), held)):
            assert send(token_with(*text), "GET", f"token/prod?{query}")[0] == status, query


def test_a_reader_asks_for_less_and_never_for_more(send: Send, prod: str, token_with: TokenWith, shipped: Text) -> None:
    reader = token_with(shipped("token-reader", role="sales"))
    for query in ("lifetime=20m", "lifetime=11m", "scope=GET%20/v1/users", "scope=", "audience=x", "key=other"):
        assert send(reader, "GET", f"token/sales?{query}")[0] == 400, query
    status, answer = send(reader, "GET", "token/sales?lifetime=2m")
    assert (status, answer["data"]["scope"]) == (200, [SCOPE])


@pytest.mark.parametrize(
    "path",
    [
        "token/sales/",
        "token//sales",
        "token/./sales",
        "token/x/../sales",
        "token/%2e%2e/token/sales",
        "token/sales%2f",
        "token/sales%00",
        "token/sales%20",
        "token/SALES",
        "Token/sales",
        "token",
        "token/",
    ],
)
def test_other_spellings_of_a_path_give_nothing(
    send: Send, prod: str, token_with: TokenWith, shipped: Text, path: str
) -> None:
    holder = token_with(shipped("token-reader", role="sales"), shipped("role-admin"), shipped("key-admin"))
    assert send(holder, "GET", path)[0] in {307, 400, 403, 404}
    for method in ("POST", "LIST", "DELETE"):
        assert send(holder, method, path)[0] in {307, 400, 403, 404, 405}


def test_a_token_that_is_wrapped_says_where_it_came_from(
    vault: VaultUnderTest, send: Send, engine_mount: str, prod: str, token_with: TokenWith, shipped: Text
) -> None:
    """Nobody can forbid a reader to pass its token on, wrapped or not."""
    reader = token_with(shipped("token-reader", role="sales"))
    status, answer = send(reader, "GET", "token/sales", headers={"X-Vault-Wrap-TTL": "60s"})
    assert (status, answer["wrap_info"]["creation_path"]) == (200, f"{engine_mount}/token/sales")
    wrapped = Secret(answer["wrap_info"]["token"])
    assert send(wrapped, "POST", "/v1/sys/wrapping/unwrap", {})[1]["data"]["scope"] == [SCOPE]
    assert send(wrapped, "GET", "token/sales")[0] == 403


def test_taking_the_policy_away_ends_no_token_and_no_lease_ends_one(
    vault: VaultUnderTest, send: Send, root: Root, prod: str, token_with: TokenWith, shipped: Text
) -> None:
    reader = token_with(shipped("token-reader", role="sales"))
    _, answer = send(reader, "GET", "token/sales")
    lease = {"lease_id": answer["lease_id"]}
    assert send(reader, "POST", "/v1/sys/leases/revoke", lease)[0] == 403
    assert send(vault.root_token, "POST", "/v1/sys/leases/lookup", lease)[0] == 200
    root("POST", "auth/token/revoke", {"token": reader.reveal()})
    assert send(reader, "GET", "token/sales")[0] == 403
    assert send(vault.root_token, "POST", "/v1/sys/leases/lookup", lease)[0] == 400, "the lease went with its reader"
    assert answer["data"]["token"].count(".") == 2


def test_who_tunes_the_mount_has_the_audit_log_show_private_keys(
    vault: VaultUnderTest, send: Send, root: Root, engine_mount: str, prod: str, token_with: TokenWith, shipped: Text
) -> None:
    log = root("GET", "sys/audit").get(f"{vault.audit_device}/")
    if log is None:
        pytest.skip("no audit device is known to be on")
    file, tune = Path(log["options"]["file_path"]), f"/v1/sys/mounts/{engine_mount}/tune"
    everybody = token_with(*(shipped(name) for name in ("key-admin", "registrar", "role-admin", "auditor")))
    shown = []
    for who, status in ((everybody, 403), (vault.root_token, 204)):
        assert send(who, "POST", tune, {"audit_non_hmac_request_keys": ["private_key"]})[0] == status
        made = body(3)
        assert send(everybody, "POST", f"keys/new-{status}", made)[0] == 200
        shown.append(str(made["private_key"]).splitlines()[1] in file.read_text(encoding="utf-8"))
    root("POST", tune.removeprefix("/v1/"), {"audit_non_hmac_request_keys": []})
    assert not root("GET", tune.removeprefix("/v1/"))["data"].get("audit_non_hmac_request_keys"), "the mount is shared"
    assert shown == [False, True]
