"""Records and notes as they lie in KV: what is written comes back, and what says too little or too much is refused."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import keys
from vault_asc.key.identity import ENTERPRISE, Identity, identity
from vault_asc.names import Custody
from vault_asc.record import BadRecordError, Note, Record, State

WHERE = "secret/asc/keys/prod"
TEAM = identity(key_id=keys.KEY_ID, issuer_id=keys.ISSUER_ID, individual=False)
NUMBERS = st.integers(min_value=1, max_value=10_000)
TEXTS = st.text("abcXYZ019 -:()\u00e4\u4e2d", max_size=40)
KEY_IDS = st.text("ABCXYZ0123456789", min_size=2, max_size=64)
FINGERPRINTS = st.text("0123456789abcdef", min_size=64, max_size=64)


def identities() -> st.SearchStrategy[Identity]:
    return st.builds(
        lambda team, audience: identity(
            key_id=keys.KEY_ID, issuer_id=keys.ISSUER_ID if team else None, individual=not team, audience=audience
        ),
        st.booleans(),
        st.sampled_from([TEAM.audience, ENTERPRISE]),
    )


def records() -> st.SearchStrategy[Record]:
    def made(custody: Custody, number: int, other: int | None, **facts: Any) -> Record:
        in_transit, in_engine = custody is Custody.TRANSIT, custody is Custody.ENGINE
        return Record(
            custody=custody,
            private_version=number if custody is Custody.KV else other,
            transit_key="asc.team-a.prod" if in_transit or other else None,
            transit_version=number if in_transit else None,
            role="sales" if in_engine or other else None,
            engine_version=number if in_engine else None,
            public_key=None if custody is Custody.KV else "MFkw",
            **facts,
        )

    return st.builds(
        made,
        st.sampled_from(Custody),
        NUMBERS,
        st.none() | NUMBERS,
        identity=identities(),
        spki_sha256=FINGERPRINTS,
        state=st.sampled_from(State),
        imported_at=TEXTS,
        imported_by=TEXTS,
        changed_by=TEXTS,
        moved_from=st.none() | st.sampled_from(Custody),
        removing=st.none() | st.sampled_from(Custody),
    )


@given(record=records())
@settings(deadline=None)
def test_what_is_written_comes_back(record: Record) -> None:
    data = record.dump()
    assert None not in data.values()
    assert all(type(value) in {str, int} for value in data.values())
    assert Record.load(data, WHERE) == record


@given(
    note=st.builds(
        Note,
        st.none() | NUMBERS,
        KEY_IDS,
        FINGERPRINTS,
        TEXTS,
        TEXTS,
        transit_version=st.none() | NUMBERS,
        engine_version=st.none() | NUMBERS,
    )
)
@settings(deadline=None)
def test_note_comes_back(note: Note) -> None:
    assert None not in note.dump().values()
    assert Note.load(note.dump()) == note
    assert note.version(Custody.KV) == note.private_version
    assert note.version(Custody.TRANSIT) == note.transit_version
    assert note.version(Custody.ENGINE) == note.engine_version


IN_KV = Record(Custody.KV, TEAM, "ab" * 32, State.ENABLED, 3, "2026-03-01T12:00:00Z", "ada", "bob")
IN_TRANSIT = IN_KV._replace(
    custody=Custody.TRANSIT, private_version=None, transit_key="asc.prod", transit_version=2, public_key="MFkw"
)

IN_ENGINE = IN_KV._replace(
    custody=Custody.ENGINE, private_version=None, role="sales", engine_version=4, public_key="MFkw"
)


def test_version_is_that_of_the_custody() -> None:
    both = IN_TRANSIT._replace(private_version=9)
    assert (both.version, both.version_name) == (2, "Transit version 2")
    assert (IN_KV.version, IN_KV.version_name) == (3, "private version 3")
    everywhere = IN_ENGINE._replace(private_version=9, transit_version=2)
    assert (everywhere.version, everywhere.version_name) == (4, "engine version 4")
    with pytest.raises(BadRecordError, match="names no Transit version"):
        _ = IN_TRANSIT._replace(transit_version=None).version
    with pytest.raises(BadRecordError, match="names no engine version"):
        _ = IN_ENGINE._replace(engine_version=None).version


@pytest.mark.parametrize(
    ("numbers", "name"),
    [((5, None, None), "private version 5"), ((5, 6, None), "Transit version 6"), ((5, 6, 7), "engine version 7")],
)
def test_note_tells_of_the_version_in_the_strictest_custody(numbers: tuple[int | None, ...], name: str) -> None:
    private, in_transit, in_engine = numbers
    note = Note(private, keys.OTHER_KEY_ID, "cd" * 32, "2026-03-01T12:00:00Z", "ada", in_transit, in_engine)
    assert note.version_name == name


@pytest.mark.parametrize("absent", [True, False], ids=["absent", "null"])
@pytest.mark.parametrize(
    ("record", "name"),
    [
        (IN_KV, "private_version"),
        (IN_TRANSIT, "transit_key"),
        (IN_TRANSIT, "transit_version"),
        (IN_TRANSIT, "public_key"),
        (IN_ENGINE, "role"),
        (IN_ENGINE, "engine_version"),
        (IN_ENGINE, "public_key"),
    ],
)
def test_record_without_what_its_custody_needs_is_refused(record: Record, name: str, absent: bool) -> None:
    data = record.dump() | {name: None}
    if absent:
        del data[name]
    with pytest.raises(BadRecordError, match=f'"{WHERE}" is no record of vault-asc: .*{name}') as caught:
        Record.load(data, WHERE)
    assert caught.value.hint


@pytest.mark.parametrize(
    "change",
    [
        {"custody": "engine"},  # it has no role
        {"custody": "strongbox"},
        {"custody": None},
        {"moved_from": "strongbox"},
        {"removing": "strongbox"},
        {"transit_version": 0},
        {"transit_version": -1},
        {"transit_version": "newest"},
        {"transit_version": [1]},
        {"private_version": 0},
        {"engine_version": 0},
        {"engine_version": "newest"},
        *({"role": name} for name in ("", "a/b", "../keys/prod", "Sales", "a b", "a?b", "\u00e4", "a" * 64, 7)),
        {"key_id": "K"},
        {"key_id": ["7KDM1QZT0B"]},
        {"key_id": "7KDM1QZT0B\n"},
        {"issuer_id": {"a": 1}},
        {"issuer_id": 5},
        *(
            {"transit_key": name}
            for name in ("", "a/b", "../asc.prod", "asc..prod", ".asc", "asc.prod/sha2-512", "a b", "a?b", "\u00e4", 7)
        ),
    ],
    ids=str,
)
def test_record_that_would_lead_elsewhere_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(BadRecordError, match="is no record of vault-asc"):
        Record.load(IN_TRANSIT.dump() | change, WHERE)


def test_what_a_newer_version_adds_is_passed_over() -> None:
    assert Record.load(IN_TRANSIT.dump() | {"region": "eu"}, WHERE) == IN_TRANSIT


@pytest.mark.parametrize(
    "data", [{}, {"private_version": 0}, {"key_id": "K"}, {"transit_version": "two"}, {"engine_version": 0}]
)
def test_what_is_no_note_means_that_nothing_is_staged(data: dict[str, object]) -> None:
    assert Note.load(data) is None
    full = Note(4, keys.OTHER_KEY_ID, "cd" * 32, "2026-03-01T12:00:00Z", "ada", 5).dump()
    assert (Note.load(full | data) is None) == bool(data)
