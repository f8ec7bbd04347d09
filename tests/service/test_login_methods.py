"""The ways to log in, for real: jwt by a key of the test, kubernetes by a TokenReview API of the test, in a namespace."""

import json
import secrets
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme
from joserfc import jwt
from joserfc.jwk import ECKey

from tests.conftest import Root
from tests.service.logins import approle, holder, revoke, staged
from tests.vaults import VaultUnderTest
from vault_asc import http
from vault_asc.auth import AppRoleAuth, AuthSettings, JWTAuth, parse_auth
from vault_asc.cli.wiring import Connection
from vault_asc.config import Config, VaultSettings
from vault_asc.errors import ConfigError, PermissionDeniedError
from vault_asc.secret import Secret
from vault_asc.toml_table import Table
from vault_asc.vault import Login, LoginError, Vault

ROLE = {"token_policies": ["default"], "token_ttl": "20m"}


@pytest.fixture
def mounted(root: Root, request: pytest.FixtureRequest) -> Iterator[str]:
    """An auth method of the type that a test names."""
    path = f"auth-{secrets.token_hex(4)}"
    root("POST", f"sys/auth/{path}", {"type": request.param})
    yield path
    root("DELETE", f"sys/auth/{path}")


# -- jwt -------------------------------------------------------------------------------------------------------------


class Issuer:
    """A platform that gives its workloads a signed identity in a file."""

    def __init__(self, file: Path) -> None:
        self.key = ECKey.generate_key("P-256")
        self.file = file

    def write(self, subject: str = "vault-asc", lifetime: int = 600, key: ECKey | None = None) -> None:
        now = int(time.time())
        claims = {"iss": "platform", "sub": subject, "aud": "vault", "iat": now, "nbf": now, "exp": now + lifetime}
        self.file.write_text(jwt.encode({"alg": "ES256"}, claims, key or self.key) + "\n")


@pytest.fixture
def issuer(root: Root, mounted: str, tmp_path: Path) -> Issuer:
    made = Issuer(tmp_path / "jwt")
    pem = made.key.as_pem(private=False).decode()
    root("POST", f"auth/{mounted}/config", {"jwt_validation_pubkeys": [pem], "bound_issuer": "platform"})
    bound = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"], "bound_subject": "vault-asc"}
    root("POST", f"auth/{mounted}/role/svc", {**ROLE, **bound})
    made.write()
    return made


@pytest.mark.parametrize("mounted", ["jwt"], indirect=True)
def test_a_jwt_is_read_anew_for_each_login(vault: VaultUnderTest, root: Root, mounted: str, issuer: Issuer) -> None:
    with staged(vault, JWTAuth(mounted, "svc", issuer.file)) as stage:
        assert holder(root, stage.login)["display_name"] == f"{mounted}-vault-asc"
        first = issuer.file.read_text()
        issuer.write(lifetime=700)
        revoke(root, stage.login)
        assert stage.vault.whoami().startswith(f"{mounted}-vault-asc")
        sent = [
            json.loads(body)["jwt"]
            for (_, path), body in zip(stage.wire.calls, stage.wire.bodies, strict=True)
            if "login" in path
        ]
        assert sent == [first.strip(), issuer.file.read_text().strip()]


@pytest.mark.parametrize("mounted", ["jwt"], indirect=True)
@pytest.mark.parametrize("wrong", ["expired", "foreign key", "other subject", "other role"])
def test_a_jwt_that_is_not_taken_is_told_without_showing_it(
    vault: VaultUnderTest, mounted: str, issuer: Issuer, wrong: str
) -> None:
    issuer.write(
        "somebody" if wrong == "other subject" else "vault-asc",
        lifetime=-600 if wrong == "expired" else 600,
        key=ECKey.generate_key("P-256") if wrong == "foreign key" else None,
    )
    role = "nobody" if wrong == "other role" else "svc"
    with staged(vault, JWTAuth(mounted, role, issuer.file)) as stage:
        for _ in range(3):
            with pytest.raises(LoginError, match=f'login at "auth/{mounted}/login" was refused: ') as caught:
                stage.login.current()
        assert stage.logins == 1
        told = caught.value.message
        assert issuer.file.read_text()[:20] not in told
        assert len(told) > len(f'the login at "auth/{mounted}/login" was refused: ; tokens that were pushed stay') + 10


# -- kubernetes ------------------------------------------------------------------------------------------------------


