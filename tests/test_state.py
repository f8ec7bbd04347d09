import contextlib
import fcntl
import json
import os
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from vault_asc.config import Target
from vault_asc.errors import BusyError, ConfigError
from vault_asc.outcome import Outcome
from vault_asc.push import Pass
from vault_asc.refreshing import Ports
from vault_asc.rotation import TargetState, Tick, due, next_due, refresh_at
from vault_asc.state import FORMAT, StateDir, read_tick

NOW = 1_772_366_400.0
FULL = TargetState(
    account="default",
    credential_id=5001,
    settings=7,
    key_id="2X9R4HXF34",
    started_at=NOW - 0.25,
    issued_at=int(NOW) - 60,
    expires_at=int(NOW) + 1080,
    usable_life=1080,
    record_version=7,
    tried_at=NOW,
    tried_version=8,
    unfiled_at=NOW - 3,
    outcome=Outcome.UNPROVEN,
    detail='nexla said "ü\\n\u2028"',
    failures=2,
    next_try=NOW + 12.5,
    plan={"mode": "template", "fields": ["token"], "deep": {"n": None}},
)
TARGET = Target("sales", "prod", 5001)

on_disk = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def damaged(states: StateDir, content: bytes) -> TargetState:
    file = states.path / "targets" / "sales.json"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    return states.load("sales")


@pytest.fixture
def locked_away(tmp_path: Path) -> Iterator[StateDir]:
    """A state that another user keeps."""
    states = StateDir(tmp_path / "state")
    states.save("sales", FULL, NOW)
    states.save_tick(NOW)
    with states.lock("sales"):
        states.begin("sales", NOW)
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    else:
        states.path.chmod(0)
    yield states
    os.seteuid(before)
    states.path.chmod(0o700)


def test_the_state_of_another_user_is_not_taken_for_none(locked_away: StateDir) -> None:
    for read in (
        lambda: locked_away.load("sales"),
        lambda: locked_away.unended("sales"),
        locked_away.last_tick,
    ):
        with pytest.raises(ConfigError, match="cannot be read: Permission denied") as caught:
            read()
        assert str(locked_away.path) in caught.value.message
        assert "the Agent runs as" in str(caught.value.hint)


def test_the_state_of_another_user_is_not_overwritten(locked_away: StateDir) -> None:
    opened: list[str] = []

    def ports() -> Ports:
        opened.append("ports")
        raise AssertionError

    for only_due in (True, False):
        made = Pass(locked_away, None, only_due=only_due, dry=False, clock=lambda: NOW, ports=ports)
        (result,) = made.run([TARGET])
        assert isinstance(result.error, ConfigError)
        assert "cannot be read" in result.error.message
        assert not result.recorded
    assert opened == []
    writes: list[Callable[[], object]] = [
        lambda: locked_away.save("sales", FULL, NOW),
        lambda: locked_away.save_tick(NOW),
        lambda: contextlib.ExitStack().enter_context(locked_away.lock("sales")),
    ]
    for write in writes:
        with pytest.raises(ConfigError):
            write()


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    states = StateDir(tmp_path / "state")
    assert states.load("sales") == TargetState()
    for outcome in [None, *Outcome]:
        states.save("sales", replace(FULL, outcome=outcome), NOW)
        loaded = states.load("sales")
        assert loaded == replace(FULL, outcome=outcome)
        assert type(loaded.outcome) is type(outcome)
    assert states.load("other") == TargetState()


