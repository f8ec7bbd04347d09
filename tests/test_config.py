import contextlib
import os
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vault_asc import config as module
from vault_asc.config import (
    AgentSettings,
    AppStoreConnectSettings,
    Config,
    NexlaSettings,
    Rendered,
    RunSettings,
    SecretRef,
    Target,
    find,
    load,
    parse,
    state_dir,
)
from vault_asc.errors import ConfigError, NotFoundError, VaultAscError
from vault_asc.store import Layout
from vault_asc.tokens import TokenRequest

SERVICE_KEY = 'service_key = { path = "asc/nexla/default" }'
ACCOUNT = f"[nexla.default]\n{SERVICE_KEY}\n"
TARGET = '[[targets]]\nname = "sales"\nkey = "prod"\ncredential_id = 5001\n'
RENDERED = '[[targets]]\nname = "reports"\nrole = "reports"\ntoken_file = "/run/r"\n'

EVERYTHING = """
version = 1
[vault]
address = "https://vault.example:8200/"
namespace = "team/a/"
ca_file = "/etc/ssl/vault.pem"
[store]
mount = "kv"
prefix = "asc/team-a"
[agent]
dir = "/run/asc"
role_id_file = "/etc/asc/role"
secret_id_file = "/etc/asc/secret"
tick = "1m30s"
[state]
dir = "/var/lib/asc"
[appstoreconnect]
api_url = "https://apple.example/"
ca_file = "/etc/ssl/apple.pem"
[nexla.default]
api_url = "https://nexla.example/api/"
ca_file = "/etc/ssl/nexla.pem"
service_key = { mount = "kv", path = "nexla/main", field = "key" }
[nexla.other]
service_key = { path = "nexla/other" }
[[targets]]
name = "sales"
key = "prod"
credential_id = 5001
lifetime = "10m"
scope = ["GET /v1/apps"]
nexla = "other"
mode = "rest"
vendor = "my_vendor"
auth_template = "my_template"
token_field = "access_token"
token_prefix = "Bearer "
extra_fields = { region = "eu", depth = { n = [1, 2.5, true] } }
token_file = "/run/asc/sales.jwt"
[[targets]]
name = "apps"
key = "prod"
credential_id = 5002
"""


def read(text: str, environ: dict[str, str] | None = None) -> Config:
    return parse(tomllib.loads(f"version = 1\n{text}"), Path("/etc/asc.toml"), environ or {})


def refused(text: str, environ: dict[str, str] | None = None) -> str:
    """What the user is told, message and hint in one."""
    with pytest.raises(ConfigError) as caught:
        read(text, environ)
    assert caught.value.hint
    assert caught.value.exit_code == 2
    return f"{caught.value.message} | {caught.value.hint}"


def test_every_key_arrives_where_it_belongs() -> None:
    config = parse(tomllib.loads(EVERYTHING), Path("/etc/asc.toml"), {})
    assert config.path == Path("/etc/asc.toml")
    assert config.vault.address == "https://vault.example:8200"
    assert (config.vault.namespace, config.vault.ca_file) == ("team/a", Path("/etc/ssl/vault.pem"))
    assert (config.store.mount, config.store.prefix) == ("kv", "asc/team-a")
    assert config.agent == AgentSettings(Path("/run/asc"), Path("/etc/asc/role"), Path("/etc/asc/secret"), 90)
    assert (config.agent.socket, config.agent.ticks) == (Path("/run/asc/agent.sock"), Path("/run/asc/ticks"))
    assert config.state_dir == Path("/var/lib/asc")
    assert config.appstoreconnect == AppStoreConnectSettings("https://apple.example", Path("/etc/ssl/apple.pem"))
    main = SecretRef("kv", "nexla/main", "key")
    assert config.nexla == {
        "default": NexlaSettings("default", main, "https://nexla.example/api", Path("/etc/ssl/nexla.pem")),
        "other": NexlaSettings("other", SecretRef("secret", "nexla/other", "service_key")),
    }
    assert config.targets == (
        Target(
            name="sales",
            key="prod",
            credential_id=5001,
            request=TokenRequest(600, ("GET /v1/apps",)),
            nexla="other",
            mode="rest",
            vendor="my_vendor",
            auth_template="my_template",
            token_field="access_token",
            token_prefix="Bearer ",
            extra_fields={"region": "eu", "depth": {"n": [1, 2.5, True]}},
            token_file=Path("/run/asc/sales.jwt"),
        ),
        Target("apps", "prod", 5002),
    )
    assert config.run == RunSettings()


