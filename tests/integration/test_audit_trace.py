"""Who minted what, on a real server with a real audit log: every token is traced to the host that asked for it."""

import gzip
import shutil
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, Hash

from tests.conftest import TokenWith
from tests.integration.audited import (
    KID,
    LEAKED,
    Audited,
    Job,
    audited,
    auditor,
    hosts,
    jose,
    key,
    message,
    minter,
    scene,
    token_of,
)
from tests.support import key_id, new_key, team
from tests.vaults import VaultUnderTest
from vault_asc import http, tokens
from vault_asc.audit import Trace, Tracer, reasons, verdict
from vault_asc.custody import KeyTokenSource
from vault_asc.errors import ConfigError, NotFoundError, PermissionDeniedError
from vault_asc.key.private_key import PrivateKey
from vault_asc.lab.bao import call
from vault_asc.lab.server import BaoServer
from vault_asc.lifecycle import Lifecycle
from vault_asc.names import Custody
from vault_asc.secret import Secret
from vault_asc.store import Layout, Store
from vault_asc.tokens import Token, TokenRequest
from vault_asc.vault import Auditing, Vault

__all__ = ["auditor", "key", "scene"]  # fixtures

ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def signs_freely(scene: Audited, host: str) -> Job:
    """A job whose policy does not say in which form it signs."""
    return scene.job(
        f"free-on-{host}", host, f'path "{scene.layout.transit_mount}/sign/*" {{ capabilities = ["update"] }}'
    )


def sign(scene: Audited, job: Job, body: dict[str, Any]) -> dict[str, Any]:
    """The raw call, in a form that the product does not use."""
    path = f"{scene.layout.transit_mount}/sign/asc.prod"
    answer = call(scene.server.address, "POST", path, {"hash_algorithm": "sha2-256", **body}, token=job.token)
    return dict(answer["data"])


def similar_hosts(found: Trace) -> set[str]:
    return {dict(similar.entry.caller.metadata)["host"] for similar in found.similar}


def readers(found: Trace) -> dict[str, int]:
    return {dict(reader.caller.metadata)["host"]: reads.times for reader, reads in found.readers.items()}


def test_leaked_tokens_among_decoys(scene: Audited, auditor: Secret, key: PrivateKey) -> None:
    jobs = [minter(scene, f"host-{number}") for number in range(7)]
    now, leaked = time.time(), []
    for number in range(LEAKED):
        job, twin, moment = jobs[number % 7], jobs[(number + 1) % 7], now + number // 5
        leaked.append((job, scene.mint(job, "prod", moment)))
        same = scene.mint(twin, "prod", moment)
        scene.mint(twin, "prod", moment, TokenRequest(600 + number))
        assert same.value.reveal().rpartition(".")[0] == leaked[-1][1].value.reveal().rpartition(".")[0]
    elsewhere = [tokens.mint(team(KID), TokenRequest(), key, now + number) for number in range(5)]

    for job, token in leaked:
        found = scene.trace(token, auditor)
        assert hosts(found) == [job.host]
        assert verdict(found) is None
        entry = found.signed[0].entry
        assert dict(entry.caller.metadata) == {"host": job.host, "job": f"job of {job.host}", "role_name": job.role}
        assert entry.path == f"{scene.layout.transit_mount}/sign/asc.prod"
        assert found.signed[0].key_version == 1
        assert (found.signed[0].entity_name or "").startswith("entity_")
        assert abs(entry.moment - now) < 60
    for token in elsewhere:
        found = scene.trace(token, auditor)
        assert (found.signed, found.genuine) == ((), True)


def test_a_token_that_was_signed_elsewhere(scene: Audited, auditor: Secret, key: PrivateKey) -> None:
    scene.mint(minter(scene, "h1"), "prod", time.time())
    alien = tokens.mint(team(KID), TokenRequest(700), key, time.time())
    scene.root("GET", "sys/mounts")  # an entry after it
    found = scene.trace(alien, auditor)
    problem = verdict(found)
    assert isinstance(problem, NotFoundError)
    assert "revoke" in str(problem.hint)
    assert [reason.why for reason in reasons(found) if "signed elsewhere" in reason.why]
    forged = tokens.mint(team(KID), TokenRequest(701), new_key(), time.time())
    assert "forged" in reasons(scene.trace(forged, auditor))[0].why


