"""Who keeps the targets fresh here, as far as the state directory tells: the Agent's ticks, or a `vault-asc run`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from vault_asc.config import Config
    from vault_asc.state import StateDir


class Keepers(NamedTuple):
    """What is seen of them.

    Attributes:
        last_tick: when the Agent last called, in Unix seconds; None when it never did.
        stopped: whether that is too long ago.
        running: whether a `vault-asc run` holds the state directory; None when that cannot be seen.
    """

    last_tick: float | None
    stopped: bool
    running: bool | None

    @classmethod
    def seen(cls, config: "Config", states: "StateDir", now: float) -> "Keepers":
        """Look. The Agent has stopped after three ticks and the time of one push."""
        last = states.last_tick()
        return cls(last or None, bool(last) and now - last > 3 * config.agent.tick + 60, states.is_served())

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {"agent": {"last_tick": self.last_tick, "stopped": self.stopped}, "run": {"running": self.running}}

    def lines(self, now: float) -> Iterator[str]:
        """For people."""
        if self.running:
            yield "vault-asc run is running here"
        if self.last_tick is not None:
            yield self._of_agent(now - self.last_tick)
        elif not self.running:
            unseen = "cannot be seen" if self.running is None else "is not running here"
            yield f"vault-asc run {unseen}, and the Agent has never ticked here"

    def _of_agent(self, since: float) -> str:
        from vault_asc.clock import format_duration

        ago = format_duration(since)
        if not self.stopped:
            return f"the Agent ticked {ago} ago"
        if self.running:  # it has taken over
            return f"the Agent has stopped ticking: last tick {ago} ago"
        return (
            f"the Agent has stopped ticking: last tick {ago} ago; it is dead, or has no Vault to ask (sealed, unreachable,"
            " login refused): its log tells; and vault-asc run is not running here"
        )