def test_how_run_works_can_be_set_within_limits() -> None:
    assert read("[run]\nworkers = 8\nrate = 4\nreplicas = 2").run == RunSettings(8, 4, 2)
    for text in ("workers = 1", "workers = 65", "rate = 0", "rate = 1001", "replicas = 0", "replicas = 11"):
        assert f"run.{text.replace(' =', ' of')} is not possible" in refused(f"[run]\n{text}")
    assert 'unknown key "worker"' in refused("[run]\nworker = 3")


def test_an_empty_file_is_all_defaults() -> None:
    assert read("") == Config(path=Path("/etc/asc.toml"))
    assert read("").vault.address == "https://127.0.0.1:8200"
    assert read("").agent.tick == 30
    assert read("").appstoreconnect == AppStoreConnectSettings("https://api.appstoreconnect.apple.com", None)
    assert read(ACCOUNT).nexla["default"].api_url == "https://dataops.nexla.io/nexla-api"


@pytest.mark.parametrize(
    ("text", "key", "meant"),
    [
        ("agnet = {}", "agnet", "agent"),
        ("[vault]\nadress = 'x'", "adress", "address"),
        ("[store]\nmont = 'x'", "mont", "mount"),
        ("[agent]\nticks = '1s'", "ticks", "tick"),
        ("[state]\ndirr = '/x'", "dirr", "dir"),
        ("[appstoreconnect]\nurl = 'x'", "url", "api_url"),
        (f"{ACCOUNT}apiurl = 'x'", "apiurl", "api_url"),
        ("[nexla.default]\nservice_key = { path = 'a', feild = 'b' }", "feild", "field"),
        (f"{ACCOUNT}{TARGET}credentialid = 1", "credentialid", "credential_id"),
    ],
)
def test_an_unknown_key_is_named_with_what_was_meant(text: str, key: str, meant: str) -> None:
    said = refused(text)
    assert f'unknown key "{key}"' in said
    assert f'did you mean "{meant}"?' in said


