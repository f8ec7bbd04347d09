"""The configuration with the Agent's helper: a tick that runs `vault-asc push`, and a socket through which it asks.

The Agent is a clock and an identity: it logs in, renews, offers a socket that adds its token, and ticks. Beside that it
writes token files by roles of the engine itself (`leased`). Why each part is as it is stands beside it in the text,
because that is where an operator will ask.

Measured ground: a failed exec is not repeated while the rendered bytes stay equal, so the time bucket is the clock;
an exec inherits the Agent's whole environment, so it is emptied; a `cache` stanza would hand the exec a false address.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final

from vault_asc.agent import leased
from vault_asc.agent.parts import check_server, check_targets, check_ticks, head, interval, login, quoted, record_path
from vault_asc.config import Config
from vault_asc.errors import ConfigError

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
    """The configuration. `ConfigError` when there is nothing to keep fresh, or what this Agent cannot do.

    With nothing to push there is neither tick nor socket, and no helper is needed.
    """
    check_server(config)
    check_targets(config)
    _check_rendered(config)
    leased.check_roles(config.rendered)
    parts = [head(config, "vault-asc agent config"), login(config), interval(config)]
    if config.targets:
        _check_helper(config, call)
        check_ticks(config.agent.tick, config.targets)
        keys = sorted({target.key for target in config.targets if target.key is not None})
        parts += [_socket(config, call), _tick(config, call), *(_key(config, key) for key in keys)]
    rendered = sorted(config.rendered, key=lambda target: target.name)
    return "\n".join([*parts, *(leased.template(config, target) for target in rendered)])


def _check_rendered(config: Config) -> None:
    by_key = [f'"{target.name}"' for target in config.rendered if target.role is None]
    if by_key:
        raise ConfigError(
            f"the Agent cannot render a token of a key, as {', '.join(by_key)} would be, beside its helper",
            hint="name a role of the engine in place of the key, add credential_id to have it pushed, or print a"
            " configuration for keys in custody transit alone: --pure",
        )


def _check_helper(config: Config, call: Exec) -> None:
    if config.path is None:
        raise ConfigError(
            "the Agent's helper needs a configuration file", hint="write one: vault-asc init, then pass --config FILE"
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


def _socket(config: Config, call: Exec) -> str:
    return f"""\
# The helper holds no token: whoever may open this socket acts as the Agent, so only the Agent's user may. The mode
# alone has no effect: measured with OpenBao, it is set only together with user and group.
api_proxy {{
  use_auto_auth_token = "force"
}}

listener "unix" {{
  address                = {quoted(config.agent.socket)}
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
    command = ",\n      ".join(quoted(word) for word in argv)
    return f"""\
# The tick. The bucket of {tick} s changes the content, and only changed content runs the exec; the token's own look-up is
# there because a template without a dependency is rendered once and never again.
template {{
  contents    = {_line(contents)}
  destination = {quoted(config.agent.dir / "tick")}
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
    contents = f'{{{{ with secret "{record_path(config, key)}" }}}}{{{{ .Data.metadata.version }}}}{{{{ end }}}}'
    return f"""\
# The version of the record of key "{key}": a rotated key is pushed at the next tick.
template {{
  contents             = {_line(contents)}
  destination          = {quoted(config.agent.ticks / key)}
  perms                = "0600"
  backup               = false
  error_on_missing_key = true
}}
"""


def _line(template: str) -> str:
    """An HCL string for one line of template text, made of parts that are checked."""
    return json.dumps(f"{template}\n")