def test_after_a_rotation_both_versions_are_found(scene: Audited, auditor: Secret, key: PrivateKey) -> None:
    job, other = minter(scene, "h1"), minter(scene, "h2")
    old = scene.mint(job, "prod", time.time())
    with scene.store() as store:
        lifecycle = Lifecycle(store, time.time)
        lifecycle.stage("prod", new_key(), key_id(2))
        lifecycle.promote("prod")
    new = scene.mint(other, "prod", time.time())
    found = scene.trace(old, auditor)
    assert (hosts(found), found.signed[0].key_version, found.keys[0].current) == (["h1"], 1, False)
    found = scene.trace(new, auditor)
    assert (hosts(found), found.signed[0].key_version, found.keys[0].current) == (["h2"], 2, True)


def test_a_key_without_a_record_is_found_by_its_content(scene: Audited, auditor: Secret, key: PrivateKey) -> None:
    token = scene.mint(minter(scene, "h1"), "prod", time.time())
    scene.root("DELETE", f"{scene.layout.mount}/metadata/asc/keys/prod")
    found = scene.trace(token, auditor)
    assert (hosts(found), found.keys) == (["h1"], ())


def test_a_damaged_record_does_not_hide_the_caller(scene: Audited, auditor: Secret, key: PrivateKey) -> None:
    token = scene.mint(minter(scene, "h1"), "prod", time.time())
    where = f"{scene.layout.mount}/data/asc/keys/prod"
    record = scene.root("GET", where)["data"]["data"]
    scene.root("POST", where, {"data": record | {"public_key": "none"}})
    scene.root("POST", f"{scene.layout.mount}/data/asc/keys/other", {"data": {"format": 99}})
    found = scene.trace(token, auditor)
    assert (hosts(found), found.genuine) == (["h1"], True)


# -- those who do not want to be found -------------------------------------------------------------------------------


def test_other_forms_of_input_and_signature_are_found(scene: Audited, auditor: Secret, key: PrivateKey) -> None:
    text, job = message(), signs_freely(scene, "h1")
    plain = b64encode(text).decode()
    jws = {"marshaling_algorithm": "jws"}
    broken = sign(scene, job, {"input": f"{plain}\n", **jws})["signature"]
    digest = Hash(SHA256())
    digest.update(text)
    hashed = {"input": b64encode(digest.finalize()).decode(), "prehashed": True, **jws}
    prehashed = sign(scene, job, hashed)["signature"]
    der = sign(scene, job, {"input": f"{plain}\n"})["signature"].split(":")[2]
    r, s = decode_dss_signature(b64decode(der))
    whole = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    twin = r.to_bytes(32, "big") + (ORDER - s).to_bytes(32, "big")
    for signature in (jose(broken), jose(prehashed), whole, twin):
        token = token_of(text, signature)
        assert jwt.decode(token.value.reveal(), key.public_key_pem(), ["ES256"], audience="appstoreconnect-v1")
        assert hosts(scene.trace(token, auditor)) == ["h1"]


def test_a_signature_of_a_batch_is_found(scene: Audited, auditor: Secret, key: PrivateKey) -> None:
    texts = [message(now=time.time() + number) for number in range(3)]
    batch = [{"input": b64encode(text).decode()} for text in texts]
    answer = sign(scene, signs_freely(scene, "h1"), {"batch_input": batch, "marshaling_algorithm": "jws"})
    for text, result in zip(texts, answer["batch_results"], strict=True):
        assert hosts(scene.trace(token_of(text, jose(result["signature"])), auditor)) == ["h1"]


