"""Looks for secrets in bytes, in every form in which they might get somewhere: as they are, base64, hex, URL, JSON."""

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, quote_plus

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

_LEAST = 8  # characters of a sentinel; less is found everywhere


@dataclass(frozen=True)
class Leak:
    """What was found, in which form, and where."""

    secret: str
    form: str
    where: str


class Scanner:
    """Knows sentinels by a name that may be shown, and finds them."""

    def __init__(self, sentinels: Mapping[str, str | bytes]) -> None:
        self._forms: list[tuple[str, str, bytes]] = []
        for name, value in sentinels.items():
            raw = value.encode() if isinstance(value, str) else value
            assert len(raw) >= _LEAST, name
            self._forms += [(name, form, text) for form, text in forms(raw)]

    def find(self, data: bytes | str, where: str) -> list[Leak]:
        text = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
        lower = text.lower()
        return [
            Leak(name, form, where)
            for name, form, wanted in self._forms
            if wanted in (lower if form == "hex" else text)
        ]

    def find_in_files(self, directory: Path, *, but: Iterable[Path] = ()) -> list[Leak]:
        """In all files below a directory, and in their names."""
        allowed = set(but)
        found = []
        for file in directory.rglob("*"):
            found += self.find(str(file), f"the name of {file}")
            if file.is_file() and not file.is_symlink() and file not in allowed:
                found += self.find(file.read_bytes(), str(file))
        return found


def forms(raw: bytes) -> Iterator[tuple[str, bytes]]:
    yield "raw", raw
    yield "hex", raw.hex().encode()
    yield "reversed", raw[::-1]
    for encode, name in ((base64.b64encode, "base64"), (base64.urlsafe_b64encode, "base64url")):
        for shift in range(3):
            yield name, _inner(encode(bytes(shift) + raw), shift, len(raw))
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return
    yield "URL", quote(text, safe="").encode()
    yield "form", quote_plus(text).encode()
    yield "JSON", json.dumps(text)[1:-1].encode()
    yield "JSON", json.dumps(text, ensure_ascii=False)[1:-1].encode()
    yield "repr", repr(text)[1:-1].encode()


def _inner(encoded: bytes, shift: int, size: int) -> bytes:
    """The characters that do not depend on what stands before or after."""
    first = -(-8 * shift // 6)
    last = (8 * (shift + size)) // 6
    return encoded[first:last]


def of_private_key(pem: bytes, name: str) -> dict[str, str | bytes]:
    """Lines of the PEM, and the private number alone, which no other encoding of the key hides."""
    lines = [line for line in pem.decode().splitlines() if line and "-----" not in line]
    key = serialization.load_pem_private_key(pem, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    number = key.private_numbers().private_value
    whole: dict[str, str | bytes] = {f"{name}, number": number.to_bytes(32, "big"), f"{name}, decimal": str(number)}
    return whole | {f"{name}, line {n}": line for n, line in enumerate(lines, 1)}


def of_token(token: str, name: str) -> dict[str, str | bytes]:
    """The signature alone gives a JWT away: the rest is public."""
    return {name: token, f"{name}, signature": token.rpartition(".")[2]}
