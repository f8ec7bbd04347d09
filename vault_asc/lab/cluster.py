"""Three real OpenBao servers that keep their data together, by raft, each with a plugin directory of its own.

Nothing here is for production: every node is unsealed with the one key that lives in this process's memory.
"""

import contextlib
import os
import signal
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from vault_asc.errors import VaultError, VaultUnavailableError
from vault_asc.lab.server import BaoServer

NODES: Final = 3
"""How many; one may be lost."""

_TIMEOUT: Final = 60.0  # seconds for anything that the nodes settle among themselves; usually one or two
_POLL: Final = 0.05  # seconds
_MEMBER: Final = "sys/health?standbyok=true"  # from the first start on, another node may be the active one
_STABLE: Final = 1  # seconds that a new node is watched before it may vote; 10 by default, and whole seconds


class RaftNode(BaoServer):
    """One node. Its address, data and place in the cluster survive a restart."""

    def __init__(self, number: int, first: "RaftNode | None" = None) -> None:
        """Prepare a node; entering the context starts it.

        Args:
            number: tells it from the others.
            first: the node whose cluster it joins; without one it begins a cluster.
        """
        super().__init__(storage="raft")
        self._number = number
        self._first = first
        self.temp_dir.mkdir(mode=0o700)

    @property
    def temp_dir(self) -> Path:
        """TMPDIR of the server and of what it starts."""
        return self.work_dir / "tmp"

    def crash(self) -> None:
        """Kill the server alone: what it has started has to see for itself that it is gone. `start` brings it back."""
        os.kill(self.pid, signal.SIGKILL)
        while self.running:
            time.sleep(_POLL)

    def _environ(self) -> dict[str, str]:
        return super()._environ() | {"TMPDIR": str(self.temp_dir)}

    def _storage_settings(self) -> dict[str, object]:
        # A new node votes once autopilot has looked at it, by default every 10 s.
        quick = {"autopilot_update_interval": "100ms", "autopilot_reconcile_interval": "200ms"}
        return super()._storage_settings() | quick | {"node_id": f"lab-{self._number}"}

    def _begin(self) -> None:
        if self._first is None:
            super()._begin()
            body = {"server_stabilization_time": f"{_STABLE}s"}
            self.api("POST", "sys/storage/raft/autopilot/configuration", body, token=self.root_token)
            self._health = _MEMBER
            return
        self._health = _MEMBER
        self._unseal_key, self.root_token = self._first._unseal_key, self._first.root_token  # noqa: SLF001 - of the same class
        self.api("PUT", "sys/storage/raft/join", {"leader_api_addr": self._first.address})
        self.unseal()


class BaoCluster:
    """The nodes, every one unsealed and with a vote."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self.nodes: list[RaftNode] = []

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            first = None
            for number in range(NODES):
                node = stack.enter_context(RaftNode(number, first))
                first = first or node
                self.nodes.append(node)
            self.wait_until_whole()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._stack.close()

    def leader(self) -> RaftNode:
        """The active node. `VaultUnavailableError` when for 60 s there is none."""
        until = time.monotonic() + _TIMEOUT
        while time.monotonic() < until:
            for node in self.nodes:
                with contextlib.suppress(VaultError):
                    if node.api("GET", "sys/leader")["is_self"]:
                        return node
            time.sleep(_POLL)
        raise VaultUnavailableError("no node of the cluster is active", hint="unseal the nodes")

    def wait_until_whole(self) -> None:
        """Wait until every node is healthy and has a vote, so that any one of them may be lost."""
        until = time.monotonic() + _TIMEOUT
        while not self._whole():
            if time.monotonic() > until:
                raise VaultUnavailableError("the nodes of the cluster do not come together", hint="look at their logs")
            time.sleep(_POLL)

    def _whole(self) -> bool:
        try:
            leader = self.leader()
            state = leader.api("GET", "sys/storage/raft/autopilot/state", token=leader.root_token)["data"]
        except VaultError:
            return False
        return bool(state["healthy"]) and len(state.get("voters") or ()) == NODES
