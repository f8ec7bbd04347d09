"""The parts of `audit trace` that need no server: lines, marks, one pass, files, and what is concluded."""

import gzip
import json
import os
import threading
from base64 import b64decode
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import keys
from vault_asc import tokens
from vault_asc.audit import (
    EngineSigner,
    KnownKey,
    Reader,
    Reads,
    Signed,
    Signer,
    Similar,
    Trace,
    leaked_token,
    presigned,
    reasons,
    verdict,
)
from vault_asc.audit.entry import Caller, Entry, Signature, parse
from vault_asc.audit.log import lines
from vault_asc.audit.marks import marks
from vault_asc.audit.search import Findings, Sought, search, together
from vault_asc.audit.token_reads import SoughtReads, TokenRead, Window, of_engine, token_read, unanswered, window_of
from vault_asc.audit.unwrapped import unwrapped
from vault_asc.errors import ConfigError, NotFoundError
from vault_asc.key.identity import identity
from vault_asc.key.public_key import public_key
from vault_asc.names import Custody
from vault_asc.secret import Secret
from vault_asc.tokens import Token, TokenRequest

SALT = "hmac-sha256:" + "5a" * 32
INPUT = "hmac-sha256:" + "1b" * 32
PRIVATE = "secret/data/asc/private/prod"
KID_HASH = "hmac-sha256:" + "4e" * 32
EXPIRY = 1_772_367_480  # of what was minted at 2026-03-01T12:00:00Z
READS = SoughtReads("asc", EXPIRY, Window(1_772_366_350, 1_772_366_640), KID_HASH)
SOUGHT = Sought("", "asc-transit/sign/", frozenset({PRIVATE}), 2_000_000_000, frozenset({INPUT}), SALT, READS)


def line(**changes: Any) -> bytes:
    """A response of a signing call; changes are given as `request_path` and so on."""
    data = {"input": INPUT, "marshaling_algorithm": SALT, "key_version": 3}
    found: dict[str, Any] = {
        "time": "2026-03-01T12:00:00.123456789Z",
        "type": "response",
        "auth": {
            "display_name": "approle",
            "policies": ["minter"],
            "metadata": {"role_name": "nightly", "host": "h1"},
            "entity_id": "7e0e7d92-8deb-3a9f-a29c-f7dab0273028",
        },
        "request": {
            "id": "r1",
            "operation": "update",
            "namespace": {"id": "root"},
            "path": "asc-transit/sign/asc.prod",
            "data": data,
            "remote_address": "192.0.2.7",
        },
        "response": {"data": {"key_version": 3, "signature": "hmac-sha256:00"}},
    }
    for name, value in changes.items():
        part, _, member = name.partition("_")
        if member:
            found[part][member] = value
        else:
            found[part] = value
    return json.dumps(found, separators=(",", ":")).encode() + b"\n"


def read(number: int = 1, **changes: Any) -> bytes:
    data = {"data": {"key_id": "hmac"}, "metadata": {"version": number}}
    return line(request_path=PRIVATE, request_operation="read", request_data={}, response={"data": data}, **changes)


def entry(**changes: Any) -> Entry:
    found = parse(line(**changes))
    assert found is not None
    return found


# -- lines -----------------------------------------------------------------------------------------------------------


def test_a_line_tells_who_did_what() -> None:
    found = entry()
    assert found.caller == Caller(
        "7e0e7d92-8deb-3a9f-a29c-f7dab0273028",
        "approle",
        ("minter",),
        (("host", "h1"), ("role_name", "nightly")),
    )
    assert (found.kind, found.path, found.operation) == ("response", "asc-transit/sign/asc.prod", "update")
    assert (found.request_id, found.remote_address, found.namespace) == ("r1", "192.0.2.7", "")
    assert found.time == "2026-03-01T12:00:00.123456789Z"
    assert found.moment == pytest.approx(1_772_366_400.123456)
    assert list(found.inputs()) == [INPUT]
    assert list(found.signatures()) == [Signature(3, "hmac-sha256:00")]
    assert not found.failed
    assert not found.gave_secret()


