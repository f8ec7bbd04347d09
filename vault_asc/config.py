"""`vault-asc.toml`: found, read, checked, turned into frozen dataclasses. Unknown keys are errors; no secret is in it.

Light: loads no HTTP, Vault or crypto library, so that a pass with nothing due costs next to nothing.
"""

import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from vault_asc.auth import parse_auth
from vault_asc.clock import parse_duration
from vault_asc.errors import ConfigError
from vault_asc.listen import Listen, parse_listen
from vault_asc.names import Custody, check_address, check_name, check_path, transit_key
from vault_asc.secret import safe_text
from vault_asc.settings import (
    DEFAULT_ADDRESS,
    DEFAULT_APPLE_API,
    DEFAULT_NEXLA_API,
    AgentSettings,
    AppStoreConnectSettings,
    Config,
    NexlaSettings,
    RunSettings,
    SecretRef,
    StoreSettings,
    VaultSettings,
)
from vault_asc.targets import Rendered, Target, check_targets, parse_target
from vault_asc.toml_table import Table

__all__ = [
    "DEFAULT_ADDRESS",
    "DEFAULT_APPLE_API",
    "DEFAULT_NEXLA_API",
    "MAX_TICK",
    "PLACES",
    "AgentSettings",
    "AppStoreConnectSettings",
    "Config",
    "NexlaSettings",
    "Rendered",
    "RunSettings",
    "SecretRef",
    "StoreSettings",
    "Target",
    "VaultSettings",
    "find",
    "load",
    "parse",
    "state_dir",
]

MAX_TICK: Final = 300  # seconds; the lifetimes of the targets usually allow less, see `agent.check_ticks`
PLACES: Final = (Path("vault-asc.toml"), Path("/etc/vault-asc/vault-asc.toml"))
_KEY_PARTS: Final = ("keys", "private", "staged")  # what `store.Layout` puts below the prefix
_STORE: Final = StoreSettings()
_AGENT: Final = AgentSettings()
_RUN: Final = RunSettings()


