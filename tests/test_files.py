import contextlib
import errno
import hashlib
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from vault_asc.errors import BusyError, ConfigError
from vault_asc.files import locked, make_private_dir, sweep, unfinished, write_atomic

ROOT = Path(__file__).parents[1]
NOW = 1_772_366_400.0
ROUNDS = 40


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def names(directory: Path | str) -> list[str]:
    return sorted(path.name for path in Path(directory).iterdir())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def in_python(call: str, *argv: str, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Call a function of this module in a process of its own."""
    script = f"import sys; from tests import test_files; test_files.{call}(*sys.argv[1:])"
    command = [*prefix, sys.executable, "-c", script, *argv]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def refused(path: Path, act: Callable[[], object] | None = None) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        act() if act else write_atomic(path, b"new", now=NOW)
    assert caught.value.hint
    assert caught.value.message.isprintable()
    return caught.value


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o777])
@pytest.mark.parametrize("before", [None, 0o644, 0o400])
def test_a_file_is_0600_whatever_the_umask_and_what_was_there(tmp_path: Path, mask: int, before: int | None) -> None:
    file = tmp_path / "token"
    if before is not None:
        file.write_bytes(b"old")
        file.chmod(before)
    with umask(mask):
        write_atomic(file, b"new", now=NOW)
    assert mode(file) == 0o600
    assert file.read_bytes() == b"new"
    assert names(tmp_path) == ["token"]


def test_another_mode_on_request(tmp_path: Path) -> None:
    with umask(0o077):
        write_atomic(tmp_path / "config", b"public", now=NOW, mode=0o644)
    assert mode(tmp_path / "config") == 0o644


@pytest.mark.parametrize("size", [0, 1, 1_000_000])
def test_the_whole_content_replaces_the_old_one(tmp_path: Path, size: int) -> None:
    file = tmp_path / "token"
    for data in (b"x" * 100, os.urandom(size), b""):
        write_atomic(file, data, now=NOW)
        assert file.read_bytes() == data


def test_a_reader_that_has_the_old_file_open_keeps_it(tmp_path: Path) -> None:
    write_atomic(tmp_path / "token", b"old", now=NOW)
    with (tmp_path / "token").open("rb") as reader:
        write_atomic(tmp_path / "token", b"new and longer", now=NOW)
        assert reader.read() == b"old"


def test_a_symlink_is_replaced_and_its_target_untouched(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    target.chmod(0o644)
    link = tmp_path / "token"
    link.symlink_to(target)
    write_atomic(link, b"new", now=NOW)
    assert not link.is_symlink()
    assert link.read_bytes() == b"new"
    assert target.read_bytes() == b"precious"
    assert mode(target) == 0o644


def test_a_symlink_to_nowhere_creates_nothing_there(tmp_path: Path) -> None:
    (tmp_path / "token").symlink_to(tmp_path / "elsewhere")
    write_atomic(tmp_path / "token", b"new", now=NOW)
    assert not (tmp_path / "elsewhere").exists()


def test_a_symlinked_directory_is_followed_to_one_that_has_to_be_as_good(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_atomic(tmp_path / "link" / "token", b"new", now=NOW)
    assert (tmp_path / "real" / "token").read_bytes() == b"new"
    assert names(tmp_path / "real") == ["token"]
    (tmp_path / "real").chmod(0o777)
    assert "writable by everybody" in refused(tmp_path / "link" / "token").message


def test_a_symlink_that_comes_after_the_look_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.setattr(os.path, "realpath", str)  # what was no link when it was resolved
    refused(tmp_path / "link" / "token")
    assert names(tmp_path / "real") == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "d"
    directory.mkdir()
    os.chown(directory, 65534, -1)
    error = refused(directory / "token")
    assert "belongs to user 65534" in error.message
    # nor may root leave a lock there that its owner could not take
    with pytest.raises(ConfigError, match="belongs to user 65534"), locked(directory / "lock"):
        pytest.fail("held")
    assert names(directory) == []


class Journal:
    """The calls of `os` that make a replacement last, in their order; one of them can fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, code: int = 0) -> None:
        self.calls: list[str] = []
        self.code = code
        self.fsync, self.rename = os.fsync, os.rename
        monkeypatch.setattr(os, "fsync", self._fsync)
        monkeypatch.setattr(os, "rename", self._rename)

    def _fsync(self, handle: int) -> None:
        kind = "directory" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file"
        self.calls.append(f"fsync {kind}")
        if kind == "directory" and self.code:
            raise OSError(self.code, os.strerror(self.code))
        self.fsync(handle)

    def _rename(self, *names: str, src_dir_fd: int, dst_dir_fd: int) -> None:
        self.calls.append("rename")
        self.rename(*names, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)


