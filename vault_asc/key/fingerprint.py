"""Fingerprints of public keys, as people write them. Pure."""

import re

from vault_asc.errors import PrivateKeyError
from vault_asc.secret import safe_text


def parse_fingerprint(text: str) -> str:
    """A fingerprint as people write it (`SHA256:`, colons, capitals) in the form of the record."""
    digits = text.strip().lower().removeprefix("sha256:").replace(":", "")
    if re.fullmatch(r"[0-9a-f]{64}", digits) is None:
        raise PrivateKeyError(
            f'"{safe_text(text, 80)}" is no fingerprint, nothing was changed',
            hint="give the whole one that `key stage` printed: SHA256: and 64 hexadecimal digits",
        )
    return digits
