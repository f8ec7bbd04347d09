"""Tokens of the engine with stock clients: what they get, what becomes of its leases, and an Agent that lives on them."""

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from tests import keys
from tests.integration.engines import PLUGIN, Engine, engine
from tests.integration.worlds import until
from vault_asc.errors import VaultError
from vault_asc.lab.server import BaoAgent

pytestmark = pytest.mark.waits

POLL: Final = 0.1  # seconds between two readings of the Agent's file
LEASES: Final = 20
SHORT: Final = {"lifetime": 17, "backdate": 10}
"""Tokens with a usable life of 7 s, so leases of 3.5 s, which the server tells an Agent as 3."""
USABLE: Final = SHORT["lifetime"] - SHORT["backdate"]
BRIEF: Final = {"lifetime": 15, "backdate": 10, "lease_share": 0.2}  # leases of 1 s
POLICY: Final = """
path "short/token/sales"     { capabilities = ["read"] }
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self"  { capabilities = ["update"] }
"""

log = logging.getLogger(__name__)
"""The figures: `--log-cli-level=info` shows them."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with engine(tmp_path_factory.mktemp("plugins")) as here:
        here.add_role()
        yield here


def leases(server: Engine, role: str, mount: str = "asc") -> list[str]:
    """IDs of all leases on tokens of a role."""
    path = f"{mount}/token/{role}/"
    answer = server.http("LIST", f"sys/leases/lookup/{path}")
    return [path + name for name in answer.json()["data"]["keys"]] if answer.status == 200 else []


def read(server: Engine, role: str = "sales", mount: str = "asc") -> dict[str, Any]:
    return server.rig.ask("GET", f"{mount}/token/{role}")


# -- an Agent, beside all other tests of this module -------------------------------------------------------------------


class Seen(NamedTuple):
    """What one reading of the file has found."""

    at: float
    text: str


class Watched:
    """A file that an Agent renders, read all the time from when it is there."""

    def __init__(self, file: Path) -> None:
        self.seen: list[Seen] = []
        self._file = file
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, name="reader of the token file")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def tokens(self) -> list[str]:
        """All different ones, in order."""
        return list(dict.fromkeys(text for _, text in list(self.seen)))

    def _read(self) -> None:
        while not self._stop.wait(POLL):
            if self.seen or self._file.exists():
                try:
                    text = self._file.read_text(encoding="ascii")
                except OSError as error:  # told by the test: no token has this text
                    text = repr(error)
                self.seen.append(Seen(time.time(), text))


@pytest.fixture(scope="module", autouse=True)
def watched(server: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """The file of an Agent that may do nothing but read this token."""
    server.rig.mount("short", PLUGIN)
    server.rig.ask("POST", "short/config", SHORT)
    server.add_role("short", scope=["GET /v1/apps"])
    server.rig.ask("PUT", "sys/policies/acl/short", {"policy": POLICY})
    directory = tmp_path_factory.mktemp("agent")
    body = {"policies": ["short"], "no_default_policy": True, "period": "10m"}
    (directory / "token").touch(0o600)
    (directory / "token").write_text(server.rig.ask("POST", "auth/token/create", body)["auth"]["client_token"])
    (directory / "agent.hcl").write_text(f"""
