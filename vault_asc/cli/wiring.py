"""The composition root: from options, environment and configuration to a ready store, life cycle or set of ports.

Module level stays light; what needs hvac or requests is imported when it is built.
"""

import contextlib
import os
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from vault_asc.cli.output import warn
from vault_asc.errors import ConfigError

if TYPE_CHECKING:
    import requests

    from vault_asc.config import Config, Target, VaultSettings
    from vault_asc.lifecycle import Lifecycle
    from vault_asc.names import Custody
    from vault_asc.nexla.client import NexlaClient
    from vault_asc.refreshing import Ports
    from vault_asc.secret import Secret
    from vault_asc.settings import SecretRef
    from vault_asc.store import Store
    from vault_asc.tokens import Token
    from vault_asc.vault import Login, Logins, Vault

_TOKEN_MAX: Final = 16 * 1024  # bytes; a token of Vault has some hundred at most


class Connection(NamedTuple):
    """The options that every command takes which talks to Vault or reads the configuration."""

    config_file: Path | None
    address: str | None = None
    token_file: Path | None = None
    logins: "Logins | None" = None
    """Set for a process that runs for ever: then `[vault.auth]` says how to log in, unless a token file is named."""
    found: Path | None = None
    """The configuration file that such a process began with: no other place is searched while it runs."""

    @contextlib.contextmanager
    def logging_in(self) -> "Iterator[Connection]":
        """The same with logins of its own; their tokens are revoked at the end."""
        from vault_asc.config import find
        from vault_asc.vault import Logins

        logins = Logins()
        found = find(self.config_file, os.environ)
        try:
            yield self._replace(logins=logins, found=found and found.absolute())
        finally:
            logins.end()

    def config(self) -> "Config":
        """The configuration, with `--address` in it."""
        from vault_asc.config import load
        from vault_asc.names import check_address

        config = load(self.config_file, os.environ)
        if self.found is not None and config.path != self.found:
            raise ConfigError(
                f'configuration file "{self.found}" is gone; nothing of the configuration was taken',
                hint="put it back, then reload; to use another one restart the service",
            )
        if self.address is None:
            return config
        return config._replace(vault=config.vault._replace(address=check_address(self.address, "--address")))

    def vault(
        self,
        config: "Config",
        *policies: str,
        key: str | None = None,
        role: str | None = None,
        custodies: tuple["Custody", ...] = (),
    ) -> "Vault":
        """A connection to Vault as the token of `--token-file`, of a login, VAULT_TOKEN, BAO_TOKEN or ~/.vault-token.

        `policies` are the shipped policies that the command needs, for the hint of a denied call; `key` is for those of
        one key, `role` for those of one role of the engine, `custodies` are those that the command works in.
        """
        from vault_asc import http
        from vault_asc.vault import Vault

        def advice(path: str, capability: str) -> str | None:
            from vault_asc.cli.advice import Need, advise  # only a denied call needs it

            return advise(config, Need(policies, key, custodies, role), path, capability)

        session = http.session(ca_file=config.vault.ca_file)
        return Vault(
            config.vault.address,
            self._token(config.vault, session),
            session=session,
            namespace=config.vault.namespace,
            advice=advice,
        )

    def _token(self, settings: "VaultSettings", session: "requests.Session") -> "Secret | Login | None":
        from vault_asc.names import is_unix

        if is_unix(settings.address):
            return None
        if self.logins is None or settings.auth is None or self.token_file is not None:
            return read_token(self.token_file, os.environ, run_logs_in=settings.auth is not None)
        return self.logins.of(settings, settings.auth, session)

    def store(
        self,
        config: "Config",
        *policies: str,
        key: str | None = None,
        role: str | None = None,
        custodies: tuple["Custody", ...] = (),
    ) -> "Store":
        """The keys of the configured prefix; policies as for `vault`."""
        from vault_asc.store import Layout, Store

        return Store(
            self.vault(config, *policies, key=key, role=role, custodies=custodies),
            Layout(config.store.mount, config.store.prefix, config.store.transit_mount, config.store.engine_mount),
        )

    def lifecycle(self, *policies: str, key: str | None = None, custodies: tuple["Custody", ...] = ()) -> "Lifecycle":
        """The commands of key owners, with the configuration; policies as for `vault`."""
        from vault_asc.clock import system_clock
        from vault_asc.lifecycle import Lifecycle

        return Lifecycle(self.store(self.config(), *policies, key=key, custodies=custodies), system_clock)

    def ports(self, config: "Config") -> "Ports":
        """What a pass over targets needs: one Vault connection and, per Nexla account, one session."""
        from vault_asc.clock import system_clock
        from vault_asc.custody import KeyTokenSource, role_token
        from vault_asc.files import write_atomic
        from vault_asc.nexla.publisher import NexlaPublisher
        from vault_asc.refreshing import Ports

        store = self.store(config, "agent")

        def mint(target: "Target") -> "tuple[Token, int]":
            if target.role is not None:
                return role_token(store.engine, target.role, target.request, system_clock()), 0
            token, stored = KeyTokenSource(store, str(target.key), system_clock).token(target.request)
            return token, stored.version

        def write_token_file(target: "Target", token: "Secret") -> None:
            if target.token_file is not None:
                write_atomic(target.token_file, token.reveal().encode(), now=system_clock())

        # A person who pushes may just have changed something at Nexla, so only what runs for ever trusts its memory.
        publisher = NexlaPublisher(
            lambda account: self.nexla(config, account, store.vault), trusting=self.logins is not None
        )
        return Ports(system_clock, mint, write_token_file, publisher)

    @staticmethod
    def nexla(config: "Config", account: str, vault: "Vault") -> "NexlaClient":
        """A client of a Nexla account; its service key is read from Vault at its first login, and when it is refused."""
        from vault_asc import http
        from vault_asc.clock import system_clock
        from vault_asc.nexla.client import LIMITS, RETRY_METHODS, NexlaClient

        settings = config.account(account)
        session = http.session(limits=LIMITS, ca_file=settings.ca_file, retry_methods=RETRY_METHODS)
        return NexlaClient(session, settings.api_url, lambda: _service_key(vault, settings.service_key), system_clock)


