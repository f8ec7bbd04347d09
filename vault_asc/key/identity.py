"""Who a key is at Apple: key ID, issuer ID, team or individual key, audience. What the private key is, is elsewhere.

Light on purpose: records are listed and checked without loading a crypto library. IDs are no secrets and appear in
messages, unless they are so long that somebody may have pasted the key itself.
"""

import re
from enum import StrEnum
from pathlib import PurePath
from typing import Final, NamedTuple

from vault_asc.errors import PrivateKeyError
from vault_asc.secret import safe_text

APP_STORE_CONNECT: Final = "appstoreconnect-v1"
ENTERPRISE: Final = "apple-developer-enterprise-v1"
AUDIENCES: Final = (APP_STORE_CONNECT, ENTERPRISE)

_AROUND: Final = " \t\r\n\v\f\"'\ufeff\xa0"
KEY_ID: Final = r"[A-Za-z0-9]{2,64}"
_USUAL_KEY_ID: Final = r"[A-Z0-9]{10}"
# Not RFC 4122: most real issuer IDs have variant "e", as in ...-1a63-e053-...
_ISSUER_ID: Final = r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
_VARIABLE: Final = r"\$\w{1,60}|\$\{[^{}]{0,60}\}|\$\([^()]{0,60}\)|%\w{1,60}%|\$?\{\{[^{}]{0,60}\}\}"
_KEY_FILE: Final = r"(?:AuthKey|ApiKey)_([A-Za-z0-9]{2,64})\.p8"
_SHOWN_MAX: Final = 40  # characters of an ID in a message; an issuer ID has 36, a line of a key 64
_WHERE: Final = "App Store Connect shows it under Users and Access, Integrations"


class KeyType(StrEnum):
    """Whom Apple gave a key to: a team key has an issuer ID, an individual key belongs to one user and has none."""

    TEAM = "team"
    INDIVIDUAL = "individual"


class Identity(NamedTuple):
    """What a token says about its key; made by `identity()`, which checks it.

    Attributes:
        key_id: Apple's ID of the key, the `kid` of its tokens.
        issuer_id: the team's issuer ID in lower case, None for an individual key.
        key_type: team or individual.
        audience: the `aud` of its tokens, one of `AUDIENCES`.
    """

    key_id: str
    issuer_id: str | None
    key_type: KeyType
    audience: str


def identity(*, key_id: str, issuer_id: str | None, individual: bool, audience: str = APP_STORE_CONNECT) -> Identity:
    """The identity of a key from what a user wrote; blanks and quotes around the IDs are dropped.

    An empty issuer ID counts as none. Refuses with `PrivateKeyError`: malformed or swapped IDs, variables that nothing
    expanded, a team key without and an individual key with an issuer ID, an audience that Apple does not know.
    """
    key, issuer = _bare(key_id), _bare(issuer_id or "")
    _check_not_swapped(key, issuer)
    _check_key_id(key)
    if audience not in AUDIENCES:
        raise PrivateKeyError(f"the audience {_shown(audience)} is unknown", hint=f"use {' or '.join(AUDIENCES)}")
    if individual:
        if issuer:
            raise PrivateKeyError(
                f"the individual key {_shown(key)} was given an issuer ID, and individual keys have none",
                hint="leave the issuer ID out (is it set in the environment?), or say that this is a team key",
            )
        return Identity(key, None, KeyType.INDIVIDUAL, audience)
    _check_issuer_id(key, issuer)
    return Identity(key, issuer.lower(), KeyType.TEAM, audience)


def is_key_id(text: object) -> bool:
    """Whether this can be a key ID at all."""
    return isinstance(text, str) and re.fullmatch(KEY_ID, text) is not None


def usual_key_id(key_id: str) -> bool:
    """Whether a key ID looks like all that Apple has shown so far: 10 upper-case letters and digits.

    Apple states no format, so anything else is worth a warning and not an error.
    """
    return re.fullmatch(_USUAL_KEY_ID, key_id) is not None


def key_id_from_filename(name: str) -> str | None:
    """The key ID in the name Apple gives a key file, `AuthKey_<ID>.p8` or `ApiKey_<ID>.p8`, else None."""
    match = re.fullmatch(_KEY_FILE, PurePath(name).name)
    return match[1] if match else None


