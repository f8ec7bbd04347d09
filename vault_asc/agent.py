"""One complete configuration for `vault agent` and `bao agent`, as text, from a `Config`.

The Agent is a clock and an identity: it logs in, renews, offers a socket that adds its token, and ticks. Why each part
is as it is stands beside it in the text, because that is where an operator will ask.

Measured ground: a failed exec is not repeated while the rendered bytes stay equal, so the time bucket is the clock;
an exec inherits the Agent's whole environment, so it is emptied; a `cache` stanza would hand the exec a false address;
after 150 s without Vault, 3 retries repaired the token in 104 s, endless ones in 3 s; a namespace named for the whole
Agent alone leaves its login in the root namespace.
"""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final

from vault_asc.config import Config
from vault_asc.errors import ConfigError
from vault_asc.names import is_unix
from vault_asc.rotation import longest_tick
from vault_asc.secret import safe_text
from vault_asc.tokens import BACKDATE, MAX_LIFETIME

_SOCKET_MAX: Final = 107  # bytes: sun_path of Linux, without its closing zero
EXEC_TIMEOUT: Final = 60
"""Seconds after which the Agent kills a push; a push gives itself 50."""


@dataclass(frozen=True)
class Exec:
    """How the Agent runs on its host.

    Attributes:
        command: vault-asc, by its whole path.
        state_dir: for a configuration that does not name one.
        uid, gid: numbers of user and group that the Agent runs as.
    """

    command: Sequence[str]
    state_dir: Path
    uid: int
    gid: int


def render(config: Config, call: Exec) -> str:
    """The configuration. `ConfigError` when there is nothing to keep fresh, or no file to point the helper to."""
    if config.path is None:
        raise ConfigError(
            "the Agent's helper needs a configuration file", hint="write one: vault-asc init, then pass --config FILE"
        )
    if is_unix(config.vault.address):
        raise ConfigError(
            f'the Agent cannot log in through "{config.vault.address}", a listener of another Agent',
            hint="set vault.address, or VAULT_ADDR, to the https address of the server",
        )
    if not PurePath(call.command[0]).is_absolute():
        raise ConfigError(
            f'"{call.command[0]}" is no absolute command, and the Agent\'s helper has no search path of yours',
            hint="call vault-asc by its whole path",
        )
    if len(os.fsencode(config.agent.socket)) > _SOCKET_MAX:
        raise ConfigError(
            f'"{config.agent.socket}" is longer than the {_SOCKET_MAX} bytes that a unix socket may be called',
            hint="set agent.dir to a shorter path, such as /run/vault-asc",
        )
    if not config.targets:
        raise ConfigError(f'"{config.path}" has no targets', hint="add a [[targets]] table")
    check_ticks(config)
    keys = sorted({target.key for target in config.targets})
    parts = [_head(config), _login(config), _socket(config, call), _tick(config, call)]
    return "\n".join([*parts, *(_key(config, key) for key in keys)])


def check_ticks(config: Config) -> None:
    """Refuse, with `ConfigError`, a tick so long that a healthy target would run into its alarm between two ticks."""
    tick = config.agent.tick
    for target in config.targets:
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


def _head(config: Config) -> str:
    vault = config.vault
    optional = [
        f"  namespace = {_quoted(vault.namespace)}\n" if vault.namespace else "",
        f"  ca_cert = {_quoted(vault.ca_file)}\n" if vault.ca_file else "",
    ]
    return f"""\
# Written by `vault-asc agent config`. For `vault agent -config=FILE` and `bao agent -config=FILE`.
# Start the Agent from a clean environment: VAULT_ADDR and BAO_ADDR there would beat the address below.

vault {{
  address = {_quoted(vault.address)}
{"".join(optional)}\
  retry {{
    # Never give up: one read is repeated every 10 s at the latest (Vault: every minute). An Agent that gives up builds
    # its templates anew instead, and waits for up to 5 minutes before each time.
    num_retries = 1000000
  }}
}}
"""


