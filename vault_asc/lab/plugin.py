"""The engine as a plugin of a lab server: a script that runs it from this installation, and its entry for the catalog.

Not for production, where one file has to hold all code: here the checksum covers the script alone.
"""

import hashlib
import sys
from pathlib import Path
from typing import Final

import vault_asc

ENGINE: Final = "vault_asc.engine"
_ROOT: Final = Path(vault_asc.__file__).parents[1]


def plugin_script(directory: Path, name: str, module: str = ENGINE, version: str = "v0.1.0") -> dict[str, str]:
    """Write a script that runs a module into a plugin directory; the body that registers it."""
    script = directory / f"{name}-{version}"
    lines = (
        f"#!{sys.executable}",
        "import runpy, sys",
        f"sys.path.insert(0, {str(_ROOT)!r})",
        f"runpy.run_module({module!r}, run_name='__main__')",
    )
    script.write_text("\n".join(lines) + "\n", encoding="utf-8")
    script.chmod(0o755)
    checksum = hashlib.sha256(script.read_bytes()).hexdigest()
    return {"sha256": checksum, "command": script.name, "version": version}
