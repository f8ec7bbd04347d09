"""Everything that vault-asc lives between, on this machine: Vault, Nexla, Apple, an AppRole, a configuration, keys.

What a person would type is run as a child process, as a person would run it; for the demo and for tests.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from itertools import cycle
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Final, Self

from vault_asc.clock import system_clock
from vault_asc.errors import VaultAscError
from vault_asc.files import write_atomic
from vault_asc.http import session
from vault_asc.lab.apple import AppleSimulator
from vault_asc.lab.bao import bao_binary, clean_environment
from vault_asc.lab.nexla import NexlaSimulator, User
from vault_asc.lab.serve import CREDENTIAL_ID, new_key
from vault_asc.lab.server import KV_MOUNT, BaoAgent, BaoServer
from vault_asc.secret import Secret
from vault_asc.tokens import BACKDATE

ONE_TARGET: Final[Mapping[str, int]] = MappingProxyType({"sales": CREDENTIAL_ID})
SERVICE_KEY: Final = "lab-service-key"  # opens the simulator of this process and nothing else
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
_COMMAND_TIMEOUT: Final = 60  # seconds


class CommandFailedError(VaultAscError):
    """A command of the lab ended with another exit code than 0."""


class World:
    """A context manager: entered, everything runs and is set up except for the key; left, nothing is left.

    Args:
        usable_life: seconds that tokens live, in place of 18 minutes.
        tick: seconds between two ticks of the Agent.
        token_period: seconds that the Agent's own Vault token lives without being renewed, in place of an hour.
        targets: names of targets and their credentials at Nexla; all of the key "prod".
        server: a server to use; one of its own without.
        accounts: how many Nexla accounts, each with a user and a service key, the targets are dealt out to in turn.
        directory: an empty one to use, by its absolute path; a temporary one without. Either is removed at the end.

    Attributes:
        dir: private directory with configuration, state and keys.
        config_file: the `vault-asc.toml`.
    """

    def __init__(
        self,
        *,
        usable_life: int = 1080,
        tick: int = 2,
        token_period: int = 60,
        targets: Mapping[str, int] = ONE_TARGET,
        server: BaoServer | None = None,
        accounts: int = 1,
        directory: Path | None = None,
    ) -> None:
        self.server = server or BaoServer()
        self.apple = AppleSimulator()
        self.nexla = NexlaSimulator()
        self.dir = directory or Path(tempfile.mkdtemp(prefix="vault-asc-lab-"))
        self.config_file = self.dir / "vault-asc.toml"
        self.usable_life = usable_life
        self.tick = tick
        self.token_period = token_period
        self.targets = dict(targets)
        self.accounts = ("default", *(f"account-{number}" for number in range(2, accounts + 1)))

    def __enter__(self) -> Self:
        try:
            for part in (self.server, self.apple, self.nexla):
                part.__enter__()
            self._fill()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        for part in (self.nexla, self.apple, self.server):
            part.__exit__(kind, exc, tb)
        shutil.rmtree(self.dir, ignore_errors=True)

    # -- what people do ------------------------------------------------------------------------------------------

    def run(self, *words: str, token: Secret | None = None) -> subprocess.CompletedProcess[str]:
        """Run a vault-asc command with the configuration, as root of Vault unless a token is given."""
        with self.start(*words, token=token) as process:
            try:
                out, err = process.communicate(timeout=_COMMAND_TIMEOUT)
            except BaseException:
                process.kill()
                raise
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def start(
        self, *words: str, token: Secret | None = None, environ: Mapping[str, str] = _NOTHING
    ) -> subprocess.Popen[str]:
        """As `run`, without waiting for the end, and with more in the environment."""
        token_file = self.dir / "token"
        secret = self.server.root_token if token is None else token
        write_atomic(token_file, secret.reveal().encode(), now=system_clock())
        whole = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": str(self.dir),
            "VAULT_ASC_CONFIG": str(self.config_file),
            **environ,
        }
        options = ["--token-file", str(token_file)] if _takes_token(words) else []
        return subprocess.Popen(
            [sys.executable, "-m", "vault_asc", *words, *options],
            env=whole,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def must(self, *words: str) -> str:
        """Run a command that has to succeed; returns what it printed."""
        done = self.run(*words)
        if done.returncode != 0:
            raise CommandFailedError(f"vault-asc {' '.join(words)} ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def bao(self, *words: str) -> dict[str, Any]:
        """What OpenBao's own client prints as JSON, as root of the server."""
        environ = clean_environment(self.dir)
        environ |= {"BAO_ADDR": self.server.address, "BAO_TOKEN": self.server.root_token.reveal()}
        done = subprocess.run(
            [bao_binary(), *words], env=environ, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT, check=False
        )
        if done.returncode != 0:
            raise CommandFailedError(f"bao {' '.join(words)} ended with {done.returncode}: {done.stderr.strip()}")
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def apple_read(self, token: Secret) -> int:
        """The status that Apple gives to a read with this token."""
        headers = {"Authorization": f"Bearer {token.reveal()}"}
        with session() as http:
            return http.get(f"{self.apple.url}/v1/apps?limit=1", headers=headers).status_code

    def new_key(self, key_id: str) -> Path:
        """Make a key, as App Store Connect would: its public half stays at Apple, the .p8 is downloaded once."""
        file = self.dir / f"AuthKey_{key_id}.p8"
        file.touch(mode=0o600)
        file.write_bytes(new_key(self.apple, key_id))
        return file

    def agent(self) -> BaoAgent:
        """An Agent with the configuration that `vault-asc agent config` prints; not started yet."""
        file = self.dir / "agent.hcl"
        file.write_text(self.must("agent", "config"), encoding="utf-8")
        return BaoAgent(file, socket=self.dir / "agent" / "agent.sock")

    # -- set-up --------------------------------------------------------------------------------------------------

    def _fill(self) -> None:
        self._write_config()
        for number, account in enumerate(self.accounts):
            self._open_account(
                account, User(User().id + number), [*self.targets.values()][number :: len(self.accounts)]
            )
        root = self.server.root_token
        self.must("policy", "write", "agent")
        self.server.api("POST", "sys/auth/approle", {"type": "approle"}, token=root)
        role = "auth/approle/role/vault-asc"
        period = f"{self.token_period}s"
        settings = {"token_policies": ["asc-agent"], "token_no_default_policy": True, "token_period": period}
        self.server.api("POST", role, settings, token=root)
        role_id = self.server.api("GET", f"{role}/role-id", token=root)["data"]["role_id"]
        secret_id = self.server.api("POST", f"{role}/secret-id", {}, token=root)["data"]["secret_id"]
        for name, value in (("role_id", role_id), ("secret_id", secret_id)):
            (self.dir / name).touch(mode=0o600)
            (self.dir / name).write_text(value, encoding="ascii")

    def _open_account(self, account: str, user: User, credentials: Iterable[int]) -> None:
        service_key = SERVICE_KEY if account == "default" else f"{SERVICE_KEY}-{account}"
        self.nexla.add_service_key(service_key, user=user)
        for number in credentials:
            self.nexla.add_template_credential(number, test_url=f"{self.apple.url}/v1/apps?limit=1", owner=user)
        path, body = f"{KV_MOUNT}/data/asc/nexla/{account}", {"data": {"service_key": service_key}}
        self.server.api("POST", path, body, token=self.server.root_token)

    def _write_config(self) -> None:
        (self.dir / "agent").mkdir(mode=0o700)
        quoted = json.dumps
        self.config_file.write_text(
            f"""\
version = 1
[vault]
address = {quoted(self.server.address)}
[agent]
dir = {quoted(str(self.dir / "agent"))}
role_id_file = {quoted(str(self.dir / "role_id"))}
secret_id_file = {quoted(str(self.dir / "secret_id"))}
tick = "{self.tick}s"
[state]
dir = {quoted(str(self.dir / "state"))}
[appstoreconnect]
api_url = {quoted(self.apple.url)}
"""
            + "".join(self._account(name) for name in self.accounts)
            + "".join(
                self._target(name, number) + (f'nexla = "{account}"\n' if account != "default" else "")
                for (name, number), account in zip(self.targets.items(), cycle(self.accounts), strict=False)
            ),
            encoding="utf-8",
        )

    def _account(self, name: str) -> str:
        return f"""\
[nexla.{name}]
api_url = {json.dumps(self.nexla.url)}
service_key = {{ mount = "{KV_MOUNT}", path = "asc/nexla/{name}", field = "service_key" }}
"""

    def _target(self, name: str, credential_id: int) -> str:
        return f"""\
[[targets]]
name = "{name}"
key = "prod"
credential_id = {credential_id}
lifetime = "{self.usable_life + BACKDATE}s"
scope = ["GET /v1/apps"]
token_file = {json.dumps(str(self.dir / f"{name}.jwt"))}
"""


def _takes_token(words: tuple[str, ...]) -> bool:
    """Whether a command talks to Vault."""
    return words[0] not in {"init", "config", "status", "agent"} and words[:2] not in {
        ("policy", "list"),
        ("policy", "show"),
    }
