"""One connection to Vault: KV v2, policies, and who the token is."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Final, NamedTuple

import hvac
import requests
from hvac import exceptions as hvac_errors
from hvac.adapters import JSONAdapter

from vault_asc import http
from vault_asc.errors import (
    NotFoundError,
    PermissionDeniedError,
    VaultError,
)
from vault_asc.names import DEFAULT_ENGINE_MOUNT, DEFAULT_TRANSIT_MOUNT, ENGINE_TYPES
from vault_asc.secret import Secret, safe_text
from vault_asc.vault.adapter import LiveToken, LiveTokenAdapter
from vault_asc.vault.errors import Advice, InvalidTokenError, MissingVersionError, Translated, foreign_answer
from vault_asc.vault.kv import NO_METADATA, KvMetadata, KvSecret, KvVersion

_ENABLE_KV: Final = "mount KV (vault secrets enable -path=MOUNT -version=2 kv)"
_NO_CONTENT: Final = 204
_ANY_POLICY: Final = "use a token with one of the policies of `vault-asc policy list`"


class _Mount(NamedTuple):
    """A secrets engine as Vault describes it."""

    path: str
    kind: str
    kv_version: str


class _Engine(NamedTuple):
    """A secrets engine that a mount has to be of, for messages."""

    name: str
    kinds: tuple[str, ...]
    setting: str
    usual: str


_TRANSIT: Final = _Engine("Transit", ("transit",), "store.transit_mount", DEFAULT_TRANSIT_MOUNT)
_ENGINE: Final = _Engine("the asc engine", ENGINE_TYPES, "store.engine_mount", DEFAULT_ENGINE_MOUNT)


class Granted(NamedTuple):
    """A Vault token as Vault gives or renews it.

    Attributes:
        token: the token.
        ttl: seconds that it lives from now on; 0 for ever.
        renewable: whether it can be renewed.
    """

    token: Secret
    ttl: int
    renewable: bool


class Vault:
    """One connection to Vault or OpenBao, as one token (or as the Agent, through its unix socket).

    Args:
        address: checked address (`vault_asc.names.check_address`).
        token: Vault token, or what keeps one alive; None through the Agent's socket, which adds its own.
        namespace: Vault namespace, None for none.
        session: a session of `vault_asc.http`.
        advice: names the shipped policy for the hint of a denied call.
    """

    def __init__(
        self,
        address: str,
        token: Secret | LiveToken | None,
        *,
        session: requests.Session,
        namespace: str | None = None,
        advice: Advice | None = None,
    ) -> None:
        self.address = address
        self._session = session
        self._namespace = namespace
        self.advice = advice or (lambda _path, _capability: None)
        live = token if token is not None and not isinstance(token, Secret) else None
        self._translated = Translated(address, self.advice, *([live.hint] if live else []))
        # An empty token, never None: for None hvac would look into the environment and ~/.vault-token.
        self._client: Any = hvac.Client(
            url=http.base_url(address),
            adapter=LiveTokenAdapter.of(live) if live else JSONAdapter,
            token=token.reveal() if isinstance(token, Secret) else "",
            namespace=namespace,
            session=session,
            verify=True,
            allow_redirects=False,
        )

    def as_token(self, token: Secret | LiveToken) -> "Vault":
        """The same server, as another token."""
        return Vault(self.address, token, session=self._session, namespace=self._namespace, advice=self.advice)

    def ask(
        self,
        method: str,
        where: str,
        capability: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, Any] | None = None,
        writing: bool = False,
        repeatable: bool = False,
    ) -> dict[str, Any]:
        """One call of the API; the `data` of its answer, `{}` when that has none. `NotFoundError` for a 404.

        Args:
            method: such as `GET`, `LIST`, `POST`.
            where: path below `/v1/`, as a policy names it.
            capability: what a token needs on it, for the message of a denied call.
            body: sent as JSON.
            query: what a read asks for, no secret; a list is sent as the parameter repeated.
            writing: whether it changes something, so that a lost answer is `LostAnswerError`.
            repeatable: whether it changes nothing although it is a POST, so that it may be sent again like a GET.
        """
        with self._translated(where, capability, writing=writing), http.repeatable(*[method] * repeatable):
            options = {} if body is None else {"json": dict(body)}
            answer = self._client.adapter.request(method, f"/v1/{where}", params=query, **options)
            if not isinstance(answer, dict) and answer.status_code == _NO_CONTENT:
                return {}
            return self._json(answer, where)

    def granted(self, where: str, body: Mapping[str, Any]) -> Granted:
        """A call that is answered with a token: a login, or a renewal. It is never sent twice on its own."""
        with self._translated(where, "update"), http.repeatable():
            auth = self._client.adapter.post(f"/v1/{where}", json=dict(body))["auth"]
            return Granted(Secret(str(auth["client_token"])), int(auth["lease_duration"]), bool(auth["renewable"]))

    # -- KV v2 ---------------------------------------------------------------------------------------------------

    def kv_read(self, mount: str, path: str, version: int | None = None) -> KvSecret:
        """One version of a secret, the current one by default.

        Raises `MissingVersionError` for a version that is deleted, destroyed, pruned or was never written.
        """
        where = f"{mount}/data/{path}"
        params = {} if version is None else {"version": version}
        with self._translated(where, "read"):
            try:
                answer = self._json(self._client.adapter.get(f"/v1/{where}", params=params), where)
            except hvac_errors.InvalidPath as exc:
                raise self._missing(mount, path, version, exc) from exc
            data, meta = answer.get("data"), answer.get("metadata")
            if not isinstance(data, dict) or not isinstance(meta, dict):
                raise VaultError(f'the answer for "{where}" is no KV version 2 secret', hint=self._v2_hint(mount))
            return KvSecret(data, int(meta["version"]), str(meta["created_time"]), str(meta.get("deletion_time") or ""))

    def kv_write(self, mount: str, path: str, data: Mapping[str, Any], *, cas: int) -> int:
        """Write the next version, provided that `cas` is the current one (0: never written). Returns its number.

        Raises `CheckAndSetError` when somebody else wrote first, `LostAnswerError` when no answer came back.
        """
        where = f"{mount}/data/{path}"
        with self._translated(where, "update" if cas else "create", writing=True):
            answer = self._client.adapter.post(f"/v1/{where}", json={"options": {"cas": cas}, "data": dict(data)})
            return int(self._json(answer, where)["version"])

    def kv_metadata(self, mount: str, path: str) -> KvMetadata:
        """The versions of a secret; `NO_METADATA` when it was never written."""
        where = f"{mount}/metadata/{path}"
        with self._translated(where, "read"):
            try:
                data = self._json(self._client.adapter.get(f"/v1/{where}"), where)
            except hvac_errors.InvalidPath:
                return NO_METADATA
            return KvMetadata(
                int(data["current_version"]),
                int(data.get("max_versions") or 0),
                str(data.get("delete_version_after") or "0s"),
                {
                    int(number): KvVersion(
                        str(v["created_time"]), str(v.get("deletion_time") or ""), bool(v.get("destroyed"))
                    )
                    for number, v in (data.get("versions") or {}).items()
                },
            )

    def kv_list(self, mount: str, path: str) -> list[str]:
        """Names directly under a path, without sub-folders; empty when there are none."""
        where = f"{mount}/metadata/{path}"
        with self._translated(f"{where}/", "list"):
            try:
                data = self._json(self._client.adapter.list(f"/v1/{where}"), where)
            except hvac_errors.InvalidPath:
                return []
            return sorted(name for name in data.get("keys", []) if not name.endswith("/"))

    def kv_delete_all(self, mount: str, path: str) -> None:
        """Remove every version of a secret and its metadata, for good."""
        where = f"{mount}/metadata/{path}"
        with self._translated(where, "delete", writing=True):
            self._client.adapter.delete(f"/v1/{where}")

    def kv_config(self, mount: str) -> tuple[int, str]:
        """The mount's `max_versions` (0: not set) and `delete_version_after` ("0s": not set, negative: switched off)."""
        where = f"{mount}/config"
        with self._translated(where, "read"):
            data = self._json(self._client.adapter.get(f"/v1/{where}"), where)
            return int(data.get("max_versions") or 0), str(data.get("delete_version_after") or "0s")

    def require_kv2(self, mount: str) -> None:
        """Refuse a mount that is missing or no KV v2: KV v1 would take a write to `data/...` without check-and-set."""
        found = self._mount(mount, _ENABLE_KV)
        if found.path != mount:
            raise NotFoundError(
                f'"{mount}" is no mount but a path below the mount "{found.path}"; nothing was written',
                hint=f"name the mount (store.mount = {found.path}) and put the rest into the prefix (store.prefix)",
            )
        if found.kind != "kv" or found.kv_version != "2":
            what = (
                f"KV version {found.kv_version}" if found.kind == "kv" else f'a secrets engine of type "{found.kind}"'
            )
            # Only KV can be upgraded in place.
            hint = self._v2_hint(mount) if found.kind == "kv" else "name a KV version 2 mount in store.mount"
            raise VaultError(f'mount "{mount}" is {what}, nothing was written', hint=hint)

    def require_transit(self, mount: str) -> None:
        """Refuse a mount that is missing or no Transit secrets engine."""
        self._require(mount, _TRANSIT)

    def require_engine(self, mount: str) -> None:
        """Refuse a mount that is missing or not of our engine."""
        self._require(mount, _ENGINE)

    def _require(self, mount: str, wanted: "_Engine") -> None:
        found = self._mount(mount, f"mount {wanted.name} (vault secrets enable -path={mount} {wanted.kinds[0]})")
        if found.kind not in wanted.kinds:
            raise VaultError(
                f'"{mount}" is on a secrets engine of type "{found.kind}", not {wanted.name}; nothing was written',
                hint=f"name a mount of {wanted.name} in {wanted.setting}, or mount one where nothing is:"
                f" vault secrets enable -path={wanted.usual} {wanted.kinds[0]}",
            )
        if found.path != mount:
            raise NotFoundError(
                f'"{mount}" is no mount but a path below the mount "{found.path}" of {wanted.name}; nothing was written',
                hint=f'set {wanted.setting} = "{found.path}"',
            )

    def read_any_kv(self, where: str) -> Mapping[str, Any]:
        """The data of a secret at `MOUNT/PATH`, KV of either version, for importing what already lies in Vault."""
        mount = self._mount(where, _ENABLE_KV)
        path = where.removeprefix(mount.path).lstrip("/")
        if mount.kind != "kv" or not path:
            what = "only a mount" if mount.kind == "kv" else f'in a secrets engine of type "{mount.kind}", not KV'
            raise VaultError(f'"{where}" is {what}', hint="name a secret on a KV mount as MOUNT/PATH")
        if mount.kv_version == "2":
            return self.kv_read(mount.path, path).data
        with self._translated(where, "read"):
            return self._json(self._client.adapter.get(f"/v1/{where}"), where)

    # -- system --------------------------------------------------------------------------------------------------

    def whoami(self) -> str:
        """A name for the record's `imported_by`: display name and entity of the token, as Vault gives them."""
        try:
            with self._translated("auth/token/lookup-self", "read"):
                data = self._json(self._client.adapter.get("/v1/auth/token/lookup-self"), "auth/token/lookup-self")
        except InvalidTokenError:
            raise
        except PermissionDeniedError:
            return "unknown (the token may not look itself up)"
        name = safe_text(str(data.get("display_name") or "token"), 80)
        entity = str(data.get("entity_id") or "")
        return f"{name} (entity {entity})" if entity else name

    def read_policy(self, name: str) -> str | None:
        """The text of an ACL policy; None when there is none of that name."""
        where = f"sys/policies/acl/{name}"
        with self._translated(where, "read"):
            try:
                return str(self._json(self._client.adapter.get(f"/v1/{where}"), where)["policy"])
            except hvac_errors.InvalidPath:
                return None

    def policies(self) -> list[str]:
        """Names of all ACL policies but root's, which has no text."""
        where = "sys/policies/acl"
        data = self.ask("LIST", where, "list")
        with self.reading(where):
            return sorted(name for name in data["keys"] if name != "root")

    def write_policy(self, name: str, text: str) -> None:
        """Create or replace an ACL policy."""
        where = f"sys/policies/acl/{name}"
        with self._translated(where, "update", writing=True):
            self._client.adapter.put(f"/v1/{where}", json={"policy": text})

    # -- errors --------------------------------------------------------------------------------------------------

    def reading(self, where: str) -> AbstractContextManager[None]:
        """For taking an answer apart: what has another shape than Vault's is told as that."""
        return self._translated(where, "read")

    def _mount(self, path: str, enable: str) -> _Mount:
        """The mount that a path is on, by the call that every token with a grant below it may make.

        `enable` is for the hint: how to mount what is missing.
        """
        where = f"sys/internal/ui/mounts/{path}"
        try:
            with self._translated(where, "read"):
                data = self._json(self._client.adapter.get(f"/v1/{where}"), where)
                found = _Mount(
                    data["path"].strip("/"), data["type"], str((data.get("options") or {}).get("version", 1))
                )
        except InvalidTokenError:
            raise
        except (PermissionDeniedError, NotFoundError) as exc:
            # Vault answers 403 for a missing mount too, so that mounts cannot be guessed.
            raise NotFoundError(
                f'there is no mount at "{path}", or the token has no grant below it; nothing was written',
                hint=f"see what is mounted (vault secrets list), {enable}, or"
                f" {self.advice(where, 'read') or _ANY_POLICY}",
            ) from exc
        return found

    @staticmethod
    def _v2_hint(mount: str) -> str:
        return f"use a KV version 2 mount: vault kv enable-versioning {mount}, or name another in store.mount"

    def _missing(self, mount: str, path: str, version: int | None, exc: Any) -> NotFoundError:
        name = f'"{mount}/{path}"' + (f" version {version}" if version is not None else "")
        body = exc.json if isinstance(exc.json, dict) else {}
        data = body.get("data")
        meta: Mapping[str, Any] = (data.get("metadata") or {}) if isinstance(data, dict) else {}
        if meta.get("destroyed"):
            return MissingVersionError(f"{name} was destroyed", state="destroyed")
        if meta.get("deletion_time"):
            when = str(meta["deletion_time"])
            hint = f"bring it back with: vault kv undelete -mount={mount} -versions={meta.get('version')} {path}"
            return MissingVersionError(f"{name} was deleted at {when}", hint=hint, state="deleted", deleted_at=when)
        return MissingVersionError(f"{name} does not exist", state="missing")

    @staticmethod
    def _json(answer: Any, where: str) -> dict[str, Any]:
        """The `data` of an answer; hvac hands the bare response over when the body was no JSON."""
        if isinstance(answer, dict) and isinstance(answer.get("data"), dict):
            return dict(answer["data"])
        raise foreign_answer(where)