def test_a_batch_and_a_namespace() -> None:
    found = entry(
        request_data={"batch_input": [{"input": "a"}, "none", {"input": 7}, {"input": "b"}]},
        response={"data": {"batch_results": [{"error": "x"}, {"signature": "s", "key_version": 2}]}},
        request_namespace={"id": "x", "path": "team-a/"},
    )
    assert (list(found.inputs()), list(found.signatures())) == (["a", "b"], [Signature(2, "s")])
    assert found.namespace == "team-a"


@pytest.mark.parametrize("before", [b"", b"@cee: ", b"2026-03-01T12:00:00Z stdout F ", b"  "])
def test_what_a_collector_puts_before_a_line_does_not_matter(before: bytes) -> None:
    assert parse(before + line()) == parse(line())


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n",
        b"no json",
        b"{}",
        b"[1]",
        line()[:200],
        line() + line(),
        line(time="yesterday"),
        line(request=[]),
        b"\xff\xfe{}",
        b'{"time":' + b"[" * 100_000,
    ],
)
def test_what_is_no_entry_is_none(text: bytes) -> None:
    assert parse(text) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"auth": None},
        {"auth": "x"},
        {"response": []},
        {"auth_policies": 3, "auth_metadata": "x", "request_data": "x", "request_namespace": None},
        {"response": {"data": {"batch_results": 3}}},
        {"time": "2026-03-01T12:00:00"},
    ],
)
def test_an_entry_of_another_shape_is_read_as_far_as_it_goes(changes: dict[str, Any]) -> None:
    found = entry(**changes)
    assert found.request_id == "r1"
    list(found.inputs())
    list(found.signatures())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(part=st.sampled_from(["time", "type", "auth", "request", "response", "error", "request_data"]), value=JSON)
def test_no_line_makes_it_stumble(part: str, value: Any) -> None:
    found = parse(line(**{part: value}))
    if found is not None:
        list(found.inputs())
        list(found.signatures())
        found.gave_secret()
        found.secret_version()


# -- the token -------------------------------------------------------------------------------------------------------


def test_a_token_is_read_wherever_it_is_cut_off() -> None:
    token = minted()
    whole = token.value.reveal()
    assert leaked_token(f"Authorization: Bearer {whole}\n") == token
    for missing in range(1, 86):
        found = leaked_token(f'{{"token": "{whole[:-missing]}"}}')
        assert found == token._replace(value=Secret(whole[:-missing]))


@pytest.mark.parametrize(
    ("header", "claims"),
    [
        ({}, {"iat": 1, "exp": 2}),
        ({"kid": "x"}, {"iat": 1}),
        ({"kid": "x"}, {"iat": -1, "exp": 2}),
        ({"kid": "x"}, {"iat": 1, "exp": 10**30}),
        ({"kid": "x"}, {"iat": 1, "exp": 1e400}),
    ],
)
def test_what_is_no_token_of_app_store_connect(header: dict[str, Any], claims: dict[str, Any]) -> None:
    assert leaked_token(jwt.encode(claims, keys.ec_key(), "ES256", header)) is None


def test_a_text_without_token() -> None:
    assert leaked_token("nothing") is None


# -- marks -----------------------------------------------------------------------------------------------------------


def minted(signed_at: float = 1_772_366_400) -> Token:
    who = identity(key_id=keys.KEY_ID, issuer_id=keys.ISSUER_ID, individual=False)
    return tokens.mint(who, TokenRequest(), keys.private_key(), signed_at)


def test_the_marks_of_a_token() -> None:
    token = minted()
    mark = marks(token)
    text, _, third = token.value.reveal().rpartition(".")
    assert b64decode(mark.content).decode() == text
    assert mark.signatures(2)[0] == f"vault:v2:{third}"
    assert len(set(mark.signatures(2))) == 4
    public = public_key(keys.private_key().public_key_pem())
    for jose in mark.signatures(1)[::2]:
        assert public.verifies(jwt.utils.base64url_decode(jose.removeprefix("vault:v1:")), text.encode())


def test_the_twin_of_a_signature_has_the_same_marks() -> None:
    token = minted()
    jose = marks(token).signatures(1)
    text = token.value.reveal().rpartition(".")[0]
    twin = token._replace(value=Secret(f"{text}.{jose[2].removeprefix('vault:v1:')}"))
    assert set(marks(twin).signatures(1)) == set(jose)


