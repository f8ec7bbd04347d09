"""Faults of the disk, and of what was written on it before: full, read-only, damaged, newer, older."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import Final

import pytest

from tests.faults.conftest import Told
from tests.faults.rig import Kept, due_in, once, stale, states
from tests.integration.test_push import can_mount
from vault_asc.lab.world import World

needs_a_disk = pytest.mark.skipif(not can_mount(), reason="needs unshare -rm, to mount a small disk")
FULL: Final = "dd if=/dev/zero of={disk}/ballast bs=1k 2>/dev/null"
READ_ONLY: Final = "mount -o remount,ro {disk}"
TOKEN_FILE: Final = "sales.jwt"
STATE: Final = "state"


@dataclass(frozen=True)
class Attempt:
    """What the service said, and what is on the disk afterwards."""

    said: subprocess.CompletedProcess[str]
    left: list[str]


def on_a_disk(world: World, what: str, break_it: str) -> Attempt:
    """A pass of the service that has this on a disk of its own, which breaks before; seen by that process alone."""
    disk, before = world.dir / "disk", world.dir / "before"
    disk.mkdir(exist_ok=True)
    config = world.dir / "disk.toml"
    config.write_text(world.config_file.read_text().replace(f'"{world.dir / what}"', f'"{disk / what}"'))
    (world.dir / "token").write_text(world.server.root_token.reveal())
    script = f"""
        cp -r {world.dir / what} {before}
        mount -t tmpfs -o size=64k tmpfs {disk}
        cp -r {before} {disk / what}
        {break_it.format(disk=disk)}
        {sys.executable} -m vault_asc run --once --log-format json --config {config} --token-file {world.dir}/token
        code=$?
        diff -r -x run.lock {before} {disk / what} && ls -A {disk}
        rm -r {before}
        exit $code
    """
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    shutil.rmtree(disk)
    return Attempt(done, done.stdout.split())


def the_token_arrives(world: World, told: Told, what: str, break_it: str) -> list[str]:
    """At Nexla, whatever becomes of the disk, which is left as it was; what is on it."""
    due_in(world, 0, "sales")
    before = Kept.of(world)
    done = on_a_disk(world, what, break_it)
    told(done.said, [TOKEN_FILE, STATE].index(what))
    assert done.said.returncode == (8 if what == TOKEN_FILE else 2), "of one that was due"
    after = Kept.of(world)
    assert after.nexla != before.nexla
    assert (after.file == before.file) == (what == TOKEN_FILE)
    if what == TOKEN_FILE:
        told(world.run("status", "--config", str(world.dir / "disk.toml")))
    return done.left


@needs_a_disk
@pytest.mark.parametrize("what", [TOKEN_FILE, STATE])
def test_f24_the_disk_is_full(world: World, told: Told, what: str) -> None:
    left = the_token_arrives(world, told, what, FULL)
    assert sorted(left) == ["ballast", what], "what was there, and nothing beside it"


@needs_a_disk
@pytest.mark.parametrize("what", [TOKEN_FILE, STATE])
def test_f25_the_disk_is_read_only(world: World, told: Told, what: str) -> None:
    assert the_token_arrives(world, told, what, READ_ONLY) == [what]


def test_f34_a_state_is_damaged_or_newer(world: World, told: Told) -> None:
    due_in(world, 500, "news")
    files = {target: world.dir / "state" / "targets" / f"{target}.json" for target in world.targets}
    files["sales"].write_bytes(files["sales"].read_bytes()[:40] + b"\xff\x00")
    newer = json.dumps({"format": 99, "what": "only a newer release knows"}).encode()
    files["ads"].write_bytes(newer)
    done = once(world)
    told(done.about("sales"))
    told(done.about("ads"), 1)
    assert files["ads"].read_bytes() == newer
    assert states(world).load("sales").outcome == "live"
    assert "news" not in done.of("refreshed")
    assert done.code == 10
    assert not stale(world)
    shown = world.run("status")
    assert shown.returncode == 2
    assert "format 99" in shown.stderr