def test_content_is_on_the_disk_before_its_name_and_the_name_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(monkeypatch)
    write_atomic(tmp_path / "token", b"new", now=NOW)
    assert journal.calls == ["fsync file", "rename", "fsync directory"]


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_without_fsync_of_directories_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    journal = Journal(monkeypatch, code)
    write_atomic(tmp_path / "token", b"new", now=NOW)
    assert journal.calls[-1] == "fsync directory"
    assert (tmp_path / "token").read_bytes() == b"new"


def test_after_the_rename_nobody_is_told_that_the_old_content_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_bytes(b"old")
    Journal(monkeypatch, errno.EIO)
    error = refused(tmp_path / "token")
    assert "untouched" not in error.message
    assert "was replaced" in error.message
    assert (tmp_path / "token").read_bytes() == b"new"


def test_a_symlink_further_up_is_the_hosts_business(tmp_path: Path) -> None:
    (tmp_path / "real" / "run").mkdir(parents=True)
    (tmp_path / "var").symlink_to(tmp_path / "real")
    write_atomic(tmp_path / "var" / "run" / "token", b"new", now=NOW)
    assert (tmp_path / "real" / "run" / "token").read_bytes() == b"new"


@pytest.mark.parametrize(("bits", "fine"), [(0o777, False), (0o702, False), (0o1777, True), (0o770, True)])
def test_a_directory_in_which_anybody_could_swap_the_file_is_refused(tmp_path: Path, bits: int, *, fine: bool) -> None:
    directory = tmp_path / "d"
    directory.mkdir()
    directory.chmod(bits)
    if fine:
        write_atomic(directory / "token", b"new", now=NOW)
        return
    error = refused(directory / "token")
    assert "writable by everybody" in error.message
    assert error.hint == f"chmod o-w {directory}"
    assert names(directory) == []


@pytest.mark.parametrize(
    ("name", "hint"), [("missing/token", "mkdir"), ("file/token", "must be a directory"), ("dir", "name a file")]
)
def test_what_cannot_be_written_is_told_with_the_way_out(tmp_path: Path, name: str, hint: str) -> None:
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "dir").mkdir()
    error = refused(tmp_path / name)
    assert f'"{tmp_path / name}"' in error.message
    assert hint in str(error.hint)
    assert names(tmp_path) == ["dir", "file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_somebody_elses_directory_is_refused() -> None:
    if os.geteuid() != 0:
        error = refused(Path("/proc/1/token"))
        assert error.hint
        return
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        os.seteuid(65534)
        try:
            error = refused(Path(directory) / "token")
        finally:
            os.seteuid(0)
        assert "Permission denied" in error.message
        assert "who owns" in str(error.hint)


LEFT = ".token.0000000a.tmp"
FOREIGN = (".other.0000000c.tmp", ".token.jwt.0000000e.tmp", "token.tmp", ".token.x", ".token.backup12.tmp")


def test_stale_temporary_files_of_the_same_file_are_swept(tmp_path: Path) -> None:
    ages = {LEFT: 121, ".token.0000000b.tmp": 119, **dict.fromkeys(FOREIGN, 9999)}
    for name, age in ages.items():
        (tmp_path / name).write_bytes(b"left")
        os.utime(tmp_path / name, (NOW - age, NOW - age))
    (tmp_path / ".token.0000000d.tmp").mkdir()
    os.utime(tmp_path / ".token.0000000d.tmp", (0, 0))
    write_atomic(tmp_path / "token", b"new", now=NOW)
    assert names(tmp_path) == sorted([*ages, ".token.0000000d.tmp", "token"][1:])


def test_who_knows_that_nobody_writes_sweeps_at_once_and_no_other_file(tmp_path: Path) -> None:
    for name in (LEFT, *FOREIGN):
        (tmp_path / name).write_bytes(b"left")
    assert unfinished(tmp_path) == {"token", "other", "token.jwt"}
    sweep(tmp_path / "token")
    assert names(tmp_path) == sorted(FOREIGN)
    sweep(tmp_path / "missing" / "token")
    assert unfinished(tmp_path / "missing") == set()
    tmp_path.chmod(0o777)
    sweep(tmp_path / "other")
    assert names(tmp_path) == sorted(FOREIGN), "nor where anybody could have put something in its place"


# --- full and read-only file systems -------------------------------------------------------------------------------


def _can_mount() -> bool:
    if sys.platform != "linux" or shutil.which("unshare") is None:
        return False
    done = subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], check=False, capture_output=True)
    return done.returncode == 0


