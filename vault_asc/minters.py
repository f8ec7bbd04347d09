"""Who may mint a key, custody by custody, by the policies in Vault: what a move must not take away, and must not leave.

What a text of others grants is judged by `acl`.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from vault_asc import acl
from vault_asc.errors import PermissionDeniedError, TokenRequestError
from vault_asc.names import Custody
from vault_asc.record import StoredRecord
from vault_asc.store import Store
from vault_asc.vault import InvalidTokenError

_SIZES: Final = ("224", "256", "384", "512")
_HASHES: Final = ("sha1", *(f"sha{kind}-{size}" for kind in "23" for size in _SIZES), "none")


@dataclass(frozen=True)
class Grant:
    """What a minter needs in one custody, besides the record."""

    path: str
    capability: str


@dataclass(frozen=True)
class Minters:
    """Those of the keys of one store."""

    store: Store

    def require_ready(self, stored: StoredRecord, custody: Custody, role: str | None) -> None:
        """Refuse a move after which a consumer could not mint: who may mint today has to be allowed to then."""
        old, new = self._grant(stored, stored.record.custody), self._grant(stored, custody, role)
        texts = self._texts()
        ready = {name for name, text in texts.items() if acl.surely_grants(text, new.path, new.capability)}
        losing = [n for n, text in texts.items() if acl.grants(text, old.path, old.capability) and n not in ready]
        if ready and not losing:
            return
        who = f"policies grant the one and not the other: {', '.join(losing)}" if losing else "no policy grants it"
        raise TokenRequestError(
            f'minters of "{stored.name}" in custody {custody} need "{new.capability}" on "{new.path}", and {who};'
            " nothing was changed",
            hint=f"vault-asc policy write minter --key {stored.name}{role_option(stored, role, stored.record.custody, custody)}"
            f" --custody {stored.record.custody} --custody {custody} (agent and others likewise, under their own names with --as); --granted moves without looking",
        )

    def require_some(self, stored: StoredRecord, trusted: Collection[str]) -> None:
        """Refuse to call a move finished as long as no policy, but for those trusted, grants the new place."""
        custody = stored.record.custody
        new = self._grant(stored, custody)
        texts = {name: text for name, text in self._texts().items() if name not in trusted}
        if any(acl.surely_grants(text, new.path, new.capability) for text in texts.values()):
            return
        raise TokenRequestError(
            f'the move of "{stored.name}" to custody {custody} is not finished: no policy grants "{new.capability}" on'
            f' "{new.path}", which minters need now; nothing was changed',
            hint=f"vault-asc policy write minter --key {stored.name}{role_option(stored, None, custody)} --custody {custody}"
            " --force (agent likewise); --granted finishes without looking for it",
        )

    def _grant(self, stored: StoredRecord, custody: Custody, role: str | None = None) -> Grant:
        layout = self.store.layout
        if custody is Custody.KV:
            return Grant(f"{layout.mount}/data/{layout.private(stored.name)}", "read")
        if custody is Custody.ENGINE:
            return Grant(f"{layout.engine_mount}/token/{stored.record.role or role or stored.name}", "read")
        where = stored.record.transit_key or layout.transit(stored.name)
        return Grant(f"{layout.transit_mount}/sign/{where}", "update")

    def _texts(self) -> dict[str, str]:
        """The policies in Vault, by name."""
        vault = self.store.vault
        try:
            return {name: vault.read_policy(name) or "" for name in vault.policies()}
        except InvalidTokenError:
            raise
        except PermissionDeniedError as exc:
            raise PermissionDeniedError(
                f"{exc.message}, so who may mint cannot be seen; nothing was changed",
                hint=exc.hint,
            ) from exc

    def require_none_left(self, stored: StoredRecord, old: Custody, trusted: Collection[str]) -> None:
        """Refuse to call a move finished while a policy, but for those trusted, still grants the old place."""
        texts = {name: text for name, text in self._texts().items() if name not in trusted}
        for grant in self._grants(stored, old):
            ways = _ways(grant, old)
            still = [
                policy
                for policy, text in texts.items()
                if any(acl.grants(text, way.path, way.capability) for way in ways)
            ]
            if not still:
                continue
            custody = stored.record.custody
            raise TokenRequestError(
                f'the move of "{stored.name}" to custody {custody} is not finished: "{grant.capability}" on'
                f' "{grant.path}" is still granted by {", ".join(still)}',
                hint="take it out of each, for that of the key's minter:"
                f" vault-asc policy write minter --key {stored.name}{role_option(stored, None, custody)} --custody {custody} --force;"
                " or name those that may keep it with --trust POLICY",
            )

    def _grants(self, stored: StoredRecord, old: Custody) -> list[Grant]:
        """All that lead to tokens in a custody: in the engine any role of the key does."""
        own = self._grant(stored, old)
        if old is not Custody.ENGINE:
            return [own]
        roles = self.store.engine.roles_of(stored.name)
        others = (Grant(f"{self.store.layout.engine_mount}/token/{role}", own.capability) for role in roles)
        return [own, *(grant for grant in others if grant != own)]


def role_option(stored: StoredRecord, role: str | None, *custodies: Custody) -> str:
    """What `policy write` needs beside the key, for a policy of these custodies: its role, when it has another name.

    `role` is the one to be, of a key that has none yet.
    """
    wanted = stored.record.role or role or stored.name
    return "" if wanted == stored.name or Custody.ENGINE not in custodies else f" --role {wanted}"


def _ways(grant: Grant, custody: Custody) -> list[Grant]:
    """All grants that let somebody mint: Transit takes a hash as one more segment, and the engine a write, too."""
    if custody is Custody.ENGINE:
        return [grant, *(Grant(grant.path, capability) for capability in ("create", "update"))]
    more = _HASHES if custody is Custody.TRANSIT else ()
    return [grant, *(Grant(f"{grant.path}/{name}", grant.capability) for name in more)]
