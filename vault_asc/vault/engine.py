"""The asc secrets engine, seen from outside: keys go in, public facts and tokens come out. Values and calls only.

Its paths are described in `vault_asc.engine.paths`; what the versions mean for a record is in `placement`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from vault_asc.errors import TokenRequestError, VaultError, VaultUnavailableError
from vault_asc.key.identity import Identity, KeyType
from vault_asc.key.private_key import PrivateKey
from vault_asc.secret import Secret, safe_text
from vault_asc.tokens import TokenRequest
from vault_asc.vault.client import Vault
from vault_asc.vault.errors import MissingVersionError, NothingThereError, RefusedError

_NO_HANDLER: Final = "no handler for route"  # Vault's words, also for a plugin that does not start
_NO_ROLE: Final = "there is no role"
_OURS: Final = (_NO_ROLE, "there is no key", "version ", "role ")
"""How the engine's own answers 404 begin."""


class EngineVersion(NamedTuple):
    """One version of a key in the engine. Nothing of it is secret; `public_key` is PEM."""

    number: int
    identity: Identity
    spki_sha256: str
    public_key: str
    imported_at: str
    imported_by: str


class EngineKey(NamedTuple):
    """What the engine says of a key.

    Attributes:
        current: the version that signs for whoever names none.
        previous: the one before it, None when it was never replaced, or is retired.
        staged: a newer one that signs for nobody, None when there is none.
        enabled: whether it signs at all.
        settled: whether somebody has decided on that since it was made; False while whoever makes it is not done.
        owner: mount and prefix of the store that has made it, "" for one made by hand.
    """

    current: EngineVersion
    previous: EngineVersion | None
    staged: EngineVersion | None
    enabled: bool
    settled: bool = True
    owner: str = ""

    @property
    def versions(self) -> Iterator[EngineVersion]:
        """All that are kept, the newest first."""
        kept = (self.current, self.previous, self.staged)
        return iter(sorted((version for version in kept if version), reverse=True))