def test_an_unknown_key_like_no_other_is_told_what_there_is() -> None:
    assert "known here: dir, role_id_file, secret_id_file, tick" in refused("[agent]\nzzz = 1")
    assert "[agent]" in refused("[agent]\nzzz = 1")
    assert '[[targets]] "sales"' in refused(f"{ACCOUNT}{TARGET}zzz = 1")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("vault = 'x'", "vault in"),
        ("vault = 'x'", "is a string, not a table"),
        ("vault.address = 1", "address in [vault] is a whole number, not a string"),
        ("vault.address = true", "is a boolean, not a string"),
        ("agent.tick = 30", "tick in [agent] is a whole number, not a string"),
        ("agent.dir = ['/x']", "dir in [agent] is an array, not a string"),
        ("store.prefix = 1.5", "prefix in [store] is float, not a string"),
        ("state = 1979-05-27", "is date, not a table"),
        ("appstoreconnect.api_url = 1", "api_url in [appstoreconnect] is a whole number, not a string"),
        ("nexla = []", "is an array, not a table"),
        ("nexla.default = 'x'", '"default" stands directly in [nexla], which is made of named tables'),
        ("nexla.default.service_key = 'x'", "service_key in [nexla.default] is a string, not a table"),
        ("targets = {}", "targets in"),
        ("targets = ['x']", "no array of tables"),
        (f"{ACCOUNT}{TARGET.replace('5001', 'true')}", "credential_id in"),
        (f"{ACCOUNT}{TARGET.replace('5001', 'true')}", "is a boolean, not a whole number"),
        (f"{ACCOUNT}{TARGET.replace('5001', repr('5001'))}", "is a string, not a whole number"),
        (f"{ACCOUNT}{TARGET.replace('5001', '5001.0')}", "is float, not a whole number"),
        (f"{ACCOUNT}{TARGET}scope = 'GET /v1/apps'", "scope in"),
        (f"{ACCOUNT}{TARGET}scope = [1]", 'scope of target "sales"'),
        (f"{ACCOUNT}{TARGET}lifetime = 600", "lifetime in"),
    ],
)
def test_wrong_types_are_named(text: str, said: str) -> None:
    assert said in refused(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("vault.address = 'http://vault.example'", "vault.address"),
        ("vault.namespace = 'a/../b'", "vault.namespace"),
        ("store.mount = '/secret'", "store.mount"),
        ("store.prefix = 'asc/'", "store.prefix"),
        ("agent.tick = '0s'", "agent.tick"),
        ("agent.tick = '301s'", "agent.tick"),
        ("agent.tick = 'often'", "agent.tick"),
        ("agent.dir = 'run'", "dir"),
        ("agent.dir = ''", "dir"),
        ("agent.role_id_file = './role'", "role_id_file"),
        ("agent.secret_id_file = '~/x'", "secret_id_file"),
        ('agent.secret_id_file = "/a\\u0000b"', "secret_id_file"),
        ('agent.dir = "/run/a\\nb"', r"/run/a\nb"),
        ("state.dir = '../x'", "dir"),
        ("vault.ca_file = 'ca.pem'", "ca_file"),
        (f"{ACCOUNT}ca_file = 'ca.pem'", "ca_file"),
        ("appstoreconnect.ca_file = 'ca.pem'", "ca_file"),
        ("appstoreconnect.api_url = 'http://api.apple.example'", "appstoreconnect.api_url"),
        ("appstoreconnect.api_url = 'https://u:hunter2@apple.example'", "user name or password"),
        (f"{ACCOUNT}api_url = 'http://nexla.example'", "nexla.default.api_url"),
        (f"{ACCOUNT}api_url = 'https://u:hunter2@nexla.example'", "user name or password"),
        ("[nexla.Default]\n" + SERVICE_KEY, 'nexla account name "Default"'),
        ("[nexla.default]", "service_key is missing in [nexla.default]"),
        ("nexla.default.service_key = {}", "path is missing in nexla.default.service_key"),
        ("nexla.default.service_key = { path = 'a//b' }", "nexla.default.service_key.path"),
        ("nexla.default.service_key = { path = 'a', mount = '..' }", "nexla.default.service_key.mount"),
        (f"{ACCOUNT}[[targets]]\nkey = 'a'\ncredential_id = 1", 'name is missing in [[targets]] "1"'),
        (f"{ACCOUNT}[[targets]]\nname = 'a'\ncredential_id = 1", 'target "a" has neither key nor role'),
        (f"{ACCOUNT}{TARGET}role = 'sales'", 'target "sales" has both key and role'),
        (f"{ACCOUNT}{TARGET.replace('key =', 'role =').replace('prod', '../prod')}", 'role name "../prod"'),
        (f"{ACCOUNT}[[targets]]\nname = 'a'\nkey = 'k'", 'target "a" has neither credential_id nor token_file'),
        (f"{RENDERED}vendor = 'x'", 'target "reports" has no credential_id, and vendor is about one'),
        (f"{RENDERED}nexla = 'default'", "nexla is about one"),
        (f"{RENDERED}extra_fields = {{ a = 1 }}", "extra_fields is about one"),
        (f"{RENDERED}token_prefix = ''", "token_prefix is about one"),
        (f"{RENDERED}{RENDERED.replace('/run/r', '/run/other')}", 'target "reports" is there twice'),
        (f"{RENDERED}{RENDERED.replace('reports', 'again')}", 'token_file "/run/r" is there twice'),
        (f"{ACCOUNT}{TARGET}{RENDERED.replace('reports', 'sales')}", 'target "sales" is there twice'),
        (f"{ACCOUNT}{TARGET}token_file = '/run/r'\n{RENDERED}", 'token_file "/run/r" is there twice'),
        (f"{ACCOUNT}{TARGET.replace('sales', 'Sales')}", 'target name "Sales"'),
        (f"{ACCOUNT}{TARGET.replace('prod', '../prod')}", 'key name "../prod"'),
        (f"{ACCOUNT}{TARGET.replace('5001', '0')}", "credential_id 0"),
        (f"{ACCOUNT}{TARGET.replace('5001', '-5')}", "credential_id -5"),
        (f"{ACCOUNT}{TARGET}lifetime = '20m1s'", 'target "sales"'),
        (f"{ACCOUNT}{TARGET}lifetime = '20m1s'", "1201 s"),
        (f"{ACCOUNT}{TARGET}lifetime = 'long'", 'lifetime of target "sales"'),
        (f"{ACCOUNT}{TARGET}scope = ['POST /v1/apps']", 'target "sales"'),
        (f"{ACCOUNT}{TARGET}mode = 'push'", '"auto", "template" or "rest"'),
        (f"{ACCOUNT}{TARGET}token_prefix = 'Token '", "token_prefix"),
        (f"{ACCOUNT}{TARGET}token_file = 'sales.jwt'", "token_file"),
        (f"{ACCOUNT}{TARGET}extra_fields = {{ since = 2026-01-01 }}", "extra_fields"),
        (f"{ACCOUNT}{TARGET}extra_fields = {{ a = [nan] }}", "extra_fields"),
        (f"{ACCOUNT}{TARGET}nexla = 'other'", 'Nexla account "other"'),
        (TARGET, "add [nexla.default]"),
        (f"{ACCOUNT}{TARGET}{TARGET}", 'target "sales" is there twice'),
    ],
)
def test_wrong_values_are_named(text: str, said: str) -> None:
    told = refused(text)
    assert said in told
    assert "hunter2" not in told
    assert told.isprintable()


