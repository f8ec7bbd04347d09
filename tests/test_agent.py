import json
import tomllib
from functools import partial
from pathlib import Path
from typing import Any

import hcl2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.test_config import ACCOUNT, EVERYTHING, TARGET
from vault_asc.agent import EXEC_TIMEOUT, Exec, check_ticks, render
from vault_asc.config import AgentSettings, Config, StoreSettings, VaultSettings, parse
from vault_asc.errors import ConfigError
from vault_asc.push import DEADLINE
from vault_asc.tokens import TokenRequest

CALL = Exec(["/usr/bin/vault-asc"], Path("/var/lib/vault-asc"), 0, 0)
PLAIN = parse(tomllib.loads(f"version = 1\n{ACCOUNT}{TARGET}"), Path("/etc/vault-asc/vault-asc.toml"), {})
FULL = parse(tomllib.loads(EVERYTHING), Path("/etc/asc.toml"), {})


HEREDOC = '"<<EOT\n'


def plain(node: Any) -> Any:
    """What the parser gives, without its quotes and remarks."""
    if isinstance(node, str) and node.startswith(HEREDOC):
        return node.removeprefix(HEREDOC).removesuffix('EOT"')
    if isinstance(node, dict):
        return {plain(key): plain(value) for key, value in node.items() if not key.startswith("__")}
    if isinstance(node, list):
        return [plain(value) for value in node]
    return json.loads(node) if isinstance(node, str) and node.startswith('"') else node


def rendered(config: Config, call: Exec = CALL) -> dict[str, Any]:
    read: dict[str, Any] = plain(hcl2.loads(render(config, call)))
    return read


def test_the_whole_configuration_with_defaults() -> None:
    assert rendered(PLAIN) == {
        "vault": [{"address": "https://127.0.0.1:8200", "retry": [{"num_retries": 1_000_000}]}],
        "auto_auth": [
            {
                "method": [
                    {
                        "approle": {
                            "min_backoff": "1s",
                            "max_backoff": "10s",
                            "config": {
                                "role_id_file_path": "/etc/vault-asc/role_id",
                                "secret_id_file_path": "/etc/vault-asc/secret_id",
                                "remove_secret_id_file_after_reading": False,
                            },
                        }
                    }
                ]
            }
        ],
        "api_proxy": [{"use_auto_auth_token": "force"}],
        "listener": [
            {
                "unix": {
                    "address": "/run/vault-asc/agent.sock",
                    "tls_disable": True,
                    "socket_mode": "0600",
                    "socket_user": "0",
                    "socket_group": "0",
                    "require_request_header": True,
                }
            }
        ],
        "template_config": [{"static_secret_render_interval": "30s"}],
        "template": [
            {
                "contents": '{{ with secret "auth/token/lookup-self" }}tick{{ end }}'
                ' {{ timestamp "unix" | parseInt | divide 30 }}\n',
                "destination": "/run/vault-asc/tick",
                "perms": "0600",
                "backup": False,
                "exec": [
                    {
                        "command": [
                            "/usr/bin/env",
                            "-i",
                            "PATH=/usr/bin:/bin",
                            "STATE_DIRECTORY=/var/lib/vault-asc",
                            "/usr/bin/vault-asc",
                            "push",
                            "--all",
                            "--if-due",
                            "--config=/etc/vault-asc/vault-asc.toml",
                            "--address=unix:///run/vault-asc/agent.sock",
                            "--tick-dir=/run/vault-asc/ticks",
                        ],
                        "timeout": "60s",
                    }
                ],
            },
            {
                "contents": '{{ with secret "secret/data/asc/keys/prod" }}{{ .Data.metadata.version }}{{ end }}\n',
                "destination": "/run/vault-asc/ticks/prod",
                "perms": "0600",
                "backup": False,
                "error_on_missing_key": True,
            },
        ],
    }


def test_every_setting_has_its_place() -> None:
    read = rendered(FULL)
    assert read["vault"] == [
        {
            "address": "https://vault.example:8200",
            "namespace": "team/a",
            "ca_cert": "/etc/ssl/vault.pem",
            "retry": [{"num_retries": 1_000_000}],
        }
    ]
    method = read["auto_auth"][0]["method"][0]["approle"]
    assert method["namespace"] == "team/a", "the login does not follow the namespace of the vault stanza"
    login = method["config"]
    assert (login["role_id_file_path"], login["secret_id_file_path"]) == ("/etc/asc/role", "/etc/asc/secret")
    assert read["listener"][0]["unix"]["address"] == "/run/asc/agent.sock"
    assert read["template_config"] == [{"static_secret_render_interval": "90s"}]
    tick, key = read["template"]
    assert tick["contents"].endswith(" divide 90 }}\n")
    assert tick["destination"] == "/run/asc/tick"
    assert 'secret "kv/data/asc/team-a/keys/prod"' in key["contents"]
    assert key["destination"] == "/run/asc/ticks/prod"


