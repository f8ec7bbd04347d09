"""Versions of keys in the asc engine, which has a current version of its own: for those who read tokens without a record."""

from dataclasses import dataclass

from vault_asc.errors import (
    ConflictError,
    TokenRequestError,
    VaultError,
    VaultUnavailableError,
)
from vault_asc.key.identity import Identity
from vault_asc.key.private_key import PrivateKey
from vault_asc.names import Custody
from vault_asc.placement.ownership import has_named, is_foreign, is_own, owner_of
from vault_asc.placement.place import Place, beside, public_half
from vault_asc.record import Record, State, StoredRecord
from vault_asc.secret import safe_text
from vault_asc.store import Store
from vault_asc.vault import Engine, EngineKey, LostAnswerError
from vault_asc.vault.capabilities import require_capabilities


@dataclass(frozen=True)
class InEngine:
    """The engine's mount of one store."""

    store: Store

    @property
    def engine(self) -> Engine:
        """The mount."""
        return self.store.engine

    def check(self, name: str, stored: StoredRecord | None, key: PrivateKey | None, role: str | None) -> None:
        """Refuse a name or a role that is another key's. `role` is for a key that is new there; else the key's name."""
        there = self.engine.find(name)
        self._refuse_foreign(name, there)
        if stored is not None and stored.record.role is not None:
            refuse_out_of_step(stored, there)
            return
        if key is not None:
            self._refuse_others(name, there, key, stored)
        if self._free_or_own(role or name, name) is None and key is not None:
            wanted = f"{self.engine.mount}/roles/{role or name}"
            require_capabilities(self.store.vault, [(wanted, "create")], "nothing was written")

    def put(self, name: str, key: PrivateKey, identity: Identity, stored: StoredRecord | None) -> Place:
        """Write a version that no record points to yet, unless it is there, and compare what the engine then says.

        The first version of a key is current in the engine at once, but disabled: it signs for nobody before a record
        points to it.
        """
        there = before = self.engine.find(name)
        self._refuse_foreign(name, there)
        if stored is None or stored.record.role is None:
            self._refuse_others(name, there, key, stored)
        above = _counting_from(there, stored)
        if _found(there, key.spki_sha256, identity, above) is None:
            self._write(name, key, identity, above, first=there is None)
            there = self.engine.find(name)
        found = _found(there, key.spki_sha256, identity, above)
        if found is None and _newest(there) > _newest(before):
            raise overtaken(name)
        if found is None:
            raise VaultError(
                f'the engine does not report the public key of what was written as "{name}", so nothing points to it',
                hint=f"look at it (vault read {self.engine.mount}/keys/{name}), and report it: something changes keys",
            )
        return found._replace(role=stored.record.role if stored else None)

    def give_role(self, name: str, role: str) -> None:
        """Make the role by which tokens of a key are read, with the mount's defaults, unless it is there."""
        if self._free_or_own(role, name) is None:
            self.engine.create_role(role, name)

    def version(self, stored: StoredRecord, number: int | None, spki_sha256: str, identity: Identity) -> Place | None:
        """Where a version lies, None when it is not there (any more) with this fingerprint and these IDs."""
        there = self._not_foreign(stored.name)
        for version in there.versions if there else ():
            if (version.number, version.identity) != (number, identity):
                continue
            if public := public_half(version.public_key, spki_sha256):
                return _without_others(stored.record, spki_sha256)._replace(
                    engine_version=number, public_key=public.text
                )
        return None

    def follow(self, name: str, version: int | None, state: State, *, start: bool = False) -> bool:
        """Make a version the engine's current one, for all who name none, and stop the key when it is disabled.

        Without a version the current one stays. With `start` a key that was made so that it signs for nobody is enabled; one
        that somebody has disabled never is by the way: it may have been in a hurry. Whether that changed anything.
        """
        there = self._not_foreign(name)
        if there is None:
            return False
        moved = version not in {None, there.current.number}
        if version is not None and version > there.current.number:
            self.engine.promote(name, version)
        elif version is not None and moved:
            self.engine.roll_back(name, version)
        wanted = state is State.ENABLED
        switched = there.enabled is not wanted and (there.enabled or (start and not there.settled))
        if switched:
            self.engine.set_enabled(name, enabled=wanted)
        return moved or switched

    def is_ahead(self, stored: StoredRecord) -> bool:
        """Whether the engine's current version is newer than the record's, as after an interruption."""
        if stored.record.custody is not Custody.ENGINE:
            return False
        there = self._not_foreign(stored.name)
        return there is not None and there.current.number > stored.record.version

    def enable(self, name: str) -> bool:
        """Let a key sign. Whether that changed anything."""
        there = self._not_foreign(name)
        if there is None or there.enabled:
            return False
        self.engine.set_enabled(name, enabled=True)
        return True

    def go_ahead(self, stored: StoredRecord, version: int) -> None:
        """Make a newer version current before the record names it, so that it can sign then.

        Refused when that would drop the version that the record names until then.
        """
        there = self._not_foreign(stored.name)
        if there is None or there.current.number == version:
            return
        refuse_out_of_step(stored, there)
        self.engine.promote(stored.name, version)

    def let_follow(self, name: str) -> bool:
        """Let the engine say what the record says, for those who read tokens without one. Whether that changed anything.

        Again, when the record has changed meanwhile: of two commands at once the one that wrote it last is followed.
        """
        changed, followed = False, None
        while (stored := self.store.read(name)) != followed and stored.record.role is not None:
            record = stored.record
            try:
                version = record.version if record.custody is Custody.ENGINE else None
                changed = self.follow(name, version, record.state, start=True) or changed
            except VaultError:
                if self.store.read(name) == stored:
                    raise
            followed = stored
        return changed

    def retire(self, name: str, current: int) -> bool:
        """Forget older versions than the current one. False when there are none."""
        there = self._not_foreign(name)
        if there is None or (there.previous is None and there.current.number == current):
            return False
        self.engine.retire(name, current)
        return True

    def holds(self, stored: StoredRecord) -> bool:
        """Whether the record points here, and not to what is another store's key by now."""
        if stored.record.role is None:
            return False
        there = self.engine.find(stored.name)
        return there is None or not is_foreign(self.store, there)

    def stop_copy(self, stored: StoredRecord) -> bool:
        """Let a copy of ours that the record does not point to sign no more. Whether there was one that did.

        An engine that this token cannot see, or that is not there, is passed over.
        """
        try:
            there = self.engine.find(stored.name)
        except VaultUnavailableError:
            raise
        except VaultError:
            return False
        if there is None or not there.enabled or not is_own(self.store, stored, there):
            return False
        self.engine.set_enabled(stored.name, enabled=False)
        return True

    def require_no_other_role(self, name: str, role: str) -> None:
        """Refuse before anything is removed what the engine would refuse after its role was."""
        others = [other for other in self.engine.roles_of(name) if other != role]
        if others:
            raise TokenRequestError(
                f'key "{name}" in the engine is used by other roles ({", ".join(others)}); nothing was changed',
                hint=f"remove them first: vault delete {self.engine.mount}/roles/{others[0]}",
            )

    def _write(self, name: str, key: PrivateKey, identity: Identity, above: int, *, first: bool) -> None:
        try:
            if first:
                self.engine.create(name, key, identity, owner=owner_of(self.store), enabled=False)
            else:
                self.engine.stage(name, key, identity)
        except LostAnswerError:
            # Writing again would be refused or change nothing, so what became of the first try is looked up.
            if _found(self.engine.find(name), key.spki_sha256, identity, above) is None:
                raise
        except VaultError as exc:
            if not first or self.engine.find(name) is None:
                raise
            raise overtaken(name) from exc

    def _free_or_own(self, role: str, name: str) -> str | None:
        """Whose the role is: the key's or, None, nobody's yet. Refused when it is another key's."""
        user = self.engine.key_of_role(role)
        if user not in {None, name}:
            raise ConflictError(
                f'role "{role}" of engine "{self.engine.mount}" gives tokens of key "{user}"; nothing was written',
                hint="name another role with --role",
            )
        return user

    def _refuse_others(self, name: str, there: EngineKey | None, key: PrivateKey, stored: StoredRecord | None) -> None:
        """Refuse to take a key over that is another one: whoever reads its tokens would get ours.

        One that only has keys of this record's history is what an interrupted move has left.
        """
        others = {version.spki_sha256 for version in there.versions} - {key.spki_sha256} if there else set()
        if not others or has_named(self.store, stored, others):
            return
        raise ConflictError(
            f'"{name}" is in engine "{self.engine.mount}" already with another key, and this record does not point to it;'
            " nothing was written",
            hint="somebody is importing it now, or has made it by hand, or a command was interrupted:"
            f" vault-asc key destroy {name} --leftover shows it, and removes it when it is disabled there",
        )

    def _refuse_foreign(self, name: str, there: EngineKey | None) -> None:
        """Refuse a key that another store has made: it is theirs, whatever our record says."""
        if there is not None and is_foreign(self.store, there):
            raise ConflictError(
                f'"{name}" in engine "{self.engine.mount}" is a key of the store "{safe_text(there.owner)}"; nothing was written',
                hint="give each store a mount of the engine of its own (store.engine_mount), or choose another name",
            )

    def _not_foreign(self, name: str) -> EngineKey | None:
        """What lies there under a name; another store's key is none of ours."""
        there = self.engine.find(name)
        return None if there is not None and is_foreign(self.store, there) else there


