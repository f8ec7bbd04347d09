"""Faults of the disk, and of what was written on it before: full, read-only, damaged, newer, older."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import Final

import pytest

from tests.faults.conftest import Told
from tests.faults.rig import Kept, detail, due_in, once, stale, states
from tests.integration.test_push import can_mount
from vault_asc.lab.world import World

needs_a_disk = pytest.mark.skipif(not can_mount(), reason="needs unshare -rm, to mount a small disk")
FULL: Final = "dd if=/dev/zero of={disk}/ballast bs=1k 2>/dev/null"
READ_ONLY: Final = "mount -o remount,ro {disk}"


@dataclass(frozen=True)
class Attempt:
    """What the service said, and what is on the disk afterwards."""

    code: int
    text: str
    left: list[str]


def on_a_disk(world: World, break_it: str) -> Attempt:
    """A pass of the service whose token file is on a disk of its own that breaks before; seen by that process alone."""
    disk = world.dir / "disk"
    disk.mkdir(exist_ok=True)
    config = world.dir / "disk.toml"
    text = world.config_file.read_text()
    config.write_text(text.replace(str(world.dir / "sales.jwt"), str(disk / "sales.jwt")))
    (world.dir / "token").write_text(world.server.root_token.reveal())
    script = f"""
        mount -t tmpfs -o size=16k tmpfs {disk}
        cp {world.dir}/sales.jwt {disk}/sales.jwt
        {break_it.format(disk=disk)}
        {sys.executable} -m vault_asc run --once --log-format json --config {config} --token-file {world.dir}/token
        code=$?
        cmp {disk}/sales.jwt {world.dir}/sales.jwt && ls -A {disk}
        exit $code
    """
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    shutil.rmtree(disk)
    return Attempt(done.returncode, done.stderr, done.stdout.split())


def the_token_arrives_and_the_old_file_stays(world: World, told: Told, break_it: str) -> list[str]:
    due_in(world, 0, "sales")
    before = Kept.of(world)
    done = on_a_disk(world, break_it)
    told(done.text.replace('\\"', '"'))
    assert '"outcome": "live"' in done.text
    assert done.code == 8, "of one that was due"
    after = Kept.of(world)
    assert after.nexla != before.nexla
    assert after.file == before.file
    told(world.must("status", "--config", str(world.dir / "disk.toml")))
    return done.left


@needs_a_disk
def test_f24_the_disk_is_full(world: World, told: Told) -> None:
    left = the_token_arrives_and_the_old_file_stays(world, told, FULL)
    assert sorted(left) == ["ballast", "sales.jwt"], "the old file, and nothing beside it"


@needs_a_disk
def test_f25_the_disk_is_read_only(world: World, told: Told) -> None:
    assert the_token_arrives_and_the_old_file_stays(world, told, READ_ONLY) == ["sales.jwt"]


def test_f34_a_state_is_damaged_or_newer(world: World, told: Told) -> None:
    due_in(world, 500, "news")
    files = {target: world.dir / "state" / "targets" / f"{target}.json" for target in world.targets}
    files["sales"].write_bytes(files["sales"].read_bytes()[:40] + b"\xff\x00")
    newer = json.dumps({"format": 99, "what": "only a newer release knows"}).encode()
    files["ads"].write_bytes(newer)
    done = once(world)
    told(detail(done.of("refreshed")["sales"]))
    told(done.of("not tried")["ads"]["detail"] if "hint" in done.of("not tried")["ads"]["detail"] else done.text, 1)
    assert files["ads"].read_bytes() == newer
    assert states(world).load("sales").outcome == "live"
    assert "news" not in done.of("refreshed")
    assert done.code == 10
    assert not stale(world)
    shown = world.run("status")
    assert shown.returncode == 2
    assert "format 99" in shown.stderr