@pytest.mark.parametrize("third", ["", "A" * 40, "A" * 96, "A" * 85, "!" * 86])
def test_what_is_no_signature_has_no_marks(third: str) -> None:
    text = minted().value.reveal().rpartition(".")[0]
    mark = marks(minted()._replace(value=Secret(f"{text}.{third}")))
    assert mark.signatures(1) == []
    assert mark.content


@pytest.mark.parametrize("s", [0, 2**256 - 1])
def test_a_signature_that_nobody_can_have_made(s: int) -> None:
    text = minted().value.reveal().rpartition(".")[0]
    third = jwt.utils.base64url_encode((1).to_bytes(32, "big") + s.to_bytes(32, "big")).decode()
    assert isinstance(marks(minted()._replace(value=Secret(f"{text}.{third}"))).signatures(1), list)


def test_marks_and_what_is_sought_are_not_shown() -> None:
    mark = marks(minted())
    assert mark.content not in repr(mark)
    assert "secret-value" not in repr(replace(SOUGHT, values=frozenset({"secret-value"})))


# -- one pass --------------------------------------------------------------------------------------------------------


def test_one_pass_keeps_what_matters() -> None:
    rows = [
        line(type="request", response=None),
        line(),
        line(request_data={"input": "hmac-sha256:other"}, request_id="r2"),
        line(request_path="sys/audit-hash/file", request_data={"input": INPUT}),
        line(request_path="asc-transit/verify/asc.prod"),
        line(request_namespace={"id": "x", "path": "team-a/"}),
        b"\n",
        line()[:-300],
        b'"asc-transit/sign/' + line()[-200:],
        read(),
        read(time="2026-03-01T13:00:00Z"),
        read(2),
        read(error="permission denied"),
        read(type="request"),
        read(time="2040-03-01T13:00:00Z"),
        line(request_path=f"{PRIVATE}-other", request_operation="read"),
    ]
    found = search(rows, SOUGHT)
    assert found.lines == len(rows)
    assert found.unreadable == 1
    assert [e.kind for e in found.entries] == ["request", "response"]
    assert (found.signing, found.salted) == (5, True)
    assert [(reader.version, reads.times) for reader, reads in found.readers.items()] == [(1, 2), (2, 1)]
    assert found.first is not None
    assert found.last is not None
    assert (found.first.kind, found.last.path) == ("request", f"{PRIVATE}-other")


def wrapping(token: str) -> dict[str, Any]:
    return {"wrap_info": {"token": f"hmac-sha256:{token}", "accessor": f"hmac-sha256:a-{token}"}}


def opening(path: str, number: str, **changes: Any) -> bytes:
    changes = {"request_data": {"token": "hmac-sha256:t1"}, **changes}
    return line(request_path=path, request_id=number, **changes)


def test_wrapped_answers_and_what_came_out_are_kept() -> None:
    rows = [
        line(request_data={"input": "hmac-sha256:other"}, response=wrapping("t1"), request_id="sign"),
        line(request_data={"input": "hmac-sha256:other"}, response=wrapping("t9"), request_id="unopened"),
        opening("sys/wrapping/lookup", "look", response={"data": {"creation_ttl": 60}}),
        opening("sys/wrapping/rewrap", "again", response=wrapping("t2")),
        opening("sys/wrapping/unwrap", "denied", error="permission denied"),
        opening("sys/wrapping/unwrap", "request", type="request"),
        opening("sys/wrapping/unwrap", "other", request_data={"token": "hmac-sha256:x"}),
        opening("sys/wrapping/unwrap", "secret", response={"data": {"secret_id": "hmac"}}),
        opening("sys/wrapping/unwrap", "end", request_data={}, request_client_token="hmac-sha256:t2"),
    ]
    found = search(reversed(rows), SOUGHT)
    assert {e.request_id for e in found.entries} == {"sign", "unopened"}
    assert {e.request_id for e in found.opened} == {"again", "other", "end"}
    entries, opened, *_ = together([found, found])
    assert [(link.signing.request_id, link.opening.request_id) for link in unwrapped(entries, opened)] == [
        ("sign", "end")
    ]