def test_what_only_looks_like_a_signing_call_is_left_out(
    scene: Audited, auditor: Secret, key: PrivateKey, token_with: TokenWith
) -> None:
    """A denied call, a verification, a secret with the signature in it: none of them signed anything."""
    token = scene.mint(minter(scene, "h1"), "prod", time.time())
    text, _, third = token.value.reveal().rpartition(".")
    body = {"input": b64encode(text.encode()).decode(), "signature": f"vault:v1:{third}", "marshaling_algorithm": "jws"}
    transit = scene.layout.transit_mount
    verified = scene.root("POST", f"{transit}/verify/asc.prod", {**body, "hash_algorithm": "sha2-256"})
    assert verified["data"]["valid"] is True
    scene.root("POST", f"{scene.layout.mount}/data/{transit}/sign/asc.prod", {"data": body})
    with pytest.raises(PermissionDeniedError):
        call(scene.server.address, "POST", f"{transit}/sign/asc.prod", body, token=token_with("# none"))
    assert hosts(scene.trace(token, auditor)) == ["h1"]
    cut = Token(Secret(f"{text}.{third[:40]}"), *token[1:])
    assert similar_hosts(scene.trace(cut, auditor)) == {"h1"}


def test_a_cut_off_token_leads_to_all_who_signed_its_content(scene: Audited, auditor: Secret, key: PrivateKey) -> None:
    now = time.time()
    first = scene.mint(minter(scene, "h1"), "prod", now)
    scene.mint(minter(scene, "h2"), "prod", now)
    found = scene.trace(Token(Secret(first.value.reveal()[:-30]), *first[1:]), auditor)
    assert (found.signed, similar_hosts(found), found.genuine) == ((), {"h1", "h2"}, False)
    assert "does not prove" in str(verdict(found))


# -- custody kv ------------------------------------------------------------------------------------------------------


def test_for_custody_kv_the_readers_of_that_version_are_told(
    scene: Audited, auditor: Secret, token_with: TokenWith
) -> None:
    key = new_key()
    scene.import_key("old", key, KID, Custody.KV)
    job, other, late = minter(scene, "h1", "old"), minter(scene, "h2", "old"), minter(scene, "h3", "old")
    leaked = scene.mint(job, "old", time.time())
    scene.mint(job, "old", time.time())
    with scene.store() as store:
        lifecycle = Lifecycle(store, time.time)
        lifecycle.stage("old", new_key(), key_id(2))
        lifecycle.promote("old")
    scene.mint(other, "old", time.time())  # reads version 2
    with scene.store(other.token) as store:
        path = f"/v1/{scene.layout.mount}/data/asc/private/old"
        store.vault._client.adapter.get(f"{path}?version=1", wrap_ttl="60s")
    with pytest.raises(PermissionDeniedError), scene.store(token_with("# none")) as store:
        store.vault.kv_read(scene.layout.mount, "asc/private/old")
    found = scene.trace(leaked, auditor)
    assert readers(found) == {"h1": 2, "h2": 1}
    assert {(reader.version, reads.times) for reader, reads in found.readers.items()} == {(1, 2), (None, 1)}
    assert "cannot tell who minted" in str(verdict(found))

    with scene.store(late.token) as store:
        store.vault.kv_read(scene.layout.mount, "asc/private/old", 1)
    short = Token(leaked.value, leaked.key_id, leaked.issued_at, int(time.time()) - 1)
    assert "h3" not in readers(scene.trace(short, auditor))
    assert "h3" in readers(scene.trace(leaked, auditor))


def test_of_a_key_with_escrow_the_readers_are_told_when_nothing_is_found(
    scene: Audited, auditor: Secret, key: PrivateKey
) -> None:
    thief = scene.job("thief", "h9", f'path "{scene.layout.mount}/data/*" {{ capabilities = ["read"] }}')
    with scene.store(thief.token) as store:
        store.read_private(store.read("prod"))
    found = scene.trace(tokens.mint(team(KID), TokenRequest(), key, time.time()), auditor)
    assert readers(found) == {"h9": 1}
    assert "holds no call" in str(verdict(found))


# -- logs ------------------------------------------------------------------------------------------------------------


