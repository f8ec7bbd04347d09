"""What tests against a real server share: stores, keys, a second opinion on tokens, and a wire that loses answers."""

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from tests import keys
from tests.vaults import VaultUnderTest
from vault_asc import http as policy_http
from vault_asc import policy
from vault_asc.clock import Clock, system_clock
from vault_asc.custody import KeyTokenSource, Minted, role_token
from vault_asc.key.identity import Identity, identity
from vault_asc.key.private_key import PrivateKey, parse_private_key
from vault_asc.lab.server import TRANSIT_MOUNT
from vault_asc.lifecycle import Lifecycle
from vault_asc.names import Custody
from vault_asc.secret import Secret
from vault_asc.store import Layout, Store
from vault_asc.tokens import Token, TokenRequest
from vault_asc.vault import Advice, Vault

PREFIX = "asc"
NAME = "prod"
TEAM = identity(key_id=keys.KEY_ID, issuer_id=keys.ISSUER_ID, individual=False)


def new_key() -> PrivateKey:
    return parse_private_key(keys.new_p8_pem())


def key_id(number: int) -> str:
    return f"K{number:09d}"


def team(kid: str) -> Identity:
    return identity(key_id=kid, issuer_id=keys.ISSUER_ID, individual=False)


@contextmanager
def connected(
    server: VaultUnderTest,
    token: Secret | None = None,
    *,
    address: str | None = None,
    advice: Advice | None = None,
    limits: policy_http.Limits | None = None,
) -> Iterator[Vault]:
    """As root unless a token is given. Pauses between tries are left out."""
    session = policy_http.session(
        ca_file=server.ca_file, limits=limits or policy_http.Limits(), wait=lambda _seconds: None
    )
    with session:
        yield Vault(address or server.address, token or server.root_token, session=session, advice=advice)


@contextmanager
def lifecycle_on(
    server: VaultUnderTest,
    mount: str,
    token: Secret | None = None,
    *,
    address: str | None = None,
    advice: Advice | None = None,
    clock: Clock = system_clock,
    transit_mount: str = TRANSIT_MOUNT,
    engine_mount: str = "asc",
) -> Iterator[Lifecycle]:
    layout = Layout(mount, PREFIX, transit_mount, engine_mount)
    with lifecycle_at(server, layout, token, address=address, advice=advice, clock=clock) as keeper:
        yield keeper


@contextmanager
def lifecycle_at(
    server: VaultUnderTest,
    layout: Layout,
    token: Secret | None = None,
    *,
    address: str | None = None,
    advice: Advice | None = None,
    clock: Clock = system_clock,
) -> Iterator[Lifecycle]:
    with connected(server, token, address=address, advice=advice) as vault:
        yield Lifecycle(Store(vault, layout), clock)


@contextmanager
def shipped_on(
    server: VaultUnderTest, layout: Layout, token_with: Callable[..., Secret]
) -> Iterator[Callable[..., Lifecycle]]:
    """`shipped(*names, key=None, role=None)`: the commands as somebody who has these shipped policies and no other."""
    mounts = {"transit_mount": layout.transit_mount, "engine_mount": layout.engine_mount}
    store = {"mount": layout.mount, "prefix": layout.prefix, **mounts}
    with ExitStack() as opened:

        def shipped(*names: str, key: str | None = None, role: str | None = None) -> Lifecycle:
            texts = [policy.render(name, **store, key=key, role=role, custodies=tuple(Custody)) for name in names]
            return opened.enter_context(lifecycle_at(server, layout, token_with(*texts)))

        yield shipped


def layout_of(request: pytest.FixtureRequest) -> Layout:
    """Mounts for the keys of one test, in whatever custody.

    Where the server takes no plugin of ours, tests with "engine" in their name or parameters are skipped, and the others
    do without.
    """
    get = request.getfixturevalue
    with_engine = get("vault").plugin_dir is not None or "engine" in request.node.name
    return Layout(get("kv_mount"), PREFIX, get("transit_mount"), get("engine_mount") if with_engine else "no-engine")