class Reviews(ThreadingHTTPServer):
    """The one call of the Kubernetes API that Vault's auth method makes: what is this service account token worth?"""

    daemon_threads = True

    def __init__(self, authority: trustme.CA) -> None:
        super().__init__(("127.0.0.1", 0), _Review)
        self.accounts: dict[str, tuple[str, str]] = {}
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
        self.socket = context.wrap_socket(self.socket, server_side=True)


class _Review(BaseHTTPRequestHandler):
    server: Reviews

    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        account = self.server.accounts.get(review["spec"]["token"])
        status: dict[str, Any] = {"authenticated": account is not None}
        if account is not None:
            namespace, name = account
            groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]
            user = {"username": f"system:serviceaccount:{namespace}:{name}", "uid": "u-1", "groups": groups}
            status |= {"user": user, "audiences": review["spec"].get("audiences") or []}
        body = json.dumps({**review, "status": status}).encode()
        self.send_response(201)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        pass


@pytest.fixture
def reviews(root: Root, mounted: str) -> Iterator[Reviews]:
    authority = trustme.CA()
    server = Reviews(authority)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    settings = {
        "kubernetes_host": f"https://127.0.0.1:{server.server_address[1]}",
        "kubernetes_ca_cert": authority.cert_pem.bytes().decode(),
        "disable_local_ca_jwt": True,
    }
    root("POST", f"auth/{mounted}/config", settings)
    bound = {"bound_service_account_names": ["vault-asc"], "bound_service_account_namespaces": ["asc"]}
    root("POST", f"auth/{mounted}/role/svc", {**ROLE, **bound})
    yield server
    server.shutdown()
    server.server_close()


def service_account_token(name: str) -> str:
    """As a cluster projects it; who reviews it is asked, so its signature is anybody's."""
    now = int(time.time())
    claims = {
        "iss": "https://kubernetes.default.svc.cluster.local",
        "sub": f"system:serviceaccount:asc:{name}",
        "aud": ["https://kubernetes.default.svc.cluster.local"],
        "iat": now,
        "nbf": now,
        "exp": now + 600,
        "kubernetes.io": {"namespace": "asc", "serviceaccount": {"name": name, "uid": "u-1"}},
    }
    return jwt.encode({"alg": "ES256"}, claims, ECKey.generate_key("P-256"))