def find(option: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The configuration file: option, VAULT_ASC_CONFIG, the working directory, /etc; None when there is none."""
    named = _named(option, environ)
    if named is not None:
        if not _is_there(named):
            raise ConfigError(
                f'configuration file "{named}" is not there, or out of reach',
                hint="write one: vault-asc init, or correct --config",
            )
        return named
    return next((place for place in PLACES if _is_there(place)), None)


def _named(option: Path | None, environ: Mapping[str, str]) -> Path | None:
    return option or (Path(environ["VAULT_ASC_CONFIG"]) if environ.get("VAULT_ASC_CONFIG") else None)


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # in a directory of somebody else
        return False


def load(option: Path | None, environ: Mapping[str, str]) -> Config:
    """Read and check the configuration; the environment's addresses beat the file's."""
    path = find(option, environ)
    if path is None:
        return parse({"version": 1}, None, environ)
    try:
        with path.open("rb") as stream:
            if path == PLACES[0] and _named(option, environ) is None:
                _check_ours(path, stream.fileno())
            data = tomllib.loads(stream.read().decode())
    except OSError as exc:
        raise ConfigError(f'"{path}" cannot be read: {os.strerror(exc.errno or 0)}', hint=f"ls -l {path}") from exc
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as exc:
        raise ConfigError(f'"{path}" is not TOML: {exc}', hint="mend that line, then: vault-asc config check") from exc
    return parse(data, path.absolute(), environ)


def _check_ours(path: Path, opened: int) -> None:
    """Refuse a file that somebody else has put, or may change, where we happen to work: it says where tokens go.

    Looks at the open file, which nobody can exchange any more, and at the link that may have led to it.
    """
    file = os.fstat(opened)
    for owner in (file.st_uid, path.lstat().st_uid):
        if owner not in {os.geteuid(), 0}:
            raise ConfigError(
                f'"{path}" in the working directory belongs to user {owner}, neither to you nor to root',
                hint=f"to trust it, name it: --config {path}, or VAULT_ASC_CONFIG; to own it: chown it",
            )
    if file.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError(
            f'"{path}" in the working directory can be changed by its group or by everybody',
            hint=f"chmod go-w {path}; or name it with --config or VAULT_ASC_CONFIG, to trust it as it is",
        )


def parse(data: Mapping[str, Any], path: Path | None, environ: Mapping[str, str]) -> Config:
    """Check the content of a configuration file and turn it into a `Config`."""
    root = Table(data, f'"{path}"' if path else "the configuration")
    version = root.take("version", int, None)
    if version != 1:
        raise ConfigError(
            f"{root.where} has version {version!r}, this vault-asc reads version 1",
            hint="begin the file with: version = 1",
        )
    tables = [parse_target(table) for table in root.tables_in("targets")]
    config = Config(
        path=path,
        vault=_vault(root.table("vault"), environ),
        store=_store(root.table("store")),
        agent=_agent(root.table("agent")),
        state_dir=_state(root.table("state")),
        appstoreconnect=_appstoreconnect(root.table("appstoreconnect")),
        nexla={name: _nexla(name, table) for name, table in root.table("nexla").tables()},
        targets=tuple(target for target in tables if isinstance(target, Target)),
        rendered=tuple(target for target in tables if isinstance(target, Rendered)),
        run=_run(root.table("run")),
    )
    root.done()
    for account in config.nexla.values():
        _check_service_key(account, config.store)
    check_targets(config.targets, config.rendered, config.nexla)
    return config


def state_dir(config: Config, environ: Mapping[str, str]) -> Path:
    """Where state is kept: $STATE_DIRECTORY (systemd), state.dir, else the XDG state directory."""
    if environ.get("STATE_DIRECTORY"):
        return Path(environ["STATE_DIRECTORY"])
    if config.state_dir is not None:
        return config.state_dir
    try:
        home = environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    except RuntimeError as exc:  # a user ID that no user has, as in some containers
        raise ConfigError("there is no home directory to keep state in", hint="set state.dir in the file") from exc
    return Path(home) / "vault-asc"


def _vault(table: Table, environ: Mapping[str, str]) -> VaultSettings:
    address = table.take("address", str, DEFAULT_ADDRESS)
    namespace = table.take("namespace", str, None)
    ca_file = table.path("ca_file")
    said = table.take("auth", dict, None)
    table.done()
    auth = None if said is None else parse_auth(Table(said, "[vault.auth]"))
    named = next((name for name in ("VAULT_ADDR", "BAO_ADDR") if environ.get(name)), None)
    address = environ[named] if named else address
    namespace = environ.get("VAULT_NAMESPACE") or environ.get("BAO_NAMESPACE") or namespace
    own_ca = environ.get("VAULT_CACERT") or environ.get("BAO_CACERT")
    return VaultSettings(
        check_address(address, f"vault.address (from {named})" if named else "vault.address"),
        _namespace(namespace),
        Path(own_ca) if own_ca else ca_file,
        auth,
    )


def _namespace(said: str | None) -> str | None:
    """Without slashes around it. Vault calls the root namespace "/", and that in the environment beats the file too."""
    name = said.strip("/") if said is not None else None
    return check_path(name, "vault.namespace") if name else name


def _store(table: Table) -> StoreSettings:
    transit_mount = table.take("transit_mount", str, None)
    engine_mount = table.take("engine_mount", str, None)
    settings = StoreSettings(
        check_path(table.take("mount", str, _STORE.mount), "store.mount"),
        check_path(table.take("prefix", str, _STORE.prefix), "store.prefix"),
        check_path(_STORE.transit_mount if transit_mount is None else transit_mount, "store.transit_mount"),
        check_path(_STORE.engine_mount if engine_mount is None else engine_mount, "store.engine_mount"),
        _custodies(table.take("custodies", list, [*_STORE.custodies])),
    )
    table.done()
    if Custody.TRANSIT in settings.custodies and transit_mount is None and settings.mount != _STORE.mount:
        raise ConfigError(
            f'store.mount is "{settings.mount}", and its keys in Transit need a mount of their own',
            hint="set store.transit_mount: two KV mounts on one Transit mount could share a key",
        )
    usual = (settings.mount, settings.prefix) == (_STORE.mount, _STORE.prefix)
    if Custody.ENGINE in settings.custodies and engine_mount is None and not usual:
        raise ConfigError(
            f'store is "{settings.mount}/{settings.prefix}", and its keys in the engine need a mount of their own',
            hint="set store.engine_mount: names of keys there have no prefix, so two stores could share a key",
        )
    if Custody.TRANSIT in settings.custodies:
        transit_key(settings.prefix, "any")  # refuses a prefix that no name in Transit can be made of
    return settings


def _custodies(said: list[Any]) -> tuple[Custody, ...]:
    """In the order of their definition, each once."""
    known = ", ".join(f'"{custody}"' for custody in Custody)
    if not said:
        raise ConfigError("store.custodies is empty, so no key could be kept", hint=f"name some of {known}")
    for name in said:
        if name not in [*Custody]:
            raise ConfigError(
                f'store.custodies has "{safe_text(str(name))}", which is no custody', hint=f"write some of {known}"
            )
    return tuple(custody for custody in Custody if custody in said)


def _agent(table: Table) -> AgentSettings:
    tick = parse_duration(table.take("tick", str, "30s"), "agent.tick")
    if not 1 <= tick <= MAX_TICK:
        raise ConfigError(f"agent.tick of {tick} s is not possible", hint='use "1s" to "5m"; 30s is the default')
    settings = AgentSettings(
        table.path("dir") or _AGENT.dir,
        table.path("role_id_file") or _AGENT.role_id_file,
        table.path("secret_id_file") or _AGENT.secret_id_file,
        tick,
    )
    table.done()
    return settings


def _state(table: Table) -> Path | None:
    path = table.path("dir")
    table.done()
    return path


def _run(table: Table) -> RunSettings:
    settings = RunSettings(
        table.take("workers", int, _RUN.workers),
        table.take("rate", int, _RUN.rate),
        table.take("replicas", int, _RUN.replicas),
        _listen(table.take("listen", str, None)),
    )
    table.done()
    for name, (least, most) in {"workers": (2, 64), "rate": (1, 1000), "replicas": (1, 10)}.items():
        value = getattr(settings, name)
        if value is not None and not least <= value <= most:
            raise ConfigError(f"run.{name} of {value} is not possible", hint=f"use {least} to {most}")
    return settings


def _listen(text: str | None) -> Listen | None:
    return None if text is None else parse_listen(text, "run.listen")


def _appstoreconnect(table: Table) -> AppStoreConnectSettings:
    api_url = check_address(table.take("api_url", str, DEFAULT_APPLE_API), "appstoreconnect.api_url")
    settings = AppStoreConnectSettings(api_url, table.path("ca_file"))
    table.done()
    return settings


def _nexla(name: str, table: Table) -> NexlaSettings:
    key = Table(table.required("service_key", dict), f"nexla.{name}.service_key")
    ref = SecretRef(
        check_path(key.take("mount", str, _STORE.mount), f"nexla.{name}.service_key.mount"),
        check_path(key.required("path", str), f"nexla.{name}.service_key.path"),
        key.take("field", str, "service_key"),
    )
    key.done()
    api_url = check_address(table.take("api_url", str, DEFAULT_NEXLA_API), f"nexla.{name}.api_url")
    settings = NexlaSettings(check_name(name, "nexla account"), ref, api_url, table.path("ca_file"))
    table.done()
    return settings


def _check_service_key(account: NexlaSettings, store: StoreSettings) -> None:
    """A publisher's policy grants this path: it must not be one where keys lie."""
    ref = account.service_key
    # The whole paths, as policies have them: mount and path could be split elsewhere.
    whole = f"{ref.mount}/data/{ref.path}/"
    for part in _KEY_PARTS:
        if whole.startswith(f"{store.mount}/data/{store.prefix}/{part}/"):
            raise ConfigError(
                f'service_key of Nexla account "{account.name}" lies at "{ref.mount}/{ref.path}", among the keys',
                hint=f"keep it elsewhere, such as {store.prefix}/nexla/{account.name}",
            )
