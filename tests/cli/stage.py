"""The parts of a scene: a user, real servers around, what is in them, and what goes wrong before the command is typed."""

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests import keys
from tests.cli.conftest import NEW_ID, OLD_ID, Done, User
from tests.conftest import NO_RIGHTS, Root, TokenWith
from tests.fault_server import FaultServer
from tests.support import LOSE_ANSWER, Answer, Wire
from tests.wrapping import unwrap, wrap
from vault_asc import policy, push
from vault_asc.files import locked
from vault_asc.lab.apple import AppleSimulator
from vault_asc.lab.nexla import NexlaSimulator

ISSUER = ("--issuer-id", keys.ISSUER_ID)
SERVICE_KEY = "tUe7-sentinel-of-the-nexla-service-key-Qx3"


@dataclass
class Stage:
    """A user, the servers around, and what is planted in them. Parts that a scene does not need are not built."""

    user: User
    root: Root
    token_with: TokenWith
    transit_mount: str
    fixture: Callable[[str], Any]
    stack: ExitStack = field(default_factory=ExitStack)

    @cached_property
    def wire(self) -> Wire:
        """Between the user and Vault from the first look at it."""
        wire = self.stack.enter_context(Wire(self.user.server.address))
        self.user.configure(self.targets, address=wire.address)
        return wire

    @cached_property
    def engine_mount(self) -> str:
        """A mount of our engine, from the first look at it."""
        mount: str = self.fixture("engine_mount")
        self.user.sets(engine_mount=mount)
        return mount

    @cached_property
    def hostile(self) -> FaultServer:
        return self.stack.enter_context(FaultServer())

    @cached_property
    def apple(self) -> AppleSimulator:
        """It knows every key that is made from the first look at it."""
        apple = self.stack.enter_context(AppleSimulator())
        self.user.knows(apple)
        return apple

    @cached_property
    def nexla(self) -> NexlaSimulator:
        """With a credential that leads to Apple, and its service key in Vault."""
        nexla = self.stack.enter_context(NexlaSimulator())
        nexla.add_service_key(SERVICE_KEY)
        nexla.add_template_credential(test_url=f"{self.apple.url}/v1/apps?limit=1")
        self.put("asc/nexla/default", {"service_key": SERVICE_KEY})
        return nexla

    @property
    def targets(self) -> str:
        if "nexla" not in self.__dict__:
            return ""
        ref = f'{{ mount = "{self.user.mount}", path = "asc/nexla/default" }}'
        return f'[nexla.default]\napi_url = "{self.nexla.url}"\nservice_key = {ref}\n' + "".join(
            f'[[targets]]\nname = "{name}"\nkey = "{key}"\ncredential_id = {number}\ntoken_file = "{file}"\n'
            for name, key, number, file in (
                ("sales", "prod", 5001, self.user.home / "sales.jwt"),
                ("other", "prod", 5002, self.user.home / "other.jwt"),
            )
        )

    def put(self, path: str, data: dict[str, Any]) -> None:
        self.root("POST", f"{self.user.mount}/data/{path}", {"data": data})

    def key(self, name: str = "prod") -> Path:
        return self.user.imports(name)

    def audit_log(self) -> str:
        """The file of the server's audit device."""
        devices = self.root("GET", "sys/audit")["data"]
        return str(devices[f"{self.user.server.audit_device}/"]["options"]["file_path"])

    def filled(self, text: str) -> str:
        """A text of a scene with the mounts of this stage."""
        mounts: dict[str, Callable[[], str]] = {
            "TRANSIT": lambda: self.transit_mount,
            "ENGINE": lambda: self.engine_mount,
            "MOUNT": lambda: self.user.mount,
        }
        for word, mount in mounts.items():
            text = text.replace(word, mount()) if word in text else text
        return text

    def pushed(self) -> None:
        """A configuration with targets, a key that Apple knows."""
        assert self.nexla.url
        self.key()
        self.user.configure(self.targets)


Setup = Callable[[Stage], object]


@dataclass(frozen=True)
class Scene:
    """A command line and the world in which it is typed.

    Attributes:
        code: exit code.
        words: the command; NEW and OLD stand for key files, LOG for the audit log, MOUNT, TRANSIT and ENGINE for the
            mounts.
        setup: what happened before.
        says: in the error message, or in the output of a success.
        hints: in the hint.
        shows: a failure that prints more than its error: what it found out before, or one line per target.
        warns: in a warning of a success; without it there is none.
    """

    code: int
    words: Sequence[str]
    setup: Setup = Stage.key
    says: str = ""
    hints: str = ""
    shows: bool = False
    warns: str = ""
    stdin: bytes = b""

    def play(self, stage: Stage, *options: str) -> Done:
        """Set the stage and run the command."""
        with stage.stack, no_policies_left(stage.root):
            self.setup(stage)
            user = stage.user
            files: dict[str, Callable[[], str]] = {
                "NEW": lambda: str(user.key_file(NEW_ID)),
                "LOG": stage.audit_log,
                "OLD": lambda: str(user.home / f"AuthKey_{OLD_ID}.p8"),
            }
            words = [files[word]() if word in files else stage.filled(word) for word in self.words]
            return user(*options, *words, stdin=self.stdin)


