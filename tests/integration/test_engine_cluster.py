"""The engine on a cluster of three nodes, read all the time while nodes and plugins fail, seal, and change.

What the engine may lose is judged by what the server's own engines lose at the same time on the same node.
"""

import base64
import contextlib
import itertools
import json
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from tests import keys, support
from tests.engine import newer
from tests.engine.mounted import verified
from tests.integration.engine_load import Asked, Kind, Load, gap
from tests.integration.engines import PLUGIN, PRODUCT
from tests.integration.worlds import naming, until
from vault_asc import __version__
from vault_asc.errors import VaultError
from vault_asc.key.private_key import parse_private_key
from vault_asc.lab.cluster import BaoCluster, RaftNode
from vault_asc.lab.plugin import plugin_script
from vault_asc.lab.server import TRANSIT_MOUNT

pytestmark = pytest.mark.waits

log = logging.getLogger(__name__)

SIGNED: Final = {"input": base64.b64encode(b"x" * 250).decode(), "hash_algorithm": "sha2-256"}
LEASED: Final = Kind("leased token", "GET", "asc/token/sales")
BULK: Final = Kind("token without lease", "GET", "asc/token/bulk")
WRITE: Final = Kind("cubbyhole", "PUT", "cubbyhole/load", b'{"x": 1}')
"""As a leased token: one small write, which the active node does for all of them."""
SIGN: Final = Kind("transit/sign", "POST", f"{TRANSIT_MOUNT}/sign/load", json.dumps(SIGNED).encode())
"""As a token without lease: every node does it itself."""
OURS: Final = (LEASED, BULK)
BUILT_IN: Final = (WRITE, SIGN)

BEFORE: Final = 0.6  # seconds of load before something happens
AFTER: Final = 0.8  # and when all nodes are well again
BETWEEN: Final = 0.3  # between two changes of the key: within it every standby has to hear of the one before
DOWN: Final = 1.5  # seconds for which a node stays away


class Current(NamedTuple):
    """A key that a change has made current, and when that call began and ended."""

    key_id: str
    begin: float
    end: float


@dataclass
class Running:
    """The cluster with the engine, and what a token may be signed with at which time."""

    cluster: BaoCluster
    public_keys: dict[str, str] = field(default_factory=dict)
    changes: list[Current] = field(default_factory=list)

    @property
    def nodes(self) -> list[RaftNode]:
        return self.cluster.nodes

    def ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        leader = self.cluster.leader()
        return leader.api(method, path, body, token=leader.root_token)

    def register(self, module: str, version: str) -> None:
        """The plugin in the directories of all nodes, and in the catalog."""
        for node in self.nodes:
            body = plugin_script(node.plugin_dir, PLUGIN, module, version)
        self.ask("POST", f"sys/plugins/catalog/secret/{PLUGIN}", body)

    def write_key(self, number: int) -> None:
        """A new version of the key."""
        key_id, pem = support.key_id(number), keys.new_p8_pem()
        self.public_keys[key_id] = parse_private_key(pem).public_key_pem()
        body = {"private_key": pem.decode(), "key_id": key_id, "issuer_id": keys.ISSUER_ID}
        self._change(key_id, "asc/keys/prod", body)

    def roll_back(self) -> None:
        """The version before the current one."""
        self._change(self.changes[-2].key_id, "asc/keys/prod/rollback", {})

    def _change(self, key_id: str, path: str, body: object) -> None:
        begin = time.monotonic()
        self.ask("POST", path, body)
        self.changes.append(Current(key_id, begin, time.monotonic()))

    def current(self, read: Asked, earlier: int = 0) -> list[str]:
        """The keys that may have been current at some time of a request, and so many of those before."""
        ends = [each.end for each in self.changes[1:]] + [read.end]
        places = [
            place
            for place, (each, end) in enumerate(zip(self.changes, ends, strict=True))
            if each.begin <= read.end and end >= read.begin
        ]
        return [each.key_id for each in self.changes[max(0, places[0] - earlier) : places[-1] + 1]]


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with BaoCluster() as cluster:
        here = Running(cluster)
        here.register(PRODUCT, f"v{__version__}")
        here.ask("POST", "sys/mounts/asc", {"type": PLUGIN})
        here.write_key(1)
        here.ask("POST", "asc/roles/sales", {"key": "prod"})
        here.ask("POST", "asc/roles/bulk", {"key": "prod", "lease": False})
        here.ask("POST", f"{TRANSIT_MOUNT}/keys/load", {"type": "ecdsa-p256"})
        for node in cluster.nodes:
            until(partial(_answers, node), "an answer of every node, which hears of a new mount a little later")
        settled(here)
        yield here
    for node in cluster.nodes:
        until(partial(_gone, node), "the end of all processes of the cluster")


