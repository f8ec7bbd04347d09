"""Builds the executable with PyInstaller, so that the same source and libraries give the same bytes.

It runs in a process and a directory of its own: neither the environment nor the working directory of whoever builds
has a part in the result.
"""

import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import vault_asc
from vault_asc.engine.freezing.facts import Executable, look_at, of_interpreter
from vault_asc.engine.freezing.source import commit_of
from vault_asc.errors import ConfigError
from vault_asc.files import write_atomic
from vault_asc.names import ENGINE_FILE
from vault_asc.secret import safe_text

_LIBRARIES: Final = ("PyJWT", "cryptography", "grpclib", "h2", "hpack", "hyperframe", "multidict", "protobuf")
_TOOLS: Final = ("PyInstaller", "grpclib")  # modules that are missing where nobody wanted to build
_EPOCH: Final = "315532800"  # 1 January 1980: the earliest that every archive format can say
_TIMEOUT: Final = 900.0  # seconds; it takes about 20
_START: Final = "import sys\nfrom vault_asc.engine.freezing.start import main\nsys.exit(main())\n"
_LOADER_SAYS: Final = b"Failed to load Python shared library"
_WE_SAY: Final = b"Is TMPDIR noexec? Cannot load Python"


def build(out: Path, now: float) -> Executable:
    """Build the engine that is installed here and write it to a file; now in Unix seconds.

    `ConfigError` when something that is needed is missing, or PyInstaller fails.
    """
    if any(importlib.util.find_spec(module) is None for module in _TOOLS):
        raise ConfigError(
            "what the build needs is not installed: PyInstaller and the engine's libraries",
            hint='in a checkout: make install, or pip install ".[engine,build]"',
        )
    root = Path(vault_asc.__file__).resolve().parents[1]
    with tempfile.TemporaryDirectory(prefix="vault-asc-build-") as directory:
        work = Path(directory)
        (work / "start.py").write_text(_START, encoding="ascii")
        (work / "facts.json").write_text(json.dumps(_facts(root)), encoding="ascii")
        _run(work)
        content = (work / "dist" / ENGINE_FILE).read_bytes()
    write_atomic(out, _with_clear_words(content), now=now, mode=0o755)
    return look_at(out)


def _facts(root: Path) -> dict[str, str]:
    return {
        "version": vault_asc.__version__,
        "commit": commit_of(root),
        **of_interpreter(),
        "libraries": ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _LIBRARIES),
        "built_with": f"PyInstaller {importlib.metadata.version('pyinstaller')}",
    }


def _run(work: Path) -> None:
    spec = Path(__file__).with_name("frozen.spec")
    # -P and -s: no module is taken from the working directory or the user's own packages.
    argv = [sys.executable, "-P", "-s", "-m", "PyInstaller", "--noconfirm", "--log-level=WARN"]
    argv += [f"--distpath={work / 'dist'}", f"--workpath={work}", str(spec)]
    try:
        done = subprocess.run(
            argv,
            cwd=work,
            env=_environment(work),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise ConfigError(f"PyInstaller did not end within {_TIMEOUT:g} s", hint="try again on an idle host") from exc
    if done.returncode != 0:
        last = done.stdout.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise ConfigError(
            f"PyInstaller failed: {safe_text(last, 300)}",
            hint="it needs binutils (objcopy, objdump), ldd, and a Python with a shared library",
        )


def _environment(work: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return kept | {
        "HOME": str(work),
        "LANG": "C.UTF-8",
        "TMPDIR": str(work),
        "PYINSTALLER_CONFIG_DIR": str(work / "cache"),
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "SOURCE_DATE_EPOCH": _EPOCH,
    }


def _with_clear_words(content: bytes) -> bytes:
    """The loader's message for what is nearly always a `noexec` directory, in words that say so.

    No code of ours runs by then. Nothing may move, so the words are as long as those that they replace; a loader that
    says something else stays as it is.
    """
    known = content.count(_LOADER_SAYS) == 1 and len(_LOADER_SAYS) == len(_WE_SAY)
    return content.replace(_LOADER_SAYS, _WE_SAY) if known else content
