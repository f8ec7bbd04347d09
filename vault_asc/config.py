"""`vault-asc.toml`: found, read, checked, turned into frozen dataclasses. Unknown keys are errors; no secret is in it.

Light: loads no HTTP, Vault or crypto library, so that a pass with nothing due costs next to nothing.
"""

import os
import tomllib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

from vault_asc.clock import parse_duration
from vault_asc.errors import ConfigError, NotFoundError, TokenRequestError
from vault_asc.names import check_address, check_name, check_path
from vault_asc.tokens import DEFAULT_LIFETIME, TokenRequest
from vault_asc.toml_table import Table

DEFAULT_ADDRESS: Final = "https://127.0.0.1:8200"
MAX_TICK: Final = 300  # seconds; more would leave less than half the usable life for a retry
DEFAULT_NEXLA_API: Final = "https://dataops.nexla.io/nexla-api"
PLACES: Final = (Path("vault-asc.toml"), Path("/etc/vault-asc/vault-asc.toml"))

Mode = Literal["auto", "template", "rest"]


class VaultSettings(NamedTuple):
    """Where Vault is. `namespace` and `ca_file` may be absent."""

    address: str = DEFAULT_ADDRESS
    namespace: str | None = None
    ca_file: Path | None = None


class StoreSettings(NamedTuple):
    """Where keys lie in Vault."""

    mount: str = "secret"
    prefix: str = "asc"


class AgentSettings(NamedTuple):
    """The Agent's directory, its AppRole files, and how often it ticks (seconds)."""

    dir: Path = Path("/run/vault-asc")
    role_id_file: Path = Path("/etc/vault-asc/role_id")
    secret_id_file: Path = Path("/etc/vault-asc/secret_id")
    tick: int = 30

    @property
    def socket(self) -> Path:
        """The Agent's listener."""
        return self.dir / "agent.sock"

    @property
    def ticks(self) -> Path:
        """One file per key with its record's version."""
        return self.dir / "ticks"


class SecretRef(NamedTuple):
    """A field of a KV secret in Vault."""

    mount: str
    path: str
    field: str


class NexlaSettings(NamedTuple):
    """One Nexla account: API address, where its service key lies in Vault, own CA."""

    name: str
    service_key: SecretRef
    api_url: str = DEFAULT_NEXLA_API
    ca_file: Path | None = None


_VAULT: Final = VaultSettings()
_STORE: Final = StoreSettings()
_AGENT: Final = AgentSettings()
_REQUEST: Final = TokenRequest()
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Target(NamedTuple):
    """One Nexla credential to keep fresh, from which key and how."""

    name: str
    key: str
    credential_id: int
    request: TokenRequest = _REQUEST
    nexla: str = "default"
    mode: Mode = "auto"
    vendor: str = "appstore_api"
    auth_template: str | None = None
    token_field: str | None = None
    token_prefix: str = "auto"  # noqa: S105  # how the token is written, not a token
    extra_fields: Mapping[str, Any] = _NOTHING
    token_file: Path | None = None


class Config(NamedTuple):
    """The whole configuration. `path` is the file it came from, None when there was none."""

    path: Path | None = None
    vault: VaultSettings = _VAULT
    store: StoreSettings = _STORE
    agent: AgentSettings = _AGENT
    state_dir: Path | None = None
    nexla: Mapping[str, NexlaSettings] = _NOTHING
    targets: tuple[Target, ...] = ()

    def target(self, name: str) -> Target:
        """The target of that name; `NotFoundError` lists those there are."""
        for target in self.targets:
            if target.name == name:
                return target
        known = ", ".join(t.name for t in self.targets) or "none"
        raise NotFoundError(f'no target "{name}" in {self.path or "the configuration"}', hint=f"targets there: {known}")

    def account(self, name: str) -> NexlaSettings:
        """The Nexla account of that name; `NotFoundError` lists those there are."""
        if name in self.nexla:
            return self.nexla[name]
        known = ", ".join(sorted(self.nexla)) or "none"
        raise NotFoundError(
            f'no Nexla account "{name}" in {self.path or "the configuration"}', hint=f"accounts there: {known}"
        )