vault {{ address = "{server.server.address}" }}
auto_auth {{
  method "token_file" {{ config = {{ token_file_path = "{directory / "token"}" }} }}
}}
template {{
  contents    = "{{{{ with secret \\"short/token/sales\\" }}}}{{{{ .Data.token }}}}{{{{ end }}}}"
  destination = "{directory / "sales.jwt"}"
  perms       = "0600"
  backup      = false
}}
""")
    with BaoAgent(directory / "agent.hcl"), Watched(directory / "sales.jwt") as watched:
        yield watched


# -- what clients get --------------------------------------------------------------------------------------------------


def test_enable_write_and_read_with_bao(server: Engine, tmp_path: Path) -> None:
    file = tmp_path / f"AuthKey_{keys.KEY_ID}.p8"
    file.touch(0o600)
    file.write_text(server.pem)
    server.bao("secrets", "enable", "-path=fresh", PLUGIN)
    ids = (f"key_id={keys.KEY_ID}", f"issuer_id={keys.ISSUER_ID}")
    server.bao("write", "fresh/keys/prod", f"private_key=@{file}", *ids)
    server.bao("write", "fresh/roles/sales", "key=prod", "scope=GET /v1/apps", "lifetime=10m")
    answer = server.bao_json("read", "fresh/token/sales")
    assert (answer["lease_duration"], answer["renewable"]) == (270, False)
    claims = server.verified(answer["data"], "fresh", "prod")
    assert claims["exp"] == answer["data"]["expires_at"]
    assert claims["exp"] - claims["iat"] == 600
    assert (claims["iss"], claims["aud"], claims["scope"]) == (keys.ISSUER_ID, "appstoreconnect-v1", ["GET /v1/apps"])
    narrow = server.bao_json("write", "fresh/token/sales", "lifetime=2m")["data"]
    assert server.verified(narrow, "fresh", "prod")["exp"] < claims["exp"]
    token = server.bao("read", "-field=token", "fresh/token/sales")
    server.verified({"token": token, "key_id": keys.KEY_ID}, "fresh", "prod")
    for shown in (
        server.bao("read", "fresh/keys/prod"),
        server.bao("list", "fresh/keys"),
        server.bao("read", "fresh/info"),
    ):
        assert "PRIVATE" not in shown
        assert server.pem.splitlines()[1] not in shown
    assert "A token for the App Store Connect API." in server.bao("path-help", "fresh/token/sales")
    server.bao("secrets", "disable", "fresh")


def test_plain_http_and_hvac(server: Engine) -> None:
    by_http = server.http("GET", "asc/token/sales").json()
    by_hvac = server.hvac().read("asc/token/sales")
    narrowed = server.hvac().write_data("asc/token/sales", data={"lifetime": "5m", "scope": ["GET /v1/apps"]})
    for answer in (by_http, by_hvac, narrowed):
        assert answer["lease_id"].startswith("asc/token/sales/")
        assert answer["renewable"] is False
        claims = server.verified(answer["data"])
        assert answer["data"]["header"] == f"Authorization: Bearer {answer['data']['token']}"
        assert answer["lease_duration"] == (claims["exp"] - claims["iat"] - 60) / 2
    assert narrowed["data"]["scope"] == ["GET /v1/apps"]


def test_info_of_an_engine_that_is_not_frozen_says_so(server: Engine) -> None:
    info = server.rig.ask("GET", "asc/info")["data"]
    assert info["build"] == "unfrozen: no checksum covers the code"
    assert {"version", "platform", "python", "openssl"} < set(info)
    assert "commit" not in info


# -- what becomes of leases --------------------------------------------------------------------------------------------


def test_a_lease_is_listed_looked_up_and_revoked_and_the_token_outlives_it(server: Engine) -> None:
    kept, gone = read(server), read(server)
    assert {kept["lease_id"], gone["lease_id"]} <= set(leases(server, "sales"))
    found = server.rig.ask("PUT", "sys/leases/lookup", {"lease_id": gone["lease_id"]})["data"]
    assert 0 < found["ttl"] <= 540
    assert found["renewable"] is False
    with pytest.raises(VaultError, match="not renewable"):
        server.rig.ask("PUT", "sys/leases/renew", {"lease_id": gone["lease_id"], "increment": 600})
    server.rig.ask("PUT", "sys/leases/revoke", {"lease_id": gone["lease_id"], "sync": True})
    assert gone["lease_id"] not in leases(server, "sales")
    assert kept["lease_id"] in leases(server, "sales")
    with pytest.raises(VaultError, match="invalid lease"):
        server.rig.ask("PUT", "sys/leases/lookup", {"lease_id": gone["lease_id"]})
    assert server.verified(gone["data"])["exp"] > time.time() + 1000, "Apple knows no revocation"


def test_bao_revokes_too(server: Engine) -> None:
    lease = read(server)["lease_id"]
    server.bao("lease", "lookup", lease)
    server.bao("lease", "revoke", "-sync", lease)
    assert lease not in leases(server, "sales")


def test_all_leases_of_a_role_are_revoked_by_their_prefix(server: Engine) -> None:
    server.add_role(role="other")
    mine, others = [read(server, "other")["lease_id"] for _ in range(3)], read(server)["lease_id"]
    assert set(mine) == set(leases(server, "other"))
    server.rig.ask("PUT", "sys/leases/revoke-prefix/asc/token/other", {"sync": True})
    assert leases(server, "other") == []
    assert others in leases(server, "sales")
    read(server, "other")
    server.bao("lease", "revoke", "-sync", "-prefix", "asc/token/other")
    assert leases(server, "other") == []


def test_a_lease_ends_by_itself(server: Engine) -> None:
    server.rig.mount("brief", PLUGIN)
    server.rig.ask("POST", "brief/config", BRIEF)
    server.add_role("brief")
    answer = read(server, mount="brief")
    assert answer["lease_duration"] == 1
    assert server.verified(answer["data"], "brief")["exp"] == answer["data"]["expires_at"]
    until(lambda: not leases(server, "sales", "brief"), "the end of the lease")
    with pytest.raises(VaultError, match="invalid lease"):
        server.rig.ask("PUT", "sys/leases/lookup", {"lease_id": answer["lease_id"]})
    server.rig.ask("DELETE", "sys/mounts/brief")


def test_a_role_without_lease_makes_none(server: Engine) -> None:
    server.add_role(role="bulk", lease=False)
    for _ in range(3):
        answer = read(server, "bulk")
        assert (answer["lease_id"], answer["lease_duration"], answer["renewable"]) == ("", 0, False)
        server.verified(answer["data"], key="bulk")
    assert leases(server, "bulk") == []
    server.rig.ask("POST", "asc/roles/bulk", {"lease": True})
    assert read(server, "bulk")["lease_id"] in leases(server, "bulk")


@pytest.mark.parametrize(("tuned", "lasts"), [({"max_lease_ttl": "60s"}, 60), ({"default_lease_ttl": "30s"}, 540)])
def test_the_limit_of_a_mount_is_above_ours(server: Engine, tuned: dict[str, str], lasts: int) -> None:
    server.bao(
        "secrets", "enable", "-path=tuned", *(f"-{name.replace('_', '-')}={ttl}" for name, ttl in tuned.items()), PLUGIN
    )
    server.add_role("tuned")
    answer = read(server, mount="tuned")
    assert answer["lease_duration"] == lasts
    found = server.rig.ask("PUT", "sys/leases/lookup", {"lease_id": answer["lease_id"]})["data"]
    assert 0 < found["ttl"] <= lasts
    claims = server.verified(answer["data"], "tuned")
    assert claims["exp"] - claims["iat"] == 1140, "the token is none of the mount's business"
    server.rig.ask("DELETE", "sys/mounts/tuned")
    assert leases(server, "sales", "tuned") == []


def test_an_agent_is_never_late_with_twenty_leases_in_a_row(server: Engine, watched: Watched) -> None:
    until(lambda: len(watched.tokens()) > LEASES, f"{LEASES} leases", timeout=150)
    public = ECKey.import_key(server.rig.ask("GET", "short/keys/sales")["data"]["public_key"])
    seen = list(watched.seen)
    expiry: dict[str, int] = {}
    for _, text in seen:
        if text not in expiry:
            expiry[text] = jwt.decode(text, public, algorithms=["ES256"]).claims["exp"]
    ends = [expiry[text] for text in watched.tokens()]
    assert ends == sorted(ends)
    least = min(expiry[text] - at for at, text in seen)
    log.info("%d leases, at least %.2f of %d s were left", len(ends), least, USABLE)
    # `exp` is in whole seconds: up to one of the usable life is never there.
    assert least >= 0.4 * USABLE - 1, f"{least:.2f} s of {USABLE} were left"
    assert len(seen) > 3 / POLL, "it was watched all the time"
