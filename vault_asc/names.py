"""The grammar of names and addresses. Names are refused, never repaired: requests would collapse `../` unseen.

Light on purpose: configuration checks use it without loading an HTTP or crypto library.
"""

import ipaddress
import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from vault_asc.errors import ConfigError
from vault_asc.secret import safe_text

_NAME: Final = r"(?a)[a-z0-9][a-z0-9-]{0,62}"
_SEGMENT: Final = r"(?a)[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}"


ENGINE_FILE: Final = "vault-plugin-secrets-asc"
"""The executable of our engine, by Vault's pattern."""
ENGINE_TYPE: Final = "asc"
"""What it is called in the plugin catalog, and so the type of its mounts."""
ENGINE_TYPES: Final = (ENGINE_TYPE, ENGINE_FILE)
"""The same, and what others call it: some name a plugin in the catalog after its file."""
DEFAULT_TRANSIT_MOUNT: Final = "asc-transit"
DEFAULT_ENGINE_MOUNT: Final = "asc"


class Custody(StrEnum):
    """How the private part of a key is kept, and with that who signs."""

    KV = "kv"
    TRANSIT = "transit"
    ENGINE = "engine"


PLACE_NAMES: Final = {Custody.KV: "KV", Custody.TRANSIT: "Transit", Custody.ENGINE: "the engine"}
"""Where the private part lies, for people."""


def strictest(custodies: Iterable[Custody]) -> Custody:
    """The one that trusts a minter least; they are defined from the least strict on."""
    return max(custodies, key=list(Custody).index)


def is_name(text: object) -> bool:
    """Whether this is the name of a key, role or target."""
    return isinstance(text, str) and re.fullmatch(_NAME, text) is not None


def check_name(name: str, what: str = "key") -> str:
    """The name of a key, role or target: flat, lower case, at most 63 characters. Else `ConfigError`."""
    if not is_name(name):
        raise ConfigError(
            f'{what} name "{safe_text(name)}" is not allowed',
            hint="use 1 to 63 lower-case letters, digits and hyphens, beginning with a letter or digit",
        )
    return name


def is_path(text: str) -> bool:
    """Whether this is a mount or a path in Vault: plain segments joined by single slashes."""
    return all(re.fullmatch(_SEGMENT, segment) and ".." not in segment for segment in text.split("/"))


def check_path(path: str, what: str) -> str:
    """A mount or a path in Vault, see `is_path`. Else `ConfigError`."""
    if not is_path(path):
        raise ConfigError(
            f'{what} "{safe_text(path)}" is not a plain path',
            hint='use letters, digits, "-", "_" and "." in segments joined by single slashes, without "/" at either end',
        )
    return path


def transit_key(prefix: str, name: str) -> str:
    """The name of a key in Transit, which has no folders: the prefix with dots for its slashes, and the key's name.

    The name of a key has no dot, so two keys never share one; a prefix with a dot in it is refused with `ConfigError`.
    """
    if "." in prefix:
        raise ConfigError(
            f'the prefix "{safe_text(prefix)}" has a dot, which stands for the slash in names of Transit',
            hint="use a prefix without dots for keys in custody transit",
        )
    return f"{prefix.replace('/', '.')}.{name}"


def is_unix(address: str) -> bool:
    """Whether an address names a unix socket, as the Agent's listener does."""
    return address.startswith("unix://")


def check_address(address: str, what: str) -> str:
    """An https URL, a plain http URL of this machine, or `unix:///path`; without a trailing slash. Else `ConfigError`.

    Plain http to anywhere else would show tokens to the network, user info would put a secret into a URL.
    """
    if is_unix(address):
        if not address.startswith("unix:///") or not address.isprintable():
            raise ConfigError(
                f'{what} "{safe_text(address)}" has no plain absolute path',
                hint="write unix:///run/vault-asc/agent.sock",
            )
        return address
    # Before anything is taken apart or shown: what stands before an "@" may be a password, however broken the rest is.
    if "@" in address:
        raise ConfigError(f"{what} holds a user name or password", hint="take the part before the @ out of the URL")
    # Clients disagree on what these characters mean, and an empty "?" would turn the paths we append into a query.
    if not address.isascii() or not address.isprintable() or any(c in " ?#\\" for c in address):
        raise ConfigError(f"{what} is not a plain URL", hint="write https://host:port and at most a path")
    try:
        parts = urlsplit(address)
        _ = parts.port  # raises ValueError when it is no port number
    except ValueError as exc:
        raise ConfigError(f'{what} "{safe_text(address)}" is not a URL', hint="write https://host:port") from exc
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError(
            f'{what} "{safe_text(address)}" has no known scheme or no host',
            hint="write https://host:port or unix:///path",
        )
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise ConfigError(
            f'{what} "{safe_text(address)}" is plain http to another machine',
            hint=f"use https://{parts.netloc}; plain http is for 127.0.0.1 and localhost only",
        )
    return address.rstrip("/")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
