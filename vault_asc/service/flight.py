"""An attempt under way: what it holds while it lasts, and what it has cost at its end."""

from typing import NamedTuple

from vault_asc.service.roster import Account
from vault_asc.service.traffic import Seen


class Flight(NamedTuple):
    """Whose rate and hosts an attempt uses, when it began, reads reserved for it, whether it is a slow one."""

    account: Account
    used: tuple[str, str]
    began: float
    reads: int
    slow: bool

    @property
    def host(self) -> str:
        """The one besides Vault."""
        return self.used[1]

    def charge(self, seen: tuple[Seen, ...]) -> None:
        """Settle the rate by the calls that were made: Nexla counts calls, not attempts; logins are free."""
        calls = [call.method for call in seen if call.endpoint == self.host]
        writes, reads = calls.count("PUT") - 1, calls.count("GET") - self.reads
        if writes or reads:
            self.account.pace.settle(writes=writes, reads=reads)
