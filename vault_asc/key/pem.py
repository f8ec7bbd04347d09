"""The text of a .p8 file: undoes what clipboards, shells and secret managers do to it, down to one block of DER.

Repairs only what leaves no doubt (line ends, blanks, quotes, literal backslash-n, base64 around the whole file). What
the DER means is not this module's business. No message ever repeats a part of the text.
"""

import base64
import binascii
import re
from typing import Final

from vault_asc.errors import PrivateKeyError
from vault_asc.key.wrong_keys import ORIGINAL, label_refusal

MAX_KEY_BYTES: Final = 64 * 1024
"""No key file is longer; Apple's has 257 bytes."""

PKCS8: Final = "PRIVATE KEY"
SEC1: Final = "EC PRIVATE KEY"

_UTF8_BOM: Final = b"\xef\xbb\xbf"
_UTF16_BOMS: Final = (b"\xff\xfe", b"\xfe\xff")
_DER_SEQUENCE: Final = b"\x30"
# Escaped once or several times over; bounded, because an open end takes quadratic time on many backslashes.
_ESCAPED_LINE_END: Final = r"\\{1,8}[rn]"
_AROUND: Final = " \t\r\n\v\f\"'"
_MARK: Final = r"-----(BEGIN|END) ([A-Z0-9 ]{1,40})-----"
_VARIABLE: Final = r"(?s)\$(?:\w+|\{[^{}]*\}|\([^()]*\))|\$?\{\{.*\}\}"
_BASE64_OF_BEGIN: Final = "LS0tLS1CRUdJTi"  # "-----BEGIN"
_BASE64: Final = r"[A-Za-z0-9+/]*={0,2}"


def read_block(data: bytes) -> tuple[str, bytes]:
    """Label (`PKCS8` or `SEC1`) and DER of the one private key in a file, else `PrivateKeyError` with the cause."""
    text = _text(data)
    if not re.search(_MARK, text):
        text = _unwrapped(text)
    label, body = _the_block(text)
    if label not in {PKCS8, SEC1}:
        raise label_refusal(label)
    if "Proc-Type:" in body:
        raise PrivateKeyError(
            "the private key is encrypted (Proc-Type header)",
            hint="remove the passphrase first: openssl pkey -in FILE -out DECRYPTED.p8",
        )
    return label, _decoded(body)


def check_size(data: bytes) -> bytes:
    """The data itself when it is not longer than `MAX_KEY_BYTES`, else `PrivateKeyError`."""
    if len(data) > MAX_KEY_BYTES:
        raise PrivateKeyError(f"the private key is larger than {MAX_KEY_BYTES // 1024} KiB", hint=ORIGINAL)
    return data


def _text(data: bytes) -> str:
    """The file as ASCII text with real line ends and nothing around it."""
    _check_encoding(check_size(data))
    text = re.sub(_ESCAPED_LINE_END, "\n", data.removeprefix(_UTF8_BOM).decode("ascii")).strip(_AROUND)
    if not text:
        raise PrivateKeyError("the private key is empty", hint="check the file, or the variable that should hold it")
    if re.fullmatch(_VARIABLE, text):
        raise PrivateKeyError(
            "the private key is the name of a variable that nothing expanded",
            hint="let the shell or the CI system expand it, and pass the result on stdin or in a file",
        )
    return text


def _check_encoding(data: bytes) -> None:
    """Refuses what is not ASCII text, by its most likely cause.

    Asks before it decodes: a `UnicodeDecodeError` would carry the whole key in its `repr`.
    """
    if data.startswith(_UTF16_BOMS) or _every_other_byte_is_nul(data):
        raise PrivateKeyError(
            "the private key is UTF-16 text, as PowerShell writes it",
            hint='write it again as plain text: Set-Content -Encoding ascii, or iconv -f UTF-16 -t UTF-8 "FILE"',
        )
    if _is_der(data):
        raise PrivateKeyError(
            "the private key is binary DER, not PEM text",
            hint="convert it: openssl pkey -inform DER -in FILE -out KEY.p8",
        )
    if b"\0" in data:
        raise PrivateKeyError("the private key holds NUL bytes", hint=f"the file is damaged; {ORIGINAL}")
    if not data.removeprefix(_UTF8_BOM).isascii():
        raise PrivateKeyError(
            "the private key holds characters beyond ASCII",
            hint=f"a word processor or a chat changed dashes or blanks; {ORIGINAL}",
        )


def _is_der(data: bytes) -> bool:
    """Whether this is one binary SEQUENCE; its tag alone is also the digit 0."""
    if not data.startswith(_DER_SEQUENCE) or len(data) < 2:  # noqa: PLR2004  # a tag and a length
        return False
    return data[1] in {0x81, 0x82} or (len(data) == 2 + data[1] and b"\0" in data)


