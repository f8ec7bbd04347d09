"""What can be configured, with its defaults: values, as `config` makes them of a file. Light."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from vault_asc.auth import AuthSettings
from vault_asc.errors import ConfigError, NotFoundError
from vault_asc.listen import Listen
from vault_asc.names import DEFAULT_ENGINE_MOUNT, DEFAULT_TRANSIT_MOUNT, Custody
from vault_asc.targets import Rendered, Target

DEFAULT_ADDRESS: Final = "https://127.0.0.1:8200"
DEFAULT_NEXLA_API: Final = "https://dataops.nexla.io/nexla-api"
DEFAULT_APPLE_API: Final = "https://api.appstoreconnect.apple.com"


class VaultSettings(NamedTuple):
    """Where Vault is, and how `run` logs in. A namespace of "" is the root, said outright; all may be absent."""

    address: str = DEFAULT_ADDRESS
    namespace: str | None = None
    ca_file: Path | None = None
    auth: AuthSettings | None = None


class StoreSettings(NamedTuple):
    """Where keys lie in Vault, and the custodies that the deployment uses: what the shipped policies grant."""

    mount: str = "secret"
    prefix: str = "asc"
    transit_mount: str = DEFAULT_TRANSIT_MOUNT
    engine_mount: str = DEFAULT_ENGINE_MOUNT
    custodies: tuple[Custody, ...] = (Custody.KV,)


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


class RunSettings(NamedTuple):
    """How `vault-asc run` works.

    Attributes:
        workers: attempts at the same time.
        rate: writes per second and service key, at most; None for what Nexla tells, or its default.
        replicas: processes that keep the same targets fresh, and share the rate.
        listen: where health, metrics and the status page are served; None for nowhere.
    """

    workers: int = 16
    rate: int | None = None
    replicas: int = 1
    listen: Listen | None = None


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


class AppStoreConnectSettings(NamedTuple):
    """Where a new key is tried: base URL, own CA."""

    api_url: str = DEFAULT_APPLE_API
    ca_file: Path | None = None


_VAULT: Final = VaultSettings()
_STORE: Final = StoreSettings()
_AGENT: Final = AgentSettings()
_RUN: Final = RunSettings()
_APPLE: Final = AppStoreConnectSettings()
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Config(NamedTuple):
    """The whole configuration.

    Attributes:
        path: the file it came from, None when there was none.
        targets: what is pushed to Nexla.
        rendered: what the Agent alone keeps fresh.
    """

    path: Path | None = None
    vault: VaultSettings = _VAULT
    store: StoreSettings = _STORE
    agent: AgentSettings = _AGENT
    state_dir: Path | None = None
    appstoreconnect: AppStoreConnectSettings = _APPLE
    nexla: Mapping[str, NexlaSettings] = _NOTHING
    targets: tuple[Target, ...] = ()
    rendered: tuple[Rendered, ...] = ()
    run: RunSettings = _RUN

    @property
    def all_targets(self) -> list[Target | Rendered]:
        """What is pushed and what is rendered."""
        return [*self.targets, *self.rendered]

    def target(self, name: str) -> Target:
        """The target of that name; `NotFoundError` lists those there are, `ConfigError` is for one that is rendered."""
        for target in self.targets:
            if target.name == name:
                return target
        if any(rendered.name == name for rendered in self.rendered):
            raise ConfigError(
                f'target "{name}" has no credential_id: the Agent renders it, and nothing is pushed',
                hint="to push it, add credential_id = <number>; its token file is written with: vault-asc agent config",
            )
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
