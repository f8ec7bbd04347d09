"""What `vault-asc config check` says of a configuration that could be read: what it means, and what is wrong under an Agent.

An Agent and `vault-asc run` read the same file, and what one of them cannot do may be well for the other.
"""

import os
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from vault_asc.auth import AppRoleAuth, AuthSettings
from vault_asc.errors import ConfigError
from vault_asc.opening import open_to
from vault_asc.settings import DEFAULT_APPLE_API, AgentSettings, Config, RunSettings

if TYPE_CHECKING:
    from vault_asc.config import Rendered, Target

_AGENT: Final = AgentSettings()
_RUN: Final = RunSettings()


def for_run(config: Config) -> bool:
    """Whether it says how `vault-asc run` works, so that no Agent pushes by it."""
    return config.vault.auth is not None or config.run != _RUN


def for_agent(config: Config) -> bool:
    """Whether it says how an Agent works, beyond the defaults that `vault-asc init` writes."""
    return config.agent != _AGENT or bool(config.rendered)


def warnings(config: Config) -> Iterator[str]:
    """What is wrong, but stops neither all nor what this configuration is for. `ConfigError` for what does."""
    from vault_asc.agent import check_roles, check_ticks

    check_roles(config.rendered)  # nothing but an Agent renders
    try:
        check_ticks(config.agent.tick, config.targets)
    except ConfigError as error:
        if for_agent(config) and not for_run(config):
            raise
        yield f"under an Agent {error.message}; vault-asc run keeps it fresh; for the Agent {error.hint}"
    yield from identities(config)


def identities(config: Config) -> Iterator[str]:
    """Secret IDs that others may read, the owner's group aside: a warning each, as for a key file."""
    auth = config.vault.auth
    files = [auth.secret_id_file] if isinstance(auth, AppRoleAuth) else []
    files += [config.agent.secret_id_file] if config.agent != _AGENT else []
    for file in dict.fromkeys(files):
        try:
            others = open_to(file.stat().st_mode, group=False)
        except OSError:  # not there yet, or of the service's user alone
            continue
        if others:
            yield f'"{file}" with the secret ID {others}: chmod o-r {shlex.quote(str(file))}'


def meaning(config: Config) -> list[tuple[str, str]]:
    """Name and value, one pair a line."""
    from vault_asc.config import state_dir
    from vault_asc.names import Custody

    store, apple_url = config.store, config.appstoreconnect.api_url
    auth = config.vault.auth
    return [
        ("Vault", config.vault.address),
        *([] if auth is None else [("run logs in", _login(auth))]),
        ("keys", f"{store.mount}/{store.prefix}/keys, custody {' and '.join(store.custodies)}"),
        *([("Transit", store.transit_mount)] if Custody.TRANSIT in store.custodies else []),
        *([("engine", store.engine_mount)] if _uses_engine(config) else []),
        ("state", str(state_dir(config, os.environ))),
        *([("Agent", f"{config.agent.dir}, tick {config.agent.tick} s")] if _agent_told(config) else []),
        *([] if config.run == _RUN else [("run", _service(config.run))]),
        *([] if apple_url == DEFAULT_APPLE_API else [("Apple", apple_url)]),
        *((f"Nexla {name}", account.api_url) for name, account in sorted(config.nexla.items())),
        *((f"target {target.name}", _pushed(target)) for target in config.targets),
        *((f"target {target.name}", _rendered(target)) for target in config.rendered),
    ]


def _agent_told(config: Config) -> bool:
    return for_agent(config) or not for_run(config)


def _login(auth: AuthSettings) -> str:
    if isinstance(auth, AppRoleAuth):
        wrapped = f", wrapped at {auth.secret_id_wrapping_path}" if auth.secret_id_wrapping_path else ""
        return f"at auth/{auth.mount} with {auth.role_id_file} and {auth.secret_id_file}{wrapped}"
    return f"at auth/{auth.mount} as role {auth.role} with {auth.jwt_file}"


def _service(run: RunSettings) -> str:
    told = [
        f"{run.workers} attempts at a time",
        "writes as Nexla allows" if run.rate is None else f"at most {run.rate} writes per second and service key",
        *([f"{run.replicas} replicas"] if run.replicas > 1 else []),
        *([] if run.listen is None else [f"looked at on {run.listen}"]),
    ]
    return ", ".join(told)


def _uses_engine(config: Config) -> bool:
    from vault_asc.names import Custody

    by_role = any(target.role is not None for target in config.all_targets)
    return by_role or Custody.ENGINE in config.store.custodies


def _pushed(target: "Target") -> str:
    where = f"credential {target.credential_id} at Nexla {target.nexla}"
    return f"{target.source} -> {where}, tokens usable for {_usable_for(target)}"


def _rendered(target: "Rendered") -> str:
    return f"{target.source} -> {target.token_file} by the Agent alone, tokens usable for {_usable_for(target)}"


def _usable_for(target: "Target | Rendered") -> str:
    from vault_asc.clock import format_duration

    if target.role is not None and target.request.asked_lifetime is None:
        return "as long as the role says"
    return format_duration(target.request.usable_life)
