"""`python -m vault_asc.engine` and `vault-plugin-secrets-asc`: what Vault starts, run from an installation."""

import sys


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
    return serve()


if __name__ == "__main__":
    sys.exit(main())