def mint(store: Store, name: str = NAME, request: TokenRequest | None = None) -> Minted:
    return KeyTokenSource(store, name, system_clock).token(request or TokenRequest())


def minted_with(store: Store, key: PrivateKey, kid: str, name: str = NAME) -> bool:
    """Whether the name stands for this key; a token that verifies with another key than its kid says is an error."""
    token = mint(store, name).token
    if token.key_id != kid:
        return False
    verified(token, key)
    return True


def read_by_role(store: Store, role: str = NAME) -> Token:
    """What `vault read asc/token/<role>` gets: whoever reads tokens so looks at no record."""
    return role_token(store.engine, role, TokenRequest(), system_clock())


def in_step(store: Store, name: str = NAME) -> bool:
    """Whether the engine says of a key what its record says."""
    there, record = store.engine.find(name), store.read(name).record
    return there is not None and (there.current.number, there.enabled) == (record.version, record.state == "enabled")


def verified(token: Token, key: PrivateKey) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims as joserfc, another library than the product's, reads them; it raises for a bad signature."""
    public = ECKey.import_key(key.public_key_pem())
    read = jwt.decode(token.value.reveal(), public, algorithms=["ES256"])
    return dict(read.header), dict(read.claims)


@dataclass(frozen=True)
class Answer:
    """Sent in place of the server's."""

    status: int
    body: bytes


LOSE_ANSWER = "the server does it, the answer is lost"
LOSE_REQUEST = "the server never hears of it"
Fate = Answer | str | None
"""What happens to a call; None: it goes through."""


class Wire:
    """A plain http proxy in front of a server: it remembers every call, and loses those that a test wants lost.

    Attributes:
        calls: method and path (below `/v1/`, without query) of every call, in order.
        tokens: the Vault token of every call, None for none.
        bodies: what was sent with every call.
        fate: decides what becomes of a call, by its method and path.
        done: called when the server has carried out a call, before its answer goes back.
    """

    def __init__(self, upstream: str) -> None:
        self.calls: list[tuple[str, str]] = []
        self.tokens: list[str | None] = []
        self.bodies: list[bytes] = []
        self.fate: Callable[[str, str], Fate] = lambda _method, _path: None
        self.done: Callable[[str, str], None] = lambda _method, _path: None
        parts = urlsplit(upstream)
        assert parts.scheme == "http", "the wire speaks plain http to the server"
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self, parts.netloc))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def writes(self) -> list[str]:
        """Paths of the calls that change something."""
        return [path for method, path in self.calls if method not in {"GET", "LIST"}]

    def lose_once(self, method: str, part: str, fate: Fate) -> None:
        """That fate for the first call with this method and this in its path."""
        left = [fate]
        self.fate = lambda m, path: left.pop() if left and m == method and part in path else None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(wire: Wire, upstream: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet: two would wait for each other's acknowledgement
        disable_nagle_algorithm = True

        def pass_on(self) -> None:
            path = urlsplit(self.path).path.removeprefix("/v1/")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            wire.calls.append((self.command, path))
            wire.tokens.append(self.headers.get("X-Vault-Token"))
            wire.bodies.append(body)
            fate = wire.fate(self.command, path)
            if isinstance(fate, Answer):
                self.reply(fate)
                return
            if fate is not LOSE_REQUEST:
                answer = self.ask(body)
                wire.done(self.command, path)
            if fate is None:
                self.reply(answer)
            else:
                self.close_connection = True

        do_GET = do_POST = do_PUT = do_DELETE = do_LIST = pass_on  # noqa: N815 - http.server's names

        def ask(self, body: bytes) -> Answer:
            connection = http.client.HTTPConnection(upstream, timeout=10)
            try:
                connection.request(self.command, self.path, body, dict(self.headers))
                response = connection.getresponse()
                return Answer(response.status, response.read())
            finally:
                connection.close()

        def reply(self, answer: Answer) -> None:
            self.send_response(answer.status)
            self.send_header("Content-Type", "application/json")
            if answer.status != http.client.NO_CONTENT:
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
            pass

    return Handler
