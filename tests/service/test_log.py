"""The log of the service: whoever reads it, or does not, the loop goes on."""

import json
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.integration.worlds import until
from vault_asc.service.events import Event, as_json, as_text
from vault_asc.service.log import Log


class Pipe:
    """A pipe, and what was read from it."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        self.text = ""

    def close(self) -> None:
        self.end()
        self.drain()
        os.close(self.read_end)
        os.close(self.write_end)

    def end(self) -> None:
        """Close the other end; its number stays taken, because a thread may be about to write to it."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.write_end)
        os.close(nowhere)

    def drain(self) -> None:
        """Read until the other end is closed."""
        while part := os.read(self.read_end, 1 << 16):
            self.text += part.decode()

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    with closing(Pipe()) as found:
        yield found


def event(number: int) -> Event:
    return Event("refreshed", logging.INFO, f"t{number}", {"detail": "x" * 1000})


def accounted_for(text: str) -> int:
    """Events that whole lines tell of, the lost ones among them."""
    whole = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return sum(int(found.get("lines", 1)) for found in whole)


@pytest.mark.parametrize("blocking", [True, False])
def test_a_pipe_that_nobody_reads_holds_nobody_up_and_what_was_lost_is_told_at_its_place(
    pipe: Pipe, *, blocking: bool
) -> None:
    os.set_blocking(pipe.write_end, blocking)
    log = Log(pipe.write_end, as_json, room=10)
    for number in range(200):  # 64 KiB are full after about 60
        log.tell(event(number))
    assert log.lost > 100
    lost = log.lost
    reader = threading.Thread(target=pipe.drain)
    reader.start()
    until(lambda: accounted_for(pipe.text) == 200, "a line for each event, or the news that it was lost")
    log.tell(event(200))
    assert log.close()
    pipe.end()
    reader.join()
    number = 0
    for found in pipe.events():
        if found["event"] == "lines lost":
            assert found["level"] == "warning"
            number += found["lines"]
        else:
            assert found["target"] == f"t{number}"
            number += 1
    assert number == 201
    assert sum(found.get("lines", 0) for found in pipe.events()) == lost == log.lost


def test_the_end_does_not_wait_for_a_reader_who_never_comes(pipe: Pipe) -> None:
    log = Log(pipe.write_end, as_json)
    for number in range(200):
        log.tell(event(number))
    assert log.close(0.05) is False
    pipe.end()
    pipe.drain()
    assert log.close() is True
    assert log.lost == 0


def test_what_waits_at_the_end_is_written(pipe: Pipe) -> None:
    log = Log(pipe.write_end, as_text)
    log.tell(Event("started", logging.INFO, None, {"targets": 3}))
    assert log.close() is True
    assert os.read(pipe.read_end, 1000).decode().endswith("Z INFO    started targets=3\n")


def test_lines_that_cannot_be_written_are_counted_and_end_nothing() -> None:
    with Path("/dev/full").open("wb", buffering=0) as full:
        log = Log(full.fileno(), as_json)
        for number in range(3):
            log.tell(event(number))
            until(lambda: log.lost, "a loss")
            log.lost = 0
        assert log.close() is True
