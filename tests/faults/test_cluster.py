"""Faults of a cluster of three, seen by a service that knows the address of one node."""

from collections.abc import Iterator
from types import TracebackType
from typing import Self

import pytest

from tests.faults.conftest import Told
from tests.faults.rig import Watched, as_on_the_first_day, at_address, due_in, serving
from tests.integration.worlds import import_key, until
from vault_asc.lab.cluster import BaoCluster, RaftNode
from vault_asc.lab.server import BaoServer
from vault_asc.lab.world import World

pytestmark = pytest.mark.waits

TARGETS = {f"t{number}": 6000 + number for number in range(8)}
BETWEEN = 1.5  # seconds from one target that is due to the next


class Borrowed(BaoServer):
    """A node as the server of a world, which neither starts nor ends it."""

    def __init__(self, node: RaftNode) -> None:
        self.__dict__ = node.__dict__

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        pass


@pytest.fixture(scope="module")
def cluster() -> Iterator[BaoCluster]:
    with BaoCluster() as nodes:
        yield nodes


@pytest.fixture(scope="module")
def _shared(cluster: BaoCluster) -> Iterator[tuple[World, str]]:
    with World(server=Borrowed(cluster.leader()), targets=TARGETS) as world:
        import_key(world)
        yield world, world.config_file.read_text()


@pytest.fixture
def clustered(cluster: BaoCluster, _shared: tuple[World, str]) -> World:
    """Every target with its first token, at the address of a node that is not the leader."""
    world, config = _shared
    cluster.wait_until_whole()
    as_on_the_first_day(world, config)
    at_address(world, standby(cluster).address)
    world.must("push", "--all")
    for number, target in enumerate(TARGETS):
        due_in(world, 4 + BETWEEN * number, target)
    return world


def standby(cluster: BaoCluster) -> RaftNode:
    leader = cluster.leader()
    return next(node for node in cluster.nodes if node is not leader)


def all_go_on(service: Watched, told: Told) -> None:
    """Every target is refreshed, most of them after this moment, and none comes near its end."""
    assert len(service.of("refreshed")) < len(TARGETS), "some are left for afterwards"
    until(lambda: {event["target"] for event in service.of("refreshed")} == TARGETS.keys(), "all targets", 60)
    told(service)
    assert not service.of("mandatory"), service.text
    assert not service.of("expired")
    for failed in service.of("failed"):
        assert failed["failures"] == 1, "once at most"
        assert failed["next_try"] <= 5


def test_f02_the_leader_steps_down(cluster: BaoCluster, clustered: World, told: Told) -> None:
    with serving(clustered) as service:
        service.first("refreshed")
        leader = cluster.leader()
        service.mark()
        leader.api("PUT", "sys/step-down", token=leader.root_token)
        all_go_on(service, told)
        assert service.stop() == 0


def test_f03_the_leader_is_killed(cluster: BaoCluster, clustered: World, told: Told) -> None:
    leader = cluster.leader()
    try:
        with serving(clustered) as service:
            service.first("refreshed")
            service.mark()
            leader.crash()
            all_go_on(service, told)
            assert service.stop() == 0
    finally:
        leader.start()


def test_f04_the_quorum_is_lost(cluster: BaoCluster, clustered: World, told: Told) -> None:
    """A standby of OpenBao goes on to answer reads, so tokens go on; what has to be written waits for a leader."""
    alive = next(node for node in cluster.nodes if node.address in clustered.config_file.read_text())
    lost = [node for node in cluster.nodes if node is not alive]
    try:
        with serving(clustered) as service:
            service.first("refreshed")
            service.mark()
            for node in lost:
                node.crash()
            all_go_on(service, told)
            done = clustered.run("key", "disable", "prod")
            assert done.returncode in {4, 5}
            told(done, 1)
            told(done, 2)
            lost[0].start()
            cluster.leader()
            assert clustered.must("key", "disable", "prod")
            clustered.must("key", "enable", "prod")
            assert service.stop() == 0
    finally:
        for node in lost:
            if not node.running:
                node.start()
