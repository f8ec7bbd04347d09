"""Requests that run at the same time, over a storage that lets others run before and after each of its calls."""

import asyncio
import random
from typing import Any

import pytest

from tests import keys
from tests.engine.mounted import Mounted, facts, p8, team_key, verified, with_role
from tests.engine.storages import DictStorage, SlowStorage
from tests.support import key_id
from vault_asc.engine.request import MissingError, Operation, RequestError, Response
from vault_asc.key.private_key import parse_private_key


def slow(**role: Any) -> Mounted:
    """A fresh mount on what `with_role` has written."""
    return Mounted(SlowStorage(with_role(**role).storage.values))


async def update(mounted: Mounted, path: str, **data: Any) -> Response | None:
    return await mounted.do(Operation.UPDATE, path, data)


def test_no_version_is_lost_by_two_updates_at_once() -> None:
    async def race() -> None:
        mounted = slow()
        answers = await asyncio.gather(
            *(update(mounted, "keys/prod", private_key=p8(), key_id=key_id(n)) for n in range(2, 12))
        )
        versions = sorted(facts(answer)["version"] for answer in answers)
        assert versions == list(range(2, 12))
        read = facts(await mounted.do(Operation.READ, "keys/prod"))
        assert (read["version"], read["previous"]["version"]) == (11, 10)

    asyncio.run(race())


def test_the_same_key_twice_at_once_is_one_version() -> None:
    async def race() -> None:
        mounted = slow()
        new = {"private_key": p8(), "key_id": keys.OTHER_KEY_ID}
        answers = [facts(a) for a in await asyncio.gather(*(update(mounted, "keys/prod", **new) for _ in range(5)))]
        assert sorted(answer["changed"] for answer in answers) == [False] * 4 + [True]
        assert {answer["version"] for answer in answers} == {2}

    asyncio.run(race())


def test_fields_of_a_role_and_of_the_configuration_that_are_written_at_once_are_all_kept() -> None:
    async def race() -> None:
        mounted = slow()
        await asyncio.gather(
            update(mounted, "roles/sales", lifetime=600),
            update(mounted, "roles/sales", lease=False),
            update(mounted, "roles/sales", scope="GET /v1/builds"),
            update(mounted, "config", backdate=30),
            update(mounted, "config", lease_share=0.25),
        )
        role = facts(await mounted.do(Operation.READ, "roles/sales"))
        assert (role["lifetime"], role["lease"], role["scope"]) == (600, False, ["GET /v1/builds"])
        config = facts(await mounted.do(Operation.READ, "config"))
        assert (config["backdate"], config["lease_share"]) == (30, 0.25)

    asyncio.run(race())


def test_a_role_never_stands_on_a_key_that_is_deleted_at_the_same_time() -> None:
    async def race(head_start: int) -> bool:
        mounted = slow()
        await mounted.do(Operation.DELETE, "roles/sales")
        writing = asyncio.create_task(update(mounted, "roles/new", key="prod"))
        for _ in range(head_start):
            await asyncio.sleep(0)
        deleting = asyncio.create_task(mounted.do(Operation.DELETE, "keys/prod"))
        results = await asyncio.gather(writing, deleting, return_exceptions=True)
        refused = [isinstance(result, RequestError) for result in results]
        assert sum(refused) == 1, results
        assert ("role/new" in mounted.storage.values) is ("key/prod" in mounted.storage.values) is refused[1]
        return refused[0]

    outcomes = [asyncio.run(race(head_start)) for head_start in range(16)]
    assert set(outcomes) == {True, False}, "one of the two was always first"


