import os
import re
import stat
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.conftest import Done, User, check_failure
from vault_asc import __version__
from vault_asc.cli import run
from vault_asc.cli.wiring import Connection
from vault_asc.config import load
from vault_asc.errors import ConfigError
from vault_asc.outcome import PROVEN, Outcome
from vault_asc.rotation import TargetState, attempted
from vault_asc.state import StateDir

TARGETS = """\
[nexla.default]
service_key = { path = "asc/nexla/default" }
[[targets]]
name = "sales"
key = "prod"
credential_id = 5001
"""


@pytest.fixture
def cli(home: Path, capsys: pytest.CaptureFixture[str]) -> "Cli":
    return Cli(capsys)


class Cli:
    """Commands that need no server."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: str) -> Done:
        code = run(words)
        return Done(code, *self._capsys.readouterr())


def test_the_version(cli: Cli) -> None:
    assert cli("--version").out == f"vault-asc {__version__}\n"


def test_without_a_command_the_first_steps_are_shown(cli: Cli) -> None:
    done = cli()
    assert done.code == 0
    assert "vault-asc init" in done.out
    assert "vault-asc --help" in done.out


def test_init_writes_a_configuration_that_is_good(cli: Cli, home: Path) -> None:
    done = cli("init")
    assert done == Done(0, "wrote vault-asc.toml\n  next: fill in vault.address, then: vault-asc config check\n", "")
    checked = cli("config", "check")
    assert checked.code == 0
    assert checked.out.splitlines() == [
        f"{home}/vault-asc.toml: good",
        "  Vault          https://vault.example:8200",
        "  keys           secret/asc/keys, custody kv",
        "  state          /var/lib/vault-asc",
        "  Agent          /run/vault-asc, tick 30 s",
        "  Nexla default  https://dataops.nexla.io/nexla-api",
    ]


def test_every_commented_setting_of_init_is_one(cli: Cli, home: Path) -> None:
    cli("init", "all.toml")
    file = home / "all.toml"
    text = re.sub(r"^# (?=[\[a-z_.]+\]?\]? *(?:=|$))", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    text = re.sub(r"^# (?=\[\[)", "", text, flags=re.MULTILINE)
    file.write_text(text.replace("/etc/vault-asc/ca.pem", str(home / "ca.pem")), encoding="utf-8")
    assert not re.search(r"^# (?:[a-z_]+ +=|\[)", text, re.MULTILINE)
    assert "\n[vault.auth]\n" in text
    checked = cli("config", "check", "--config", "all.toml")
    assert checked.code == 0, checked.err
    said = dict(re.findall(r"^  (target \S+) +(.*)$", checked.out, re.MULTILINE))
    assert said == {
        "target sales": "key prod -> credential 5001 at Nexla default, tokens usable for 18m 0s",
        "target reports": "role reports -> /run/vault-asc/reports.jwt by the Agent alone, tokens usable for as long as"
        " the role says",
    }


@pytest.mark.parametrize("name", ["vault-asc.toml", "other file.toml"])
def test_init_never_overwrites(cli: Cli, home: Path, name: str) -> None:
    file = home / name
    file.write_text("mine", encoding="utf-8")
    done = cli("init", name)
    assert (done.code, done.error) == (2, f'"{name}" is there already and stays as it is')
    check_failure(done)
    assert done.hint == "vault-asc config check" + ("" if name == "vault-asc.toml" else " --config 'other file.toml'")
    assert file.read_text(encoding="utf-8") == "mine"
    file.unlink()
    file.symlink_to("nowhere")
    assert cli("init", name).code == 2
    assert not (home / "nowhere").exists()


@pytest.mark.parametrize("file", ["nowhere/x.toml", ".", "/dev/full"])
def test_init_where_no_file_can_be(cli: Cli, file: str) -> None:
    done = cli("init", file)
    assert done.code == 2
    check_failure(done)


def test_check_without_a_file(cli: Cli, home: Path) -> None:
    done = cli("config", "check")
    assert done.out.startswith("no configuration file, defaults only: good\n")
    assert f"state  {home}/.local/state/vault-asc" in done.out


def test_check_names_the_file_that_it_read(cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("option", "environment"):
        (home / f"{name}.toml").write_text(f"version = 1\nstore.prefix = '{name}'\n{TARGETS}", encoding="utf-8")
    monkeypatch.setenv("VAULT_ASC_CONFIG", str(home / "environment.toml"))
    assert "keys           secret/environment/keys" in cli("config", "check").out
    done = cli("config", "check", "--config", "option.toml")
    assert done.out.startswith(f"{home}/option.toml: good\n")
    assert "keys           secret/option/keys" in done.out


@pytest.mark.parametrize(
    ("text", "said", "hinted"),
    [
        ("", "has version None", "version = 1"),
        ("version = 2", "has version 2, this vault-asc reads version 1", "version = 1"),
        ("version = 1\n[valt]", 'unknown key "valt"', 'did you mean "vault"?'),
        ("version = 1\n[agent]\ntik = '30s'", 'unknown key "tik" in [agent]', 'did you mean "tick"?'),
        ("version = 1\n[[targets]]\n", 'name is missing in [[targets]] "1"', 'add name = "..."'),
        ("version = 1\n[agent]\ntick = '1h'", "agent.tick of 3600 s is not possible", "30s is the default"),
        ("version = 1\n[store]\nmount = '../x'", "is not a plain path", "letters, digits"),
        ("version = 1\n[store]\ntransit_mount = '../x'", "is not a plain path", "letters, digits"),
        ("version = 1\n[store]\ncustodies = []", "store.custodies is empty", 'name some of "kv", "transit", "engine"'),
        (
            "version = 1\n[store]\ncustodies = ['x\\ny']",
            'has "x\\ny", which is no custody',
            'write some of "kv", "transit", "engine"',
        ),
        ("version = 1\n[store]\ncustodies = 'kv'", "custodies in [store] is a string, not an array", '["..."]'),
        ("version = 1\n[store]\ncustodies = ['transit']\nprefix = 'x.y'", "has a dot", "without dots"),
        ("version = 1\n[vault]\naddress = 'http://vault.example'", "is plain http to another machine", "https://"),
        (f"version = 1\n{TARGETS.replace('prod', '../x')}", 'key name "../x" is not allowed', "lower-case"),
        (f"version = 1\n{TARGETS}{TARGETS[TARGETS.index('[[') :]}", 'target "sales" is there twice', "of its own"),
        (f"version = 1\n{TARGETS}nexla = 'other'", 'names the Nexla account "other"', "add [nexla.other]"),
        (f"version = 1\n{TARGETS}lifetime = '30m'", 'target "sales": a lifetime of 1800 s', "65s to 1200s"),
        ("version = ", "is not TOML", "mend that line"),
        ("version = 1\nx = 'a\x1bb'", "is not TOML", "mend that line"),
    ],
)
def test_a_bad_configuration_stops_every_command(cli: Cli, home: Path, text: str, said: str, hinted: str) -> None:
    (home / "vault-asc.toml").write_text(text, encoding="utf-8")
    for words in (
        ("config", "check"), ("status",), ("push", "--all"), ("mint", "prod"), ("key", "list"), ("agent", "config"),
        ("policy", "show", "auditor"), ("policy", "write", "auditor"), ("nexla", "inspect", "1"),
    ):  # fmt: skip
        done = cli(*words)
        assert done.code == 2
        check_failure(done)
        assert said in done.error
        assert hinted in done.hint


def test_what_init_writes_is_read_with_any_umask(cli: Cli, home: Path) -> None:
    before = os.umask(0)
    try:
        assert cli("init").code == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE((home / "vault-asc.toml").stat().st_mode) == 0o644
    assert cli("config", "check").code == 0


def test_a_tick_that_is_too_long_for_a_target_is_told(cli: Cli, home: Path) -> None:
    (home / "vault-asc.toml").write_text(f"version = 1\nagent.tick = '3m7s'\n{TARGETS}", encoding="utf-8")
    for words in (("config", "check"), ("agent", "config")):
        done = cli(*words)
        check_failure(done)
        assert done.code == 2
        assert "agent.tick is 187 s" in done.error


FOR_RUN = """
[vault.auth]
method = "approle"
secret_id_file = "{home}/secret_id"
[run]
rate = 8
replicas = 2
listen = "127.0.0.1:9411"
"""


def test_check_takes_what_run_takes_and_says_how_it_works(cli: Cli, home: Path) -> None:
    short = TARGETS + "lifetime = '160s'\n"
    secret_id = home / "secret_id"
    secret_id.write_text("x")
    secret_id.chmod(0o644)
    for more in ("", FOR_RUN.format(home=home)):
        (home / "vault-asc.toml").write_text(f"version = 1\n{short}{more}", encoding="utf-8")
        done = cli("config", "check")
        assert done.code == 0
        assert re.search(
            r"^under an Agent target .* agent.tick is 30 s; vault-asc run keeps it", done.said("warning")[0]
        )
        assert ("  Agent " in done.out) is (not more)
    assert f"at auth/approle with /etc/vault-asc/role_id and {secret_id}\n" in done.out
    assert re.search(
        r"^  run +16 attempts at a time, at most 8 .* key, 2 replicas, .* 127.0.0.1:9411$", done.out, re.MULTILINE
    )
    assert done.said("warning")[1:] == [
        f'"{secret_id}" with the secret ID can be read by others (mode 0644): chmod o-r {secret_id}'
    ]
    secret_id.chmod(0o640)  # root's, and the service's group's
    assert len(cli("config", "check").said("warning")) == 1


def test_a_token_file_that_others_may_read_is_told(cli: Cli, home: Path) -> None:
    token = home / "token"
    for mode in (0o600, 0o644):
        token.write_text("x.y")
        token.chmod(mode)
        done = cli("key", "list", "--address", "http://127.0.0.1:1", "--token-file", str(token))
        assert done.code == 5
        assert ('token" can be read by others (mode 0644): chmod o-r ' in done.err) is (mode == 0o644)


def test_a_login_for_run_alone_is_named_where_there_is_no_token(cli: Cli, home: Path) -> None:
    for more in ("", FOR_RUN.format(home=home)):
        (home / "vault-asc.toml").write_text(f"version = 1\n{TARGETS}{more}", encoding="utf-8")
        done = cli("push", "sales")
        assert done.error == "no Vault token"
        assert done.hint.endswith("; [vault.auth] is for vault-asc run alone") is bool(more)


def test_a_service_does_not_look_elsewhere_when_its_file_is_gone(home: Path) -> None:
    file = home / "vault-asc.toml"
    file.write_text(f"version = 1\n{TARGETS}", encoding="utf-8")
    with Connection(None).logging_in() as service:
        assert service.config().path == file
        file.unlink()
        with pytest.raises(ConfigError, match=re.escape(f'"{file}" is gone; nothing of the configuration was taken')):
            service.config()
        file.write_text(f"version = 1\n{TARGETS}", encoding="utf-8")
        assert service.config().path == file


def test_status_of_what_is_well_is_one_line_each(cli: Cli, home: Path) -> None:
    second = TARGETS[TARGETS.index("[[targets]]") :].replace("sales", "other").replace("5001", "5002")
    file = home / "vault-asc.toml"
    file.write_text(f"version = 1\nstate.dir = '{home}/state'\n{TARGETS}{second}", encoding="utf-8")
    states, now = StateDir(home / "state"), time.time()
    for target, detail in zip(load(file, {}).targets, (PROVEN, "apple accepts the token, but"), strict=True):
        state = replace(attempted(target, TargetState(), None, now), expires_at=int(now + 900), outcome=Outcome.LIVE)
        states.save(target.name, replace(state, started_at=now, usable_life=1080, detail=detail), now)
    with states.served():
        lines = cli("status").out.splitlines()
        assert cli("status", "--json").json["run"] == {"running": True}
    assert [line.split()[0] for line in lines] == ["TARGET", "sales", "other", "other:", "vault-asc"]
    assert lines[-1] == "vault-asc run is running here"
    assert cli("status").out.endswith(f"{NOBODY}\n")
    states.save_tick(now - 1000)
    assert cli("status").out.endswith("its log tells; and vault-asc run is not running here\n")
    with states.served():
        assert re.search(
            r"run is running here\nthe Agent has stopped ticking: last tick 16m \d+s ago\n$", cli("status").out
        )


def test_a_file_that_is_not_there(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    done = cli("config", "check", "--config", "a\nb")
    check_failure(done)
    assert (done.code, done.error) == (2, 'configuration file "a\\nb" is not there, or out of reach')
    monkeypatch.setenv("VAULT_ASC_CONFIG", "/nowhere/x.toml")
    assert '"/nowhere/x.toml"' in cli("status").error


@pytest.mark.parametrize("name", ["VAULT_ADDR", "BAO_ADDR"])
def test_a_bad_address_from_the_environment_names_the_variable(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "vault:8200")
    done = cli("config", "check")
    check_failure(done)
    assert done.error == f'vault.address (from {name}) "vault:8200" has no known scheme or no host'
    monkeypatch.setenv(name, "https://me:s3cret-password@vault")
    assert "s3cret" not in cli("config", "check").err


def test_the_address_option_beats_everything(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    user.imports()
    address = user.server.address
    user.configure(address="http://127.0.0.1:1")
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:2")
    user.does("key", "list", "--address", address)
    assert "http://127.0.0.1:2 cannot be reached" in user.fails(5, "key", "list").error
    monkeypatch.delenv("VAULT_ADDR")
    assert "http://127.0.0.1:1 cannot be reached" in user.fails(5, "key", "list").error
    assert user.fails(2, "key", "list", "--address", "x").error.startswith('--address "x"')


NOBODY = "vault-asc run is not running here, and the Agent has never ticked here"
BY_ROLE = TARGETS.replace('key = "prod"', 'role = "sales"')
RENDERED = """\
[[targets]]
name = "reports"
role = "reports"
token_file = "/run/r"
"""


def test_check_tells_what_goes_by_a_role(cli: Cli, home: Path) -> None:
    text = f"version = 1\nstore.engine_mount = 'team/asc'\n{BY_ROLE}{RENDERED}lifetime = '10m'\n"
    (home / "vault-asc.toml").write_text(text, encoding="utf-8")
    said = dict(re.findall(r"^  (\S+(?: \S+)?)  +(.*)$", cli("config", "check").out, re.MULTILINE))
    assert said["engine"] == "team/asc"
    assert said["target sales"].startswith("role sales -> credential 5001 at Nexla default, ")
    assert said["target reports"] == "role reports -> /run/r by the Agent alone, tokens usable for 9m 0s"
    (home / "vault-asc.toml").write_text("version = 1\nstore.custodies = ['engine']\n", encoding="utf-8")
    assert re.search(r"^  engine +asc$", cli("config", "check").out, re.MULTILINE)


def test_check_refuses_what_the_agent_would(cli: Cli, home: Path) -> None:
    """One Agent reads a role once, so it cannot narrow it in two ways."""
    more = RENDERED.replace('name = "reports"', 'name = "more"').replace("/run/r", "/run/m")
    for lifetime, code in (("", 0), ("lifetime = '10m'\n", 2)):
        (home / "vault-asc.toml").write_text(f"version = 1\n{RENDERED}{more}{lifetime}", encoding="utf-8")
        checked, printed = cli("config", "check"), cli("agent", "config")
        assert (checked.code, checked.err) == (printed.code, printed.err)
        assert checked.code == code
    assert 'targets "reports" and "more" narrow role "reports" differently' in checked.error


def test_what_the_agent_renders_is_not_pushed_and_has_no_status(cli: Cli, home: Path) -> None:
    (home / "vault-asc.toml").write_text(f"version = 1\n{RENDERED}", encoding="utf-8")
    assert cli("status").out == "rendered by the Agent: 1 target\n"
    assert cli("status", "--json").json["targets"] == []
    for words, said in (
        (("push", "reports"), "has no credential_id: the Agent renders it, and nothing is pushed"),
        (("push", "--all"), "there are no targets to push in"),
        (("status", "--check"), "there are no targets to push in"),
    ):
        done = cli(*words)
        check_failure(done)
        assert done.code == 2
        assert said in done.error


def test_status_of_a_target_by_a_role(cli: Cli, home: Path) -> None:
    more = RENDERED.replace("reports", "more").replace("/run/r", "/run/m")
    text = f"version = 1\n{BY_ROLE}{RENDERED}{more}"
    (home / "vault-asc.toml").write_text(text, encoding="utf-8")
    (row,) = cli("status", "--json").json["targets"]
    assert (row["target"], row["key"], row["role"]) == ("sales", None, "sales")
    said = cli("status").out
    assert re.search(r"^sales +role sales +- +- +- ! +never pushed +now$", said, re.MULTILINE)
    assert said.endswith(f"rendered by the Agent: 2 targets\n{NOBODY}\n")


def test_an_agent_that_pushes_nothing_has_no_socket(cli: Cli, home: Path) -> None:
    (home / "vault-asc.toml").write_text(f"version = 1\n{RENDERED}", encoding="utf-8")
    assert "listener" not in cli("agent", "config").out
    done = cli("agent", "config", "--user", "root")
    check_failure(done)
    assert (done.code, done.error) == (2, "with nothing to push there is no socket that could belong to a user")


def test_status_and_push_of_a_configuration_without_targets(cli: Cli, home: Path) -> None:
    (home / "vault-asc.toml").write_text("version = 1\n", encoding="utf-8")
    assert cli("status").out == f"no targets are configured\n{NOBODY}\n"
    assert cli("status", "--json").json["targets"] == []
    done = cli("push", "--all")
    check_failure(done)
    assert (done.code, done.error) == (2, f'there are no targets in "{home}/vault-asc.toml"')


def test_agent_config_is_one_text_on_stdout(cli: Cli, home: Path) -> None:
    (home / "vault-asc.toml").write_text(f"version = 1\n{TARGETS}", encoding="utf-8")
    done = cli("agent", "config")
    assert done.code == 0
    assert not done.err
    assert "auto_auth {" in done.out
    assert f"--config={home}/vault-asc.toml" in done.out