@pytest.mark.parametrize("made", [True, False])
def test_a_symlinked_state_directory_is_as_good_as_its_target(tmp_path: Path, *, made: bool) -> None:
    if made:
        (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    states = StateDir(tmp_path / "link")
    with states.lock("sales"):
        states.begin("sales", NOW)
        states.save("sales", FULL, NOW)
    states.save_tick(NOW)
    other = StateDir(tmp_path / "real")
    assert (other.load("sales"), other.unended("sales"), other.last_tick()) == (FULL, NOW, NOW)


def test_every_field_is_kept() -> None:
    empty = TargetState()
    assert [f.name for f in fields(TargetState) if getattr(FULL, f.name) == getattr(empty, f.name)] == []


finite = st.integers(-(10**10), 10**10) | st.floats(-1e10, 1e10)
states_ = st.builds(
    TargetState,
    account=st.text(),
    detail=st.text() | st.just("\ud800"),
    started_at=finite,
    next_try=finite,
    failures=st.integers(0, 10**6),
    outcome=st.none() | st.sampled_from(Outcome),
    plan=st.dictionaries(st.text(), st.none() | st.text() | st.lists(st.integers())),
)


@on_disk
@given(states_)
def test_any_state_survives_the_disk(tmp_path: Path, state: TargetState) -> None:
    states = StateDir(tmp_path)
    states.save("sales", state, NOW)
    assert states.load("sales") == state


def test_the_file_is_private_and_plain(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        StateDir(tmp_path / "a" / "state").save("sales", FULL, NOW)
    finally:
        os.umask(before)
    file = tmp_path / "a" / "state" / "targets" / "sales.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for directory in (file.parent, file.parent.parent, file.parent.parent.parent):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert json.loads(file.read_bytes()) == {"format": 1, **asdict(FULL)}


def test_a_newer_format_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    states = StateDir(tmp_path)
    content = json.dumps({"format": FORMAT + 1, "key": ["a newer idea"]}).encode()
    with pytest.raises(ConfigError, match="format 2, this vault-asc writes format 1") as caught:
        damaged(states, content)
    assert "newer vault-asc" in str(caught.value.hint)
    assert (tmp_path / "targets" / "sales.json").read_bytes() == content


def test_fields_of_another_release_of_this_format_are_ignored(tmp_path: Path) -> None:
    content = json.dumps({"format": FORMAT, **asdict(FULL), "colour": "red"}).encode()
    assert damaged(StateDir(tmp_path), content) == FULL
    assert damaged(StateDir(tmp_path), b'{"format": 1, "account": "default"}') == TargetState(account="default")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"x"',
        b"{}",
        b'{"account": "default"}',
        b'{"format": "2"}',
        b'{"format": null}',
        b'{"format": []}',
        b'{"format": 0, "account": "default"}',
        b'{"format": NaN}',
        b'{"format": 1, "account": null}',
        b'{"format": 1, "account": 1}',
        b'{"format": 1, "plan": "x"}',
        b'{"format": 1, "plan": []}',
        b'{"format": 1, "outcome": "splendid"}',
        b'{"format": 1, "outcome": 1}',
        b'{"format": 1, "started_at": true}',
        b'{"format": 1, "started_at": "1"}',
        b'{"format": 1, "started_at": NaN}',
        b'{"format": 1, "next_try": Infinity}',
        b'{"format": 1, "started_at": 1' + b"0" * 400 + b"}",
        b'{"format": 1, "started_at": ' + b"9" * 5000 + b"}",
        b'{"format": 1, "plan": ' + b"[" * 100_000,
        b"\x80\x81",
        b"\x00" * 300,
    ],
)
def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, content: bytes) -> None:
    state = damaged(StateDir(tmp_path), content)
    assert state == TargetState()
    assert due(TARGET, state, None, NOW) == "never pushed"


def usable(state: TargetState) -> None:
    """That arithmetic and order, as the schedule needs them, are possible."""
    assert isinstance(due(TARGET, state, None, NOW), str | None)
    assert sorted([next_due(TARGET, state), refresh_at("sales", state), state.remaining(NOW), NOW])


@on_disk
@given(st.binary(max_size=200), st.integers(0, 600), st.integers(0, 255))
@example(b"", 3, 0)
def test_random_and_torn_bytes_never_crash(tmp_path: Path, content: bytes, cut: int, byte: int) -> None:
    whole = json.dumps({"format": FORMAT, **asdict(FULL)}).encode()
    for data in (content, whole[:cut], whole[:cut] + content, whole[:cut] + bytes([byte]) + whole[cut + 1 :]):
        try:
            usable(damaged(StateDir(tmp_path), data))
        except ConfigError as error:
            refusal = error.message
            assert "format" in refusal


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)


@on_disk
@given(st.dictionaries(st.sampled_from(["format", *(f.name for f in fields(TargetState))]), anything), st.booleans())
def test_any_json_never_crashes(tmp_path: Path, data: dict[str, Any], right: bool) -> None:
    content = json.dumps({**data, **({"format": FORMAT} if right else {})}).encode()
    try:
        usable(damaged(StateDir(tmp_path), content))
    except ConfigError as error:
        refusal = error.message
        assert "format" in refusal
        assert not right


def test_a_target_has_one_lock_and_others_have_theirs(tmp_path: Path) -> None:
    states = StateDir(tmp_path / "new")
    with states.lock("sales"):
        with pytest.raises(BusyError), states.lock("sales"):
            pytest.fail("locked twice")
        with states.lock("apps"):
            states.save("sales", FULL, NOW)
    with states.lock("sales"):
        assert states.load("sales") == FULL


def left_by_killed(*files: Path) -> list[Path]:
    """Temporary files of these, just written."""
    found = [file.with_name(f".{file.name}.0123abcd.tmp") for file in files]
    for file in found:
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"half")
    return found


