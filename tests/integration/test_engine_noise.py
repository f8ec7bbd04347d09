"""Every path of the engine, asked over HTTP for what makes no sense: the real server answers, and the process lives on."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

import pytest

from tests.cli.leaks import Scanner, of_private_key
from tests.engine.mounted import p8
from tests.integration.engines import Answer, Engine, engine
from vault_asc.engine.backend import PATHS
from vault_asc.engine.path import NAME, Path

METHODS: Final = ("GET", "LIST", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
CLEAN: Final = {200, 204, 400, 403, 404, 405, 413}
OTHER: Final = p8()
"""A key that is written to places where it does not belong."""
BODY_OF_KEY: Final = "".join(OTHER.splitlines()[1:-1])
NAMES: Final = [
    *(b"fuzzed", b"UPPER", b"-", b"a.b", b"a/b", b"../sys/mounts", b"a b", b"a;b", b"a?b", b"#", b"%", b"%00"),
    *("ä".encode(), "💥".encode(), "\u202e".encode(), b"\x00", b"a\x00b", b"\r\nX: y", b"x" * 64),
    *(b"x" * 5000, BODY_OF_KEY.encode(), OTHER.encode(), b"+", b"*", b"{{identity}}", b"sys", b"keys"),
]
VALUES: Final = [
    *("null", "true", "0", "-1", "1.5", "1e400", "1e-400", '""', '"x"', '" "', '"0"', '"-1"', '"1e9"'),
    *('"99999999999h"', '"9d9d"', '"\\u0000"', '"\\ud800"', '"\\udfff\\ud800"', '"ä💥\\u202e"', "[]", "[[]]", '["x"]'),
    *('[null, 1, {"a": []}]', "{}", '{"a": {"b": 1}}', "[" * 300 + "]" * 300, json.dumps("x" * 9000)),
    *(json.dumps(OTHER), json.dumps([OTHER]), json.dumps(BODY_OF_KEY), json.dumps({OTHER: OTHER})),
]
BODIES: Final = [
    *(b"", b"{", b"[]", b"1", b"null", b'"x"', b"\xff\xfe", b"\x00", b"{}", b'{"a":1}' * 2, b'{"": ""}', b"NaN"),
    *(
        b'{"lifetime": NaN}',
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b'{"lifetime": ' + b"9" * 5000 + b"}",
        OTHER.encode(),
        json.dumps({OTHER: 1}).encode(),
    ),
]
DEEP: Final = b'{"a": ' + b"[" * 1500 + b"]" * 1500 + b"}"
"""JSON that the server reads and Python does not."""
SIZES: Final = (200_000, 300_000, 2_000_000, 10_000_000)
SCANNER: Final = Scanner(of_private_key(OTHER.encode(), "the key"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """After every test the process is the one from before, and mints."""
    with engine(tmp_path_factory.mktemp("plugins")) as here:
        here.add_role()
        yield here


@pytest.fixture(autouse=True)
def _same_process(server: Engine) -> Iterator[None]:
    before = [process.pid for process in server.processes()]
    assert len(before) == 1
    yield
    assert [process.pid for process in server.processes()] == before
    server.verified(server.http("GET", "asc/token/sales").json()["data"])
    assert not SCANNER.find("\n".join(server.server.log_lines()), "the server's log")


def where(path: Path, name: str = "fuzzed") -> str:
    return f"asc/{path.pattern.replace(NAME, name)}"


def checked(answer: Answer, what: object) -> int:
    """The status of a clean answer that repeats nothing of a key."""
    assert answer.status in CLEAN, (answer.status, answer.body[:300], what)
    assert not SCANNER.find(answer.body, str(what))
    return answer.status


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.shown)
def test_names_and_methods(server: Engine, path: Path) -> None:
    seen = Counter(
        checked(
            server.http(method, where(path, quote(name, safe="")), b"{}" if method != "GET" else None), (method, name)
        )
        for name in NAMES
        for method in METHODS
        if NAME in path.pattern or name == NAMES[0]
    )
    assert len(seen) > 1, seen


def test_paths_that_the_server_refuses_itself(server: Engine) -> None:
    for path in ("asc/token/..", "asc/token/../keys/sales", "asc/keys/%2e%2e/keys/sales"):
        assert server.http("GET", path).status in {307, 400, 404}, path
    for method in METHODS:
        answer = server.http(method, "asc/keys/%ff%fe", b"{}")
        assert answer.status in CLEAN or b"invalid UTF-8" in answer.body or method == "HEAD"


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.shown)
def test_values_of_every_field(server: Engine, path: Path) -> None:
    """Alone, and with all others as they should be, which would hide what is wrong with one."""
    fields = [field.name for field in path.fields]
    right = {name: value for name, value in {"key": "sales", **server.key()}.items() if name in fields}
    for name in [*fields, "unknown", ""]:
        others = [f", {json.dumps(each)}: {json.dumps(value)}" for each, value in right.items() if each != name]
        for value in VALUES:
            for rest in {"", "".join(others)}:
                body = f"{{{json.dumps(name)}: {value}{rest}}}".encode()
                checked(server.http("POST", where(path), body), (name, value[:60], bool(rest)))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.shown)
def test_bodies_and_queries(server: Engine, path: Path) -> None:
    for body in BODIES:
        for method in ("POST", "PATCH", "DELETE", "GET"):
            checked(server.http(method, where(path), body), (method, body[:60]))
    for size in SIZES:
        sizable = json.dumps({"private_key": "x" * size}).encode()
        status = checked(server.http("POST", where(path), sizable), size)
        assert status == 413 or size < 262_144 or not path.writable, size
    for query in (
        "help=1",
        "help=x",
        "list=true",
        "version=-1",
        "%ff=%fe",
        f"scope={quote(OTHER)}",
        "lifetime=1&lifetime=2",
    ):
        checked(server.http("GET", f"{where(path)}?{query}"), query)


def test_json_that_python_cannot_read_is_the_client_s_error(server: Engine) -> None:
    for path in PATHS:
        if path.writable:
            assert checked(server.http("POST", where(path), DEEP), path.pattern) == 400


def test_a_wrapped_token(server: Engine) -> None:
    client = server.hvac()
    wrapped = client.adapter.get("/v1/asc/token/sales", wrap_ttl="60s")
    assert wrapped["wrap_info"]["creation_path"] == "asc/token/sales"
    token = client.sys.unwrap(wrapped["wrap_info"]["token"])
    server.verified(token["data"])