@pytest.mark.parametrize("version", ["", "version = 0", "version = 2", "version = -1"])
def test_other_versions_are_refused(version: str) -> None:
    with pytest.raises(ConfigError, match="version 1") as caught:
        parse(tomllib.loads(version), Path("/etc/asc.toml"), {})
    assert "/etc/asc.toml" in caught.value.message
    assert "version = 1" in str(caught.value.hint)


@pytest.mark.parametrize("version", ["'1'", "1.0", "true"])
def test_a_version_of_another_type_is_refused(version: str) -> None:
    with pytest.raises(ConfigError, match="not a whole number"):
        parse(tomllib.loads(f"version = {version}"), None, {})


def test_the_environment_beats_the_file_and_vault_beats_bao() -> None:
    text = "[vault]\naddress = 'https://file'\nnamespace = 'file'\nca_file = '/file'"
    bao = {"BAO_ADDR": "https://bao", "BAO_NAMESPACE": "bao", "BAO_CACERT": "/bao"}
    vault = {"VAULT_ADDR": "https://vault", "VAULT_NAMESPACE": "vault/", "VAULT_CACERT": "/vault"}
    empty = dict.fromkeys(vault, "")
    for environ, expected in [
        ({}, "file"),
        (bao, "bao"),
        (vault, "vault"),
        (bao | vault, "vault"),
        (bao | empty, "bao"),
    ]:
        settings_ = read(text, environ).vault
        assert settings_.address == f"https://{expected}"
        assert settings_.namespace == expected
        assert settings_.ca_file == Path(f"/{expected}")


@pytest.mark.parametrize("said", ["", "/", "//"])
def test_the_root_namespace_may_be_said(said: str) -> None:
    assert not read(f"vault.namespace = '{said}'").vault.namespace
    assert not read("", {"VAULT_NAMESPACE": "/"}).vault.namespace
    for name in ("VAULT_NAMESPACE", "BAO_NAMESPACE"):
        assert not read("vault.namespace = 'team'", {name: "/"}).vault.namespace
    assert read(f"vault.namespace = '{said}'", {"VAULT_NAMESPACE": "team/"}).vault.namespace == "team"
    assert read("").vault.namespace is None


@pytest.mark.parametrize("path", ["keys/prod", "private/prod", "private/prod/x", "staged/prod", "private"])
@pytest.mark.parametrize(
    ("store", "ref"),
    [
        ("", "path = 'asc/{}'"),
        ("store = { mount = 'kv', prefix = 'asc/team-a' }", "mount = 'kv', path = 'asc/team-a/{}'"),
        ("store = { mount = 'kv', prefix = 'a/data/b' }", "mount = 'kv/data/a', path = 'b/{}'"),
    ],
)
def test_a_service_key_among_the_keys_is_refused(store: str, ref: str, path: str) -> None:
    said = refused(f"{store}\n[nexla.default]\nservice_key = {{ {ref.format(path)} }}")
    assert 'Nexla account "default"' in said
    assert "nexla/default" in said


def test_wherever_the_store_keeps_a_part_of_a_key_is_refused() -> None:
    layout = Layout("secret", "asc")
    for path in (layout.record("prod"), layout.private("prod"), layout.note("prod")):
        assert "among the keys" in refused(f"nexla.default.service_key = {{ path = '{path}' }}")


