"""What every configuration of an Agent has in common: server, login, how often it reads, and how strings are written.

Measured ground: after 150 s without Vault, 3 retries repaired the token in 104 s, endless ones in 3 s; a namespace
named for the whole Agent alone leaves its login in the root namespace.
"""

import json
import math
from collections.abc import Iterable

from vault_asc.config import Config, Rendered, Target
from vault_asc.errors import ConfigError
from vault_asc.names import is_unix
from vault_asc.rotation import longest_tick
from vault_asc.secret import safe_text
from vault_asc.tokens import BACKDATE, MAX_LIFETIME


def check_server(config: Config) -> None:
    """Refuse, with `ConfigError`, an address through which no Agent can log in."""
    if is_unix(config.vault.address):
        raise ConfigError(
            f'the Agent cannot log in through "{config.vault.address}", a listener of another Agent',
            hint="set vault.address, or VAULT_ADDR, to the https address of the server",
        )


def check_targets(config: Config) -> None:
    """Refuse, with `ConfigError`, a configuration with nothing to keep fresh."""
    if not config.all_targets:
        raise ConfigError(f'"{config.path}" has no targets', hint="add a [[targets]] table")


def check_ticks(tick: int, targets: Iterable[Target | Rendered]) -> None:
    """Refuse, with `ConfigError`, a tick so long that a healthy target would run into its alarm between two ticks.

    Args:
        tick: seconds between two ticks.
        targets: those whose tokens are minted at ticks, not by their leases.
    """
    for target in targets:
        longest = longest_tick(target.request.usable_life)
        if tick <= longest:
            continue
        ways = [f'agent.tick to at most "{int(longest)}s"'] if longest >= 1 else []
        # In proportion: the longest tick is a share of the usable life.
        enough = math.ceil(tick / longest_tick(1)) + BACKDATE
        ways += [f'its lifetime to at least "{enough}s"'] if enough <= MAX_LIFETIME else []
        raise ConfigError(
            f'target "{target.name}" with a lifetime of {target.request.lifetime} s could be refreshed only after its'
            f" alarm: agent.tick is {tick} s",
            hint=f"set {', or '.join(ways)}",
        )


def head(config: Config, command: str) -> str:
    """The server. `command` is what has written the text."""
    vault = config.vault
    optional = [
        f"  namespace = {quoted(vault.namespace)}\n" if vault.namespace else "",
        f"  ca_cert = {quoted(vault.ca_file)}\n" if vault.ca_file else "",
    ]
    return f"""\
# Written by `{command}`. For `vault agent -config=FILE` and `bao agent -config=FILE`.
# Start the Agent from a clean environment: VAULT_ADDR and BAO_ADDR there would beat the address below.

vault {{
  address = {quoted(vault.address)}
{"".join(optional)}\
  retry {{
    # Never give up: one read is repeated every 10 s at the latest (Vault: every minute). An Agent that gives up builds
    # its templates anew instead, and waits for up to 5 minutes before each time.
    num_retries = 1000000
  }}
}}
"""


def login(config: Config) -> str:
    """How the Agent logs in."""
    namespace = f"""\
    # Said here too: measured with OpenBao, the namespace of the stanza above does not reach the login.
    namespace = {quoted(config.vault.namespace)}
"""
    return f"""\
auto_auth {{
  method "approle" {{
{namespace if config.vault.namespace else ""}\
    # After an outage that its token did not survive the Agent logs in again; by default it waits for up to 5 minutes.
    min_backoff = "1s"
    max_backoff = "10s"
    config = {{
      role_id_file_path   = {quoted(config.agent.role_id_file)}
      secret_id_file_path = {quoted(config.agent.secret_id_file)}
      # By default the Agent deletes the file after the first login, and cannot log in again after a restart.
      remove_secret_id_file_after_reading = false
    }}
  }}
}}
"""


def interval(config: Config) -> str:
    """How often templates are read."""
    return f"""\
template_config {{
  # How often templates are read again (the Agent does it at 0.85 to 0.95 of this), for all that have no lease.
  static_secret_render_interval = "{config.agent.tick}s"
}}
"""


def record_path(config: Config, key: str) -> str:
    """Where the record of a key is read."""
    return f"{config.store.mount}/data/{config.store.prefix}/keys/{key}"


def quoted(value: object) -> str:
    """An HCL string. What HCL could read differently from how it looks is refused."""
    text = str(value)
    if "${" in text or "%{" in text or not text.isprintable():
        raise ConfigError(f'"{safe_text(text)}" cannot be written into an Agent configuration', hint="use a plain path")
    return json.dumps(text, ensure_ascii=False)