def find(option: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The configuration file: option, VAULT_ASC_CONFIG, the working directory, /etc; None when there is none."""
    named = option or (Path(environ["VAULT_ASC_CONFIG"]) if environ.get("VAULT_ASC_CONFIG") else None)
    if named is not None:
        if not _is_there(named):
            raise ConfigError(
                f'configuration file "{named}" is not there, or out of reach',
                hint="write one: vault-asc init, or correct --config",
            )
        return named
    return next((place for place in PLACES if _is_there(place)), None)


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
        text = path.read_bytes().decode()
        data = tomllib.loads(text)
    except OSError as exc:
        raise ConfigError(f'"{path}" cannot be read: {os.strerror(exc.errno or 0)}', hint=f"ls -l {path}") from exc
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as exc:
        raise ConfigError(f'"{path}" is not TOML: {exc}', hint="mend that line, then: vault-asc config check") from exc
    return parse(data, path.absolute(), environ)


def parse(data: Mapping[str, Any], path: Path | None, environ: Mapping[str, str]) -> Config:
    """Check the content of a configuration file and turn it into a `Config`."""
    root = Table(data, f'"{path}"' if path else "the configuration")
    version = root.take("version", int, None)
    if version != 1:
        raise ConfigError(
            f"{root.where} has version {version!r}, this vault-asc reads version 1",
            hint="begin the file with: version = 1",
        )
    config = Config(
        path=path,
        vault=_vault(root.table("vault"), environ),
        store=_store(root.table("store")),
        agent=_agent(root.table("agent")),
        state_dir=_state(root.table("state")),
        nexla={name: _nexla(name, table) for name, table in root.table("nexla").tables()},
        targets=tuple(_target(table) for table in root.tables_in("targets")),
    )
    root.done()
    _check_whole(config)
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
    table.done()
    named = next((name for name in ("VAULT_ADDR", "BAO_ADDR") if environ.get(name)), None)
    address = environ[named] if named else address
    namespace = environ.get("VAULT_NAMESPACE") or environ.get("BAO_NAMESPACE") or namespace
    own_ca = environ.get("VAULT_CACERT") or environ.get("BAO_CACERT")
    return VaultSettings(
        check_address(address, f"vault.address (from {named})" if named else "vault.address"),
        None if namespace is None else check_path(namespace.strip("/"), "vault.namespace"),
        Path(own_ca) if own_ca else ca_file,
    )


def _store(table: Table) -> StoreSettings:
    settings = StoreSettings(
        check_path(table.take("mount", str, _STORE.mount), "store.mount"),
        check_path(table.take("prefix", str, _STORE.prefix), "store.prefix"),
    )
    table.done()
    return settings


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


def _target(table: Table) -> Target:
    name = check_name(table.required("name", str), "target")
    mode = table.take("mode", str, "auto")
    if mode not in {"auto", "template", "rest"}:
        raise ConfigError(f'mode "{mode}" of target "{name}" is unknown', hint='use "auto", "template" or "rest"')
    target = Target(
        name=name,
        key=check_name(table.required("key", str)),
        credential_id=table.required("credential_id", int),
        request=_request(table, name),
        nexla=check_name(table.take("nexla", str, "default"), "nexla account"),
        mode=mode,
        vendor=table.take("vendor", str, "appstore_api"),
        auth_template=table.take("auth_template", str, None),
        token_field=table.take("token_field", str, None),
        token_prefix=table.take("token_prefix", str, "auto"),
        extra_fields=table.json("extra_fields"),
        token_file=table.path("token_file"),
    )
    table.done()
    return target


def _request(table: Table, target: str) -> TokenRequest:
    lifetime = parse_duration(table.take("lifetime", str, f"{DEFAULT_LIFETIME}s"), f'lifetime of target "{target}"')
    scope = table.take("scope", list, [])
    if not all(isinstance(entry, str) for entry in scope):
        raise ConfigError(f'scope of target "{target}" is no array of strings', hint='write scope = ["GET /v1/apps"]')
    try:
        return TokenRequest(lifetime, tuple(scope))
    except TokenRequestError as exc:
        raise ConfigError(f'target "{target}": {exc.message}', hint=exc.hint) from exc


def _check_whole(config: Config) -> None:
    """What only shows when all parts are there."""
    _check_unique("target", [f'"{target.name}"' for target in config.targets])
    _check_unique("credential", [f"{target.credential_id} of {target.nexla}" for target in config.targets])
    _check_unique("token_file", [f'"{target.token_file}"' for target in config.targets if target.token_file])
    for target in config.targets:
        _check_target(target, config)


def _check_unique(what: str, values: list[str]) -> None:
    """Two targets that write to one place would overwrite each other's tokens for ever."""
    for value, count in Counter(values).items():
        if count > 1:
            raise ConfigError(f"{what} {value} is there twice", hint=f"give each target a {what} of its own")


def _check_target(target: Target, config: Config) -> None:
    if target.credential_id < 1:
        raise ConfigError(
            f'credential_id {target.credential_id} of target "{target.name}" is not possible',
            hint="Nexla shows the number in the credential's address",
        )
    if target.nexla not in config.nexla:
        raise ConfigError(
            f'target "{target.name}" names the Nexla account "{target.nexla}", which is not configured',
            hint=f"add [nexla.{target.nexla}] with api_url and service_key",
        )
    if target.token_prefix not in {"auto", "", "Bearer "}:
        raise ConfigError(
            f'token_prefix {target.token_prefix!r} of target "{target.name}" is unknown',
            hint='use "auto", "" or "Bearer "',
        )
