"""Requests that make no sense: every one is answered, with a `RequestError` at worst that holds nothing of a key."""

import functools
import random
import traceback
from typing import Any, Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests import keys
from tests.cli.leaks import Scanner, of_private_key
from tests.engine.mounted import Mounted, team_key, with_role
from vault_asc.engine.backend import PATHS
from vault_asc.engine.fields import Kind
from vault_asc.engine.request import BadEntryError, Operation, RequestError, Response
from vault_asc.key.private_key import parse_private_key

PLANTED: Final = keys.new_p8_pem().decode()
BODY: Final = "".join(PLANTED.splitlines()[1:-1])
SCANNER: Final = Scanner(of_private_key(PLANTED.encode(), "the key"))
FIELDS: Final = sorted({field.name for path in PATHS for field in path.fields})

DEEP: list[Any] = functools.reduce(lambda inner, _: [inner], range(50_000), [])

JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**4400, 10**4401)
    | st.floats()
    | st.text(st.characters(), max_size=40)
    | st.sampled_from([PLANTED, BODY, BODY[:40], PLANTED[:100], "\0", "\ud800", "x" * 100_000, "9" * 5000, "9d" * 5000])
    | st.sampled_from(["prod", "sales", "GET /v1/apps", f"GET /v1/{BODY}", keys.KEY_ID, keys.ISSUER_ID, "600", "true"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
BODIES = st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=8) | st.sampled_from([PLANTED, BODY, "\0"]), JUNK)
CHANGES: Final = ("promote", "rollback", "retire")
SEGMENTS = st.sampled_from(
    ["keys", "roles", "token", "config", "info", "prod", "sales", "stage", "", "..", "\0", *CHANGES]
)
ON_KEY: Final = ("keys/prod", "keys/prod/stage", *(f"keys/prod/{change}" for change in CHANGES))
ROUTES = st.lists(SEGMENTS | st.text(max_size=6), max_size=4).map("/".join) | st.sampled_from(
    [*ON_KEY, "keys/new", "keys/new/stage", "roles/sales", "roles/new", "token/sales", "config", "x" * 100_000]
)


def answered(mounted: Mounted, operation: Operation, path: str, data: dict[str, Any]) -> str:
    """What a client and a log get to see; raises whatever is no clean answer."""
    try:
        response = mounted.ask(operation, path, data)
    except RequestError as error:
        return told(error)
    assert response is None or isinstance(response, Response)
    return repr(response) + str(response.warnings if response else "") + str(public(response))


def told(error: RequestError) -> str:
    """The text of an error, and its traceback with all that it stands on."""
    assert not isinstance(error, BadEntryError)
    assert error.status in {400, 404, 405}
    assert error.text.isprintable()
    assert len(error.text) < 2000
    error.text.encode()
    return error.text + "".join(traceback.format_exception(error))


def public(response: Response | None) -> dict[str, Any]:
    data = dict(response.data or {}) if response else {}
    return {name: value for name, value in data.items() if name not in {"token", "header"}}


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(Operation), ROUTES, BODIES)
@example(Operation.UPDATE, "config", {"lifetime": 10**5000})
@example(Operation.UPDATE, "config", {"lease_share": 10**5000})
@example(Operation.UPDATE, "config", {"lifetime": float("nan")})
@example(Operation.UPDATE, "keys/prod/rollback", {"version": 10**5000})
@example(Operation.UPDATE, "keys/prod/retire", {"version": 10**5000})
@example(Operation.UPDATE, "keys/prod/promote", {"fingerprint": BODY[:64]})
@example(Operation.UPDATE, "keys/prod/promote", {"key_id": BODY[:64], "version": 10**5000})
@example(Operation.UPDATE, "keys/prod/stage", {"private_key": PLANTED, "key_id": BODY[:40]})
@example(Operation.READ, "token/sales", {"key_version": 10**5000})
@example(Operation.UPDATE, "keys/new", {"private_key": PLANTED, "key_id": BODY, "issuer_id": PLANTED})
@example(Operation.UPDATE, "keys/new", {"private_key": PLANTED, "key_id": keys.KEY_ID, "audience": BODY[:64]})
@example(Operation.UPDATE, "roles/new", {"key": BODY})
@example(Operation.UPDATE, "roles/new", {"key": "prod", "scope": [f"GET /v1/{BODY}+"]})
@example(Operation.READ, "token/sales", {"scope": BODY, "lifetime": BODY})
@example(Operation.HELP, "", {"requestResponsePrefix": [[[]]]})
@example(Operation.READ, BODY, {})
@example(Operation.READ, f"keys/{BODY}", {})
def test_no_request_breaks_anything_or_repeats_a_key(operation: Operation, path: str, data: dict[str, Any]) -> None:
    mounted = fresh()
    answer = answered(mounted, operation, path, data)
    assert not SCANNER.find(answer.encode("utf-8", "surrogatepass"), "the answer")
    # Whatever it was, the mount still works, and so does a process that starts now.
    if "sales" in mounted.names("roles/"):
        mounted.read("token/sales")
        Mounted(mounted.storage).read("token/sales")


