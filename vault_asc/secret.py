"""Values that must not be shown: a wrapper with a masked `repr`, and the masking of free text.

Secrets travel as `Secret` between the edge where they come in and the call that uses them. `reveal()` is the only way
out, so that every use can be found by searching for it.
"""

import re
from typing import Final

MASK: Final = "[secret]"

# "bearer token" is plain text: after these two a short word of letters alone is none, unless a header is quoted.
_CREDENTIAL: Final = r"\s*(?![A-Z]?[a-z]{1,14}(?:[^\w~+/=.-]|[.-]?(?:\s|\Z)))\S+"
# A JWT, a Vault or OpenBao token (service, batch, recovery; old "s." form), a PEM block, a bearer or basic credential.
_MASKED: Final = (
    r"(?s)eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,2}"
    r"|hv[sbr]\.[A-Za-z0-9_-]{8,}"
    r"|(?<![A-Za-z0-9])[sbr]\.[A-Za-z0-9_-]{20,}|[sbr]\.[A-Za-z0-9]{24,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|(?i:authorization\W{1,5}(?:bearer|basic))\s+\S+"
    rf"|(?<=(?i:bearer)\s){_CREDENTIAL}|(?<=(?i:basic)\s){_CREDENTIAL}"
)
_SHOWN_MAX: Final = 200  # characters of foreign text that an error message may carry


class Secret:
    """A string that prints as `[secret]`; equal by value, never hashable into a log."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself. Hand it straight to what needs it; do not keep it."""
        return self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a secret is not pickled")


def mask(text: str) -> str:
    """Text with everything masked that looks like a token, a key or a credential."""
    return re.sub(_MASKED, MASK, text)


def safe_text(text: str, limit: int = _SHOWN_MAX) -> str:
    """Foreign text made fit for one line of a message: masked, control characters escaped, cut to `limit` characters."""
    printable = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in mask(text))
    return printable if len(printable) <= limit else printable[: limit - 1] + "…"