def _login(config: Config) -> str:
    namespace = f"""\
    # Said here too: measured with OpenBao, the namespace of the stanza above does not reach the login.
    namespace = {_quoted(config.vault.namespace)}
"""
    return f"""\
auto_auth {{
  method "approle" {{
{namespace if config.vault.namespace else ""}\
    # After an outage that its token did not survive the Agent logs in again; by default it waits for up to 5 minutes.
    min_backoff = "1s"
    max_backoff = "10s"
    config = {{
      role_id_file_path   = {_quoted(config.agent.role_id_file)}
      secret_id_file_path = {_quoted(config.agent.secret_id_file)}
      # By default the Agent deletes the file after the first login, and cannot log in again after a restart.
      remove_secret_id_file_after_reading = false
    }}
  }}
}}
"""


def _socket(config: Config, call: Exec) -> str:
    return f"""\
# The helper holds no token: whoever may open this socket acts as the Agent, so only the Agent's user may. The mode
# alone has no effect: measured with OpenBao, it is set only together with user and group.
api_proxy {{
  use_auto_auth_token = "force"
}}

listener "unix" {{
  address                = {_quoted(config.agent.socket)}
  tls_disable            = true
  socket_mode            = "0600"
  socket_user            = "{call.uid}"
  socket_group           = "{call.gid}"
  require_request_header = true
}}
"""


def _tick(config: Config, call: Exec) -> str:
    tick = config.agent.tick
    contents = (
        '{{ with secret "auth/token/lookup-self" }}tick{{ end }}'
        f' {{{{ timestamp "unix" | parseInt | divide {tick} }}}}'
    )
    environment = ["PATH=/usr/bin:/bin"]
    if config.state_dir is None:
        environment.append(f"STATE_DIRECTORY={call.state_dir}")
    if config.vault.namespace is not None:
        # It may come from the environment of whoever printed this; the emptied one would lose it.
        environment.append(f"VAULT_NAMESPACE={config.vault.namespace or '/'}")
    argv = [
        "/usr/bin/env",
        "-i",
        *environment,
        *call.command,
        "push",
        "--all",
        "--if-due",
        f"--config={config.path}",
        f"--address=unix://{config.agent.socket}",
        f"--tick-dir={config.agent.ticks}",
    ]
    command = ",\n      ".join(_quoted(word) for word in argv)
    return f"""\
template_config {{
  # How often templates are read again (the Agent does it at 0.85 to 0.95 of this), for all of them.
  static_secret_render_interval = "{tick}s"
}}

# The tick. The bucket of {tick} s changes the content, and only changed content runs the exec; the token's own look-up is
# there because a template without a dependency is rendered once and never again.
template {{
  contents    = {_line(contents)}
  destination = {_quoted(config.agent.dir / "tick")}
  perms       = "0600"
  backup      = false
  exec {{
    command = [
      {command},
    ]
    timeout = "{EXEC_TIMEOUT}s"
  }}
}}
"""


def _key(config: Config, key: str) -> str:
    path = f"{config.store.mount}/data/{config.store.prefix}/keys/{key}"
    contents = f'{{{{ with secret "{path}" }}}}{{{{ .Data.metadata.version }}}}{{{{ end }}}}'
    return f"""\
# The version of the record of key "{key}": a rotated key is pushed at the next tick.
template {{
  contents             = {_line(contents)}
  destination          = {_quoted(config.agent.ticks / key)}
  perms                = "0600"
  backup               = false
  error_on_missing_key = true
}}
"""


def _line(template: str) -> str:
    """An HCL string for one line of template text, made of parts that are checked."""
    return json.dumps(f"{template}\n")


def _quoted(value: object) -> str:
    """An HCL string. What HCL could read differently from how it looks is refused."""
    text = str(value)
    if "${" in text or "%{" in text or not text.isprintable():
        raise ConfigError(f'"{safe_text(text)}" cannot be written into an Agent configuration', hint="use a plain path")
    return json.dumps(text, ensure_ascii=False)
