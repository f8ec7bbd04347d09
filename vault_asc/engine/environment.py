"""What the host tells a plugin by environment variables; everything else of the inherited environment is dropped.

A plugin inherits the whole environment of the server, with whatever tokens and passwords somebody put there.
"""

from collections.abc import MutableMapping
from typing import Final, NamedTuple

from vault_asc.errors import ConfigError

PROTOCOL: Final = 5
"""Version of the secrets engine protocol that is spoken, in Vault's numbering."""

_COOKIE: Final = ("VAULT_BACKEND_PLUGIN", "6669da05-b1c8-4f49-97d9-c8e5bed98e20")
_KEPT: Final = frozenset({"PATH", "TMPDIR", "TZ", "LANG", "LC_ALL"})


class HostSettings(NamedTuple):
    """What the host asks for.

    Attributes:
        certificate: PEM of the host's certificate: the only one that is trusted.
        socket_dir: where the socket's private directory is made; None for the system's temporary directory.
        broker_multiplexing: whether the host wants its broker multiplexed over one connection, which we refuse.
        metadata_mode: the host asks for type and version only; there is no storage behind it.
    """

    certificate: str
    socket_dir: str | None
    broker_multiplexing: bool
    metadata_mode: bool


def take_settings(environ: MutableMapping[str, str]) -> HostSettings:
    """Read the host's settings and remove all but a few harmless variables.

    `ConfigError` when this process was not started by a Vault or OpenBao that speaks protocol 5 with AutoMTLS.
    """
    try:
        _check(environ)
        return HostSettings(
            certificate=environ["PLUGIN_CLIENT_CERT"],
            socket_dir=environ.get("PLUGIN_UNIX_SOCKET_DIR") or None,
            broker_multiplexing=bool(environ.get("PLUGIN_MULTIPLEX_GRPC")),
            metadata_mode=_either(environ, "PLUGIN_METADATA_MODE") == "true",
        )
    finally:
        for name in set(environ) - _KEPT:
            del environ[name]


def _check(environ: MutableMapping[str, str]) -> None:
    cookie, value = _COOKIE
    if environ.get(cookie) != value:
        raise ConfigError(
            "this is a plugin: Vault or OpenBao starts it, not a person",
            hint='put it into the plugin_directory and register it: "vault-asc engine install"',
        )
    versions = environ.get("PLUGIN_PROTOCOL_VERSIONS", "").split(",")
    if str(PROTOCOL) not in versions:
        raise ConfigError(
            f"the server does not speak plugin protocol {PROTOCOL}", hint="use Vault 1.12 or newer, or OpenBao"
        )
    if not environ.get("PLUGIN_CLIENT_CERT"):
        raise ConfigError(
            "the server gave no certificate, and this plugin speaks to nobody without one",
            hint="use Vault 1.12 or newer, or OpenBao: they start plugins with AutoMTLS",
        )


def _either(environ: MutableMapping[str, str], name: str) -> str | None:
    return environ.get(f"VAULT_{name}") or environ.get(f"BAO_{name}")