def resolve_key_id(option: str | None, filename: str | None, issuer_id: str | None = None) -> str:
    """The key ID from an option and the name of the key file: either is enough, both have to agree.

    `PrivateKeyError` when they differ, when there is neither, or when the option is no key ID; `issuer_id` is only looked
    at to say that the two are swapped.
    """
    named = key_id_from_filename(filename) if filename else None
    given = _bare(option or "")
    if not given and named is None:
        raise _no_key_id(filename)
    if not given and named is not None:
        return named
    _check_not_swapped(given, _bare(issuer_id or ""))
    _check_key_id(given)
    if named is not None and named != given:
        raise PrivateKeyError(
            f"the key ID {_shown(given)} does not match the file name, which says {_shown(named)}",
            hint="a key only works with its own key ID: correct the ID, pick the other file, or rename the file",
        )
    return given


def _no_key_id(filename: str | None) -> PrivateKeyError:
    if filename is None:
        return PrivateKeyError("there is no key ID, and no file name to take it from", hint="pass --key-id")
    name = PurePath(filename).name
    if name.startswith("SubscriptionKey_"):
        return PrivateKeyError(
            f'"{safe_text(name)}" is named like an In-App Purchase key, which App Store Connect does not accept',
            hint="pick the AuthKey_<key ID>.p8 of an App Store Connect API key, or pass --key-id",
        )
    return PrivateKeyError(
        f'there is no key ID in the file name "{safe_text(name)}"',
        hint="pass --key-id, or name the file AuthKey_<key ID>.p8 as Apple did",
    )


def _bare(text: str) -> str:
    return text.strip(_AROUND)


def _shown(text: str) -> str:
    """An ID as messages quote it, its length alone when it is too long for an ID."""
    return f'"{safe_text(text)}"' if len(text) <= _SHOWN_MAX else f"of {len(text)} characters"


def _check_not_swapped(key: str, issuer: str) -> None:
    if not re.fullmatch(_ISSUER_ID, key):
        return
    if re.fullmatch(KEY_ID, issuer):
        raise PrivateKeyError(
            f"the key ID {_shown(key)} and the issuer ID {_shown(issuer)} are swapped", hint="exchange the two"
        )
    raise PrivateKeyError(
        f"the key ID {_shown(key)} is an issuer ID", hint=f"pass the ID of the key, such as 2X9R4HXF34; {_WHERE}"
    )


def _check_expanded(what: str, text: str) -> None:
    if re.fullmatch(_VARIABLE, text):
        raise PrivateKeyError(
            f'the {what} "{safe_text(text)}" is a variable that nothing expanded',
            hint="write double quotes around it instead of single ones, and check that it is set",
        )


def _check_key_id(key: str) -> None:
    if not key:
        raise PrivateKeyError("the key ID is empty", hint=f"{_WHERE}, and the .p8 file has it in its name")
    _check_expanded("key ID", key)
    named = key_id_from_filename(key)
    if named is not None:
        raise PrivateKeyError(f"the key ID {_shown(key)} is the name of a file", hint=f"pass the ID alone: {named}")
    if not re.fullmatch(KEY_ID, key):
        raise PrivateKeyError(
            f"the key ID {_shown(key)} is not 2 to 64 letters and digits", hint=f"it is like 2X9R4HXF34; {_WHERE}"
        )


def _check_issuer_id(key: str, issuer: str) -> None:
    if not issuer:
        raise PrivateKeyError(
            f"the team key {_shown(key)} has no issuer ID",
            hint=f"pass --issuer-id ({_WHERE}), or --individual for the key of one user",
        )
    _check_expanded("issuer ID", issuer)
    if re.fullmatch(_ISSUER_ID, issuer):
        return
    if usual_key_id(issuer):
        raise PrivateKeyError(f"the issuer ID {_shown(issuer)} is a key ID", hint=f"pass the issuer ID; {_WHERE}")
    raise PrivateKeyError(
        f"the issuer ID {_shown(issuer)} is not 8-4-4-4-12 hexadecimal digits",
        hint=f"it is like 57246542-96fe-1a63-e053-0824d011072a; {_WHERE}",
    )