# -- what is looked at -------------------------------------------------------------------------------------------------


class Process(NamedTuple):
    """A plugin process: its ID, that of its parent, when it was started in ticks after the system, and its version."""

    pid: int
    parent: int
    born: int
    version: str


def plugins(node: RaftNode) -> list[Process]:
    """Whoever runs something out of the node's plugin directory, whether the server knows of it or not."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and str(node.plugin_dir) in (line := (entry / "cmdline").read_text()):
                fields = (entry / "stat").read_text().rpartition(") ")[2].split()
                version = line.rstrip("\0").rpartition("-")[2]
                found.append(Process(int(entry.name), int(fields[1]), int(fields[19]), version))
    return found


def born(process: Process) -> float:
    """When a process was started, at the latest, as `time.monotonic`."""
    ago = time.clock_gettime(time.CLOCK_BOOTTIME) - (process.born + 1) / os.sysconf("SC_CLK_TCK")
    return time.monotonic() - ago


def _gone(node: RaftNode) -> bool:
    return not plugins(node) and not naming(node.work_dir)


def _runs(node: RaftNode, version: str) -> bool:
    return [each.version for each in plugins(node)] == [version]


def _answers(node: RaftNode) -> bool:
    with contextlib.suppress(VaultError):
        node.api(BULK.method, BULK.path, token=node.root_token)
        return True
    return False


def settled(running: Running) -> None:
    """One plugin process for each server, started by it, with one socket."""
    for node in running.nodes:
        until(partial(_one_plugin, node), f"one plugin process on {node.address}: {plugins(node)}")


def _one_plugin(node: RaftNode) -> bool:
    sockets = list(node.temp_dir.glob("vault-asc-*"))
    return [each.parent for each in plugins(node)] == [node.pid] and len(sockets) == 1


def under_load(running: Running, act: Callable[[], object]) -> list[Asked]:
    """Do something while all nodes are read from; what became of the reads, every token of which was a good one."""
    with Load([node.address for node in running.nodes], running.nodes[0].root_token, OURS + BUILT_IN) as load:
        time.sleep(BEFORE)
        act()
        running.cluster.wait_until_whole()
        over = time.monotonic()
        for kind, node in itertools.product(OURS, range(len(running.nodes))):
            until(partial(load.answered, kind, node, over), f"a {kind.name} of node {node}, which is well again")
        time.sleep(AFTER)
    report(load.asked)
    for each in load.asked:
        if each.kind in OURS and not each.failed:
            check(running, each)
    settled(running)
    return load.asked


def check(running: Running, read: Asked) -> None:
    """It is signed by the key that it names, valid now, and that key is the current one or the one before."""
    answer = read.data()
    claims = verified(answer, running.public_keys[answer["key_id"]])
    answered = time.time() - (time.monotonic() - read.end)
    assert claims["iat"] <= answered < claims["exp"] - 300
    # A standby that signs by itself may not have heard of the last change; the active node has.
    assert answer["key_id"] in running.current(read, earlier=1 if read.kind == BULK else 0)


def lost(asked: Sequence[Asked]) -> list[str]:
    """Reads of tokens that failed while the server's own engines on the same node went on."""
    gaps = [gap(asked, BUILT_IN, node) for node in range(1 + max(each.node for each in asked))]
    failed = [each for each in asked if each.kind in OURS and each.failed]
    return [
        f"{each.kind.name} on node {each.node}, {each.begin:.2f} to {each.end:.2f}, is not in {own}: {each.body!r}"
        for each in failed
        if not ((own := gaps[each.node]) and own.holds(each))
    ]


def report(asked: Sequence[Asked]) -> None:
    """The figures of a scene, for those who run it with `--log-cli-level=INFO`."""
    for kind, node in itertools.product(OURS + BUILT_IN, sorted({each.node for each in asked})):
        mine = [each for each in asked if (each.kind, each.node) == (kind, node)]
        found = gap(mine, [kind], node)
        away = found.end - found.begin if found else 0.0
        failed, slowest = sum(each.failed for each in mine), max(each.end - each.begin for each in mine)
        log.info(
            "%-19s node %d: %3d asked, %2d failed, gap %.2f s, slowest %.2f s",
            *(kind.name, node, len(mine), failed, away, slowest),
        )