def _service_key(vault: "Vault", ref: "SecretRef") -> "Secret":
    from vault_asc.secret import Secret

    value = vault.kv_read(ref.mount, ref.path).data.get(ref.field)
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(
            f'"{ref.mount}/{ref.path}" has no field "{ref.field}" with the Nexla service key',
            hint=f"store it: vault kv put -mount={ref.mount} {ref.path} {ref.field}=-   (then paste it, Ctrl-D)",
        )
    return Secret(value.strip())


def read_token(file: Path | None, environ: Mapping[str, str], *, run_logs_in: bool = False) -> "Secret":
    """The Vault token: file of the option, VAULT_TOKEN, BAO_TOKEN, ~/.vault-token. Never from the command line.

    `run_logs_in` is for the hint: then there is a login, but not for this command.
    """
    if file is not None:
        return vault_token(_read_start(file), f'the token file "{file}"')
    for name in ("VAULT_TOKEN", "BAO_TOKEN"):
        if environ.get(name, "").strip():
            return vault_token(environ[name], name)
    try:
        saved = Path.home() / ".vault-token"
        found = _read_start(saved) if saved.exists() else ""
    except (OSError, RuntimeError):  # a home of somebody else, or a user ID that no user has
        found = ""
    if not found.strip():
        own = "; [vault.auth] is for vault-asc run alone" if run_logs_in else ""
        raise ConfigError(
            "no Vault token", hint=f"log in (vault login), set VAULT_TOKEN, or name a file with --token-file{own}"
        )
    return vault_token(found, f'"{saved}"')


def _read_start(file: Path) -> str:
    from vault_asc.opening import open_to

    try:
        with file.open("rb") as stream:
            if others := open_to(os.fstat(stream.fileno()).st_mode, group=False):
                warn(f'the token file "{file}" {others}: chmod o-r {shlex.quote(str(file))}')
            return stream.read(_TOKEN_MAX).decode("latin-1")
    except OSError as exc:
        reason = os.strerror(exc.errno or 0).lower()
        raise ConfigError(f'the token file "{file}" cannot be read: {reason}', hint=f"ls -l {file}") from exc


def vault_token(text: str, where: str) -> "Secret":
    """The token in a text; what no HTTP header can carry is no token."""
    from vault_asc.secret import Secret

    value = text.strip()
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        what = "is empty" if not value else "holds no Vault token, which is one line of ASCII without blanks"
        raise ConfigError(f"{where} {what}", hint="log in again (vault login), or name another with --token-file")
    return Secret(value)


def config_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--config`, for commands that do not talk to Vault."""
    return _connected(command, ("config_file",))


def vault_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--config`, `--address` and `--token-file`, handed over as one `Connection`."""
    return _connected(command, ("config_file", "address", "token_file"))


def _connected(command: Callable[..., Any], names: tuple[str, ...]) -> Callable[..., Any]:
    import functools

    @functools.wraps(command)
    def with_connection(*args: Any, **kwargs: Any) -> Any:
        return command(*args, connection=Connection(**{name: kwargs.pop(name) for name in names}), **kwargs)

    wrapped: Callable[..., Any] = with_connection
    for name in reversed(names):
        wrapped = _OPTIONS[name](wrapped)
    return wrapped


_OPTIONS: Final[dict[str, Callable[[Callable[..., Any]], Callable[..., Any]]]] = {
    "config_file": click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path),
        help="Configuration file (else VAULT_ASC_CONFIG, ./vault-asc.toml, /etc/vault-asc/vault-asc.toml).",
    ),
    "address": click.option("--address", help="Vault's address, or unix:///path of an Agent's listener."),
    "token_file": click.option(
        "--token-file",
        type=click.Path(path_type=Path),
        help="File with the Vault token (else VAULT_TOKEN, BAO_TOKEN, ~/.vault-token).",
    ),
}
