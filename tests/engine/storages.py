"""Storages for tests of the backend: a dictionary that can fail at a chosen write, and one that takes its time."""

import asyncio
from dataclasses import dataclass, field
from enum import Enum

from vault_asc.engine.storage import StorageError


class Fate(Enum):
    """What becomes of a write that fails."""

    LOST = "the storage never hears of it"
    UNHEARD = "it is done, the answer is lost"


@dataclass
class DictStorage:
    """Keeps everything in memory, and a journal of what was asked.

    Attributes:
        fail_at: number of the write that fails, counted from 1; 0 for none.
        fate: what becomes of that one.
    """

    values: dict[str, bytes] = field(default_factory=dict)
    sealed: set[str] = field(default_factory=set)
    reads: int = 0
    writes: int = 0
    fail_at: int = 0
    fate: Fate = Fate.LOST

    async def get(self, key: str) -> bytes | None:
        self.reads += 1
        return self.values.get(key)

    async def put(self, key: str, value: bytes, *, seal_wrap: bool = False) -> None:
        if self._arrives():
            self.values[key] = value
            (self.sealed.add if seal_wrap else self.sealed.discard)(key)
        self._answer()

    async def delete(self, key: str) -> None:
        if self._arrives():
            self.values.pop(key, None)
        self._answer()

    async def list(self, prefix: str) -> list[str]:
        self.reads += 1
        below = [key.removeprefix(prefix) for key in self.values if key.startswith(prefix)]
        return sorted({name[: name.index("/") + 1] if "/" in name else name for name in below})

    def _arrives(self) -> bool:
        self.writes += 1
        return self.writes != self.fail_at or self.fate is Fate.UNHEARD

    def _answer(self) -> None:
        if self.writes == self.fail_at:
            raise StorageError("the storage is gone")


class SlowStorage(DictStorage):
    """Lets others run before and after each call, so that whatever can interleave does."""

    async def get(self, key: str) -> bytes | None:
        await asyncio.sleep(0)
        value = await super().get(key)
        await asyncio.sleep(0)
        return value

    async def put(self, key: str, value: bytes, *, seal_wrap: bool = False) -> None:
        await asyncio.sleep(0)
        await super().put(key, value, seal_wrap=seal_wrap)
        await asyncio.sleep(0)

    async def delete(self, key: str) -> None:
        await asyncio.sleep(0)
        await super().delete(key)
        await asyncio.sleep(0)

    async def list(self, prefix: str) -> list[str]:
        await asyncio.sleep(0)
        return await super().list(prefix)