@pytest.mark.parametrize("mounted", ["kubernetes"], indirect=True)
def test_a_pod_logs_in_with_the_token_that_is_projected_into_it(
    vault: VaultUnderTest, root: Root, mounted: str, reviews: Reviews, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    first, second, foreign = (service_account_token(name) for name in ("vault-asc", "vault-asc", "other"))
    reviews.accounts = {first: ("asc", "vault-asc"), second: ("asc", "vault-asc"), foreign: ("asc", "other")}
    file.write_text(first)
    with staged(vault, JWTAuth(mounted, "svc", file)) as stage:
        meta = holder(root, stage.login)["meta"]
        assert (meta["service_account_namespace"], meta["service_account_name"]) == ("asc", "vault-asc")
        del reviews.accounts[first]
        file.write_text(second)
        revoke(root, stage.login)
        assert stage.vault.whoami()
        assert stage.logins == 2
    file.write_text(foreign)
    with staged(vault, JWTAuth(mounted, "svc", file)) as stage, pytest.raises(LoginError, match="was refused"):
        stage.login.current()


# -- where and whether -----------------------------------------------------------------------------------------------


def test_a_login_is_made_in_the_namespace_of_the_calls(vault: VaultUnderTest, root: Root, tmp_path: Path) -> None:
    team = f"team-{secrets.token_hex(4)}"
    root("POST", f"sys/namespaces/{team}", {})

    def below(method: str, path: str, body: object = None) -> dict[str, Any]:
        return root(method, f"{team}/{path}", body)

    with approle(below, tmp_path, "none") as role, http.session(ca_file=vault.ca_file) as session:
        login = Login(Vault(vault.address, None, session=session, namespace=team), role.auth)
        assert (
            below("POST", "auth/token/lookup", {"token": login.current().reveal()})["data"]["namespace_path"]
            == f"{team}/"
        )
        elsewhere = Login(Vault(vault.address, None, session=session), role.auth)
        with pytest.raises(LoginError):
            elsewhere.current()
    root("DELETE", f"sys/namespaces/{team}")


def connection_to(tmp_path: Path, settings: VaultSettings, *, token_file: bool, long_running: bool) -> object:
    """What a command would call Vault with."""
    file = tmp_path / "token"
    file.write_text("a-token-of-a-file")
    made = Connection(None, token_file=file if token_file else None)
    with made.logging_in() as connected, http.session() as session:
        return (connected if long_running else made)._token(settings, session)


@pytest.mark.parametrize(
    ("address", "token_file", "long_running", "expected"),
    [
        ("https://vault.example", False, True, Login),
        ("https://vault.example", True, True, Secret),
        ("https://vault.example", True, False, Secret),
        ("unix:///run/agent.sock", False, True, type(None)),
        ("unix:///run/agent.sock", True, True, type(None)),
    ],
)
def test_who_logs_in(tmp_path: Path, address: str, expected: type, *, token_file: bool, long_running: bool) -> None:
    settings = VaultSettings(address, auth=AppRoleAuth())
    found = connection_to(tmp_path, settings, token_file=token_file, long_running=long_running)
    assert isinstance(found, expected)


def test_other_commands_never_log_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = VaultSettings("https://vault.example", auth=AppRoleAuth())
    with pytest.raises(ConfigError, match="no Vault token"):
        connection_to(tmp_path, settings, token_file=False, long_running=False)


def test_a_reload_with_the_same_settings_keeps_the_token() -> None:
    config = Config(vault=VaultSettings("https://vault.example", auth=AppRoleAuth()))
    with Connection(None).logging_in() as made, http.session() as session:
        first = made._token(config.vault, session)
        assert made._token(config.vault, session) is first
        other = config.vault._replace(auth=AppRoleAuth(mount="other"))
        assert made._token(other, session) is not first


# -- configuration ---------------------------------------------------------------------------------------------------

APPROLE = AppRoleAuth("approle", Path("/etc/vault-asc/role_id"), Path("/etc/vault-asc/secret_id"))
PROJECTED = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


@pytest.mark.parametrize(
    ("table", "settings"),
    [
        ({"method": "approle"}, APPROLE),
        ({"method": "approle", "mount": "team/approle", "secret_id_file": "/s"}, APPROLE._replace(mount="team/approle", secret_id_file=Path("/s"))),
        ({"method": "approle", "secret_id_wrapping_path": "auth/approle/role/x/secret-id"}, APPROLE._replace(secret_id_wrapping_path="auth/approle/role/x/secret-id")),
        ({"method": "kubernetes", "role": "asc"}, JWTAuth("kubernetes", "asc", PROJECTED)),
        ({"method": "kubernetes", "role": "asc", "jwt_file": "/t", "mount": "k8s"}, JWTAuth("k8s", "asc", Path("/t"))),
        ({"method": "jwt", "role": "asc", "jwt_file": "/t"}, JWTAuth("jwt", "asc", Path("/t"))),
    ],
)  # fmt: skip
def test_settings(table: dict[str, object], settings: AuthSettings) -> None:
    assert parse_auth(Table(table, "[vault.auth]")) == settings


@pytest.mark.parametrize(
    ("table", "told", "hint"),
    [
        ({}, "method is missing", "method ="),
        ({"method": "ldap"}, '"ldap" in .vault.auth. is not known', '"approle", "kubernetes", "jwt"'),
        ({"method": "approle", "secret_id": "x"}, 'unknown key "secret_id"', "secret_id_file"),
        ({"method": "approle", "role": "x"}, 'unknown key "role"', "role_id_file"),
        ({"method": "jwt", "role": "x"}, "jwt_file is missing", "name the file"),
        ({"method": "jwt", "jwt_file": "/t"}, "role is missing", "role ="),
        ({"method": "kubernetes", "role": "x", "role_id_file": "/t"}, 'unknown key "role_id_file"', ""),
        ({"method": "kubernetes", "role": ""}, "vault.auth.role", ""),
        ({"method": "kubernetes", "role": "x", "mount": "../sys"}, "vault.auth.mount", ""),
        ({"method": "kubernetes", "role": "x", "jwt_file": "token"}, "jwt_file", "whole path"),
        ({"method": "approle", "secret_id_wrapping_path": "a/../b"}, "secret_id_wrapping_path", ""),
        ({"method": 1}, "method in .vault.auth. is a whole number", ""),
    ],
)
def test_settings_that_are_refused(table: dict[str, object], told: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        parse_auth(Table(table, "[vault.auth]"))
    assert hint in str(caught.value.hint)


def test_a_login_that_is_refused_exits_as_a_denial() -> None:
    assert issubclass(LoginError, PermissionDeniedError)
