"""The process: what it says and keeps, how it ends, who may speak to it."""

import asyncio
import json
import os
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from grpclib.exceptions import GRPCError, StreamTerminatedError
from grpclib.health.v1.health_grpc import HealthStub
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from tests.engine.host import COOKIE, ECHO, ROOT, HostCertificate, Plugin, session
from vault_asc import __version__
from vault_asc.engine._pb import backend_pb2 as pb
from vault_asc.engine._pb.multiplexing_grpc import PluginMultiplexingStub
from vault_asc.engine._pb.multiplexing_pb2 import MultiplexingSupportRequest
from vault_asc.engine._pb.version_grpc import PluginVersionStub
from vault_asc.engine._pb.version_pb2 import Empty


def gone(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def within(seconds: float, done: object) -> bool:
    assert callable(done)
    until = time.monotonic() + seconds
    while not done():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"VAULT_BACKEND_PLUGIN": ""}, "this is a plugin: Vault or OpenBao starts it, not a person"),
        ({"PLUGIN_PROTOCOL_VERSIONS": "3,4"}, "does not speak plugin protocol 5"),
        ({"PLUGIN_CLIENT_CERT": ""}, "speaks to nobody without one"),
        ({"PLUGIN_CLIENT_CERT": "no PEM"}, "the server's certificate cannot be read"),
        ({"TMPDIR": "/nowhere", "PLUGIN_UNIX_SOCKET_DIR": "/nowhere"}, 'no socket can be made below "/nowhere"'),
    ],
)
def test_refuses_to_start_with_a_reason_and_a_hint(environ: dict[str, str], told: str) -> None:
    with Plugin(ECHO, **environ) as plugin:
        assert plugin.process.wait(10) == 1
        assert plugin.line == []
        error, hint = plugin.log().splitlines()
    assert error.startswith("vault-plugin-secrets-asc: error: ")
    assert told in error
    assert hint.startswith("vault-plugin-secrets-asc: hint: ")


@pytest.fixture
def short_path() -> Iterator[Path]:
    """As `tmp_path`, which is too long for a socket below it."""
    with tempfile.TemporaryDirectory(prefix="asc-") as directory:
        yield Path(directory)


def test_handshake_line_and_socket(short_path: Path) -> None:
    with Plugin(PLUGIN_UNIX_SOCKET_DIR=str(short_path)) as plugin:
        assert plugin.line[:3] == ["1", "5", "unix"]
        assert plugin.line[4] == "grpc"
        assert len(plugin.line) == 6
        assert "=" not in plugin.line[5]
        assert plugin.socket.parent.parent == short_path
        assert plugin.socket.stat().st_mode & 0o777 == 0o600
        assert plugin.socket.parent.stat().st_mode & 0o777 == 0o700


def test_sweeps_what_killed_processes_left(short_path: Path) -> None:
    with (
        Plugin(PLUGIN_UNIX_SOCKET_DIR=str(short_path)) as killed,
        Plugin(PLUGIN_UNIX_SOCKET_DIR=str(short_path)) as living,
    ):
        killed.process.kill()
        killed.process.wait()
        foreign = short_path / "vault-asc-plugin-foreign"
        foreign.mkdir()
        (foreign / "something").touch()
        starting, given_up = short_path / "vault-asc-starting-1", short_path / "vault-asc-starting-2"
        starting.mkdir()
        given_up.mkdir()
        for directory in (foreign, given_up):
            os.utime(directory, (0, 0))
        with Plugin(PLUGIN_UNIX_SOCKET_DIR=str(short_path)) as plugin:
            assert set(short_path.iterdir()) == {living.socket.parent, plugin.socket.parent, foreign, starting}


def test_broker_multiplexing_is_refused_in_the_handshake() -> None:
    with Plugin(PLUGIN_MULTIPLEX_GRPC="true") as plugin:
        assert plugin.line[6:] == ["false"]


def test_small_services() -> None:
    async def ask() -> None:
        async with session(plugin) as host:
            health = await HealthStub(host.channel).Check(HealthCheckRequest(service="plugin"))
            assert health.status == HealthCheckResponse.SERVING
            support = await PluginMultiplexingStub(host.channel).MultiplexingSupport(MultiplexingSupportRequest())
            assert support.supported
            assert (await PluginVersionStub(host.channel).Version(Empty())).plugin_version == f"v{__version__}"
            assert (await host.backend.Type(pb.Empty())).type == 1

    with Plugin() as plugin:
        asyncio.run(ask())