def test_a_start_sweeps_what_killed_writers_left_and_nothing_else(tmp_path: Path) -> None:
    states = StateDir(tmp_path / "state")
    with states.lock("sales"):
        states.save("sales", FULL, NOW)
    gone = left_by_killed(*(states.path / "targets" / f"{name}.json" for name in ("sales", "apps", "removed")))
    gone += left_by_killed(tmp_path / "a" / "sales.jwt", tmp_path / "b" / "token")
    kept = left_by_killed(tmp_path / "a" / "sales.jwt.other", tmp_path / "b" / "sales.jwt", tmp_path / "c" / "token")
    files = {"sales": "a/sales.jwt", "apps": "b/token", "new": "missing/token"}
    states.sweep([TARGET._replace(name=name, token_file=tmp_path / file) for name, file in files.items()] + [TARGET])
    assert [file for file in gone if file.exists()] == []
    assert [file for file in kept if not file.exists()] == []
    assert states.load("sales") == FULL
    StateDir(tmp_path / "never").sweep([TARGET])
    assert not (tmp_path / "never").exists()


def test_what_a_push_writes_at_this_moment_is_not_swept(tmp_path: Path) -> None:
    states = StateDir(tmp_path / "state")
    with states.lock("sales"), states.lock("apps"):
        written = left_by_killed(states.path / "targets" / "sales.json", tmp_path / "sales.jwt")
    (left,) = left_by_killed(tmp_path / "apps.jwt")
    targets = [TARGET._replace(name=name, token_file=tmp_path / f"{name}.jwt") for name in ("sales", "apps")]
    with states.lock("sales"):
        states.sweep(targets)
    assert not left.exists()
    assert all(file.exists() for file in written)


def test_when_the_agent_last_ticked(tmp_path: Path) -> None:
    states = StateDir(tmp_path / "state")
    assert states.last_tick() == 0
    states.save_tick(NOW)
    assert states.last_tick() == NOW


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"at": "1"}', b'{"at": null}', b'{"at": true}', b'{"at": NaN}', b'{"at": 1e999}']
)
def test_a_damaged_last_tick_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "last_tick.json").write_bytes(content)
    assert StateDir(tmp_path).last_tick() == 0
    (tmp_path / "last_tick.json").write_bytes(b'{"at": 1' + b"0" * 400 + b"}")
    assert StateDir(tmp_path).last_tick() == 0


@pytest.mark.parametrize("content", [b"7", b"7\n", b" 7 \r\n", b"007"])
def test_a_tick_file_is_a_version_and_its_time(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "prod").write_bytes(content)
    os.utime(tmp_path / "prod", (NOW, NOW))
    assert read_tick(tmp_path, "prod") == Tick(7, NOW)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"<no value>\n",
        b"-7",
        b"+7",
        b"7.0",
        b"1_000",
        b"7 8",
        "\u0667".encode(),
        b"\xb2",
        b"\xff",
        b"0x7",
        b"v7",
    ],
)
def test_a_tick_file_that_is_no_version_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "prod").write_bytes(content)
    assert read_tick(tmp_path, "prod") is None


def test_no_tick_file_is_none(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    assert read_tick(tmp_path, "missing") is None
    assert read_tick(tmp_path, "dir") is None
    assert read_tick(tmp_path / "missing", "prod") is None


@on_disk
@given(st.binary(max_size=32) | st.from_regex(rb"[0-9]{1,32}", fullmatch=True))
def test_any_tick_file_is_read_or_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "prod").write_bytes(content)
    tick = read_tick(tmp_path, "prod")
    assert tick is None or tick.version == int(content)


def test_who_looks_whether_a_service_is_there_is_not_in_its_way(tmp_path: Path) -> None:
    states = StateDir(tmp_path / "state")
    assert states.is_served() is False
    assert not states.path.exists()
    with states.served():
        assert states.is_served() is True
        with pytest.raises(BusyError, match='another "vault-asc run"'), states.served():
            pass
    assert states.is_served() is False
    looked_at = os.open(states.path / "run.lock", os.O_RDONLY)
    fcntl.flock(looked_at, fcntl.LOCK_SH)
    assert states.is_served() is False
    threading.Timer(0.02, os.close, [looked_at]).start()
    with states.served():
        assert states.is_served() is True


def test_a_service_that_cannot_be_seen_is_neither_there_nor_away(tmp_path: Path) -> None:
    states = StateDir(tmp_path / "state")
    states.path.mkdir()
    (states.path / "run.lock").symlink_to("elsewhere")
    assert states.is_served() is None
