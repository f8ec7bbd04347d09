"""The executable itself: built once for all tests here, run by the real server, killed, tampered with."""

import fcntl
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PyInstaller.archive.readers import CArchiveReader

from tests import keys
from tests.effort import FULL
from tests.engine.host import ROOT
from tests.engine.rig import Rig, rig
from vault_asc import __version__
from vault_asc.engine.freezing import building
from vault_asc.engine.freezing.building import build
from vault_asc.engine.freezing.facts import FILE, Executable, look_at, text_of
from vault_asc.engine.freezing.source import UNKNOWN, commit_of
from vault_asc.engine.freezing.unpacked import hold, sweep
from vault_asc.errors import ConfigError, VaultAscError

FORBIDDEN = {"click", "hvac", "requests", "urllib3", "certifi", "uvloop", "grpc", "joserfc", "pytest"}
OLD = 1000.0  # seconds
needs_mounts = pytest.mark.skipif(shutil.which("unshare") is None or os.geteuid() != 0, reason="mounts a file system")


def built_in(directory: Path, out: Path) -> Executable:
    """Build where modules lie about that would break everything that takes one from the working directory."""
    directory.mkdir()
    for name in ("concurrent", "struct", "click", "vault_asc"):
        (directory / f"{name}.py").write_text("raise SystemExit('taken from the working directory')\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        patch.setenv("PYTHONPATH", str(directory))
        patch.setenv("PYTHONHASHSEED", str(len(str(directory))))
        return build(out, time.time())


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Executable:
    """One build for all workers of a run."""
    if missing := [tool for tool in ("objcopy", "objdump", "ldd") if shutil.which(tool) is None]:
        pytest.skip(f"freezing needs {', '.join(missing)}")
    mine = tmp_path_factory.getbasetemp()
    common = mine if worker_id == "master" else mine.parent
    file = common / "vault-plugin-secrets-asc"
    with (common / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return look_at(file) if file.exists() else built_in(common / "cwd", file)


@pytest.fixture(scope="module")
def server(built: Executable, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """The engine registered and mounted, with a key and a role."""
    directory = tmp_path_factory.mktemp("plugins")
    shutil.copy(built.path, directory / "plugin")
    with rig(directory) as server:
        register(server, built)
        server.mount("asc", "asc")
        key = {"private_key": keys.new_p8_pem().decode(), "key_id": keys.KEY_ID, "issuer_id": keys.ISSUER_ID}
        server.ask("POST", "asc/keys/prod", key)
        server.ask("POST", "asc/roles/prod", {"key": "prod"})
        yield server


def register(server: Rig, built: Executable) -> None:
    body = {"sha256": built.sha256, "command": "plugin", "version": built.version}
    server.ask("POST", "sys/plugins/catalog/secret/asc", body)


def read(server: Rig) -> dict[str, Any]:
    """A token; one request may have been under way when the plugin was killed."""
    try:
        return server.ask("GET", "asc/token/prod")
    except VaultAscError:
        return server.ask("GET", "asc/token/prod")


def children(process: int) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = entry.read_text().rpartition(") ")[2].split()[1]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == str(process):
            found.append(int(entry.parent.name))
    return found


def plugin_of(server: Rig) -> tuple[int, int]:
    """Loader and interpreter."""
    (loader,) = children(server.server.pid)
    (interpreter,) = children(loader)
    return loader, interpreter


def unpacked_by(process: int) -> Path:
    """Where the libraries of a process lie."""
    maps = Path(f"/proc/{process}/maps").read_text()
    return Path(next(line.split()[-1] for line in maps.splitlines() if "/_MEI" in line and "libpython" in line)).parent


def test_it_says_what_it_is_made_of(built: Executable) -> None:
    assert built.facts["version"] == __version__
    assert built.facts["commit"].removesuffix("-dirty") == commit_of(ROOT).removesuffix("-dirty")
    assert built.facts["libc"].startswith(("glibc 2.", "musl"))
    assert {"platform", "python", "openssl", "libraries", "built_with"} < set(built.facts)
    assert built.path.stat().st_mode & 0o777 == 0o755
    assert built.size < 40_000_000


def test_it_holds_what_the_engine_needs_and_no_path_of_the_build(built: Executable) -> None:
    archive = CArchiveReader(str(built.path))
    modules = archive.open_embedded_archive("PYZ.pyz").toc
    tops = {name.partition(".")[0] for name in modules}
    assert not tops & FORBIDDEN
    ours = {".".join(name.split(".")[:2]) for name in modules if name.startswith("vault_asc.")}
    assert "vault_asc.engine" in ours
    assert not ours & {"vault_asc.cli", "vault_asc.lab", "vault_asc.vault", "vault_asc.http"}
    assert "vault_asc.engine.freezing.building" not in modules
    for name in archive.toc:
        if not name.endswith((".so", ".so.1.0")) and ".so." not in name:
            assert str(ROOT).encode() not in archive.extract(name), name
    assert not [name for name in archive.toc if name.endswith(("RECORD", "INSTALLER"))]


def test_a_person_who_runs_it_is_told_what_it_is(built: Executable, tmp_path: Path) -> None:
    done = subprocess.run([built.path], env={"TMPDIR": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "this is a plugin" in done.stderr
    assert [*tmp_path.iterdir()] == []


@needs_mounts
def test_a_noexec_directory_is_named_as_the_reason(built: Executable, tmp_path: Path) -> None:
    script = 'mount -t tmpfs -o noexec tmpfs "$0" || exit 77; TMPDIR="$0" exec "$1"'
    argv = ["unshare", "-m", "sh", "-c", script, str(tmp_path), str(built.path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("may not mount")
    assert "Is TMPDIR noexec?" in done.stderr


def test_it_serves_and_says_its_build(server: Rig, built: Executable) -> None:
    assert server.ask("GET", "asc/info")["data"] == built.facts
    assert read(server)["lease_id"]
    (mount,) = [each for path, each in server.ask("GET", "sys/mounts")["data"].items() if path == "asc/"]
    assert mount["running_sha256"] == built.sha256


@pytest.mark.parametrize("which", ["both", "loader", "interpreter"])
def test_killed_it_is_started_anew_and_its_directory_is_swept(server: Rig, which: str) -> None:
    read(server)
    loader, interpreter = plugin_of(server)
    left = unpacked_by(interpreter)
    for process in {"both": (loader, interpreter), "loader": (loader,), "interpreter": (interpreter,)}[which]:
        os.kill(process, signal.SIGKILL)
    until = time.monotonic() + 10
    while any(Path(f"/proc/{each}").exists() for each in (loader, interpreter)):
        assert time.monotonic() < until
        time.sleep(0.02)
    assert left.exists() == (which != "interpreter")  # the loader alone can clean up
    for each in [*left.glob("*"), left] if left.exists() else []:
        os.utime(each, (0, 0))
    assert read(server)["data"]["key_id"] == keys.KEY_ID
    now = unpacked_by(plugin_of(server)[1])
    until = time.monotonic() + 5
    while left.exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    assert now.exists()


def test_a_reload_leaves_one_process(server: Rig) -> None:
    read(server)
    before = plugin_of(server)
    server.ask("POST", "sys/plugins/reload/backend", {"plugin": "asc"})
    read(server)
    assert not set(before) & set(plugin_of(server))
    assert not any(Path(f"/proc/{each}").exists() for each in before)


def test_any_changed_byte_is_refused(server: Rig, built: Executable) -> None:
    content = bytearray(built.path.read_bytes())
    file = server.directory / "tampered"
    shutil.copy(built.path, file)
    body = {"sha256": built.sha256, "command": "tampered", "version": built.version}
    server.ask("POST", "sys/plugins/catalog/secret/tampered", body)
    for at in range(0, len(content), len(content) // 10):
        with file.open("r+b") as stream:
            stream.seek(at)
            stream.write(bytes([content[at] ^ 1]))
            stream.flush()
            with pytest.raises(VaultAscError, match="checksum"):
                server.mount("tampered", "tampered")
            stream.seek(at)
            stream.write(bytes([content[at]]))
    server.mount("tampered", "tampered")
    server.ask("DELETE", "sys/mounts/tampered")


def directory_of_ours(parent: Path, name: str, age: float, now: float) -> Path:
    directory = parent / name
    directory.mkdir()
    (directory / FILE).write_bytes(text_of({"version": "1"}))
    for each in (directory / FILE, directory):
        os.utime(each, (now - age, now - age))
    return directory


def test_sweep_takes_dead_directories_of_ours_alone(tmp_path: Path) -> None:
    now = time.time()
    directory_of_ours(tmp_path, "_MEIdead", OLD, now)
    living, young = (
        directory_of_ours(tmp_path, name, age, now) for name, age in (("_MEIliving", OLD), ("_MEIyoung", 1))
    )
    elsewhere = directory_of_ours(tmp_path, "elsewhere", OLD, now)
    (tmp_path / "_MEIlink").symlink_to(elsewhere)
    foreign = tmp_path / "_MEIforeign"
    foreign.mkdir()
    os.utime(foreign, (0, 0))
    handle = hold(living)
    sweep(tmp_path, now)
    assert set(tmp_path.iterdir()) == {living, young, elsewhere, foreign, tmp_path / "_MEIlink"}
    assert (elsewhere / FILE).exists()
    os.close(handle)
    sweep(tmp_path, now)
    assert not living.exists()


@pytest.mark.skipif(not FULL, reason="takes half a minute more: make full")
def test_two_builds_of_one_source_are_equal(built: Executable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("LANG", "C")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    again = built_in(tmp_path / "somewhere-else", tmp_path / "again")
    assert again.sha256 == built.sha256


def test_what_is_missing_or_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="PyInstaller failed: ") as failed:
        build(tmp_path / "out", time.time())
    assert "binutils" in str(failed.value.hint)
    monkeypatch.setattr(building, "_TOOLS", ("no_such_module",))
    with pytest.raises(ConfigError, match="what the build needs is not installed"):
        build(tmp_path / "out", time.time())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"vault-asc build facts: {}\n", b"vault-asc build facts: [1\n"])
def test_other_files_are_not_taken_for_an_executable(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match="is no executable of the engine"):
        look_at(file)
    with pytest.raises(ConfigError, match="cannot be read"):
        look_at(tmp_path / "missing")


def test_the_commit_is_that_of_the_checkout(tmp_path: Path) -> None:
    assert len(commit_of(ROOT).removesuffix("-dirty")) == 40
    (tmp_path / ".git").write_text("gitdir: /nowhere\n")
    assert commit_of(tmp_path) == UNKNOWN