needs_mounts = pytest.mark.skipif(not _can_mount(), reason="needs a mount namespace of its own (unshare -rm)")


def on_a_full_disk(place: str) -> None:
    disk = Path(place)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", place], check=True)
    write_atomic(disk / "token", b"old" * 100, now=NOW)
    with contextlib.suppress(OSError), (disk / "ballast").open("wb", buffering=0) as ballast:
        while True:
            ballast.write(b"x" * 512)
    error = refused(disk / "token", lambda: write_atomic(disk / "token", b"new" * 3000, now=NOW))
    assert "No space left" in error.message
    assert "make room" in str(error.hint)
    assert (disk / "token").read_bytes() == b"old" * 100
    assert names(disk) == ["ballast", "token"]
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=2", "tmpfs", place], check=True)
    (disk / "lock").write_bytes(b"")
    _locks_there_are_hold(disk)


def on_a_read_only_disk(place: str) -> None:
    disk = Path(place)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], check=True)
    write_atomic(disk / "token", b"old", now=NOW)
    (disk / "lock").write_bytes(b"")
    subprocess.run(["mount", "-o", "remount,ro", place], check=True)
    for act in (lambda: write_atomic(disk / "token", b"new", now=NOW), lambda: make_private_dir(disk / "a")):
        assert "Read-only file system" in refused(disk, act).message
    _locks_there_are_hold(disk)
    assert (disk / "token").read_bytes() == b"old"
    assert names(disk) == ["lock", "token"]


def _locks_there_are_hold(disk: Path) -> None:
    with locked(disk / "lock"), pytest.raises(BusyError), locked(disk / "lock"):
        pytest.fail("locked twice")
    with locked(disk / "lock"), locked(disk / "none"), locked(disk / "none"):
        pass
    with pytest.raises(ZeroDivisionError), locked(disk / "none"):
        raise ZeroDivisionError
    with pytest.raises(ConfigError, match="No such file"), locked(disk / "missing" / "lock"):
        pytest.fail("held")


@needs_mounts
@pytest.mark.parametrize("disk", ["on_a_full_disk", "on_a_read_only_disk"])
def test_a_disk_that_takes_nothing_leaves_the_old_file(tmp_path: Path, disk: str) -> None:
    done = in_python(disk, str(tmp_path), prefix=("unshare", "-rm"))
    assert done.returncode == 0, done.stderr


# --- killed writers ------------------------------------------------------------------------------------------------


def write_for_ever(file: Path) -> None:
    chance = random.Random(os.getpid())
    while True:
        payload = chance.randbytes(chance.randint(1, 60_000))
        write_atomic(file, payload + hashlib.sha256(payload).digest(), now=time.time())