@pytest.mark.parametrize(
    "ref",
    [
        "path = 'asc/nexla/private'",
        "path = 'asc/privately/x'",
        "path = 'private/prod'",
        "path = 'asc/team-b/private/prod'",
        "path = 'asc/private/prod', mount = 'kv'",
    ],
)
def test_a_service_key_elsewhere_is_taken(ref: str) -> None:
    assert read(f"nexla.default.service_key = {{ {ref} }}").nexla


@pytest.mark.parametrize(
    "environ",
    [{"VAULT_ADDR": "http://vault.example"}, {"BAO_ADDR": "vault.example"}, {"VAULT_NAMESPACE": "a/../b"}],
)
def test_the_environment_is_checked_like_the_file(environ: dict[str, str]) -> None:
    assert "vault." in refused("", environ)


def test_tls_cannot_be_switched_off_by_the_environment() -> None:
    environ = {"VAULT_SKIP_VERIFY": "true", "BAO_SKIP_VERIFY": "1"}
    assert read("", environ) == read("")


@pytest.fixture
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    places = (Path("vault-asc.toml"), tmp_path / "etc" / "vault-asc.toml")
    monkeypatch.setattr(module, "PLACES", places)
    (tmp_path / "etc").mkdir()
    return tmp_path


def written(file: Path, prefix: str) -> Path:
    file.write_text(f'version = 1\nstore.prefix = "{prefix}"\n')
    file.chmod(0o644)
    return file


def test_the_places_in_their_order(in_tmp: Path) -> None:
    assert module.PLACES
    assert find(None, {}) is None
    assert load(None, {}) == Config()
    written(in_tmp / "etc" / "vault-asc.toml", "etc")
    assert load(None, {}).store.prefix == "etc"
    here = written(in_tmp / "vault-asc.toml", "here")
    assert load(None, {}).store.prefix == "here"
    assert load(None, {}).path == here  # absolute, since the Agent has another working directory
    named = {"VAULT_ASC_CONFIG": str(written(in_tmp / "a.toml", "environment"))}
    assert load(None, named).store.prefix == "environment"
    assert load(written(in_tmp / "b.toml", "option"), named).store.prefix == "option"
    assert load(None, {"VAULT_ASC_CONFIG": ""}).store.prefix == "here"


NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="makes files of other users")


def named_it_is_taken(file: Path) -> None:
    assert load(file, {}).store.prefix == "theirs"
    assert load(Path(file.name), {}).store.prefix == "theirs"
    assert load(None, {"VAULT_ASC_CONFIG": file.name}).store.prefix == "theirs"


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_a_file_here_that_others_may_change_is_not_taken_unless_it_is_named(in_tmp: Path, mode: int) -> None:
    file = written(in_tmp / "vault-asc.toml", "theirs")
    file.chmod(mode)
    written(in_tmp / "etc" / "vault-asc.toml", "etc")
    with pytest.raises(ConfigError, match="can be changed by its group or by everybody") as caught:
        load(None, {})
    for way in ("chmod go-w vault-asc.toml", "--config", "VAULT_ASC_CONFIG"):
        assert way in str(caught.value.hint)
    named_it_is_taken(file)
    file.chmod(mode & ~0o022)
    assert load(None, {}).store.prefix == "theirs"


@needs_root
def test_a_file_here_of_somebody_else_is_not_taken_unless_it_is_named(in_tmp: Path) -> None:
    file = written(in_tmp / "vault-asc.toml", "theirs")
    os.chown(file, NOBODY, NOBODY)
    with pytest.raises(ConfigError, match=f"belongs to user {NOBODY}") as caught:
        load(None, {})
    for way in ("--config vault-asc.toml", "VAULT_ASC_CONFIG", "chown"):
        assert way in str(caught.value.hint)
    named_it_is_taken(file)


