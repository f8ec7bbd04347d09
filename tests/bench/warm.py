"""A mint of a Transit key in a warm process against what it cannot be cheaper than: the two raw calls that it makes.

The baseline reads the record and posts to `transit/sign` with requests alone: no claims, no JWT, no checks, no deadlines.
"""

import base64
import statistics
import time
from collections.abc import Callable

import requests

from vault_asc import http
from vault_asc.clock import system_clock
from vault_asc.custody import KeyTokenSource
from vault_asc.lab.server import BaoServer
from vault_asc.store import Layout, Store
from vault_asc.tokens import TokenRequest
from vault_asc.vault import Vault

PAIRS = 400
_WARM_UP = 20


def transit_mint(server: BaoServer, name: str) -> str:
    """One line with medians and the median of the pairwise ratios."""
    with http.session() as ours, requests.Session() as plain:
        store = Store(Vault(server.address, server.root_token, session=ours), Layout("secret", "asc"))
        source, request = KeyTokenSource(store, name, system_clock), TokenRequest()
        bare = _bare(plain, server, name)
        pairs = [(_seconds(lambda: source.token(request)), _seconds(bare)) for _ in range(PAIRS + _WARM_UP)][_WARM_UP:]
    ours_ms, bare_ms = (statistics.median(side) * 1000 for side in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    return (
        f"{'Transit mint, warm process':<44} {ours_ms:6.2f} ms   {'record read + raw transit/sign':<28} {bare_ms:6.2f} ms"
        f"   wall x{ratio:4.2f}              (aim 1.3)"
    )


def _bare(session: requests.Session, server: BaoServer, name: str) -> Callable[[], object]:
    session.trust_env = False
    session.headers["X-Vault-Token"] = server.root_token.reveal()
    message = base64.b64encode(b"x" * 250).decode()  # about as long as header and claims

    def run() -> object:
        record = session.get(f"{server.address}/v1/secret/data/asc/keys/{name}").json()["data"]["data"]
        body = {
            "input": message,
            "hash_algorithm": "sha2-256",
            "marshaling_algorithm": "jws",
            "key_version": record["transit_version"],
        }
        where = f"{server.address}/v1/asc-transit/sign/{record['transit_key']}"
        return session.post(where, json=body).json()["data"]["signature"]

    return run


def _seconds(act: Callable[[], object]) -> float:
    begin = time.perf_counter()
    act()
    return time.perf_counter() - begin
