"""Many tokens of each custody, verified by two implementations of JWT that the product does not use."""

import json
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from tests import keys
from tests.conftest import Root
from tests.effort import effort
from tests.support import connected, key_id, new_key, verified
from tests.vaults import VaultUnderTest, wait_for_kv
from vault_asc.clock import system_clock
from vault_asc.custody import KeyTokenSource
from vault_asc.key.identity import ENTERPRISE, Identity, identity
from vault_asc.key.private_key import PrivateKey
from vault_asc.lifecycle import Lifecycle
from vault_asc.names import Custody
from vault_asc.store import Layout, Store
from vault_asc.tokens import Token, TokenRequest

COUNT: Final = effort(1000, 200)
ROOT: Final = Path(__file__).parents[2]
JOSE: Final = ROOT / ".venv" / "node"
"""Where `make install` puts the npm package, when there is npm."""

REQUESTS: Final = (
    TokenRequest(),
    TokenRequest(600, scope=("GET /v1/apps",)),
    TokenRequest(1200, scope=("GET /v1/apps", "GET /v1/salesReports?filter[frequency]=DAILY")),
)


def owners() -> list[Identity]:
    team: dict[str, Any] = {"issuer_id": keys.ISSUER_ID, "individual": False}
    individual: dict[str, Any] = {"issuer_id": None, "individual": True}
    kinds = [team, individual, team | {"audience": ENTERPRISE}, individual]
    return [identity(key_id=key_id(number), **kind) for number, kind in enumerate(kinds, 1)]


@dataclass(frozen=True)
class Minted:
    """Tokens, what each was to say, and the key of each key ID."""

    custody: Custody
    tokens: list[Token] = field(default_factory=list)
    claims: list[dict[str, Any]] = field(default_factory=list)
    by_id: dict[str, PrivateKey] = field(default_factory=dict)


@pytest.fixture(scope="module", params=list(Custody), ids=str)
def minted(
    request: pytest.FixtureRequest, vault: VaultUnderTest, root: Root, shared_transit_mount: str
) -> Iterator[Minted]:
    custody = Custody(request.param)
    engine = request.getfixturevalue("shared_engine_mount") if custody is Custody.ENGINE else "no-engine"
    mount = f"kv-{secrets.token_hex(4)}"
    root("POST", f"sys/mounts/{mount}", {"type": "kv", "options": {"version": "2"}})
    wait_for_kv(vault, mount)
    made = Minted(custody)
    with connected(vault) as client:
        keeper = Lifecycle(Store(client, Layout(mount, "many", shared_transit_mount, engine)), system_clock)
        _mint_all(keeper, made)
        for name in keeper.store.names():
            record = keeper.store.read(name).record
            keeper.store.remove(name, record.transit_key, record.role)
    yield made
    root("DELETE", f"sys/mounts/{mount}")


def _mint_all(keeper: Lifecycle, made: Minted) -> None:
    named = {who.key_id.lower(): who for who in owners()}
    for name, who in named.items():
        made.by_id[who.key_id] = new_key()
        keeper.import_key(name, made.by_id[who.key_id], who, made.custody)
        if made.custody is Custody.ENGINE:  # a role gives no more than its lifetime unless it says so
            role = f"{keeper.store.layout.engine_mount}/roles/{name}"
            keeper.store.vault.ask("POST", role, "update", {"max_lifetime": 1200}, writing=True)
    for number in range(COUNT):
        if number == COUNT // 2:  # the second half is of second versions
            for name, who in named.items():
                kid = key_id(100 + int(who.key_id[1:]))
                made.by_id[kid] = new_key()
                named[name] = keeper.rotate(name, made.by_id[kid], kid).stored.record.identity
        name, who = list(named.items())[number % len(named)]
        request = REQUESTS[number % len(REQUESTS)]
        token = KeyTokenSource(keeper.store, name, system_clock).token(request).token
        made.tokens.append(token)
        issuer = {"sub": "user"} if who.issuer_id is None else {"iss": who.issuer_id}
        scope = {"scope": list(request.scope)} if request.scope else {}
        times = {"iat": token.expires_at - request.lifetime, "exp": token.expires_at}
        made.claims.append(issuer | scope | times | {"aud": who.audience})


def test_joserfc_verifies_them_all(minted: Minted) -> None:
    assert len({token.value.reveal() for token in minted.tokens}) == len(minted.tokens) == COUNT
    assert len(minted.by_id) == 8
    for token, said in zip(minted.tokens, minted.claims, strict=True):
        header, claims = verified(token, minted.by_id[token.key_id])
        assert header == {"alg": "ES256", "kid": token.key_id, "typ": "JWT"}
        assert claims == said


def jose(minted: Minted, tokens: list[str]) -> "subprocess.CompletedProcess[str]":
    """What Node's jose says of them."""
    pems = {kid: key.public_key_pem() for kid, key in minted.by_id.items()}
    return subprocess.run(
        # From standard arguments and not from the file, so that the package is looked for in the directory that it is in.
        [str(shutil.which("node")), "--input-type=module", "--eval", (ROOT / "tests/node/verify.mjs").read_text()],
        cwd=JOSE,
        input=json.dumps({"tokens": tokens, "keys": pems, "clock": time.time()}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.skipif(
    shutil.which("node") is None or not (JOSE / "node_modules" / "jose").is_dir(),
    reason="needs Node: install it with npm, then repeat: make install",
)
def test_jose_on_node_verifies_them_all(minted: Minted) -> None:
    tokens = [token.value.reveal() for token in minted.tokens]

    done = jose(minted, tokens)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == minted.claims
    head, _, signature = tokens[0].rpartition(".")
    other = tokens[4].rpartition(".")[2]  # of the same key
    assert signature != other
    assert "signature verification failed" in jose(minted, [f"{head}.{other}"]).stderr
