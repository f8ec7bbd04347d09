"""The record names another version or state, and the engine follows it, for those who read tokens without a record.

The engine gives older versions than its current one to whoever asks for them, so it goes ahead first and back last.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from vault_asc.errors import ConflictError, PermissionDeniedError, VaultAscError, VaultError
from vault_asc.names import Custody
from vault_asc.placement import Placement
from vault_asc.record import Record, State, StoredRecord
from vault_asc.store import Store


@dataclass(frozen=True)
class Change:
    """What a command did.

    Attributes:
        stored: the record now.
        changed: whether anything had to be written.
        before: the record that it replaced.
        reopened: whether versions that were retired can sign again.
    """

    stored: StoredRecord
    changed: bool
    before: StoredRecord | None = None
    reopened: bool = False


@dataclass(frozen=True)
class Pointing:
    """The records of one store."""

    store: Store

    @property
    def placement(self) -> Placement:
        """Where versions of keys are put."""
        return Placement(self.store)

    def point(self, stored: StoredRecord, record: Record) -> Change:
        """Let the record name another version, and the engine follow it, for those who read tokens without a record.

        Both at any moment name versions that sign: the engine gives older versions than its current one to whoever
        asks for them, so it goes ahead first and back last.
        """
        if record.custody is Custody.ENGINE and record.version > stored.record.version:
            self.placement.engine.go_ahead(stored, record.version)
        in_engine = record.custody is Custody.ENGINE and record.role is not None
        lost = in_engine and self.placement.of_record(stored, stored.record) is None
        if lost:
            with suppress(PermissionDeniedError):  # the key was lost, and its role with it; whoever mints is told
                self.placement.engine.give_role(stored.name, str(record.role))
        change: Change | None = None
        try:
            with self.engine_following(stored.name, record):
                change = self.replace(stored, record)
        except VaultError as error:
            if change is None or self.placement.of_record(change.stored, record) is not None:
                raise
            raise self._taken_back(change) from error
        if lost and record.state is State.ENABLED:  # made anew, and so that it signs for nobody before its record
            self.placement.engine.enable(stored.name)
        return change

    def _taken_back(self, change: Change) -> ConflictError:
        """For a version that somebody else dropped from the engine between the look at it and the record."""
        name, before = change.stored.name, change.before
        with suppress(VaultAscError):  # whoever has written the record since then has looked
            if before is not None:
                self.replace(change.stored, before.record)
                self.placement.engine.let_follow(name)
        return ConflictError(
            f'{change.stored.record.version_name} of "{name}" was dropped by somebody else at that moment, so the change'
            " was taken back",
            hint=f"look first, then repeat: vault-asc key show {name}",
        )

    @contextmanager
    def engine_following(self, name: str, record: Record) -> Iterator[None]:
        """Write this record; then the engine is to say what the record says, and be it that of somebody faster."""
        try:
            yield
        except VaultAscError:
            if record.role is not None:
                with suppress(VaultAscError):  # why the record was not written matters more
                    self.placement.engine.let_follow(name)
            raise
        if record.role is not None:
            self.placement.engine.let_follow(name)

    def unchanged(self, stored: StoredRecord) -> Change:
        """For a record that is right already; an interruption may have kept the engine from following it."""
        behind = stored.record.role is not None and self.placement.engine.let_follow(stored.name)
        return Change(stored, changed=behind)

    def replace(self, stored: StoredRecord, record: Record) -> Change:
        """Make `record` the current one of the key, in the name of whoever asks."""
        signed = record._replace(changed_by=self.store.vault.whoami())
        self.store.write_record(stored.name, signed, cas=stored.version)
        return Change(self.store.read(stored.name), changed=True, before=stored)