def nothing(_: Stage) -> None:
    pass


def known(stage: Stage) -> None:
    """A key that App Store Connect knows, as it will know the next one."""
    assert stage.apple.url
    stage.key()


def after(*commands: Sequence[str], begin: Setup = known) -> Setup:
    """A key, and then these commands."""

    def setup(stage: Stage) -> None:
        begin(stage)
        for words in commands:
            stage.user.does(*(str(stage.user.key_file(NEW_ID)) if word == "NEW" else word for word in words))

    return setup


def token(text: str) -> Setup:
    def setup(stage: Stage) -> None:
        stage.key()
        stage.user.token_file.write_text(text)

    return setup


def without_rights(stage: Stage) -> None:
    stage.key()
    stage.user.use(stage.token_with(NO_RIGHTS))


def revoked(stage: Stage) -> None:
    stage.key()
    gone = stage.token_with(NO_RIGHTS)
    stage.root("POST", "auth/token/revoke", {"token": gone.reveal()})
    stage.user.use(gone)


def answering(status: int, text: str) -> Setup:
    """Vault, or a proxy before it, answers everything like this."""

    def setup(stage: Stage) -> None:
        stage.key()
        body = json.dumps({"errors": [text]}).encode()
        stage.wire.fate = lambda _method, _path: Answer(status, body)

    return setup


def answer_lost(part: str) -> Setup:
    def setup(stage: Stage) -> None:
        known(stage)
        stage.wire.lose_once("POST", part, LOSE_ANSWER)
        first = stage.wire.fate

        def fate(method: str, path: str) -> Any:
            lost = stage.wire.calls and any(m == "POST" and part in p for m, p in stage.wire.calls[:-1])
            return Answer(503, b'{"errors": ["gone"]}') if lost else first(method, path)

        stage.wire.fate = fate

    return setup


def down(stage: Stage) -> None:
    stage.key()
    stage.user.configure(stage.targets, address="http://127.0.0.1:1")


def hostile(fault: str) -> Setup:
    def setup(stage: Stage) -> None:
        stage.key()
        stage.user.configure(stage.targets, address=f"{stage.hostile.url}/{fault}")

    return setup


def told_json(text: str) -> Setup:
    return hostile(f"json/{quote(text, safe='')}")


def mounted(mount: str) -> Setup:
    def setup(stage: Stage) -> None:
        stage.key()
        stage.user.configure(mount=mount.replace("MOUNT", stage.user.mount))

    return setup


def kv_v1(stage: Stage) -> None:
    mount = f"{stage.user.mount}-v1"
    stage.root("POST", f"sys/mounts/{mount}", {"type": "kv", "options": {"version": "1"}})
    stage.stack.callback(stage.root, "DELETE", f"sys/mounts/{mount}")
    stage.key()
    stage.user.configure(mount=mount)


def versions(verb: str, kind: str) -> Setup:
    """The only version of a record or private part is deleted, destroyed, or gone without a trace."""

    def setup(stage: Stage) -> None:
        stage.key()
        path = f"asc/{kind}/prod"
        if verb == "pruned":
            stage.root("DELETE", f"{stage.user.mount}/metadata/{path}")
        else:
            stage.root("PUT", f"{stage.user.mount}/{verb}/{path}", {"versions": [1]})

    return setup


def swapped(stage: Stage) -> None:
    stage.key()
    stage.root("DELETE", f"{stage.user.mount}/metadata/asc/private/prod")
    stage.put("asc/private/prod", {"private_key": stage.user.key_file(NEW_ID).read_text(), "key_id": OLD_ID})


def damaged(**changes: object) -> Setup:
    """The record is not what we write."""

    def setup(stage: Stage) -> None:
        stage.key()
        path = f"{stage.user.mount}/data/asc/keys/prod"
        stage.put("asc/keys/prod", {**stage.root("GET", path)["data"]["data"], **changes})

    return setup


def somebody_is_faster(stage: Stage) -> None:
    """Between our reading of the record and our write somebody else writes."""
    stage.key()
    path = f"{stage.user.mount}/data/asc/keys/prod"
    record = stage.root("GET", path)["data"]["data"]

    def done(method: str, asked: str) -> None:
        if method == "GET" and asked == path:
            stage.wire.done = lambda _method, _path: None
            stage.put("asc/keys/prod", {**record, "changed_by": "mallory"})

    stage.wire.done = done