def test_the_root_namespace_said_outright_reaches_the_helper_and_nothing_else() -> None:
    read = rendered(FULL._replace(vault=FULL.vault._replace(namespace="")))
    assert "namespace" not in read["vault"][0]
    assert "namespace" not in read["auto_auth"][0]["method"][0]["approle"]
    # The file that the helper reads may name another one.
    assert "VAULT_NAMESPACE=/" in read["template"][0]["exec"][0]["command"]


def test_the_state_directory_of_the_file_is_not_said_twice() -> None:
    def words(config: Config) -> list[str]:
        command: list[str] = rendered(config)["template"][0]["exec"][0]["command"]
        return command

    assert "STATE_DIRECTORY=/var/lib/vault-asc" in words(PLAIN)
    assert not [word for word in words(FULL) if "STATE_DIRECTORY" in word]


def test_the_helper_gets_no_environment_no_token_and_only_absolute_paths() -> None:
    words = rendered(FULL, Exec(["/opt/venv/bin/python3", "-m", "vault_asc"], Path("/s"), 0, 0))["template"][0]["exec"][
        0
    ]
    assert words["command"][:7] == [
        "/usr/bin/env",
        "-i",
        "PATH=/usr/bin:/bin",
        "VAULT_NAMESPACE=team/a",
        "/opt/venv/bin/python3",
        "-m",
        "vault_asc",
    ]
    settings = [word for word in words["command"] if "=" in word and not word.startswith("VAULT_NAMESPACE")]
    values = [word.split("=", 1)[1].removeprefix("unix://") for word in settings]
    assert all(value.startswith("/") for value in values)
    assert not [word for word in words["command"] if "token" in word.lower() or "secret" in word.lower()]


def test_nothing_that_was_measured_to_hurt_is_in_it() -> None:
    text = render(FULL, CALL)
    read = rendered(FULL)
    # a cache stanza hands the exec a false address; a sink would put the Agent's token on disk
    assert set(read) == {"vault", "auto_auth", "api_proxy", "listener", "template_config", "template"}
    assert set(read["auto_auth"][0]) == {"method"}
    assert [name for listener in read["listener"] for name in listener] == ["unix"]
    assert "private/" not in text
    assert "service_key" not in text
    # the Agent may not kill a push that is still within its own time
    assert EXEC_TIMEOUT >= DEADLINE + 10


def test_one_template_runs_the_push_and_one_per_key_does_not() -> None:
    targets = [
        FULL.targets[0]._replace(name=f"t{n}", key=key) for n, key in enumerate(["b", "a", "b", "c", "a"], start=1)
    ]
    templates = rendered(FULL._replace(targets=tuple(targets)))["template"]
    assert ["exec" in template for template in templates] == [True, False, False, False]
    assert [template["destination"] for template in templates] == [
        "/run/asc/tick",
        "/run/asc/ticks/a",
        "/run/asc/ticks/b",
        "/run/asc/ticks/c",
    ]
    assert all(template["perms"] == "0600" and template["backup"] is False for template in templates)


def test_the_same_configuration_gives_the_same_text() -> None:
    assert render(FULL, CALL) == render(FULL._replace(targets=FULL.targets[::-1]), CALL)
    assert render(FULL, CALL).endswith("}\n")


AWKWARD = [
    "/run/${HOME}",
    "/run/%{if}",
    "/run/a\nb",
    "/run/a\tb",
    "/run/a\x00b",
    "/run/a\x1b[2Jb",
    "/run/a\u2028b",
    "/run/a\n",
]


@pytest.mark.parametrize("value", AWKWARD)
def test_awkward_values_are_refused_wherever_they_are(value: str) -> None:
    path = Path(value)
    agent = PLAIN.agent
    for config, call in [
        (PLAIN._replace(path=path), CALL),
        (PLAIN._replace(agent=agent._replace(dir=path)), CALL),
        (PLAIN._replace(agent=agent._replace(role_id_file=path)), CALL),
        (PLAIN._replace(agent=agent._replace(secret_id_file=path)), CALL),
        (PLAIN._replace(vault=VaultSettings(ca_file=path)), CALL),
        (PLAIN._replace(vault=VaultSettings(namespace=value)), CALL),
        (PLAIN._replace(vault=VaultSettings(address=f"https://h{value}")), CALL),
        (PLAIN, Exec([value], Path("/s"), 0, 0)),
        (PLAIN, Exec(["/usr/bin/vault-asc", value], Path("/s"), 0, 0)),
        (PLAIN, Exec(["/usr/bin/vault-asc"], path, 0, 0)),
    ]:
        with pytest.raises(ConfigError, match="cannot be written") as caught:
            render(config, call)
        assert caught.value.message.isprintable()
        assert caught.value.hint


