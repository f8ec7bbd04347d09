"""A host with nothing but the OpenBao Agent: its AppRole, its configuration, its token files, and who reads them."""

import contextlib
import json
import secrets
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from joserfc import jwt
from joserfc.jwk import ECKey
from joserfc.jws import extract_compact

from tests import keys
from tests.conftest import Root
from tests.support import PREFIX, Wire, new_key
from vault_asc import policy
from vault_asc.errors import VaultError
from vault_asc.key.identity import Identity, identity
from vault_asc.key.private_key import PrivateKey
from vault_asc.lab.server import BaoAgent
from vault_asc.lifecycle import Lifecycle
from vault_asc.names import Custody

POLL: Final = 0.05  # seconds between two readings of a file


@dataclass(frozen=True)
class FileTarget:
    """A target of the configuration, as far as it matters here."""

    name: str
    key: str
    lifetime: int = 1140
    scope: tuple[str, ...] = ()


@dataclass
class PureHost:
    """What a host needs, set up as an operator would: shipped policies alone, text from the command.

    Attributes:
        keeper: the keys, as root.
        wire: what the Agent talks to: it notes every call.
        public: public halves by key ID, to judge tokens by.
    """

    root: Root
    keeper: Lifecycle
    wire: Wire
    dir: Path
    public: dict[str, ECKey] = field(default_factory=dict)

    def add_key(self, name: str, key_id: str, *, individual: bool = False) -> Identity:
        """Import a key that Vault signs with."""
        who = identity(key_id=key_id, issuer_id=None if individual else keys.ISSUER_ID, individual=individual)
        self.keeper.import_key(name, self.key(key_id), who, Custody.TRANSIT)
        return who

    def key(self, key_id: str) -> PrivateKey:
        """A new key, known by its key ID to those who judge."""
        key = new_key()
        self.public[key_id] = ECKey.import_key(key.public_key_pem())
        return key

    def overwrite(self, name: str, **changes: Any) -> None:
        """Write what may not be in a record; None takes a field away."""
        layout = self.keeper.store.layout
        facts = self.keeper.store.read(name).record.dump() | changes
        data = {name: value for name, value in facts.items() if value is not None}
        self.root("POST", f"{layout.mount}/data/{layout.record(name)}", {"data": data})

    def record_path(self, name: str) -> str:
        """Where the Agent reads a record."""
        layout = self.keeper.store.layout
        return f"{layout.mount}/data/{layout.record(name)}"

    def sign_path(self, name: str) -> str:
        """Where the Agent asks for signatures."""
        layout = self.keeper.store.layout
        return f"{layout.transit_mount}/sign/{layout.transit(name)}"

    def file(self, target: str) -> Path:
        """The token file of a target."""
        return self.dir / f"{target}.jwt"

    @contextlib.contextmanager
    def agent(self, targets: Sequence[FileTarget], *, tick: int, may_sign: Sequence[str] = ()) -> Iterator[BaoAgent]:
        """A running Agent that may mint from the keys of its targets, or from those in `may_sign` alone."""
        self._configure(targets, tick)
        command = [sys.executable, "-m", "vault_asc", "agent", "config", "--pure", f"--config={self._config}"]
        printed = subprocess.run(command, check=True, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"})
        file = self.dir / "agent.hcl"
        file.write_text(printed.stdout, encoding="utf-8")
        with self._role(sorted(set(may_sign) or {target.key for target in targets})), BaoAgent(file) as agent:
            yield agent

    @property
    def _config(self) -> Path:
        return self.dir / "vault-asc.toml"

    @contextlib.contextmanager
    def _role(self, names: Sequence[str]) -> Iterator[None]:
        """An AppRole with the shipped minter policy of each key and nothing else."""
        with contextlib.suppress(VaultError):  # another test has it mounted already
            self.root("POST", "sys/auth/approle", {"type": "approle"})
        policies = [f"pure-{secrets.token_hex(4)}" for _ in names]
        layout = self.keeper.store.layout
        for key, written in zip(names, policies, strict=True):
            text = policy.render(
                "minter",
                mount=layout.mount,
                prefix=PREFIX,
                key=key,
                transit_mount=layout.transit_mount,
                custodies=[Custody.TRANSIT],
            )
            self.root("PUT", f"sys/policies/acl/{written}", {"policy": text})
        role = f"auth/approle/role/pure-{secrets.token_hex(4)}"
        self.root("POST", role, {"token_policies": policies, "token_no_default_policy": True, "token_period": "60s"})
        for name, path, method in (("role_id", "role-id", "GET"), ("secret_id", "secret-id", "POST")):
            (self.dir / name).touch(mode=0o600)
            (self.dir / name).write_text(self.root(method, f"{role}/{path}")["data"][name], encoding="ascii")
        try:
            yield
        finally:
            # What other tests see of policies in Vault decides whether a key may be moved.
            for path in (role, *(f"sys/policies/acl/{written}" for written in policies)):
                self.root("DELETE", path)

    def _configure(self, targets: Sequence[FileTarget], tick: int) -> None:
        layout = self.keeper.store.layout
        head = f"""\
version = 1
[vault]
address = "{self.wire.address}"
[store]
mount = "{layout.mount}"
prefix = "{layout.prefix}"
transit_mount = "{layout.transit_mount}"
[agent]
role_id_file = "{self.dir / "role_id"}"
secret_id_file = "{self.dir / "secret_id"}"
tick = "{tick}s"
[nexla.default]
service_key = {{ path = "asc/nexla/default" }}
"""
        tables = (
            f"""\
[[targets]]
name = "{target.name}"
key = "{target.key}"
credential_id = {number}
lifetime = "{target.lifetime}s"
scope = {json.dumps(target.scope)}
token_file = "{self.file(target.name)}"
"""
            for number, target in enumerate(targets, start=1)
        )
        self._config.write_text(head + "".join(tables), encoding="utf-8")


class Seen(NamedTuple):
    """What one reading of a token file has found."""

    at: float
    text: str


@dataclass
class Readers:
    """One reader per token file, 20 times a second, from when the file is there; and the judgement of all they saw."""

    host: PureHost
    targets: Sequence[str]
    seen: dict[str, list[Seen]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.seen = {target: [] for target in self.targets}
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._read, args=(target,)) for target in self.targets]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _read(self, target: str) -> None:
        file = self.host.file(target)
        while not self._stop.wait(POLL):
            if self.seen[target] or file.exists():
                self.seen[target].append(Seen(time.time(), file.read_text(encoding="ascii")))

    def tokens(self, target: str) -> list["ReadToken"]:
        """All readings, each judged: a token that does not verify with the key of its key ID is an error."""
        known: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
        for _, text in self.seen[target]:
            if text not in known:
                known[text] = judged(self.host, text)
        return [ReadToken(at, *known[text]) for at, text in self.seen[target]]


class ReadToken(NamedTuple):
    """A token as a reader found it."""

    at: float
    header: dict[str, Any]
    claims: dict[str, Any]

    @property
    def key_id(self) -> str:
        """Of the key that it says it is signed by, and is."""
        return str(self.header["kid"])

    @property
    def remaining(self) -> float:
        """Seconds that it had left then."""
        return float(self.claims["exp"]) - self.at


def judged(host: PureHost, text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, read by another library than any that has to do with making them."""
    assert text == text.strip(), "the bare token"
    said = extract_compact(text.encode()).headers()  # believed only as to which key is to judge it
    token = jwt.decode(text, host.public[said["kid"]], algorithms=["ES256"])
    return dict(token.header), dict(token.claims)


def mode_of(file: Path) -> int:
    """Permissions of a file."""
    return stat.S_IMODE(file.stat().st_mode)