def test_a_wrapping_token_in_the_body_is_the_one_that_counts() -> None:
    """Otherwise whoever has somebody's wrapping token could make own signatures look like theirs."""
    mine, theirs = line(response=wrapping("t1"), request_id="mine"), line(response=wrapping("t2"), request_id="theirs")
    rows = [mine, theirs, opening("sys/wrapping/unwrap", "end", auth_client_token="hmac-sha256:t2")]
    entries, opened, *_ = together([search(rows, SOUGHT)])
    assert [link.signing.request_id for link in unwrapped(entries, opened)] == ["mine"]
    read = opening("cubbyhole/response", "end", auth_client_token="hmac-sha256:t2", response={"data": {"response": ""}})
    entries, opened, *_ = together([search([mine, theirs, read], SOUGHT)])
    assert [link.signing.request_id for link in unwrapped(entries, opened)] == ["theirs"]


def test_a_log_of_another_device_has_no_salt_of_ours() -> None:
    found = search([line(request_data={"input": INPUT, "marshaling_algorithm": "hmac-sha256:ff"})], SOUGHT)
    assert (found.signing, found.salted, len(found.entries)) == (1, False, 1)


def test_values_in_clear_are_found_too() -> None:
    sought = replace(SOUGHT, values=frozenset({"aW5wdXQ+/w=="}))
    assert len(search([line(request_data={"input": "aW5wdXQ+/w=="})], sought).entries) == 1


def test_lines_that_name_a_path_and_are_no_entry_are_counted() -> None:
    rows = [b'{"input":"%s","path":"asc-transit/sign/x"}\n' % INPUT.encode(), b"{}\n", b"x" * 50 + b"\r\n", b"}}"]
    found = search(rows, SOUGHT)
    assert (found.unreadable, found.first, found.last) == (2, None, None)


def test_logs_are_put_together_in_order_of_time() -> None:
    late = [line(request_id="late", time="2026-03-01T13:00:00Z"), read(time="2026-03-01T13:00:00Z")]
    early = [line(request_id="early"), read(), line(request_id="late", time="2026-03-01T13:00:00Z")]
    entries, _, readers, _ = together([search(late, SOUGHT), search(early, SOUGHT)])
    assert [e.request_id for e in entries] == ["early", "late"]
    ((_, reads),) = readers.items()
    assert (reads.times, reads.first[1], reads.last[1]) == (
        2,
        "2026-03-01T12:00:00.123456789Z",
        "2026-03-01T13:00:00Z",
    )


# -- the engine ------------------------------------------------------------------------------------------------------


def given_answer(**changes: Any) -> bytes:
    """What the engine answers with, of the token that is looked for."""
    data = {"token": "hmac-sha256:1", "key_id": KID_HASH, "key_version": 2, "expires_at": EXPIRY}
    part: dict[str, Any] = {
        "request_path": "asc/token/sales",
        "request_mount_type": "asc",
        "request_operation": "read",
        "request_data": None,
        "response": {"secret": {"lease_id": "asc/token/sales/x"}, "data": data},
    }
    return line(**(part | changes))


def test_an_answer_of_the_engine() -> None:
    found = parse(given_answer())
    assert found is not None
    assert (found.mount_type, found.lease_id, token_read(found)) == (
        "asc",
        "asc/token/sales/x",
        TokenRead("asc", "sales"),
    )
    assert token_read(entry()) is None


@pytest.mark.parametrize(
    ("path", "kind", "engine"),
    [
        ("asc/token/sales", "asc", True),
        ("teams/a/asc/token/sales", "vault-plugin-secrets-asc", True),
        ("asc/token/sales", "", True),
        ("asc/token/sales", "plugin", True),
        ("asc/token/sales", "kv", False),
        ("asc/token/sales", "generic", False),
        ("other/token/sales", "", False),
        ("other/token/sales", "kv", False),
        ("auth/token/create", "token", False),
        ("asc/token/sales/more", "asc", False),
        ("asc/roles/sales", "asc", False),
    ],
)
def test_what_is_a_mount_of_the_engine(path: str, kind: str, *, engine: bool) -> None:
    found = parse(given_answer(request_path=path, request_mount_type=kind))
    assert found is not None
    assert of_engine(found, "asc") is engine