def world() -> Mounted:
    """Three versions of the key, so that every change of them has something to work on."""
    mounted = with_role()
    mounted.write("keys/prod", **team_key(key_id=keys.OTHER_KEY_ID))
    mounted.write("keys/prod/stage", **team_key(key_id="K000000003"))
    return mounted


WORLD: Final = world()


def fresh() -> Mounted:
    mounted = Mounted()
    mounted.storage.values.update(WORLD.storage.values)
    return mounted


@pytest.mark.parametrize("field", FIELDS)
def test_nesting_is_never_followed(field: str) -> None:
    for path in (*ON_KEY, "roles/sales", "config", "token/sales"):
        for value in (DEEP, {"a": DEEP}):
            with pytest.raises(RequestError):
                fresh().write(path, **{field: value})


def test_thousands_of_requests_to_one_mount() -> None:
    """One that changes all the time, with values that are nearly right."""
    pick = random.Random(7)
    mounted = fresh()
    pems = [keys.new_p8_pem() for _ in range(3)]
    names = ["prod", "sales", "new", "Bad", ""]
    near: dict[str, list[Any]] = {
        "private_key": [pem.decode() for pem in pems] + [BODY, None, ""],
        "key_id": [keys.KEY_ID, keys.OTHER_KEY_ID, "K000000003", "K000000004", "x", 5],
        "issuer_id": [keys.ISSUER_ID, "", "$X"],
        "individual": [True, False, "true", "x"],
        "enterprise": [True, "false"],
        "enabled": [True, "false"],
        "owner": ["secret/asc", "", "a b"],
        "audience": ["appstoreconnect-v1", "x"],
        "key": ["prod", "new", "missing", "Bad"],
        "scope": [[], "GET /v1/apps", ["GET /v1/apps", "GET /v1/users?limit=1,2"], ["x"]],
        "lifetime": [0, 65, "10m", 1140, 1200, 1201, "x"],
        "max_lifetime": [0, 100, 1200],
        "lease": [True, "false", 1],
        "version": [1, 2, "3", -1],
        "key_version": [1, 2, "3", 0],
        "fingerprint": ["SHA256:" + "0" * 64, BODY[:64], *(parse_private_key(pem).spki_sha256 for pem in pems)],
        "backdate": [10, 60, 300, 301],
        "lease_share": [0.1, "0.5", 0.9, 1],
    }
    tried: dict[tuple[Operation, str], list[bool]] = {}
    for number in range(5000):
        mounted = mounted if number % 50 else fresh()
        path = pick.choice(PATHS)
        operation = pick.choice(list(path.operations)) if pick.random() < 0.9 else pick.choice(list(Operation))
        where = path.pattern.replace(":name", pick.choice(names))
        fields = [field.name for field in path.fields]
        data = {f: pick.choice(near[f]) for f in pick.sample(fields, pick.randint(0, min(3, len(fields))))}
        writes = mounted.storage.writes
        answer = answered(mounted, operation, where, data)
        assert not SCANNER.find(answer, "the answer")
        tried.setdefault((operation, path.pattern), []).append(mounted.storage.writes > writes)
    # It was no fuzz of refusals alone: each kind of write has happened.
    written = {pattern for (_, pattern), changed in tried.items() if any(changed)}
    assert written == {"keys/:name", "roles/:name", "config"} | {
        path.pattern for path in PATHS if path.pattern.startswith("keys/:name/")
    }


@pytest.mark.parametrize("field", FIELDS)
def test_a_key_in_the_wrong_field_is_not_repeated(field: str) -> None:
    for value in (PLANTED, BODY, BODY[:64], [PLANTED], [BODY], {PLANTED: BODY}):
        for path in (
            *ON_KEY,
            "keys/new",
            "roles/new",
            "roles/sales",
            "config",
            "token/sales",
        ):
            data = {**(team_key() if path == "keys/new" else {}), field: value}
            answer = answered(fresh(), Operation.UPDATE, path, data)
            assert not SCANNER.find(answer, "the answer")


def test_every_kind_of_field_is_fuzzed() -> None:
    assert {field.kind for path in PATHS for field in path.fields} == set(Kind)
