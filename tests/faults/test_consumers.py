"""What consumers hold while a push is killed or suspended in its midst: a whole token, and never an older one."""

import signal
import subprocess
from pathlib import Path

from tests.faults.conftest import Told
from tests.faults.rig import Kept, state, token_at_nexla
from tests.faults.test_clocks import WrongClock
from tests.integration.worlds import until
from vault_asc.lab.faults import slow
from vault_asc.lab.world import World

HELD_UP = 40.0  # seconds, or until the end of who waits


def minted(world: World, before: Kept) -> None:
    """Wait until the push has minted: it writes the token file, and then logs in to Nexla."""
    until(lambda: Kept.of(world).file != before.file, "a new token file")


def test_f26_who_reads_a_token_file_reads_it_whole(world: World, told: Told) -> None:
    """A file is replaced and never written into: what somebody has opened stays as it is, to its end."""
    before = Kept.of(world)
    world.nexla.inject(slow(HELD_UP), method="POST", path="/token")
    with (world.dir / "sales.jwt").open("rb") as reader, world.start("push", "sales") as process:
        minted(world, before)
        process.kill()
        process.wait()
        told(world.run("status"))
        assert reader.read() == before.file, "the file of before was written into"
    assert Kept.of(world).file.count(b".") == 2
    assert Kept.of(world).nexla == before.nexla
    world.nexla.heal()
    world.must("push", "sales")
    assert state(world).outcome == "live"


def test_f32_a_token_from_before_a_suspension_replaces_no_newer_one(world: World, told: Told, tmp_path: Path) -> None:
    """Stopped between its mint and its PUT; its clock is 50 s further on when it wakes up. Another host was faster."""
    clock = WrongClock(tmp_path)
    other = tmp_path / "other.toml"
    other.write_text(world.config_file.read_text().replace(f'"{world.dir / "state"}"', f'"{tmp_path / "state"}"'))
    before = Kept.of(world)
    world.nexla.inject(slow(2), method="POST", path="/token")
    with world.start("push", "sales", environ=clock.environ) as process:
        minted(world, before)
        process.send_signal(signal.SIGSTOP)
        world.must("push", "sales", "--config", str(other))
        newer = token_at_nexla(world)
        clock.ahead(50)
        process.send_signal(signal.SIGCONT)
        out, err = process.communicate(timeout=120)
    told(subprocess.CompletedProcess(process.args, process.returncode, out, err), 1)
    assert process.returncode == 8
    assert token_at_nexla(world) == newer != before.nexla
