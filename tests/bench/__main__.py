"""`make bench`: whole commands against named baselines, in turns within one run; prints ratios, judges nothing.

CPU is user and system time of the child process, which says more than wall time on a shared machine.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench import engine
from tests.bench.warm import transit_mint
from vault_asc.lab.serve import ISSUER_ID
from vault_asc.lab.world import World

BASELINES = Path(__file__).parent / "baselines"
SCRIPT = Path(sys.executable).with_name("vault-asc")
ROUNDS = 25


@dataclass(frozen=True)
class Cost:
    """Seconds of one run."""

    cpu: float
    wall: float


@dataclass(frozen=True)
class Comparison:
    """A command, its baseline, and the ratio that is aimed at."""

    name: str
    baseline: str
    aim: float
    command: Sequence[str]
    against: Sequence[str]


def run_once(argv: Sequence[str], environ: dict[str, str]) -> Cost:
    """Start a command, wait, and take the operating system's account of it."""
    begin = time.perf_counter()
    process = subprocess.Popen(argv, env=environ, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(argv)} ended with {process.returncode}")
    return Cost(usage.ru_utime + usage.ru_stime, wall)


def compare(comparison: Comparison, environ: dict[str, str]) -> str:
    """Run both in turns; one line with medians and the median of the pairwise ratios."""
    pairs = []
    for number in range(ROUNDS + 2):
        pair = run_once(comparison.command, environ), run_once(comparison.against, environ)
        if number > 1:  # the first ones fill caches
            pairs.append(pair)
    cpu = statistics.median(a.cpu / b.cpu for a, b in pairs)
    wall = statistics.median(a.wall / b.wall for a, b in pairs)
    ours = statistics.median(a.wall for a, _ in pairs) * 1000
    theirs = statistics.median(b.wall for _, b in pairs) * 1000
    return (
        f"{comparison.name:<44} {ours:6.0f} ms   {comparison.baseline:<28} {theirs:6.0f} ms"
        f"   wall x{wall:4.2f}  cpu x{cpu:4.2f}  (aim {comparison.aim})"
    )


def comparisons(world: World, token_file: Path) -> list[Comparison]:
    """What is measured."""
    python, ours = sys.executable, str(SCRIPT)
    empty = (python, str(BASELINES / "empty_click.py"), "--help")
    bare = (python, str(BASELINES / "bare_mint.py"), world.server.address, "secret", "prod", str(token_file))
    return [
        Comparison("vault-asc --help", "empty click command", 1.3, (ours, "--help"), empty),
        Comparison(
            "vault-asc push --all --if-due (nothing due)",
            "empty click command",
            1.5,
            (ours, "push", "--all", "--if-due"),
            empty,
        ),
        Comparison("vault-asc status", "empty click command", 1.5, (ours, "status"), empty),
        Comparison(
            "vault-asc mint prod",
            "bare hvac + PyJWT script",
            1.15,
            (ours, "mint", "prod", "--token-file", str(token_file)),
            bare,
        ),
        Comparison(
            "vault-asc mint of a Transit key",
            "vault-asc mint of a KV key",
            1.1,
            (ours, "mint", "signed", "--token-file", str(token_file)),
            (ours, "mint", "prod", "--token-file", str(token_file)),
        ),
        Comparison(
            "vault-asc mint of an engine key",
            "vault-asc mint of a KV key",
            1.1,
            (ours, "mint", "held", "--token-file", str(token_file)),
            (ours, "mint", "prod", "--token-file", str(token_file)),
        ),
    ]


def main() -> None:
    """Set up a world, measure, print."""
    with World() as world:
        world.server.mount_engine()
        for number, (name, custody) in enumerate({"prod": "kv", "signed": "transit", "held": "engine"}.items()):
            file = str(world.new_key(f"BENCHKEY0{number}"))
            world.must("key", "import", file, name, "--issuer-id", ISSUER_ID, "--custody", custody)
        world.must("push", "sales")
        environ = {"PATH": "/usr/bin:/bin", "HOME": str(world.dir), "VAULT_ASC_CONFIG": str(world.config_file)}
        token_file = world.dir / "token"
        print(f"{ROUNDS} pairs each, medians; {os.cpu_count()} cores, Python {sys.version.split()[0]}")
        for comparison in comparisons(world, token_file):
            print(compare(comparison, environ), flush=True)
        print(transit_mint(world.server, "signed"))
    engine.main()


if __name__ == "__main__":
    main()
