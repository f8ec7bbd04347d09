"""Somebody else in the place of Vault or Nexla, or to whom they lead: nobody but they hears a secret."""

import ssl
from urllib.parse import quote

import pytest
import trustme

from tests.fault_server import FaultServer
from tests.faults.conftest import Told
from tests.faults.rig import Kept, add_account, at_address, due_in, once
from vault_asc.lab.web import Answer, LocalServer
from vault_asc.lab.world import World


def test_f23_a_redirect_by_nexla(fresh: World, told: Told) -> None:
    statuses = (301, 302, 303, 307, 308)
    with FaultServer("127.0.0.2") as other, FaultServer() as server:
        for status in statuses:
            url = f"{server.url}/redirect/{status}/{quote(f'{other.url}/ok', safe='')}"
            add_account(fresh, f"away-{status}", url, f"odd-{status}")
        done = once(fresh)
        assert other.connections == 0, "the other host was asked"
    for status in statuses:
        told(done.about(f"odd-{status}"))
    assert len(server.requests) >= len(statuses)
    assert done.of("refreshed").keys() == {"sales", "ads", "news"}


def test_f23_a_stranger_in_the_place_of_nexla(fresh: World, told: Told) -> None:
    """It has a certificate for the name, but nobody who is trusted signed it; it would be told the service key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    with FaultServer(tls=context) as stranger:
        add_account(fresh, "away", f"{stranger.url}/ok", "odd")
        done = fresh.run("push", "odd")
    told(done, 2)
    assert not stranger.requests
    assert stranger.connections > 0
    assert done.returncode == 8


@pytest.mark.parametrize("status", [302, 307])
def test_f23_a_redirect_by_vault(world: World, told: Told, status: int) -> None:
    """As that of a standby that names its leader: to whoever it names no token goes."""
    before = Kept.of(world)
    due_in(world, 0, "sales")
    with FaultServer("127.0.0.2") as other:
        server = LocalServer(lambda _: Answer(status, headers={"Location": f"{other.url}/v1/x"}))
        server.start()
        try:
            at_address(world, server.url)
            done = once(world)
        finally:
            server.stop()
        assert other.connections == 0
    told(done)
    told(done, 1)
    assert Kept.of(world) == before