@needs_root
def test_a_link_here_of_somebody_else_is_not_taken(in_tmp: Path) -> None:
    link = in_tmp / "vault-asc.toml"
    link.symlink_to(written(in_tmp / "other.toml", "theirs"))
    assert load(None, {}).store.prefix == "theirs"
    os.chown(link, NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(ConfigError, match=f"belongs to user {NOBODY}"):
        load(None, {})


@needs_root
def test_a_file_here_of_root_is_taken_by_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        monkeypatch.chdir(directory)
        file = written(Path(directory) / "vault-asc.toml", "roots")
        for owner, taken in ((0, True), (NOBODY, True), (NOBODY - 1, False)):
            os.chown(file, owner, owner)
            os.seteuid(NOBODY)
            try:
                with contextlib.nullcontext() if taken else pytest.raises(ConfigError, match="belongs to user 65533"):
                    assert load(None, {}).store.prefix == "roots"
            finally:
                os.seteuid(0)
        monkeypatch.undo()


def test_the_place_in_etc_is_for_its_admin_to_guard(in_tmp: Path) -> None:
    written(in_tmp / "etc" / "vault-asc.toml", "etc").chmod(0o664)
    assert load(None, {}).store.prefix == "etc"


def test_the_default_places() -> None:
    assert [str(place) for place in module.PLACES] == ["vault-asc.toml", "/etc/vault-asc/vault-asc.toml"]


@pytest.mark.parametrize("name", ["missing.toml", "etc", "a\0b"])
def test_a_named_file_that_is_none_is_an_error_and_no_other_is_taken(in_tmp: Path, name: str) -> None:
    written(in_tmp / "vault-asc.toml", "here")
    for option, environ in [(Path(name), {}), (None, {"VAULT_ASC_CONFIG": name})]:
        with pytest.raises(ConfigError, match="is not there") as caught:
            load(option, environ)
        assert "vault-asc init" in str(caught.value.hint)


@pytest.mark.parametrize(
    "content",
    [
        b"version = ",
        b"version = 1\nversion = 1",
        b"[vault]\n[vault]",
        b"version = 1\n[[targets]]\nname = 'a'\nname = 'b'",
        b"\xff\xfe",
        b"a = " + b"[" * 5000,
        b"x" * 100,
    ],
)
def test_what_is_not_toml_is_told_with_its_place(in_tmp: Path, content: bytes) -> None:
    file = in_tmp / "vault-asc.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r'"vault-asc\.toml" is not TOML') as caught:
        load(None, {})
    assert "config check" in str(caught.value.hint)


@contextlib.contextmanager
def without_rights(path: Path) -> Iterator[None]:
    """As a user to whom a path is closed: root becomes nobody, anybody else closes it for himself."""
    mode = path.stat().st_mode
    path.chmod(0)
    if os.geteuid() == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(os.getuid())
        path.chmod(mode)


def test_a_directory_of_somebody_else_is_no_reason_to_crash(in_tmp: Path) -> None:
    file = written(in_tmp / "etc" / "vault-asc.toml", "etc")
    with without_rights(file.parent):
        assert load(None, {}) == Config()
        with pytest.raises(ConfigError, match="out of reach"):
            load(file, {})


def test_a_file_of_somebody_else_is_told() -> None:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        file = written(Path(directory) / "mine.toml", "mine")
        with without_rights(file), pytest.raises(ConfigError, match="cannot be read: Permission denied") as caught:
            load(file, {})
    assert "ls -l" in str(caught.value.hint)


def test_where_state_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/x")
    configured = Config(state_dir=Path("/var/lib/asc"))
    systemd = {"STATE_DIRECTORY": "/var/lib/systemd", "XDG_STATE_HOME": "/xdg"}
    assert state_dir(configured, systemd) == Path("/var/lib/systemd")
    assert state_dir(configured, {"XDG_STATE_HOME": "/xdg"}) == Path("/var/lib/asc")
    assert state_dir(Config(), {"XDG_STATE_HOME": "/xdg"}) == Path("/xdg/vault-asc")
    assert state_dir(Config(), {"STATE_DIRECTORY": ""}) == Path("/home/x/.local/state/vault-asc")


def test_a_user_without_a_home_is_told_to_configure_one() -> None:
    script = (
        "import os; os.environ.pop('HOME', None)\n"
        "from vault_asc.config import Config, state_dir\n"
        "from vault_asc.errors import ConfigError\n"
        "if os.getuid() == 0: os.setuid(54321)\n"
        "try: print(state_dir(Config(), {}))\n"
        "except ConfigError as error: print(error.hint)"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert ("state.dir" in done.stdout) is (os.getuid() == 0)


def test_a_target_or_account_by_name() -> None:
    config = read(ACCOUNT + TARGET)
    assert config.target("sales").credential_id == 5001
    assert config.account("default").name == "default"
    for look_up, known in ((config.target, "sales"), (config.account, "default")):
        with pytest.raises(NotFoundError, match=r'"other" in /etc/asc\.toml') as caught:
            look_up("other")
        assert known in str(caught.value.hint)
    with pytest.raises(NotFoundError, match="the configuration"):
        Config().target("sales")


def test_a_target_that_is_rendered_is_not_looked_up_to_be_pushed() -> None:
    with pytest.raises(ConfigError, match="the Agent renders it, and nothing is pushed") as caught:
        read(RENDERED).target("reports")
    assert "credential_id" in str(caught.value.hint)


def test_a_target_names_a_key_or_a_role() -> None:
    role = f"{ACCOUNT}{TARGET.replace('key', 'role')}"
    assert read(role).targets == (Target("sales", None, 5001, role="prod"),)
    assert [read(text).targets[0].source for text in (role, ACCOUNT + TARGET)] == ["role prod", "key prod"]


def test_without_a_credential_a_target_is_rendered() -> None:
    by_key = RENDERED.replace("reports", "apps").replace("role", "key").replace("/run/r", "/run/a")
    config = read(f"{ACCOUNT}{TARGET}{RENDERED}{by_key}lifetime = '10m'\nscope = ['GET /v1/apps']")
    assert [target.name for target in config.targets] == ["sales"]
    assert config.rendered == (
        Rendered("reports", None, "reports", TokenRequest(), Path("/run/r")),
        Rendered("apps", "apps", None, TokenRequest(600, ("GET /v1/apps",)), Path("/run/a")),
    )
    assert [target.source for target in config.all_targets] == ["key prod", "role reports", "key apps"]
    assert not read(RENDERED).nexla, "it needs no account"


def test_a_lifetime_that_is_not_named_is_left_to_whoever_mints() -> None:
    named = f"{ACCOUNT}{TARGET}lifetime = '19m'"
    assert [read(text).targets[0].request.asked_lifetime for text in (ACCOUNT + TARGET, named)] == [None, 1140]


def test_nothing_of_a_configuration_can_be_changed() -> None:
    config = read(ACCOUNT + TARGET)
    for part in (config, config.vault, config.store, config.agent, config.nexla["default"], config.targets[0]):
        with pytest.raises(AttributeError):
            part.path = Path("/")  # type: ignore[misc,union-attr]  # that it is refused is the test


def test_thousands_of_targets_are_checked_at_once() -> None:
    targets = [{"name": f"t{n}", "key": "prod", "credential_id": n + 1} for n in range(5000)]
    data = {"version": 1, "nexla": {"default": {"service_key": {"path": "a"}}}, "targets": targets}
    began = time.process_time()
    assert len(parse(data, None, {}).targets) == 5000
    assert time.process_time() - began < 2


toml_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)
SECTIONS = ["vault", "store", "agent", "state", "appstoreconnect", "nexla", "targets"]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(SECTIONS), toml_values, st.data())
def test_any_content_is_read_or_refused_by_name(section: str, value: Any, data: st.DataObject) -> None:
    whole = tomllib.loads(EVERYTHING)
    if data.draw(st.booleans()):
        whole[section] = value
    else:
        table = whole[section][0] if section == "targets" else whole[section]
        table[data.draw(st.sampled_from(sorted(table)))] = value
    try:
        parse(whole, None, {})
    except ConfigError as error:
        refusal: VaultAscError = error
        assert refusal.hint


LIGHT = ["config", "rotation", "state", "push", "agent", "inspection", "tokens", "names", "key.identity"]
HEAVY = ["hvac", "jwt", "cryptography", "requests", "urllib3", "http.client", "ssl", "asyncio"]


def test_a_pass_with_nothing_due_loads_nothing_heavy() -> None:
    imports = "; ".join(f"import vault_asc.{name}" for name in LIGHT)
    script = f"import sys; {imports}; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"


def test_a_misspelt_key_that_is_required_is_named() -> None:
    text = "[[targets]]\nname = 'a'\nkey = 'a'\ncredental_id = 5001"
    with pytest.raises(ConfigError) as caught:
        read(f"{ACCOUNT}{text}")
    assert caught.value.message == 'unknown key "credental_id" in [[targets]] "a"'
    assert caught.value.hint == 'did you mean "credential_id"?'


def test_an_account_without_a_name_is_told_how_to_get_one() -> None:
    with pytest.raises(ConfigError) as caught:
        read('[nexla]\napi_url = "https://x"')
    assert "directly in [nexla]" in caught.value.message
    assert caught.value.hint == "give it a name: write [nexla.default] in place of [nexla]"
