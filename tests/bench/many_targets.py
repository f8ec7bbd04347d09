"""A configuration with very many targets, and the memory of a service that has made a pass over all of them.

python -m tests.bench.many_targets 5000     prints bytes
"""

import json
import shutil
import sys
import tempfile
import tomllib
from dataclasses import asdict
from pathlib import Path

from tests.service.simulated import Simulation
from vault_asc.config import parse
from vault_asc.nexla.discovery import Plan as Discovered
from vault_asc.rotation import TargetState, settings_of
from vault_asc.service.crew import Threads
from vault_asc.service.view import view
from vault_asc.state import FORMAT, StateDir


def configuration(vault: str, nexla: str, state: Path, targets: int, keys: int, workers: int) -> str:
    """The text of a configuration."""
    accounts = "".join(
        f'[nexla.key-{n}]\napi_url = "{nexla}"\nservice_key = {{ path = "asc/nexla/key-{n}" }}\n' for n in range(keys)
    )
    each = "".join(
        f'[[targets]]\nname = "target-{n}"\nkey = "prod"\ncredential_id = {n + 1}\nnexla = "key-{n % keys}"\n'
        f'mode = "rest"\nscope = ["GET /v1/apps"]\n'
        for n in range(targets)
    )
    return (
        f'version = 1\n[vault]\naddress = "{vault}"\n[state]\ndir = "{state}"\n'
        f"[run]\nworkers = {workers}\nrate = 1000\n{accounts}{each}"
    )


def resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def measure(targets: int) -> int:
    """All that a service keeps: configuration, states as read from their files, queue, connections' modules, threads."""
    import vault_asc.cli.wiring
    import vault_asc.custody
    import vault_asc.nexla.publisher  # noqa: F401  # loaded for the memory that it takes

    directory = Path(tempfile.mkdtemp(prefix="vault-asc-bench-"))
    try:
        text = configuration("http://127.0.0.1:1", "http://127.0.0.1:1/api", directory, targets, 20, 16)
        config = parse(tomllib.loads(text), None, {})
        del text
        states = StateDir(directory)
        (directory / "targets").mkdir()
        sim = Simulation(0, keys=20)
        sim.targets = config.targets
        sim.digests = {target.name: settings_of(target) for target in config.targets}
        plan = Discovered("template", "jwt_token", "", 77, 88).as_state()
        for target in config.targets:  # without fsync, which would take minutes
            state = asdict(sim.attempt(target).state or TargetState()) | {"plan": plan, "detail": "nexla reached apple"}
            (directory / "targets" / f"{target.name}.json").write_text(json.dumps({"format": FORMAT, **state}))
        sim.states.clear()
        service = sim.service()
        service.roster.adopt(sim.plan()._replace(recorded=states.load))
        service._queue()
        service.step()
        crew = Threads(16)
        view(service)
        del crew
        return resident()
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    print(measure(int(sys.argv[1])))