def test_one_pass_keeps_the_reads_that_matter() -> None:
    other = {"data": {"token": "x", "key_id": "hmac", "expires_at": 1}}
    late = {"time": "2026-03-01T18:00:00Z"}
    rows = [
        given_answer(request_id="this"),
        given_answer(request_id="then", response=other),
        given_answer(request_id="late", response=other, **late),
        given_answer(request_id="wrapped", response=wrapping("t1"), **late),
        given_answer(request_id="asked", type="request", response=None),
        given_answer(request_id="asked late", type="request", response=None, **late),
        given_answer(request_id="copy", request_mount_type="kv"),
        given_answer(request_id="elsewhere", request_mount_type="kv", response=other),
        given_answer(request_id="namespace", request_namespace={"id": "x", "path": "team-a/"}),
        line(request_path="auth/token/create", request_mount_type="token", request_id="login"),
    ]
    found = search(rows, SOUGHT)
    assert [e.request_id for e in found.token_reads] == ["this", "then", "wrapped", "asked", "copy", "namespace"]
    assert (found.given, found.given_salted, found.unreadable) == (6, True, 0)
    assert [e.request_id for e in unanswered(found.token_reads)] == ["asked"]
    assert search(rows[1:3], SOUGHT).given_salted is False


@pytest.mark.parametrize("issued_at", [0, 5, 9_999_999_000])
@pytest.mark.parametrize("lifetime", [0, 5, 1200])
def test_the_window_of_any_token(issued_at: int, lifetime: int) -> None:
    token = minted()._replace(issued_at=issued_at, expires_at=issued_at + lifetime)
    window = window_of(token)
    assert window.begin <= window.end
    sought = replace(SOUGHT, reads=READS._replace(window=window))
    assert search([given_answer(response=None)], sought).token_reads == ()


# -- files -----------------------------------------------------------------------------------------------------------


def test_plain_and_packed_files(tmp_path: Path) -> None:
    rows = [line(request_id=f"r{number}") for number in range(2000)]
    plain, packed = tmp_path / "audit.log", tmp_path / "audit.log.1.gz"
    plain.write_bytes(b"".join(rows))
    packed.write_bytes(gzip.compress(b"".join(rows)))
    assert [*lines(plain)] == rows == [*lines(packed)]


def test_a_packed_file_that_ends_early_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    rows = [line(request_id=os.urandom(20).hex()) for _ in range(500)]
    packed = tmp_path / "audit.log.gz"
    packed.write_bytes(gzip.compress(b"".join(rows))[:-2000])
    found = search(lines(packed), SOUGHT)
    assert 100 < len(found.entries) < 500
    assert found.unreadable == 1


def test_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(line() * 100))
    rows = lines(pipe)
    writer.start()
    assert len([*rows]) == 100
    writer.join()


def damaged(path: Path) -> None:
    whole = bytearray(gzip.compress(line() * 100))
    whole[15:25] = b"\xff" * 10
    path.write_bytes(whole)