# -- the scenes --------------------------------------------------------------------------------------------------------


def test_nothing_happens(running: Running) -> None:
    assert not [each for each in under_load(running, lambda: None) if each.failed]


def test_the_key_is_replaced_and_rolled_back(running: Running) -> None:
    def act() -> None:
        for change in (
            partial(running.write_key, 2),
            partial(running.write_key, 3),
            running.roll_back,
            partial(running.write_key, 4),
        ):
            change()
            time.sleep(BETWEEN)

    asked = under_load(running, act)
    assert not [each for each in asked if each.failed]
    tokens = [(each.data()["key_id"], each.kind, each.node) for each in asked if each.kind in OURS]
    assert {key_id for key_id, _, _ in tokens} == {support.key_id(number) for number in (1, 2, 3, 4)}
    last = {(kind, node): key_id for key_id, kind, node in tokens}
    assert set(last.values()) == {support.key_id(4)}


def test_the_leader_steps_down(running: Running) -> None:
    before = running.cluster.leader()
    asked = under_load(running, lambda: running.ask("PUT", "sys/step-down"))
    assert running.cluster.leader() is not before
    assert not lost(asked)


def test_the_leader_is_killed_and_comes_back(running: Running) -> None:
    def act() -> None:
        node = running.cluster.leader()
        node.crash()
        until(lambda: not plugins(node), "the end of the plugin of a killed server")
        time.sleep(DOWN)
        node.start()

    assert not lost(under_load(running, act))


@pytest.mark.parametrize("active", [False, True], ids=["a standby", "the active node"])
def test_a_node_is_sealed_and_unsealed(running: Running, active: bool) -> None:
    node = node_of(running, active=active)

    def act() -> None:
        node.seal()
        until(lambda: not plugins(node), "the end of the plugin of a sealed server")
        time.sleep(DOWN)
        node.unseal()

    asked = under_load(running, act)
    assert not lost(asked)
    if not active:
        assert {each.node for each in asked if each.failed} == {running.nodes.index(node)}


@pytest.mark.parametrize("active", [False, True], ids=["a standby", "the active node"])
def test_a_plugin_is_killed(running: Running, active: bool) -> None:
    """Lost is what reaches the process while it dies, or the server before it has noticed; then all wait for the next.

    How soon a server notices is not in our hands: some milliseconds, more on a busy machine.
    """
    node = node_of(running, active=active)
    killed: list[float] = []

    def act() -> None:
        process = plugins(node)[0]
        killed.append(time.monotonic())
        os.kill(process.pid, signal.SIGKILL)
        until(lambda: process not in plugins(node), "the end of a killed process")

    failed = [each for each in under_load(running, act) if each.failed]
    for each in failed:
        log.info("lost: %s, client %d, after %.3f s", each.kind.name, each.client, each.begin - killed[0])
    next_one = born(plugins(node)[0])
    assert all(each.kind in OURS and b"code = Unavailable" in each.body for each in failed)
    assert all(each.end >= killed[0] and each.begin <= next_one for each in failed)


def test_the_plugin_is_replaced_by_a_newer_version(running: Running) -> None:
    version = f"v{newer.VERSION}"

    def act() -> None:
        running.register(newer.__name__, version)
        running.ask("POST", "sys/mounts/asc/tune", {"plugin_version": version})
        # Without the scope the node that is asked does it, and no other.
        running.ask("PUT", "sys/plugins/reload/backend", {"mounts": ["asc/"], "scope": "global"})
        for node in running.nodes:
            until(partial(_runs, node, version), "the new version on every node")

    asked = under_load(running, act)
    assert not [each for each in asked if each.failed]
    assert {each.version for node in running.nodes for each in plugins(node)} == {version}
    assert running.ask("GET", "sys/mounts/asc")["data"]["running_plugin_version"] == version


def node_of(running: Running, *, active: bool) -> RaftNode:
    """The active node, or one that is not."""
    leader = running.cluster.leader()
    return leader if active else next(node for node in running.nodes if node is not leader)