def test_shutdown_ends_it_and_leaves_nothing() -> None:
    async def ask() -> int:
        async with session(plugin) as host:
            await host.setup()
            return await host.shutdown()

    with Plugin() as plugin:
        assert asyncio.run(ask()) == 0
        assert not plugin.socket.parent.exists()
        lines = [json.loads(line) for line in plugin.log().splitlines()]
    assert {line["@module"] for line in lines} == {"vault-plugin-secrets-asc"}
    assert all({"@level", "@message", "@timestamp"} <= set(line) for line in lines)


def test_stray_signals_are_ignored_and_a_termination_is_orderly() -> None:
    with Plugin() as plugin:
        for stray in (signal.SIGINT, signal.SIGHUP):
            plugin.process.send_signal(stray)
        time.sleep(0.2)
        assert plugin.process.poll() is None
        plugin.process.terminate()
        assert plugin.process.wait(5) == 0
        assert not plugin.socket.parent.exists()


def test_dies_with_its_host() -> None:
    """The host is killed: a process between us and the host, as a one-file loader is, may live on."""
    start = "import os, subprocess, sys; p = subprocess.Popen([sys.executable, '-m', sys.argv[1]]); print(p.pid, file=sys.stderr, flush=True); p.wait()"
    loader = "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:]))"
    environ = {"PATH": os.environ["PATH"], "PLUGIN_CLIENT_CERT": HostCertificate().pem, **COOKIE}
    for argv in ([], [sys.executable, "-c", loader]):
        with subprocess.Popen(
            [*argv, sys.executable, "-c", start, ECHO],
            env=environ,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as between:
            assert between.stdout is not None
            assert between.stderr is not None
            process = int(between.stderr.readline())
            socket = Path(between.stdout.readline().split("|")[3])
            between.stdout.close()  # the host alone reads it
            assert within(5, lambda process=process: gone(process))
            assert not socket.parent.exists()
            between.wait(5)


def test_dies_with_its_parent() -> None:
    start = "import subprocess, sys; p = subprocess.Popen([sys.executable, '-m', sys.argv[1]]); print(p.pid, file=sys.stderr, flush=True); p.wait()"
    environ = {"PATH": os.environ["PATH"], "PLUGIN_CLIENT_CERT": HostCertificate().pem, **COOKIE}
    with subprocess.Popen(
        [sys.executable, "-c", start, ECHO],
        env=environ,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        assert parent.stderr is not None
        process = int(parent.stderr.readline())
        parent.stdout.readline()
        parent.kill()
        assert within(5, lambda: gone(process))


def test_environment_is_scrubbed_and_nothing_is_dumped() -> None:
    async def ask() -> dict[str, Any]:
        async with session(plugin) as host:
            await host.setup()
            reply = await host.ask("read", "process")
            found: dict[str, Any] = json.loads(reply.response.data)
            return found

    with Plugin(VAULT_TOKEN="hvs.secret", AWS_SECRET_ACCESS_KEY="secret", LANG="C.UTF-8") as plugin:
        found = asyncio.run(ask())
        limits = Path(f"/proc/{found['pid']}/limits").read_text()
    assert set(found["environ"]) <= {"PATH", "TMPDIR", "TZ", "LANG", "LC_ALL"}
    assert found["dumpable"] == 0
    assert [line.split()[4] for line in limits.splitlines() if line.startswith("Max core file size")] == ["0"]


def test_metadata_mode_says_what_it_is_and_does_nothing() -> None:
    async def ask() -> None:
        async with session(plugin) as host:
            assert await host.setup() == ""
            assert (await host.backend.Type(pb.Empty())).type == 1
            paths = (await host.backend.SpecialPaths(pb.Empty(), metadata={"multiplex_id": "m1"})).paths
            assert list(paths.seal_wrap_storage) == ["echo/sealed/"]
            for call in (host.ask("read", "token/x"), host.backend.Initialize(pb.InitializeArgs())):
                with pytest.raises(GRPCError, match="metadata"):
                    await call

    with Plugin(BAO_PLUGIN_METADATA_MODE="true", VAULT_PLUGIN_METADATA_MODE="true") as plugin:
        asyncio.run(ask())


def test_speaks_to_its_host_alone() -> None:
    async def ask(context: ssl.SSLContext | None) -> None:
        channel = plugin.channel(context)
        try:
            await HealthStub(channel).Check(HealthCheckRequest(), timeout=5)
        finally:
            channel.close()
            await asyncio.sleep(0.1)  # until the transport is closed, also after a handshake that failed

    with Plugin() as plugin:
        nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        nobody.set_alpn_protocols(["h2"])
        nobody.load_verify_locations(cadata=plugin.der)
        for stranger in (nobody, HostCertificate().context(server=False, trusted=plugin.der)):
            # TLS 1.3 lets a client go on before the server has seen its certificate: the loss is told by the first call.
            with pytest.raises((OSError, StreamTerminatedError)):
                asyncio.run(ask(stranger))
        asyncio.run(ask(None))
