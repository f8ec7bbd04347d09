"""What an executable of the engine is made of: text inside the file, for its `info` and for whoever looks at the file.

Nothing here runs a file to learn what it is.
"""

import hashlib
import json
import mmap
import os
import platform
import ssl
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from vault_asc.errors import ConfigError
from vault_asc.secret import safe_text

FILE: Final = "vault-asc-build"
"""Name of the text among what the executable unpacks; a directory with it is one of ours."""

_BEGIN: Final = b"vault-asc build facts: "
_END: Final = b"\n"
_LONGEST: Final = 8192  # bytes of the text
_WHAT: Final = "build it with: vault-asc engine build"


class Executable(NamedTuple):
    """A file as it is.

    Attributes:
        path: where it lies.
        size: in bytes.
        sha256: in hexadecimal, as the plugin catalog wants it.
        facts: what it says of itself; `version` is among them.
    """

    path: Path
    size: int
    sha256: str
    facts: Mapping[str, str]

    @property
    def version(self) -> str:
        """As the plugin catalog writes it: with a "v"."""
        return f"v{self.facts['version']}"


def of_interpreter() -> dict[str, str]:
    """The interpreter that runs this, which is the one that a build holds."""
    return {
        "platform": f"{sys.platform} {platform.machine()}",
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
    }


def unfrozen() -> dict[str, str]:
    """In place of facts, for an engine that runs from an installation: nobody knows what of it has been changed."""
    return {"build": "unfrozen: no checksum covers the code", **of_interpreter()}


def text_of(facts: Mapping[str, str]) -> bytes:
    """The text that stands for facts in an executable."""
    return _BEGIN + json.dumps(dict(facts), sort_keys=True).encode("ascii") + _END


def facts_in(text: bytes) -> dict[str, str]:
    """The facts of such a text; `ValueError` for any other."""
    found = json.loads(text.removeprefix(_BEGIN))
    if not isinstance(found, dict) or not isinstance(found.get("version"), str):
        raise ValueError("no build facts")  # noqa: TRY004 - the one error of a text that is none of ours
    return {str(name): str(value) for name, value in found.items()}


def look_at(path: Path) -> Executable:
    """Read an executable of the engine. `ConfigError` for a file that is none."""
    try:
        with path.open("rb") as stream:
            checksum = hashlib.file_digest(stream, "sha256").hexdigest()
            size = os.fstat(stream.fileno()).st_size
            text = _text_in(stream.fileno()) if size else b""
    except OSError as exc:
        raise ConfigError(
            f'"{path}" cannot be read: {os.strerror(exc.errno or 0).lower()}', hint="name the file, see: ls -l"
        ) from exc
    try:
        return Executable(path, size, checksum, {name: safe_text(value) for name, value in facts_in(text).items()})
    except ValueError as exc:
        raise ConfigError(f'"{path}" is no executable of the engine', hint=_WHAT) from exc


def _text_in(handle: int) -> bytes:
    with mmap.mmap(handle, 0, access=mmap.ACCESS_READ) as content:
        begin = content.find(_BEGIN)
        return b"" if begin < 0 else content[begin : content.find(_END, begin, begin + _LONGEST)]