paths = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/\0"), min_size=1, max_size=20)


@settings(max_examples=60, deadline=None)
@given(paths)
def test_any_path_arrives_as_it_is_or_is_refused(name: str) -> None:
    path = Path("/run") / f"{name}x"
    config = PLAIN._replace(path=path, agent=AgentSettings(role_id_file=path))
    try:
        read = rendered(config)
    except ConfigError:
        assert "${" in str(path) or "%{" in str(path) or not str(path).isprintable()
        return
    assert read["auto_auth"][0]["method"][0]["approle"]["config"]["role_id_file_path"] == str(path)
    assert f"--config={path}" in read["template"][0]["exec"][0]["command"]


@pytest.mark.parametrize("value", ['/run/a"b', "/run/a\\b", "/run/a b", "/run/a'b", "/run/a#b", "/run/$a%b", "/run/ä"])
def test_quotes_and_backslashes_are_no_way_out_of_a_string(value: str) -> None:
    assert rendered(PLAIN._replace(path=Path(value)))["template"][0]["exec"][0]["command"][8] == f"--config={value}"


@pytest.mark.parametrize(
    ("config", "call", "said"),
    [
        (PLAIN._replace(path=None), CALL, "needs a configuration file"),
        (PLAIN._replace(targets=()), CALL, "has no targets"),
        (PLAIN._replace(vault=VaultSettings("unix:///run/other.sock")), CALL, "cannot log in through"),
        (PLAIN, Exec(["vault-asc"], Path("/s"), 0, 0), "no absolute command"),
        (PLAIN, Exec(["./vault-asc"], Path("/s"), 0, 0), "no absolute command"),
    ],
)
def test_what_cannot_work_is_refused(config: Config, call: Exec, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        render(config, call)
    assert caught.value.hint


def ticks_checked(config: Config) -> None:
    check_ticks(config.agent.tick, config.targets)


def ticking(tick: int, lifetime: int) -> Config:
    targets = (FULL.targets[0]._replace(name="roomy", request=TokenRequest(1200)),)
    tight = FULL.targets[0]._replace(name="tight", request=TokenRequest(lifetime))
    return FULL._replace(agent=FULL.agent._replace(tick=tick), targets=(*targets, tight))


@pytest.mark.parametrize(
    ("tick", "lifetime", "hint"),
    [
        (187, 1140, 'set agent.tick to at most "186s", or its lifetime to at least "1146s"'),
        (30, 120, 'set agent.tick to at most "10s", or its lifetime to at least "235s"'),
        (2, 65, 'set its lifetime to at least "72s"'),
        (30, 65, 'set its lifetime to at least "235s"'),
    ],
)
def test_a_tick_that_lets_a_token_run_into_its_alarm_is_refused(tick: int, lifetime: int, hint: str) -> None:
    for check in (ticks_checked, partial(render, call=CALL)):
        with pytest.raises(ConfigError) as caught:
            check(ticking(tick, lifetime))
        for said in ('"tight"', f"{tick} s", f"{lifetime} s"):
            assert said in caught.value.message
        assert caught.value.hint == hint


def test_a_tick_longer_than_any_lifetime_allows_is_told_without_a_lifetime() -> None:
    with pytest.raises(ConfigError) as caught:
        ticks_checked(ticking(300, 1200))
    assert caught.value.hint == 'set agent.tick to at most "196s"'


@pytest.mark.parametrize(
    ("tick", "lifetime"), [(186, 1140), (10, 120), (30, 235), (2, 72), (196, 1200), (2, 84), (1, 78), (1, 90)]
)
def test_what_the_hints_say_and_what_the_demo_uses_is_allowed(tick: int, lifetime: int) -> None:
    ticks_checked(ticking(tick, lifetime))


def test_without_targets_any_tick_will_do() -> None:
    check_ticks(300, ())


def test_a_store_of_a_team_is_read_at_its_own_path() -> None:
    read = rendered(PLAIN._replace(store=StoreSettings("kv", "asc/team-b")))
    assert read["template"][1]["contents"].startswith('{{ with secret "kv/data/asc/team-b/keys/prod" }}')


def test_a_socket_path_that_no_kernel_takes_is_refused() -> None:
    fits = Path("/" + "a" * (107 - len("//agent.sock")))
    assert render(PLAIN._replace(agent=PLAIN.agent._replace(dir=fits)), CALL)
    with pytest.raises(ConfigError, match="longer than the 107 bytes"):
        render(PLAIN._replace(agent=PLAIN.agent._replace(dir=Path(f"{fits}b"))), CALL)