@pytest.mark.parametrize(
    ("name", "make", "says"),
    [
        ("missing", lambda _: None, "cannot be read: no such file"),
        ("nul\0", lambda _: None, "cannot be read: no such path"),
        ("folder", Path.mkdir, "is no file"),
        ("plain.gz", lambda path: path.write_bytes(line()), "is not packed by gzip"),
        ("damaged.gz", damaged, "is not packed by gzip"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, make: Any, says: str) -> None:
    make(tmp_path / name)
    with pytest.raises(ConfigError, match=says):
        list(lines(tmp_path / name))


def test_a_device_is_no_log() -> None:
    with pytest.raises(ConfigError, match="is no file"):
        list(lines(Path("/dev/zero")))


# -- conclusions -----------------------------------------------------------------------------------------------------

CALLER = Caller("", "root", ("root",), ())
SINCE = 1_772_362_800.0  # 2026-03-01T11:00:00Z


def known(*custodies: Custody) -> KnownKey:
    return KnownKey("prod", True, custodies[0], frozenset(custodies), frozenset({1}), frozenset(), None, since=SINCE)


LONG_KNOWN = known(Custody.TRANSIT)._replace(since=None)


def log(first: str = "2026-03-01T11:00:00Z", last: str = "2026-03-01T13:00:00Z", **changes: Any) -> Findings:
    whole: dict[str, Any] = {"lines": 9, "signing": 4, "salted": True, "given": 7, "given_salted": True} | changes
    return Findings(first=entry(time=first), last=entry(time=last), **whole)


def trace(*logs: Findings, keys: Iterable[KnownKey] = (), **changes: Any) -> Trace:
    """Of a token that was minted at 2026-03-01T12:00:00Z."""
    found = {Path(f"audit.log.{number}"): log for number, log in enumerate(logs)}
    return replace(Trace(minted(), "file", tuple(keys), None, (), found, (), 1_772_367_000), **changes)


def whys(found: Trace) -> list[str]:
    return [reason.why for reason in reasons(found)]


def test_what_is_proved_is_no_error() -> None:
    found = trace(log(), keys=[known(Custody.KV)], signed=(Signed(entry(), 1, None),))
    assert (verdict(found), reasons(found)) == (None, [])


def test_signatures_of_the_same_content_are_no_proof() -> None:
    found = trace(log(), keys=[known(Custody.TRANSIT)], similar=(Similar(entry(), None),))
    assert "does not prove" in str(verdict(found))
    assert reasons(found) == []


@pytest.mark.parametrize(
    "custodies",
    [(Custody.KV,), (Custody.TRANSIT, Custody.KV), (Custody.KV, Custody.TRANSIT), (Custody.ENGINE, Custody.KV)],
)
def test_of_a_key_that_was_in_kv_the_log_knows_only_readers(custodies: tuple[Custody, ...]) -> None:
    found = trace(log(), keys=[known(*custodies)], readers={Reader(PRIVATE, 1, CALLER): Reads(1, (1, ""), (1, ""))})
    problem = verdict(found)
    assert isinstance(problem, NotFoundError)
    assert "cannot tell who minted" in problem.message
    assert ("key move prod --custody transit" in str(problem.hint)) is (custodies[0] is Custody.KV)
    assert "key rotate prod FILE" in str(problem.hint)


def test_for_custody_kv_only_the_time_matters() -> None:
    assert whys(trace(log(signing=0, salted=False), keys=[known(Custody.KV)])) == []
    assert "reaches over" in whys(trace(log(last="2026-03-01T11:59:59Z"), keys=[known(Custody.KV)]))[0]


@pytest.mark.parametrize(
    ("logs", "changes", "says"),
    [
        ([log()], {}, "probably signed elsewhere"),
        ([log()], {"genuine": True}, "probably signed elsewhere"),
        ([log()], {"genuine": False}, "forged"),
        ([log()], {"keys": ()}, "no key of this store has the key ID"),
        ([log(last="2026-03-01T11:30:00Z")], {}, "no log given reaches over 2026-03-01T12:00:00Z"),
        ([log(last="2026-03-01T11:59:00Z"), log(first="2026-03-01T12:00:01Z")], {}, "no log given reaches over"),
        ([], {}, "no log given reaches over"),
        ([Findings(lines=3)], {}, "no log given reaches over"),
        ([log(first="2026-03-01T11:30:00Z")], {}, "after the key was imported (2026-03-01T11:00:00Z): it may"),
        ([log(first="2026-03-01T11:30:00Z")], {"keys": [LONG_KNOWN]}, "begin at 2026-03-01T11:30:00Z: it may"),
        ([log(last="2026-03-01T12:05:00Z")], {}, "end at 2026-03-01T12:05:00Z: it may have been signed after, until"),
        (
            [log(first="2026-02-28T12:00:00Z", last="2026-03-01T10:00:00Z"), log(first="2026-03-01T11:30:00Z")],
            {},
            "between 2026-03-01T10:00:00Z and 2026-03-01T11:30:00Z there is no entry",
        ),
        ([log()], {"keys": (), "signers": (Signer("asc.prod", 2),)}, 'of version 2 of key "asc.prod" in Transit'),
        ([log(signing=0, salted=False)], {}, "no signing call"),
        ([log(salted=False)], {}, 'none of the 4 signing lines was hashed by audit device "file"'),
    ],
)
def test_why_nothing_was_found(logs: list[Findings], changes: dict[str, Any], says: str) -> None:
    found = replace(trace(*logs, keys=[known(Custody.TRANSIT)]), **changes)
    assert [why for why in whys(found) if says in why]
    problem = verdict(found)
    assert isinstance(problem, NotFoundError)
    assert problem.hint == reasons(found)[0].fix


MINE: Final = known(Custody.ENGINE)


@pytest.mark.parametrize(
    ("logs", "changes", "says"),
    [
        ([log()], {}, "nobody but the engine who has this key"),
        ([log()], {"genuine": False}, "forged"),
        (
            [log()],
            {"keys": (), "engine_signers": (EngineSigner("prod", 3),)},
            'of version 3 of key "prod" in the engine',
        ),
        ([log(given=0, given_salted=False)], {}, "no token of the engine at all"),
        ([log(given_salted=False)], {}, "none of the 7 tokens of the engine in the logs given has this key ID"),
        (
            [log(first="2026-03-01T11:59:11Z")],
            {},
            "do not reach over all of 2026-03-01T11:59:10Z to 2026-03-01T12:04:00Z",
        ),
        ([log(last="2026-03-01T12:03:59Z")], {}, "do not reach over all of"),
        ([log(last="2026-03-01T12:00:00Z"), log(first="2026-03-01T12:02:00Z")], {}, "do not reach over all of"),
        ([], {}, "do not reach over all of"),
        ([log(last="2026-03-01T12:00:00Z")], {"until": 1_772_366_430}, "nobody but the engine who has this key"),
        ([log()], {"held": (Similar(entry(), None),)}, "a copy that somebody has put there"),
    ],
)
def test_why_no_token_of_the_engine_was_found(logs: list[Findings], changes: dict[str, Any], says: str) -> None:
    found = replace(trace(*logs, keys=[MINE]), **changes)
    assert [why for why in whys(found) if says in why]
    problem = verdict(found)
    assert isinstance(problem, NotFoundError)
    assert "no answer of the engine with this token" in problem.message
    assert problem.hint == reasons(found)[0].fix


def test_a_rotated_log_of_the_engine_is_whole() -> None:
    rotated = [log(last="2026-03-01T12:01:00Z"), log(first="2026-03-01T12:01:30Z")]
    assert ["nobody but the engine" in why for why in whys(trace(*rotated, keys=[MINE]))] == [True]


def test_of_a_key_that_was_in_transit_both_are_doubted() -> None:
    found = trace(log(signing=0, given=0), keys=[known(Custody.ENGINE, Custody.TRANSIT)])
    assert ["no signing call" in why or "no token of the engine" in why for why in whys(found)] == [True, True]


@pytest.mark.parametrize(
    ("part", "says"), [("alike", "who was given this token"), ("unanswered", "no log given has their answers")]
)
def test_reads_that_may_be_it_are_no_proof(part: str, says: str) -> None:
    found = trace(log(), keys=[MINE], **{part: (Similar(entry(), None),)})
    assert (reasons(found), says in str(verdict(found))) == ([], True)


def test_only_a_whole_log_accuses_a_copy() -> None:
    short = trace(log(first="2026-03-01T11:30:00Z"), keys=[known(Custody.TRANSIT)])
    assert not [why for why in whys(short) if "signed elsewhere" in why]
    rotated = [log(last="2026-03-01T11:20:00Z"), log(first="2026-03-01T11:50:00Z")]
    assert "signed elsewhere" in whys(trace(*rotated, keys=[known(Custody.TRANSIT)]))[0]


@pytest.mark.parametrize("part", ["wrapped", "opened"])
def test_wrapped_answers_come_before_signed_elsewhere(part: str) -> None:
    found = trace(log(), keys=[known(Custody.TRANSIT)], **{part: (Similar(entry(), None),)})
    assert reasons(found) == []
    assert "had their answers wrapped" in str(verdict(found))


def test_signed_long_before_its_iat() -> None:
    token = minted(1_772_366_400 + 60)  # iat is the time of the entry
    assert presigned(token, entry()) is None
    assert presigned(token._replace(issued_at=token.issued_at + 290), entry()) is None
    assert presigned(token._replace(issued_at=token.issued_at + 3600), entry()) == pytest.approx(3600, abs=1)


def test_one_log_that_fits_is_enough() -> None:
    fitting = trace(
        log(salted=False, signing=0), log(), log(last="2026-03-01T11:30:00Z"), keys=[known(Custody.TRANSIT)]
    )
    assert ["signed elsewhere" in why for why in whys(fitting)] == [True]
