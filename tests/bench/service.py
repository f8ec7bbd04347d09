"""`vault-asc run` over many targets: time of a pass against what it cannot be shorter than, and memory per target.

    python -m tests.bench.service [TARGETS] [SERVICE_KEYS]

The ideal is calls x latency / workers. Vault is real; Nexla takes 300 ms for each call, and in the second run one
credential of a hundred never answers. Memory is that of the whole process after it has made a pass over all targets.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from tests.bench import many_targets
from vault_asc.clock import system_clock
from vault_asc.lab.serve import ISSUER_ID
from vault_asc.lab.world import World

LATENCY: Final = 0.3
WORKERS: Final = 16
CALLS: Final = 3  # of a first refresh: credential, PUT, probe
DEAD_EVERY: Final = 100


class Pass(NamedTuple):
    """Seconds until the last healthy target had its token, how many had one; CPU seconds, and MiB of memory at most."""

    last: float
    median: float
    refreshed: int
    cpu: float
    peak: float


@contextmanager
def slow_nexla(dead_every: int) -> Iterator[str]:
    """The address of a Nexla that takes its time."""
    argv = [sys.executable, "-m", "tests.bench.slow_nexla", str(LATENCY), str(dead_every)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.kill()


def one_pass(world: World, url: str, targets: int, keys: int, healthy: int) -> Pass:
    """Start the service on no state, and stop it when every healthy target is fresh."""
    state = world.dir / f"state-{time.monotonic_ns()}"
    world.config_file.write_text(
        many_targets.configuration(world.server.address, f"{url}/nexla-api", state, targets, keys, WORKERS)
    )
    with world.start("run", "--log-format", "json") as process:
        assert process.stderr is not None
        begin, moments = 0.0, []
        for line in process.stderr:
            event = json.loads(line)["event"]
            begin = time.perf_counter() if event == "started" else begin
            moments += [time.perf_counter()] * (event == "refreshed")
            if len(moments) == healthy:
                break
        process.kill()
        _, _, usage = os.wait4(process.pid, 0)
        process.returncode = 0
    cpu, peak = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
    return Pass(moments[-1] - begin, moments[len(moments) // 2] - begin, len(moments), cpu, peak)


def throughput(targets: int, keys: int) -> None:
    """Print both runs and their ratios."""
    ideal = targets * CALLS * LATENCY / WORKERS
    with World() as world:
        world.must("key", "import", str(world.new_key("BENCHKEY01")), "prod", "--issuer-id", ISSUER_ID)
        for number in range(keys):
            path = f"secret/data/asc/nexla/key-{number}"
            body = {"data": {"service_key": f"slow-service-key-{number}"}}
            world.server.api("POST", path, body, token=world.server.root_token)
        runs = []
        for dead_every in (0, DEAD_EVERY):
            healthy = targets - (targets // dead_every if dead_every else 0)
            with slow_nexla(dead_every) as url:
                runs.append(one_pass(world, url, targets, keys, healthy))
            done = runs[-1]
            print(
                f"{targets} targets, {keys} service keys, {WORKERS} workers, {targets - healthy:3d} dead: last healthy after"
                f" {done.last:6.1f} s, ideal {ideal:6.1f} s, x{done.last / ideal:4.2f} (aim 2);"
                f" median {done.median:5.1f} s; CPU {done.cpu / done.refreshed * 1000:4.1f} ms per refresh,"
                f" memory {done.peak:.0f} MiB",
                flush=True,
            )
    print(f"slowest healthy target with dead ones beside it: x{runs[1].last / runs[0].last:4.2f} (aim 2)")


def memory() -> None:
    """Print the memory of processes with 5,000 and 20,000 targets."""
    sizes = {}
    for targets in (100, 5_000, 20_000):
        argv = [sys.executable, "-m", "tests.bench.many_targets", str(targets)]
        done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True)
        sizes[targets] = int(done.stdout)
        print(f"memory with {targets:6d} targets: {sizes[targets] / 2**20:6.1f} MiB", flush=True)
    each = (sizes[20_000] - sizes[5_000]) / 15_000
    print(f"growth per target: {each:.0f} bytes")


def main() -> None:
    """Measure and print."""
    targets, keys = ([int(word) for word in sys.argv[1:]] + [500, 5][len(sys.argv) - 1 :])[:2]
    print(
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}, at {system_clock():.0f}"
    )
    memory()
    throughput(targets, keys)


if __name__ == "__main__":
    main()