def planned_deletion(stage: Stage) -> None:
    stage.root("POST", f"{stage.user.mount}/config", {"delete_version_after": "1h"})


def busy(stage: Stage) -> None:
    stage.pushed()
    lock = stage.user.home / "state" / "targets" / "sales.lock"
    lock.parent.mkdir(parents=True)
    stage.stack.enter_context(locked(lock))
    # A pass that is about to be over waits for a second, not for most of a minute.
    stage.stack.enter_context(pytest.MonkeyPatch.context()).setattr(push, "DEADLINE", 6.0)


def unknown_to_apple(stage: Stage) -> None:
    stage.pushed()
    stage.apple.revoke(OLD_ID)


def legacy(stage: Stage) -> None:
    stage.put("old/apple", {"p8": keys.new_p8_pem().decode(), "key_id": OLD_ID})


def two_legacy(stage: Stage) -> None:
    stage.put("old/apple", {"a": keys.new_p8_pem().decode(), "b": keys.new_p8_pem().decode()})


def handed_over(stage: Stage, *, used: bool = False, **fields: str) -> None:
    """A key, and the wrapping token of the next one in the file `token`."""
    known(stage)
    secret = {"p8": stage.user.new_pem(NEW_ID).decode(), "key_id": NEW_ID, "issuer_id": keys.ISSUER_ID, **fields}
    token = wrap(stage.user.server, secret)
    stage.user.tokens.append(token.reveal())
    file = stage.user.home / "token"
    file.touch(0o600)
    file.write_text(token.reveal())
    if used:
        unwrap(stage.user.server, token)


def handed_over_twice(stage: Stage) -> None:
    handed_over(stage, used=True)


def handed_over_without_rights(stage: Stage) -> None:
    handed_over(stage)
    stage.user.use(stage.token_with(policy.render("key-admin", mount=stage.user.mount, prefix="asc")))


def handed_over_but_lost(stage: Stage) -> None:
    handed_over(stage)
    stage.wire.lose_once("POST", "sys/wrapping/unwrap", LOSE_ANSWER)


def damaged_hand_over(stage: Stage) -> None:
    handed_over(stage, p8=keys.new_p8_pem().decode().replace("M", "", 1))


def files(**texts: bytes) -> Setup:
    def setup(stage: Stage) -> None:
        for name, text in texts.items():
            file = stage.user.home / f"AuthKey_{name}.p8"
            file.touch(mode=0o600)
            file.write_bytes(text)

    return setup


def push_failed(stage: Stage) -> None:
    stage.pushed()
    stage.user("push", "--all")


def pushed_before(stage: Stage) -> None:
    stage.pushed()
    stage.user.does("push", "sales")


def minted_before(stage: Stage) -> None:
    stage.key()
    stage.user.does("mint", "prod", "--out", "token")


def minted_and_down(stage: Stage) -> None:
    minted_before(stage)
    stage.user.configure(address="http://127.0.0.1:1")


def service_key_wrong(stage: Stage) -> None:
    stage.pushed()
    stage.put("asc/nexla/default", {"service_key": "xUe7-another-sentinel"})


def service_key_of_two_lines(stage: Stage) -> None:
    stage.pushed()
    stage.put("asc/nexla/default", {"service_key": f"{SERVICE_KEY}\nx"})


def nexla_echoes(stage: Stage) -> None:
    """Nexla repeats in its answers what it was sent."""
    from vault_asc.lab.faults import answered

    stage.pushed()
    for path in ("/token", "/data_credentials/*"):
        said = json.dumps({"message": f"bad credential {SERVICE_KEY}"}).encode()
        stage.nexla.inject(answered(400, said), count=20, path=path)


def bad_config(stage: Stage) -> None:
    stage.user.config_file.write_text("version = 1\n[valt]\n")


def pushed_without_rights(stage: Stage) -> None:
    stage.pushed()
    stage.user.use(stage.token_with(NO_RIGHTS))


def pushed_while_down(stage: Stage) -> None:
    stage.pushed()
    stage.user.configure(stage.targets, address="http://127.0.0.1:1")


@contextlib.contextmanager
def no_policies_left(root: Root) -> Iterator[None]:
    """Policies are the server's, not the mount's."""
    names = root("LIST", "sys/policies/acl")["data"]["keys"]
    try:
        yield
    finally:
        for name in set(root("LIST", "sys/policies/acl")["data"]["keys"]) - set(names):
            root("DELETE", f"sys/policies/acl/{name}")
