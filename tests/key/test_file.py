import contextlib
import io
import os
import socket
import threading
from pathlib import Path

import pytest

from tests import keys
from vault_asc.errors import ConfigError, PrivateKeyError
from vault_asc.key.file import read_key_file, read_limited
from vault_asc.key.pem import MAX_KEY_BYTES

AS_ROOT = os.geteuid() == 0


def no_warning(text: str) -> None:
    pytest.fail(f"unexpected warning: {text}")


def key_file(folder: Path, data: bytes | None = None, mode: int = 0o600) -> Path:
    path = folder / f"AuthKey_{keys.KEY_ID}.p8"
    path.write_bytes(keys.p8_pem() if data is None else data)
    path.chmod(mode)
    return path


def refused(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        read_key_file(path, no_warning)
    assert caught.value.hint
    return caught.value.message


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_private_file_is_read_without_a_warning(tmp_path: Path) -> None:
    assert read_key_file(key_file(tmp_path), no_warning) == keys.p8_pem()


@pytest.mark.parametrize(
    ("mode", "readers"), [(0o640, "group"), (0o604, "others"), (0o644, "group and others"), (0o664, "group and others")]
)
def test_readable_by_others_is_warned_about(tmp_path: Path, mode: int, readers: str) -> None:
    warnings: list[str] = []
    path = key_file(tmp_path, mode=mode)
    assert read_key_file(path, warnings.append) == keys.p8_pem()
    assert len(warnings) == 1
    assert f"by {readers} (mode {mode:04o})" in warnings[0]
    assert f"chmod 600 {path}" in warnings[0]


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700, 0o611])
def test_not_readable_by_others_is_no_warning(tmp_path: Path, mode: int) -> None:
    read_key_file(key_file(tmp_path, mode=mode), no_warning)


def test_symbolic_link_is_followed(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(key_file(tmp_path))
    assert read_key_file(link, no_warning) == keys.p8_pem()


def test_missing_file(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("missing.p8", "dangling"):
        assert refused(tmp_path / name) == f'the key file "{tmp_path / name}" does not exist'


def test_directory(tmp_path: Path) -> None:
    assert refused(tmp_path).endswith("is a directory")


def test_device() -> None:
    assert refused(Path("/dev/null")).endswith("is a device")


def test_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path may have 107 bytes only
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s")
        assert refused(Path("s")).endswith("is a socket")


@pytest.mark.parametrize("writer", [False, True])
def test_fifo_does_not_block(tmp_path: Path, writer: bool) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    keep = os.open(fifo, os.O_RDWR) if writer else None  # with a writer that never writes
    messages: list[str] = []
    thread = threading.Thread(target=lambda: messages.append(refused(fifo)), daemon=True)
    thread.start()
    thread.join(5)
    if keep is not None:
        os.close(keep)
    assert [message.rpartition(" is ")[2] for message in messages] == ["a FIFO"]


@pytest.mark.skipif(AS_ROOT, reason="root may read everything")
def test_unreadable_file(tmp_path: Path) -> None:
    assert "may not be read" in refused(key_file(tmp_path, mode=0o000))


@pytest.mark.skipif(not AS_ROOT, reason="needs root to become somebody else")
def test_unreadable_file_as_another_user(tmp_path: Path) -> None:
    # A child, because the identity of a process is not for threads of pytest to share.
    tmp_path.chmod(0o755)
    path = key_file(tmp_path)
    folder = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.fchdir(folder)
            os.setegid(65534)
            os.seteuid(65534)
            status = 0 if "may not be read" in refused(Path(path.name)) else 2
        finally:
            os._exit(status)
    os.close(folder)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_nul_and_overlong_paths(tmp_path: Path) -> None:
    assert "NUL" in refused(Path("a\0b"))
    assert "name too long" in refused(tmp_path / ("x" * 300))


def test_link_to_itself(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert "symbolic links" in refused(loop)


def test_control_characters_of_a_path_do_not_reach_the_terminal(tmp_path: Path) -> None:
    assert refused(tmp_path / "a\x1b[31m\nb").isprintable()


def test_size_limit(tmp_path: Path) -> None:
    path = key_file(tmp_path, b"x" * MAX_KEY_BYTES)
    assert len(read_key_file(path, no_warning)) == MAX_KEY_BYTES
    path.write_bytes(b"x" * (MAX_KEY_BYTES + 1))
    with pytest.raises(PrivateKeyError, match="64 KiB"):
        read_key_file(path, no_warning)


def test_empty_file_is_left_to_the_parser(tmp_path: Path) -> None:
    assert read_key_file(key_file(tmp_path, b""), no_warning) == b""


@pytest.mark.parametrize("size", [0, 1, MAX_KEY_BYTES + 1])
def test_no_descriptor_is_left_open(tmp_path: Path, size: int) -> None:
    path = key_file(tmp_path, b"x" * size)
    before = open_descriptors()
    for each in (path, tmp_path, tmp_path / "missing", Path("/dev/null")):
        with contextlib.suppress(ConfigError, PrivateKeyError):
            read_key_file(each, no_warning)
        assert open_descriptors() == before


class Trickle(io.RawIOBase):
    """An endless stream that hands out a few bytes at a time, as a pipe does."""

    def __init__(self, total: int | None, piece: int) -> None:
        self.taken, self.total, self.piece = 0, total, piece

    def read(self, size: int = -1, /) -> bytes:
        assert size > 0
        left = size if self.total is None else self.total - self.taken
        count = min(size, self.piece, left)
        self.taken += count
        return b"x" * count


def test_stream_in_pieces_is_read_to_its_end() -> None:
    assert read_limited(Trickle(1000, 7)) == b"x" * 1000
    assert read_limited(io.BytesIO(keys.p8_pem())) == keys.p8_pem()
    assert len(read_limited(Trickle(MAX_KEY_BYTES, 4096))) == MAX_KEY_BYTES


@pytest.mark.parametrize("piece", [1000, 10**9])
def test_endless_stream_is_given_up_after_one_byte_too_many(piece: int) -> None:
    endless = Trickle(None, piece)
    with pytest.raises(PrivateKeyError, match="64 KiB"):
        read_limited(endless)
    assert endless.taken == MAX_KEY_BYTES + 1


def test_pipe() -> None:
    reader, writer = os.pipe()
    with open(reader, "rb") as stream, open(writer, "wb", buffering=0) as sink:  # noqa: PTH123  # descriptors
        sink.write(keys.p8_pem())
        sink.close()
        assert read_limited(stream) == keys.p8_pem()
