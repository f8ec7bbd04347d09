"""`python -m vault_asc.engine` and `vault-plugin-secrets-asc`: what Vault starts, run from an installation."""

import functools
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vault_asc.engine.backend import Backend
    from vault_asc.engine.mount import Memory


def main() -> int:
    """Serve Vault; the exit code. Without the packages of the engine it says so."""
    try:
        from vault_asc.engine.plugin import main as serve
    except ModuleNotFoundError as missing:
        sys.stderr.write(
            f'vault-plugin-secrets-asc: error: the package "{missing.name}" is not installed\n'
            'vault-plugin-secrets-asc: hint: install the engine\'s packages: pip install ".[engine]" in a checkout\n'
        )
        return 2
    return serve(_mounted)


def _mounted() -> "Backend":
    """What one mount does. Imported at the first of them, after the handshake."""
    from vault_asc.engine.backend import Backend
    from vault_asc.engine.freezing.facts import unfrozen

    return Backend(memory=_shared_memory(), build=unfrozen())


@functools.cache
def _shared_memory() -> "Memory":
    from vault_asc.engine.mount import Memory

    return Memory()


if __name__ == "__main__":
    sys.exit(main())