def kill_writers(place: str) -> None:
    """Kill a writer at a random moment, again and again. Its own process, so that `fork` meets no threads."""
    file, chance = Path(place) / "token", random.Random(4)
    left = 0
    for _ in range(ROUNDS):
        child = os.fork()
        if child == 0:
            write_for_ever(file)
        time.sleep(chance.uniform(0.005, 0.03))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        if file.exists():
            data = file.read_bytes()
            assert hashlib.sha256(data[:-32]).digest() == data[-32:], "torn"
            assert mode(file) == 0o600
        left = len(names(place)) - 1
    assert file.exists()
    write_atomic(file, b"last", now=time.time() + 121)
    assert names(place) == ["token"], "stale temporary files"
    sys.stdout.write(str(left))


def test_a_killed_writer_tears_nothing(tmp_path: Path) -> None:
    done = in_python("kill_writers", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0, "no writer was caught in the act: the test proves nothing"


# --- directories and locks -----------------------------------------------------------------------------------------


def test_directories_are_private_all_the_way_down(tmp_path: Path) -> None:
    deep = tmp_path / "state" / "vault-asc" / "targets"
    with umask(0):
        assert make_private_dir(deep) == deep
    assert [mode(path) for path in (deep, deep.parent, deep.parent.parent)] == [0o700] * 3
    deep.chmod(0o750)
    make_private_dir(deep)
    assert mode(deep) == 0o750  # what a person has set stays


def test_a_file_in_the_place_of_a_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"")
    for path in (tmp_path / "state", tmp_path / "state" / "targets"):
        error = refused(path, partial(make_private_dir, path))
        assert "cannot be made" in error.message
        assert "state.dir" in str(error.hint)


def hold(file: str) -> None:
    with locked(Path(file)):
        sys.stdout.write("held\n")
        sys.stdout.flush()
        time.sleep(60)


@contextlib.contextmanager
def holder(file: Path) -> Iterator[subprocess.Popen[str]]:
    script = "import sys; from tests import test_files; test_files.hold(sys.argv[1])"
    command = [sys.executable, "-c", script, str(file)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_a_second_process_is_told_at_once_and_the_lock_dies_with_its_holder(tmp_path: Path) -> None:
    file = tmp_path / "sales.lock"
    with holder(file) as process:
        began = time.monotonic()
        with pytest.raises(BusyError, match=r"sales\.lock") as caught, locked(file):
            pytest.fail("two hold the lock")
        assert time.monotonic() - began < 1
        assert caught.value.exit_code == 75
        process.kill()
        process.wait()
        with locked(file):
            pass
    assert mode(file) == 0o600


def test_a_lock_is_free_again_after_its_block_and_after_an_error(tmp_path: Path) -> None:
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), locked(tmp_path / "lock"):
            raise ZeroDivisionError
    with locked(tmp_path / "lock"), pytest.raises(BusyError), locked(tmp_path / "lock"):
        pytest.fail("the same process took it twice")


def test_errors_of_the_block_are_not_taken_for_errors_of_the_lock(tmp_path: Path) -> None:
    with pytest.raises(BlockingIOError), locked(tmp_path / "lock"):
        raise BlockingIOError
    with pytest.raises(FileNotFoundError), locked(tmp_path / "lock"):
        (tmp_path / "missing").read_bytes()


def test_a_lock_is_not_inherited_by_children(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('up', flush=True); input()"]
    with locked(tmp_path / "lock"):
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False)
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        with locked(tmp_path / "lock"):
            child.kill()


@pytest.mark.parametrize("kind", ["symlink", "directory", "missing"])
def test_a_lock_that_cannot_be_made_is_told(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "lock"
    if kind == "symlink":
        file.symlink_to(tmp_path / "target")
    elif kind == "directory":
        file.mkdir()
    else:
        file = tmp_path / "missing" / "lock"
    with pytest.raises(ConfigError) as caught, locked(file):
        pytest.fail("held")
    assert caught.value.hint
    assert not (tmp_path / "target").exists()
