"""What a request gives of a key that goes in: the private key and its IDs, for each path that takes one.

IDs that are left out are those of the version before it.
"""

from typing import Any, Final, NamedTuple

from vault_asc.clock import iso
from vault_asc.engine.entries import KeyVersion
from vault_asc.engine.fields import Field, Kind, taken
from vault_asc.engine.mount import Mount
from vault_asc.engine.request import Request, RequestError
from vault_asc.key.identity import APP_STORE_CONNECT, AUDIENCES, ENTERPRISE, Identity, KeyType, identity
from vault_asc.key.private_key import PrivateKey, parse_private_key
from vault_asc.secret import safe_text

_KEY_ID_MAX: Final = 40  # characters; Apple's have 10, a line of a key has 64
_UNKNOWN: Final = "unknown"


class Given(NamedTuple):
    """A key as a request gives it.

    Attributes:
        key: the private key, None when only IDs are given.
        ids: the other fields.
        at: when, ISO 8601 in UTC.
        by: who asks.
    """

    key: PrivateKey | None
    ids: dict[str, Any]
    at: str
    by: str

    def identity(self, before: Identity | None) -> Identity:
        """Who the key is: what is given, and for the rest what the version before it was."""
        given = self.ids
        issuer = given.get("issuer_id")
        inherited = before is not None and before.key_type is KeyType.INDIVIDUAL and not issuer
        individual = given.get("individual", inherited)
        if not issuer and not individual and before is not None:
            issuer = before.issuer_id
        return identity(
            key_id=_short(given.get("key_id") or ("" if before is None else before.key_id)),
            issuer_id=issuer,
            individual=individual,
            audience=_audience(given, APP_STORE_CONNECT if before is None else before.audience),
        )

    def version(self, number: int, key: PrivateKey, who: Identity) -> KeyVersion:
        """A version of a key, made by this request."""
        return KeyVersion(number, key.pem, who, key.spki_sha256, key.public_key_pem(), self.at, self.by)


def given_key(mount: Mount, request: Request, fields: tuple[Field, ...]) -> Given:
    """What the body holds; `PrivateKeyError` and `RequestError` for what is no key."""
    given = taken(request.data, fields)
    pem = given.pop("private_key", None)
    # A lone surrogate, which JSON can hold, is refused by the parser like every other character that is not ASCII.
    key = None if pem is None else parse_private_key(pem.encode("utf-8", "surrogatepass"))
    return Given(key, given, iso(mount.clock()), safe_text(request.display_name) or _UNKNOWN)


def check_new_id(name: str, who: Identity, current: KeyVersion) -> None:
    """Refuse another key under the ID of the current one."""
    if who.key_id == current.identity.key_id:
        raise RequestError(
            f'key ID "{who.key_id}" is that of the current key of "{name}", but the key differs; nothing was written',
            hint="a new key has a new key ID: name it with key_id",
        )


def _short(key_id: str) -> str:
    """The ID itself, unless it may be a line of a key: IDs are read back and stand in every token."""
    if len(key_id) > _KEY_ID_MAX:
        raise RequestError(f"the key ID of {len(key_id)} characters is too long", hint="it is like 2X9R4HXF34")
    return key_id


def _audience(given: dict[str, Any], otherwise: str) -> str:
    if "enterprise" not in given:
        return str(given.get("audience") or otherwise)
    audience = ENTERPRISE if given["enterprise"] else APP_STORE_CONNECT
    if given.get("audience", audience) != audience:
        raise RequestError("audience and enterprise contradict each other", hint="leave one of the two out")
    return audience


FIELDS: Final = (
    Field(
        "private_key",
        Kind.STRING,
        "The .p8 file as Apple gave it (private_key=@AuthKey_<key ID>.p8), or that in base64. Nothing ever reads it back.",
        secret=True,
    ),
    Field("key_id", Kind.STRING, "Apple's ID of the key, in the name of its file. A new key has a new one."),
    Field("issuer_id", Kind.STRING, "Issuer ID of a team key (App Store Connect, Users and Access, Integrations)."),
    Field("individual", Kind.BOOLEAN, "The key of one user, which has no issuer ID. Default false."),
    Field("audience", Kind.STRING, f"{' or '.join(AUDIENCES)}. Default {APP_STORE_CONNECT}."),
    Field("enterprise", Kind.BOOLEAN, f"The same as audience={ENTERPRISE}."),
)
