"""Where the service may be looked at: a port of this machine's loopback, or a unix socket. Nothing else is listened on.

Light, as `config` is.
"""

import ipaddress
import re
from pathlib import Path
from typing import Final, NamedTuple

from vault_asc.errors import ConfigError
from vault_asc.secret import safe_text

_TCP: Final = r"(?a)(?:\[(?P<v6>[0-9a-fA-F:.]{2,45})\]|(?P<v4>[0-9.]{7,15})):(?P<port>[0-9]{1,5})"
_UNIX: Final = "unix://"
_PATH_MAX: Final = 100
"""Bytes of a socket's path; the system's own limit is 107 on Linux and 103 elsewhere."""
_PORT_MAX: Final = 65535


class Listen(NamedTuple):
    """An address to listen on: a path, or a loopback address and a port (0 for any that is free)."""

    path: Path | None = None
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        """As it is written."""
        if self.path is not None:
            return f"{_UNIX}{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_listen(text: str, what: str) -> Listen:
    """The address in `127.0.0.1:9411`, `[::1]:9411` or `unix:///path`; `ConfigError` for all that others could reach."""
    if text.startswith(_UNIX):
        return Listen(path=_path(text.removeprefix(_UNIX), what))
    found = re.fullmatch(_TCP, text)
    host, port = (found["v6"] or found["v4"], int(found["port"])) if found else ("", 0)
    if not found or not _is_loopback(host) or port > _PORT_MAX:
        raise ConfigError(
            f'{what} "{safe_text(text)}" is neither a loopback address with a port nor a unix socket',
            hint='write "127.0.0.1:9411", "[::1]:9411" or "unix:///run/vault-asc/run.sock"; a proxy may lead there',
        )
    return Listen(host=host, port=port)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _path(text: str, what: str) -> Path:
    if not text.startswith("/") or text.endswith("/") or not text.isprintable() or len(text.encode()) > _PATH_MAX:
        raise ConfigError(
            f'{what} "{_UNIX}{safe_text(text)}" has no plain absolute path of at most {_PATH_MAX} bytes',
            hint=f"write {_UNIX}/run/vault-asc/run.sock",
        )
    return Path(text)
