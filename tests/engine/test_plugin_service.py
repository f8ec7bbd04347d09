"""What the host asks of a mount, with a host of the tests' own that keeps the storage in a dict."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from grpclib.exceptions import GRPCError

from tests.engine.echo import TTL
from tests.engine.host import Plugin, Session, session
from vault_asc.engine._pb import backend_pb2 as pb
from vault_asc.engine.calls import MESSAGE_MAX

USER, INTERNAL, CODED, UNSUPPORTED_OPERATION = 0, 2, 3, 5


def with_host(act: Callable[[Session], Awaitable[None]]) -> str:
    """Run it with a plugin and a host; what the plugin logged."""

    async def run() -> None:
        async with session(plugin) as host:
            await act(host)
            await host.shutdown()

    with Plugin() as plugin:
        asyncio.run(run())
        return plugin.log()


def data(reply: pb.HandleRequestReply) -> dict[str, Any]:
    assert not reply.HasField("err"), reply.err
    found: dict[str, Any] = json.loads(reply.response.data)
    return found


def test_storage_of_two_mounts_in_one_process() -> None:
    async def act(host: Session) -> None:
        assert await host.setup("m1") == ""
        assert await host.setup("m2", announce_late=True) == ""
        assert data(await host.ask("create", "echo/a", '{"x": 1}')) == {"operation": "create"}
        assert data(await host.ask("read", "echo/a")) == {"x": 1}
        assert not (await host.ask("read", "echo/a", mount="m2")).HasField("response")
        assert data(await host.ask("list", "echo/")) == {"keys": ["a"]}
        assert host.storages["m1"].wrapped == {"echo/a"}
        for mount, exists in (("m1", True), ("m2", False)):
            args = pb.HandleExistenceCheckArgs(request=pb.Request(operation="create", path="echo/a"))
            check = await host.backend.HandleExistenceCheck(args, metadata={"multiplex_id": mount})
            assert (check.check_found, check.exists) == (True, exists)
        await host.ask("delete", "echo/a")
        assert host.storages["m1"].entries == {}

    with_host(act)


def test_a_lease_has_a_beginning() -> None:
    async def act(host: Session) -> None:
        await host.setup()
        reply = await host.ask("read", "token/sales")
        lease = reply.response.secret.lease_options
        assert (lease.TTL, lease.MaxTTL, lease.renewable) == (TTL * 1e9, TTL * 1e9, False)
        assert abs(lease.issue_time.ToDatetime().timestamp() - time.time() + time.timezone) < 86400
        assert lease.issue_time.seconds == pytest.approx(time.time(), abs=10)
        carried = reply.response.secret
        assert json.loads(carried.internal_data)["role"] == "sales"
        await host.ask("revoke", "token/sales", "", secret=carried)
        assert data(await host.ask("read", "process"))["revoked"] == ["sales"]

    with_host(act)


def test_a_standby_sends_what_needs_a_lease_on_to_the_active_node() -> None:
    """It answers the rest itself; once it is active it is not asked again."""

    async def act(host: Session) -> None:
        await host.setup()
        view = host.views["m1"]
        view.standby = True
        for _ in range(2):
            reply = await host.ask("read", "token/sales")
            assert not reply.HasField("response")
            # The very words by which the server knows what to send on.
            assert (reply.err.err_type, reply.err.err_msg) == (0, "cannot write to readonly storage")
        assert "pid" in data(await host.ask("read", "process"))
        assert view.asked == 2
        view.standby = False
        for _ in range(2):
            assert (await host.ask("read", "token/sales")).response.HasField("secret")
        assert view.asked == 3

    with_host(act)


def test_errors() -> None:
    async def act(host: Session) -> None:
        await host.setup()
        refused = (await host.ask("update", "fail/user")).err
        assert (refused.err_type, refused.err_code) == (CODED, 400)
        assert refused.err_msg == 'field "colour" is unknown (hint: leave it out)'
        path = (await host.ask("read", "nothing")).err
        assert (path.err_type, path.err_code) == (CODED, 404)
        operation = (await host.ask("patch", "echo/a")).err
        assert (operation.err_type, operation.err_code) == (CODED, 405)
        for unasked in ("resolve-path", "alias-lookahead", ""):  # what a newer server may ask on its own behalf
            assert (await host.ask(unasked, "echo/a")).err.err_type == UNSUPPORTED_OPERATION
        for body in ("[]", "1", "{", '{"a":' * 40_000, '{"a": 1' + "0" * 5000 + "}"):
            bad = (await host.ask("update", "fail/none", body)).err
            assert (bad.err_type, bad.err_code) == (CODED, 400), body[:10]
        assert data(await host.ask("update", "fail/none", "null")) == {"size": 2}

    with_host(act)


def test_a_bug_is_told_to_nobody_but_the_log_and_without_the_body() -> None:
    async def act(host: Session) -> None:
        await host.setup()
        bug = (await host.ask("update", "fail/bug", '{"secret": "hunter2"}')).err
        assert bug.err_type == INTERNAL
        assert bug.err_msg == "internal error of the asc engine; request 0815 in the server's log"
        assert data(await host.ask("update", "fail/none", "{}")) == {"size": 2}

    lines = [json.loads(line) for line in with_host(act).splitlines()]
    (line,) = [line for line in lines if line["@level"] == "error"]
    assert line["@message"] == "request 0815 failed"
    assert line["error"] == "KeyError"
    assert line["at"].rpartition(" > ")[2].startswith("_fail (echo.py:")
    assert "hunter2" not in json.dumps(lines)


def test_the_text_of_the_storage_s_error_reaches_the_host() -> None:
    async def act(host: Session) -> None:
        await host.setup()
        host.storages["m1"].error = "cannot write to readonly storage"
        error = (await host.ask("update", "echo/a", "{}")).err
        assert (error.err_type, error.err_msg) == (USER, "cannot write to readonly storage")

    with_host(act)


def test_too_long_a_message_and_long_answers() -> None:
    async def act(host: Session) -> None:
        await host.setup()
        error = (await host.ask("update", "fail/none", json.dumps({"a": "z" * (8 * MESSAGE_MAX)}))).err
        assert (error.err_type, error.err_code) == (CODED, 413)
        assert str(MESSAGE_MAX) in error.err_msg
        key = pb.InvalidateKeyArgs(key="k" * (2 * MESSAGE_MAX))
        with pytest.raises(GRPCError, match="longer"):
            await host.backend.InvalidateKey(key, metadata={"multiplex_id": "m1"})
        nearly = json.dumps({"a": "z" * (MESSAGE_MAX - 200)})
        assert data(await host.ask("update", "fail/none", nearly)) == {"size": len(nearly)}
        for _ in range(5):
            assert len(data(await host.ask("read", "fail/large"))["text"]) == 300_000

    with_host(act)


def test_many_calls_at_once_of_which_some_are_given_up() -> None:
    async def act(host: Session) -> None:
        await host.setup()
        slow = [asyncio.ensure_future(host.ask("update", "fail/slow", '{"seconds": 0.3}')) for _ in range(90)]
        await asyncio.sleep(0.1)
        for call in slow[::2]:
            call.cancel()
        answers = await asyncio.gather(*slow, return_exceptions=True)
        assert sum(isinstance(answer, asyncio.CancelledError) for answer in answers) == 45
        assert all(data(answer)["slept"] for answer in answers if isinstance(answer, pb.HandleRequestReply))
        assert data(await host.ask("read", "token/x"))["key_id"]

    with_host(act)


def test_cleanup_forgets_the_mount_alone() -> None:
    async def act(host: Session) -> None:
        await host.setup("m1")
        await host.setup("m2")
        await host.backend.InvalidateKey(pb.InvalidateKeyArgs(key="echo/a"), metadata={"multiplex_id": "m2"})
        await host.backend.Cleanup(pb.Empty(), metadata={"multiplex_id": "m1"})
        with pytest.raises(GRPCError, match="not set up"):
            await host.ask("read", "token/x", mount="m1")
        assert data(await host.ask("read", "process", mount="m2"))["invalidated"] == ["echo/a"]
        assert await host.setup("m1") == ""
        assert data(await host.ask("read", "process", mount="m1"))["invalidated"] == []

    with_host(act)


def test_fields_of_a_newer_server_are_ignored() -> None:
    async def act(host: Session) -> None:
        await host.setup()
        request = pb.HandleRequestArgs(request=pb.Request(id="1", operation="read", path="token/x"))
        newer = pb.HandleRequestArgs.FromString(request.SerializeToString() + b"\xfa\x3e\x03abc")
        reply = await host.backend.HandleRequest(newer, metadata={"multiplex_id": "m1"})
        assert data(reply)["key_id"]

    with_host(act)


def test_setup_without_an_announcement_fails_and_nothing_else() -> None:
    async def act(host: Session) -> None:
        await host.setup("m1")
        failed = asyncio.ensure_future(host.backend.Setup(pb.SetupArgs(broker_id=99), metadata={"multiplex_id": "m9"}))
        assert data(await host.ask("read", "token/x"))["key_id"]
        assert (await failed).err == "the host did not say within 5 s where it listens"

    with_host(act)