def test_readers_during_changes_get_a_valid_token_of_a_key_that_was_current() -> None:
    """And once everything is quiet, what is remembered is what is stored."""

    async def read(mounted: Mounted, public: dict[str, str], going: list[None], found: list[str]) -> None:
        while going:
            before = mounted_key[0]
            answer = facts(await mounted.do(Operation.READ, "token/sales"))
            verified(answer, public[answer["key_id"]])
            # A read that starts after a change was answered never sees the state before it.
            assert answer["key_id"] in history[history.index(before) :]
            found.append(answer["key_id"])
            await asyncio.sleep(0)

    mounted_key = [keys.KEY_ID]
    history = [keys.KEY_ID]

    async def race() -> None:
        mounted = slow()
        current = facts(await mounted.do(Operation.READ, "keys/prod"))
        public = {keys.KEY_ID: current["public_key"]}
        going, found = [None], list[str]()
        readers = [asyncio.create_task(read(mounted, public, going, found)) for _ in range(4)]
        pick = random.Random(1)
        for number in range(2, 30):
            pem = p8()
            public[key_id(number)] = parse_private_key(pem.encode()).public_key_pem()
            history.append(key_id(number))
            await update(mounted, "keys/prod", private_key=pem, key_id=key_id(number))
            mounted_key[0] = key_id(number)
            if pick.random() < 0.5:
                mounted.backend.invalidate("key/prod")
            for _ in range(pick.randrange(8)):
                await asyncio.sleep(0)
        going.clear()
        await asyncio.gather(*readers)
        assert len(set(found)) > 10
        last = facts(await mounted.do(Operation.READ, "token/sales"))
        assert last["key_id"] == key_id(29)

    asyncio.run(race())


class HeldStorage(DictStorage):
    """Hands one value over only when it is told to, long after it was read."""

    held = "key/prod"

    def __init__(self, values: dict[str, bytes]) -> None:
        super().__init__(values)
        self.read = asyncio.Event()
        self.released = asyncio.Event()

    async def get(self, key: str) -> bytes | None:
        value = await super().get(key)
        if key == self.held and not self.released.is_set():
            self.read.set()
            await self.released.wait()
        return value


@pytest.mark.parametrize("told", ["by the server", "by its own write"])
def test_a_version_that_was_read_before_it_was_retired_is_not_remembered_after_it(told: str) -> None:
    async def race() -> None:
        earlier = with_role()
        earlier.write("keys/prod", private_key=p8(), key_id=keys.OTHER_KEY_ID)
        storage = HeldStorage(earlier.storage.values)
        mounted = Mounted(storage)
        reading = asyncio.create_task(mounted.do(Operation.READ, "token/sales", {"key_version": 1}))
        await storage.read.wait()
        if told == "by the server":
            await update(Mounted(DictStorage(storage.values)), "keys/prod/retire")
            mounted.backend.invalidate("key/prod")
        else:
            storage.held = "none"
            await update(mounted, "keys/prod/retire")
        storage.released.set()
        assert facts(await reading)["key_id"] == keys.KEY_ID
        with pytest.raises(MissingError, match="is not kept"):
            await mounted.do(Operation.READ, "token/sales", {"key_version": 1})
        assert facts(await mounted.do(Operation.READ, "token/sales"))["key_id"] == keys.OTHER_KEY_ID

    asyncio.run(race())


def test_stage_and_promote_at_once_happen_in_one_of_the_two_orders() -> None:
    async def race(head_start: int) -> bool:
        mounted = slow()
        calls = [
            lambda: update(mounted, "keys/prod/stage", private_key=p8(), key_id=key_id(2)),
            lambda: update(mounted, "keys/prod/promote"),
        ]
        first = asyncio.create_task(calls[head_start < 0]())
        for _ in range(abs(head_start)):
            await asyncio.sleep(0)
        second = asyncio.create_task(calls[head_start >= 0]())
        results = await asyncio.gather(first, second, return_exceptions=True)
        found = results[::-1] if head_start < 0 else results
        promoted = not isinstance(found[1], RequestError)
        assert isinstance(found[0], Response), found
        read = facts(await mounted.do(Operation.READ, "keys/prod"))
        assert (read["version"], read["staged"] is None) == ((2, True) if promoted else (1, False))
        assert facts(await mounted.do(Operation.READ, "token/sales"))["key_version"] == read["version"]
        return promoted

    assert {asyncio.run(race(head_start)) for head_start in range(-12, 12)} == {True, False}


def test_the_same_promotion_several_times_at_once_is_one() -> None:
    async def race() -> None:
        mounted = slow()
        await update(mounted, "keys/prod/stage", private_key=p8(), key_id=key_id(2))
        answers = [
            facts(a) for a in await asyncio.gather(*(update(mounted, "keys/prod/promote", version=2) for _ in "12345"))
        ]
        assert sorted(answer["changed"] for answer in answers) == [False] * 4 + [True]
        assert {(answer["version"], answer["previous"]["version"]) for answer in answers} == {(2, 1)}

    asyncio.run(race())


