"""The plugin in a real server: catalog, mounts, requests, leases, reload, crash."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hvac
import pytest

from tests.engine.host import ECHO
from tests.engine.rig import Rig, rig
from vault_asc.errors import NotFoundError, VaultError, VaultUnavailableError

SECRET = "hunter2-hunter2-hunter2"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig(tmp_path_factory.mktemp("plugins"), log_level="trace") as here:
        here.register("echo", ECHO)
        here.mount("e1", "echo")
        here.mount("e2", "echo")
        yield here


def pid(server: Rig, mount: str = "e1") -> int:
    found: int = server.ask("GET", f"{mount}/process")["data"]["pid"]
    return found


def test_one_process_serves_both_mounts(server: Rig) -> None:
    assert pid(server, "e1") == pid(server, "e2")
    server.ask("POST", "e1/echo/a", {"x": [1, "ä"]})
    assert server.ask("GET", "e1/echo/a")["data"] == {"x": [1, "ä"]}
    with pytest.raises(NotFoundError):
        server.ask("GET", "e2/echo/a")


def test_create_update_list_delete_by_a_stock_client(server: Rig) -> None:
    client = hvac.Client(url=server.server.address, token=server.server.root_token.reveal())
    made, changed = (client.write_data("e1/echo/stock", data={"x": number}) for number in (1, 2))
    assert [each["data"]["operation"] for each in (made, changed)] == ["create", "update"]
    assert made["warnings"] == ["a warning"]
    assert client.read("e1/echo/stock")["data"] == {"x": 2}
    assert "stock" in client.list("e1/echo/")["data"]["keys"]
    client.delete("e1/echo/stock")
    assert client.read("e1/echo/stock") is None


def test_create_needs_its_own_capability(server: Rig) -> None:
    server.ask("PUT", "sys/policies/acl/updater", {"policy": 'path "e1/echo/*" { capabilities = ["update"] }'})
    body = {"policies": ["updater"], "no_default_policy": True}
    client = hvac.Client(
        url=server.server.address, token=server.ask("POST", "auth/token/create", body)["auth"]["client_token"]
    )
    with pytest.raises(hvac.exceptions.Forbidden):
        client.write_data("e1/echo/own", data={"x": 1})
    server.ask("POST", "e1/echo/own", {"x": 1})
    client.write_data("e1/echo/own", data={"x": 2})
    assert server.ask("GET", "e1/echo/own")["data"] == {"x": 2}


def test_leases_are_listed_and_revoked(server: Rig) -> None:
    answer = server.ask("GET", "e1/token/sales")
    assert (answer["lease_duration"], answer["renewable"]) == (540, False)
    listed = server.ask("LIST", "sys/leases/lookup/e1/token/sales")["data"]["keys"]
    assert answer["lease_id"].rpartition("/")[2] in listed
    server.ask("PUT", "sys/leases/revoke", {"lease_id": answer["lease_id"], "sync": True})
    assert "sales" in server.ask("GET", "e1/process")["data"]["revoked"]
    with pytest.raises(VaultError):
        server.ask("PUT", "sys/leases/lookup", {"lease_id": answer["lease_id"]})


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "told"),
    [
        ("POST", "e1/fail/user", {}, 400, 'field \\"colour\\" is unknown (hint: leave it out)'),
        ("POST", "e1/fail/bug", {"secret": SECRET}, 500, "internal error of the asc engine; request"),
        ("GET", "e1/nothing", None, 404, "unsupported path"),
        ("DELETE", "e1/fail/user", None, 400, "colour"),
        ("POST", "e1/fail/none", {"a": "z" * 1_000_000}, 413, "the request is longer than 262144 bytes"),
    ],
)
def test_errors_as_a_client_sees_them(
    server: Rig, method: str, path: str, body: dict[str, Any] | None, status: int, told: str
) -> None:
    with pytest.raises(VaultError) as refused:
        server.ask(method, path, body)
    assert f"answered with {status}:" in refused.value.message
    assert told in refused.value.message
    assert SECRET not in refused.value.message


def test_long_answers(server: Rig) -> None:
    assert len(server.ask("GET", "e1/fail/large")["data"]["text"]) == 300_000


def test_help(server: Rig) -> None:
    assert server.ask("GET", "e1/echo/a?help=1")["help"] == "help of echo/a"


def test_version_in_the_catalog(server: Rig) -> None:
    assert server.ask("GET", "sys/mounts")["data"]["e1/"]["running_plugin_version"] == "v0.1.0"


def test_seal_and_unseal(server: Rig) -> None:
    server.ask("POST", "e1/echo/kept", {"x": 1})
    before = pid(server)
    server.server.seal()
    with pytest.raises(VaultUnavailableError):
        server.ask("GET", "e1/echo/kept")
    server.server.unseal()
    assert server.ask("GET", "e1/echo/kept")["data"] == {"x": 1}
    assert pid(server) != before
    assert not Path(f"/proc/{before}").exists()


def test_reload_starts_a_new_process(server: Rig) -> None:
    before = pid(server)
    server.ask("PUT", "sys/plugins/reload/backend", {"plugin": "echo"})
    assert pid(server) != before
    assert pid(server, "e1") == pid(server, "e2")
    assert server.ask("GET", "e1/token/x")["lease_duration"] == 540


def test_after_a_crash_the_server_starts_another_process(server: Rig) -> None:
    server.ask("POST", "e1/echo/crash", {"x": 1})
    before = pid(server)
    os.kill(before, signal.SIGKILL)
    until, lost, found = time.monotonic() + 5, [], None
    while found is None:  # what comes before the server has noticed is lost; it takes it some milliseconds
        assert time.monotonic() < until
        try:
            found = server.ask("GET", "e1/echo/crash")["data"]
        except VaultError as exc:
            lost.append(exc.message)
    assert found == {"x": 1}
    assert all("code = Unavailable" in message for message in lost)
    assert pid(server) != before
    assert pid(server, "e2") == pid(server, "e1")


def test_a_disabled_mount_leaves_the_others(server: Rig) -> None:
    server.mount("e3", "echo")
    before = pid(server, "e3")
    server.ask("DELETE", "sys/mounts/e3")
    assert pid(server, "e1") == before


def test_no_secret_in_the_log_at_trace_level(server: Rig) -> None:
    server.ask("POST", "e1/echo/logged", {"private_key": SECRET})
    with pytest.raises(VaultError):
        server.ask("POST", "e1/fail/bug", {"secret": SECRET})
    token = server.ask("GET", "e1/token/x")["data"]["token"]
    lines = "\n".join(server.server.log_lines())
    assert "vault-plugin-secrets-asc" in lines
    assert "KeyError" in lines
    assert SECRET not in lines
    assert token not in lines