def refuse_out_of_step(stored: StoredRecord, there: EngineKey | None) -> None:
    """Refuse to go on while the engine's current version is not the record's, which the next one would push out."""
    number = stored.record.engine_version
    if there is not None and there.previous is not None and number == there.previous.number:
        raise ConflictError(
            f'a command on "{stored.name}" was interrupted, or is not over: engine version {there.current.number} is'
            f" current in the engine, {number} by the record; nothing was changed",
            hint=f"repeat that command, or take it back: vault-asc key rollback {stored.name} --to {number}",
        )


def _newest(there: EngineKey | None) -> int:
    return max(version.number for version in there.versions) if there else 0


def overtaken(name: str) -> ConflictError:
    """For who has written a version that somebody else's has pushed out, or was refused for its sake."""
    return ConflictError(
        f'somebody else has written a version of "{name}" to the engine at the same time; the current key is untouched',
        hint=f"look first, then repeat: vault-asc key show {name}",
    )


def _counting_from(there: EngineKey | None, stored: StoredRecord | None) -> int:
    """The version above which one is new: that of the record, unless the key was deleted and made anew since."""
    number = stored.record.engine_version if stored else None
    kept = there is not None and any(version.number == number for version in there.versions)
    return number if number and kept else 0


def _without_others(record: Record, spki_sha256: str) -> Place:
    """What a record keeps beside a version: no private part in KV, unless it is of the same key."""
    kept = beside(record)
    return kept if record.spki_sha256 == spki_sha256 else kept._replace(private_version=None)


def _found(there: EngineKey | None, spki_sha256: str, identity: Identity, above: int) -> Place | None:
    """The newest version above some number with this fingerprint and these IDs."""
    for version in there.versions if there else ():
        public = public_half(version.public_key, spki_sha256)
        if public is not None and version.identity == identity and version.number > above:
            return Place(engine_version=version.number, public_key=public.text)
    return None