def test_two_who_make_the_same_new_key_at_once_do_not_replace_each_other() -> None:
    """Both were asked for the right to create alone."""

    async def race() -> None:
        mounted = Mounted(SlowStorage())
        results = await asyncio.gather(
            *(update(mounted, "keys/new", **team_key(key_id=key_id(n))) for n in range(5)), return_exceptions=True
        )
        assert sum(isinstance(result, RequestError) for result in results) == 4
        read = facts(await mounted.do(Operation.READ, "keys/new"))
        assert (read["version"], read["previous"]) == (1, None)

    asyncio.run(race())


def test_tokens_of_a_pinned_version_while_the_key_is_rotated_and_the_old_one_retired() -> None:
    """A client that follows the order of a rotation is never refused; the others get 404 and never another version."""
    pinned = [1]

    async def pin(mounted: Mounted, public: dict[int, str], going: list[None], served: list[int]) -> None:
        while going:
            version = pinned[0]
            answer = facts(await mounted.do(Operation.READ, "token/sales", {"key_version": version}))
            assert answer["key_version"] == version
            verified(answer, public[version])
            served.append(version)
            await asyncio.sleep(0)

    async def guess(mounted: Mounted, public: dict[int, str], going: list[None], refusals: list[str]) -> None:
        pick = random.Random(3)
        while going:
            await asyncio.sleep(0)
            version = pick.randint(max(1, max(public) - 2), max(public) + 1)
            try:
                answer = facts(await mounted.do(Operation.READ, "token/sales", {"key_version": version}))
            except MissingError as error:
                refusals.append(error.message)
                continue
            assert answer["key_version"] == version
            verified(answer, public[version])

    async def race() -> None:
        mounted = slow()
        public = {1: facts(await mounted.do(Operation.READ, "keys/prod"))["public_key"]}
        going, served, refusals = [None], list[int](), list[str]()
        readers = [asyncio.create_task(pin(mounted, public, going, served)) for _ in range(3)]
        readers.append(asyncio.create_task(guess(mounted, public, going, refusals)))
        for number in range(2, 16):
            pem = p8()
            public[number] = parse_private_key(pem.encode()).public_key_pem()
            await update(mounted, "keys/prod/stage", private_key=pem, key_id=key_id(number))
            await update(mounted, "keys/prod/promote", version=number)
            await rest()
            pinned[0] = number
            await rest()  # as long as a reader may still hold the pin before
            await update(mounted, "keys/prod/retire", version=number)
        going.clear()
        await asyncio.gather(*readers)
        assert len(set(served)) > 10
        assert {message.partition("is ")[2] for message in refusals} == {"not kept", "staged, not current"}

    async def rest() -> None:
        for _ in range(12):
            await asyncio.sleep(0)

    asyncio.run(race())


@pytest.mark.parametrize("told", ["by the server", "by its own write"])
def test_what_was_read_before_a_change_is_not_remembered_after_it(told: str) -> None:
    async def race() -> None:
        storage = HeldStorage(with_role().storage.values)
        mounted = Mounted(storage)
        reading = asyncio.create_task(mounted.do(Operation.READ, "token/sales"))
        await storage.read.wait()
        new = {"private_key": p8(), "key_id": keys.OTHER_KEY_ID}
        quick = Mounted(DictStorage(storage.values))
        if told == "by the server":
            await quick.do(Operation.UPDATE, "keys/prod", new)
            mounted.backend.invalidate("key/prod")
        else:
            storage.held = "none"
            await mounted.do(Operation.UPDATE, "keys/prod", new)
        storage.released.set()
        assert facts(await reading)["key_id"] == keys.KEY_ID
        assert facts(await mounted.do(Operation.READ, "token/sales"))["key_id"] == keys.OTHER_KEY_ID

    asyncio.run(race())


def test_a_request_that_is_given_up_holds_no_lock() -> None:
    async def race() -> None:
        mounted = slow()
        for steps in range(1, 12):
            call = asyncio.create_task(update(mounted, "keys/prod", private_key=p8(), key_id=key_id(steps)))
            for _ in range(steps):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            async with asyncio.timeout(1):
                await update(mounted, "keys/prod", private_key=p8(), key_id=key_id(100 + steps))
            answer = facts(await mounted.do(Operation.READ, "token/sales"))
            assert answer["key_id"] == key_id(100 + steps)
        assert not mounted.backend._mount._locks

    asyncio.run(race())