def _every_other_byte_is_nul(data: bytes) -> bool:
    """Whether this is UTF-16 without a byte-order mark: ASCII text with a NUL in each pair of bytes."""
    pairs = data[: len(data) // 2 * 2]
    return bool(pairs) and any(not any(pairs[i::2]) and all(pairs[1 - i :: 2]) for i in (0, 1))


def _unwrapped(text: str) -> str:
    """The PEM text inside base64 text; refuses every text that has no BEGIN or END line, not even there."""
    packed = "".join(text.split())
    inner = _strict_base64(packed)
    if inner is not None and (b"-----" in inner or inner.startswith(_UTF16_BOMS) or _every_other_byte_is_nul(inner)):
        text = _text(inner)
        packed = ""
    if re.search(_MARK, text):
        return text
    if packed.startswith(_BASE64_OF_BEGIN):
        raise PrivateKeyError(
            "the base64 around the private key is damaged or cut off",
            hint="encode the file again: base64 < KEY.p8, and copy the whole output",
        )
    if inner is not None and _is_der(inner):
        raise PrivateKeyError(
            "the private key is base64 without its BEGIN and END lines",
            hint="pass the whole .p8 file with its first and last line",
        )
    if "PRIVATE KEY" in text or "-----" in text:
        raise PrivateKeyError(
            "the BEGIN and END lines of the private key are damaged",
            hint=f"they read -----BEGIN {PKCS8}----- and -----END {PKCS8}-----, five dashes on each side",
        )
    raise PrivateKeyError("this is not a private key in PEM form: there is no BEGIN line", hint=ORIGINAL)


def _the_block(text: str) -> tuple[str, str]:
    """Label and body of the only PEM block in a text that has at least one BEGIN or END line."""
    marks = list(re.finditer(_MARK, text))
    begins = [mark[2] for mark in marks if mark[1] == "BEGIN"]
    ends = len(marks) - len(begins)
    if not begins:
        raise PrivateKeyError("the private key has no BEGIN line", hint="pass the whole .p8 file with its first line")
    if not ends:
        raise PrivateKeyError(
            "the private key has no END line: it is cut off", hint="pass the whole .p8 file with its last line"
        )
    _check_alone(begins)
    first, last = marks[0], marks[-1]
    if len(marks) != 2 or first[1] != "BEGIN" or first[2] != last[2]:  # noqa: PLR2004  # one BEGIN, one END
        raise PrivateKeyError("the BEGIN and END lines of the private key do not belong together", hint=ORIGINAL)
    if text[: first.start()].strip(_AROUND) or text[last.end() :].strip(_AROUND):
        raise PrivateKeyError(
            "there is other text before the BEGIN line or after the END line of the private key",
            hint="pass the .p8 file alone, without a variable name, JSON or comments around it",
        )
    return first[2], text[first.end() : last.start()]


def _check_alone(labels: list[str]) -> None:
    """Refuses a private key in company; several blocks without any private key are left to their label."""
    private = sum(label.endswith(PKCS8) for label in labels)
    if private > 1:
        raise PrivateKeyError(
            f"there are {private} private keys in one file", hint="pass one file for each key, each with its own key ID"
        )
    if private and len(labels) > 1:
        raise PrivateKeyError(
            "there are other PEM blocks beside the private key",
            hint=f"keep the block from BEGIN {PKCS8} to END {PKCS8} only",
        )
    if len(labels) > 1:
        raise label_refusal(labels[0])


def _decoded(body: str) -> bytes:
    """The DER of a PEM body. Blanks anywhere are harmless: CI systems turn line ends into them."""
    packed = "".join(body.split())
    if not re.fullmatch(_BASE64, packed):
        raise PrivateKeyError(
            "the private key holds characters that are not base64", hint=f"something changed the text; {ORIGINAL}"
        )
    if len(packed) % 4 or not packed:
        raise PrivateKeyError(
            "the base64 of the private key is incomplete", hint=f"characters were lost on the way; {ORIGINAL}"
        )
    der = _strict_base64(packed)
    if der is None:
        raise PrivateKeyError(
            "the base64 of the private key is not canonical: there are stray bits in its padding",
            hint=f"the last characters were changed; {ORIGINAL}",
        )
    return der


def _strict_base64(packed: str) -> bytes | None:
    """Decoded base64, None unless it is exactly what an encoder writes."""
    try:
        decoded = base64.b64decode(packed, validate=True)
    except (binascii.Error, ValueError):
        return None
    return decoded if base64.b64encode(decoded).decode("ascii") == packed else None
