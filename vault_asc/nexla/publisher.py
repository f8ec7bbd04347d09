"""From a target and a token to Nexla: discover, PUT, probe. Sessions are shared per account within a pass."""

from collections.abc import Callable, Mapping
from typing import Any

from vault_asc.config import Target
from vault_asc.nexla.client import NexlaClient
from vault_asc.nexla.credential_body import put_body
from vault_asc.nexla.discovery import Plan, Wanted, discover
from vault_asc.outcome import Probe
from vault_asc.secret import Secret


class NexlaPublisher:
    """Writes tokens into Nexla credentials.

    Args:
        connect: makes the client of an account by its name; called once for each.
    """

    def __init__(self, connect: Callable[[str], NexlaClient]) -> None:
        self._connect = connect
        self._clients: dict[str, NexlaClient] = {}

    def publish(self, target: Target, token: Secret, plan: Mapping[str, Any]) -> tuple[Mapping[str, Any], Probe]:
        """Write the token and prove it; returns where it went, for the state, and what the probe says.

        `plan` is what the state remembers, for tenants that show too little for a discovery.
        """
        client = self._client(target.nexla)
        wanted = wanted_of(target)
        credential = client.credential(target.credential_id)
        found = discover(credential, wanted, Plan.from_state(plan))
        client.update(target.credential_id, put_body(found, credential, wanted, token))
        return found.as_state(), client.probe(target.credential_id)

    def _client(self, account: str) -> NexlaClient:
        if account not in self._clients:
            self._clients[account] = self._connect(account)
        return self._clients[account]


def wanted_of(target: Target) -> Wanted:
    """What the configuration of a target says about its credential."""
    return Wanted(
        credential_id=target.credential_id,
        mode=target.mode,
        vendor=target.vendor,
        auth_template=target.auth_template,
        token_field=target.token_field,
        token_prefix=target.token_prefix,
        extra_fields=target.extra_fields,
    )