@dataclass(frozen=True)
class Engine:
    """One mount of the engine."""

    vault: Vault
    mount: str

    # -- keys ----------------------------------------------------------------------------------------------------

    def find(self, name: str) -> EngineKey | None:
        """The key, or None when there is none of that name."""
        where = f"{self.mount}/keys/{name}"
        try:
            data = self._ask("GET", where, "read")
        except NothingThereError as exc:
            self._require_running(exc)
            return None
        with self.vault.reading(where):
            previous, staged = (_version(data[part]) if data[part] else None for part in ("previous", "staged"))
            return EngineKey(
                _version(data), previous, staged, bool(data["enabled"]), bool(data["settled"]), str(data["owner"])
            )

    def create(self, name: str, key: PrivateKey, identity: Identity, *, owner: str = "", enabled: bool = True) -> None:
        """Write the first version of a key, which is current at once; not enabled, it signs for nobody yet."""
        settings = {"owner": owner, "enabled": enabled}
        self._write(f"{self.mount}/keys/{name}", "create", _body(key, identity) | settings)

    def stage(self, name: str, key: PrivateKey, identity: Identity) -> None:
        """Write a further version beside the current one; nobody gets tokens of it."""
        self._write(f"{self.mount}/keys/{name}/stage", "update", _body(key, identity))

    def promote(self, name: str, version: int) -> None:
        """Make the staged version current."""
        self._write(f"{self.mount}/keys/{name}/promote", "update", {"version": version})

    def roll_back(self, name: str, version: int) -> None:
        """Make the previous version current."""
        self._write(f"{self.mount}/keys/{name}/rollback", "update", {"version": version})

    def retire(self, name: str, current: int) -> None:
        """Forget all versions older than the current one, which has to be this."""
        self._write(f"{self.mount}/keys/{name}/retire", "update", {"version": current})

    def set_enabled(self, name: str, *, enabled: bool) -> None:
        """Let a key sign, or sign no more, for whatever role."""
        self._write(f"{self.mount}/keys/{name}/{'enable' if enabled else 'disable'}", "update", {})

    def delete(self, name: str, role: str) -> None:
        """Remove a key with all its versions, and first the role by which its tokens are read, for good.

        Refused while another role uses the key.
        """
        own = self.key_of_role(role) == name
        if own:
            self._ask("DELETE", f"{self.mount}/roles/{role}", "delete", writing=True)
        try:
            self._ask("DELETE", f"{self.mount}/keys/{name}", "delete", writing=True)
        except VaultError as exc:
            if not own or type(exc) is not VaultError:
                raise
            raise VaultError(f'role "{role}" was removed, its key not: {exc.message}', hint=exc.hint) from exc

    # -- roles and tokens ----------------------------------------------------------------------------------------

    def key_of_role(self, role: str) -> str | None:
        """Name of the key that signs for a role, None when there is no such role."""
        where = f"{self.mount}/roles/{role}"
        try:
            data = self._ask("GET", where, "read")
        except NothingThereError as exc:
            self._require_running(exc)
            return None
        with self.vault.reading(where):
            return str(data["key"])

    def roles_of(self, name: str) -> list[str]:
        """Names of all roles that a key signs for."""
        where = f"{self.mount}/roles"
        try:
            data = self._ask("LIST", where, "list")
        except NothingThereError as exc:
            self._require_running(exc)
            return []
        with self.vault.reading(where):
            roles = [str(role) for role in data["keys"]]
        return [role for role in roles if self.key_of_role(role) == name]

    def create_role(self, role: str, key: str) -> None:
        """Make a role of a key with the lifetimes that the mount has by default."""
        self._write(f"{self.mount}/roles/{role}", "create", {"key": key})

    def token(self, role: str, request: TokenRequest, version: int | None = None) -> Secret:
        """A token by a role: what it gives, narrowed to what the request names.

        Args:
            role: name of the role.
            request: lifetime and scope; what it does not name is the role's.
            version: of the key, the current one by default.

        Raises:
            MissingVersionError: there is no such role, key or version.
            TokenRequestError: the role does not give that.
        """
        where = f"{self.mount}/token/{role}"
        query = {"lifetime": request.asked_lifetime, "scope": list(request.scope) or None, "key_version": version}
        try:
            data = self.vault.ask("GET", where, "read", query={k: v for k, v in query.items() if v is not None})
        except NothingThereError as exc:
            self._require_running(exc)
            hint = f"see which roles there are: vault list {self.mount}/roles" if _NO_ROLE in exc.reason else None
            raise MissingVersionError(_told(exc.reason)[0] or exc.message, hint=hint, state="missing") from exc
        except RefusedError as exc:
            message, hint = _told(exc.reason)
            raise TokenRequestError(f'role "{role}" gave no token: {message}', hint=hint) from exc
        with self.vault.reading(where):
            return Secret(str(data["token"]))

    # -- calls ---------------------------------------------------------------------------------------------------

    def _write(self, where: str, capability: str, body: Mapping[str, Any]) -> None:
        try:
            self._ask("POST", where, capability, body, writing=True)
        except NothingThereError as exc:
            self._require_running(exc)
            raise

    def _require_running(self, exc: NothingThereError) -> None:
        """Refuse to take a 404 for "there is none" when it is not the engine that has answered."""
        if exc.reason.startswith(_OURS):
            return
        self.vault.require_engine(self.mount)
        if _NO_HANDLER in exc.reason:
            raise VaultUnavailableError(
                f'the engine at "{self.mount}/" does not run on this node; its keys are safe',
                hint="see why: vault-asc engine status, the server's log; when the file is in its place again:"
                " vault plugin reload -plugin=asc -scope=global",
            ) from exc

    def _ask(
        self, method: str, where: str, capability: str, body: Mapping[str, Any] | None = None, *, writing: bool = False
    ) -> dict[str, Any]:
        with _in_own_words():
            return self.vault.ask(method, where, capability, body, writing=writing)


@contextmanager
def _in_own_words() -> Iterator[None]:
    """The engine's messages are ours, hint included."""
    try:
        yield
    except RefusedError as exc:
        message, hint = _told(exc.reason)
        raise VaultError(message, hint=hint) from exc


def _told(reason: str) -> tuple[str, str | None]:
    """Message and hint of an error of the engine, which come in one line."""
    message, _, hint = reason.partition(" (hint: ")
    return message, hint.removesuffix(")") or None


def _body(key: PrivateKey, identity: Identity) -> dict[str, Any]:
    who = {"individual": True} if identity.key_type is KeyType.INDIVIDUAL else {"issuer_id": identity.issuer_id}
    return {"private_key": key.pem.reveal(), "key_id": identity.key_id, "audience": identity.audience, **who}


def _version(data: Mapping[str, Any]) -> EngineVersion:
    issuer = data.get("issuer_id")
    who = Identity(
        str(data["key_id"]), None if issuer is None else str(issuer), KeyType(data["key_type"]), str(data["audience"])
    )
    return EngineVersion(
        int(data["version"]),
        who,
        str(data["spki_sha256"]),
        str(data["public_key"]),
        safe_text(str(data["imported_at"])),
        safe_text(str(data["imported_by"])),
    )