def test_rotated_logs_and_parts_of_them(scene: Audited, auditor: Secret, key: PrivateKey, tmp_path: Path) -> None:
    token = scene.mint(minter(scene, "h1"), "prod", time.time())
    text = scene.log.read_bytes()
    rows = text.splitlines(keepends=True)
    at = next(
        i for i, row in enumerate(rows) if b"/sign/asc.prod" in row and scene.layout.transit_mount.encode() in row
    )
    older, newer = tmp_path / "audit.log.1.gz", tmp_path / "audit.log"
    older.write_bytes(gzip.compress(b"".join(rows[: at + 1])))  # ends with the request, the response is in the next
    newer.write_bytes(b"".join(rows[at + 1 :])[:-20])
    both = scene.trace(token, auditor, older, newer, scene.log)
    assert (hosts(both), [log.unreadable for log in both.logs.values()]) == (["h1"], [0, 1, 0])
    half = scene.trace(token, auditor, older)
    assert (half.signed, similar_hosts(half)) == ((), {"h1"})
    assert half.similar[0].entry.kind == "request"
    before = tmp_path / "before.log"
    later = token._replace(issued_at=token.issued_at + 900)
    before.write_bytes(b"".join(row for row in rows[:at] if scene.layout.transit_mount.encode() not in row))
    whys = " ".join(reason.why for reason in reasons(scene.trace(later, auditor, before)))
    assert "reaches over" in whys
    assert "no signing call" in whys


def test_an_unknown_device_and_a_token_without_rights(
    scene: Audited, auditor: Secret, key: PrivateKey, token_with: TokenWith
) -> None:
    token = scene.mint(minter(scene, "h1"), "prod", time.time())
    with scene.store(auditor) as store, pytest.raises(ConfigError, match='no audit device "nope"') as failed:
        Tracer(store, Auditing(store.vault, store.vault), "nope").trace(token, [scene.log])
    assert "vault audit list" in str(failed.value.hint)
    with pytest.raises(PermissionDeniedError):
        scene.trace(token, token_with("# none"))


class TwoDevices(BaoServer):
    """Two audit devices, as a server should have, and a namespace."""

    def _config(self, port: int, cluster_port: int) -> dict[str, object]:
        second = {"type": "file", "path": "second", "options": {"file_path": str(self.work_dir / "second.log")}}
        config = super()._config(port, cluster_port)
        devices = config["audit"]
        assert isinstance(devices, list)
        return config | {"audit": [*devices, second]}

    def root(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        return self.api(method, path, body, token=self.root_token)


@pytest.fixture(scope="module")
def two_devices() -> Iterator[TwoDevices]:
    with TwoDevices(audit=True) as server:
        yield server


def test_each_log_has_the_salt_of_its_device(two_devices: TwoDevices, tmp_path: Path) -> None:
    server = VaultUnderTest(two_devices.address, two_devices.root_token, audit_device="lab")
    with audited(server, two_devices.root, "secret") as scene:
        scene.import_key("prod", new_key(), KID, Custody.TRANSIT)
        token = scene.mint(minter(scene, "h1"), "prod", time.time())
        second = shutil.copy(two_devices.work_dir / "second.log", tmp_path)
        assert hosts(scene.trace(token, server.root_token)) == ["h1"]
        found = scene.trace(token, server.root_token, Path(second))
        assert found.signed == ()
        assert 'hashed by audit device "lab"' in " ".join(reason.why for reason in reasons(found))
        with scene.store() as store:
            tracer = Tracer(store, Auditing(store.vault, store.vault), "second")
            assert hosts(tracer.trace(token, [Path(second)])) == ["h1"]


def test_a_store_in_a_namespace(two_devices: TwoDevices) -> None:
    """Audit devices belong to the root namespace; the log has paths as they are within a namespace."""
    server = two_devices
    server.root("POST", "sys/namespaces/team-a", {})
    server.root("POST", "team-a/sys/mounts/kv", {"type": "kv", "options": {"version": "2"}})
    server.root("POST", "team-a/sys/mounts/asc-transit", {"type": "transit"})
    with http.session() as session:
        root = Vault(server.address, server.root_token, session=session)
        vault = Vault(server.address, server.root_token, session=session, namespace="team-a")
        store = Store(vault, Layout("kv", "asc"))
        Lifecycle(store, time.time).import_key("prod", new_key(), team(KID), Custody.TRANSIT)
        token = KeyTokenSource(store, "prod", time.time).token(TokenRequest()).token
        auditing = Auditing(vault, root)
        assert len(Tracer(store, auditing, "lab", "team-a").trace(token, [server.audit_log]).signed) == 1
        assert Tracer(store, auditing, "lab").trace(token, [server.audit_log]).signed == ()
