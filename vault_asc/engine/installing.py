"""Brings an executable to the server: into the plugin directory, into the catalog, onto a mount. And how all that stands.

It speaks to whatever answers like `vault_asc.vault.Vault`, and prints nothing.
"""

import contextlib
import hashlib
import os
import platform
import re
import shlex
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from vault_asc.engine.freezing.facts import Executable, look_at
from vault_asc.errors import (
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    VaultAscError,
    VaultError,
    VaultUnavailableError,
)
from vault_asc.files import write_atomic
from vault_asc.names import ENGINE_FILE, ENGINE_TYPE, ENGINE_TYPES

PLUGIN: Final = ENGINE_TYPE
"""Name in the plugin catalog, unless the engine is mounted by another of `ENGINE_TYPES`."""
_CATALOG: Final = "sys/plugins/catalog/secret"
_T = TypeVar("_T")


class Server(Protocol):
    """The calls that this module makes; `vault_asc.vault.Vault` answers them."""

    def ask(
        self, method: str, where: str, capability: str, body: Mapping[str, Any] | None = None, *, writing: bool = False
    ) -> dict[str, Any]:
        """One call of the API; the `data` of its answer."""
        ...


# -- the file --------------------------------------------------------------------------------------------------------


def name_of(built: Executable) -> str:
    """The file's name in a plugin directory: another one for every build.

    So a copy never replaces what the catalog knows by its checksum, and the way back is a registration.
    """
    return _file_name(built.version, built.sha256)


def _file_name(version: str, sha256: str) -> str:
    return f"{ENGINE_FILE}-{version.removeprefix('v')}-{sha256[:8]}"


def copy(built: Executable, plugin_dir: Path, now: float) -> Path:
    """Copy the executable whole or not at all, 0755; now in Unix seconds. `ConfigError` when it cannot be."""
    target = plugin_dir / name_of(built)
    if target.is_file() and look_at(target).sha256 == built.sha256:
        target.chmod(0o755)
        return target
    content = built.path.read_bytes()
    if hashlib.sha256(content).hexdigest() != built.sha256:
        raise ConflictError(
            f'"{built.path}" is being changed, nothing was copied', hint="wait for it, then repeat this"
        )
    write_atomic(target, content, now=now, mode=0o755)
    return target


def concerns(built: Executable, installed: Path) -> list[str]:
    """What may keep the server from starting the file, or somebody else from leaving it alone; a sentence each."""
    found = [_of_rights(installed), _of_noexec(installed.parent, "the plugin directory")]
    found += [_of_noexec(Path(tempfile.gettempdir()), "where it unpacks itself"), _of_host(built.facts)]
    return [each for each in found if each]


def _of_rights(installed: Path) -> str:
    file, directory = installed.stat(), installed.parent.stat()
    if directory.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"others may write to the plugin directory: chmod go-w {shlex.quote(str(installed.parent))}"
    if file.st_uid not in {0, directory.st_uid}:
        return (
            f"the file belongs to user {file.st_uid}, the plugin directory to {directory.st_uid}:"
            f" chown {directory.st_uid}:{directory.st_gid} {shlex.quote(str(installed))}"
        )
    return ""


def _of_noexec(directory: Path, what: str) -> str:
    if os.statvfs(directory).f_flag & getattr(os, "ST_NOEXEC", 0):
        return f'"{directory}" ({what}) is mounted noexec: nothing starts from there; the server takes TMPDIR for it'
    return ""


def _of_host(facts: Mapping[str, str]) -> str:
    here = f"{sys.platform} {platform.machine()}"
    if facts.get("platform", here) != here:
        return f"the executable is for {facts['platform']}, this host is {here}"
    libc, version = platform.libc_ver()
    asked = re.match(r"glibc (\d+)\.(\d+)", facts.get("libc", ""))
    if asked and libc != "glibc":
        return "the executable is for glibc and this host has another C library, as Alpine has: build it on such a host"
    if asked and _numbers(version) < _numbers(asked[0].removeprefix("glibc ")):
        return f"the executable asks for {facts['libc']}, this host has {version}: build it on a host as old as this"
    return ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


# -- the server ------------------------------------------------------------------------------------------------------


def commands(built: Executable, mount: str) -> list[str]:
    """What somebody types who registers and mounts by hand, with `vault` or `bao`."""
    entry = f"-sha256={built.sha256} -command={name_of(built)} -version={built.version}"
    return [
        f"vault plugin register {entry} secret {PLUGIN}",
        f"vault secrets enable -path={mount} -plugin-name={PLUGIN} -plugin-version={built.version} plugin",
    ]


def upgrade_commands(built: Executable, mount: str) -> list[str]:
    """The same where the engine is mounted already; the second one of `commands` is not needed then."""
    return [
        f"vault secrets tune -plugin-version={built.version} {mount}",
        f"vault plugin reload -plugin={PLUGIN} -scope=global",
    ]


def mounted_by(server: Server, mount: str) -> str:
    """Name in the catalog that a mount of the engine has, so that a new version is found there; `PLUGIN` without a mount."""
    found = server.ask("GET", "sys/mounts", "read").get(f"{mount}/") or {}
    kind = found.get("type")
    return kind if kind in ENGINE_TYPES else PLUGIN


def register(server: Server, built: Executable, name: str = PLUGIN) -> None:
    """Write the catalog's entry. The server wants to see the file; whether it starts, only the mount shows."""
    body = {"sha256": built.sha256, "command": name_of(built), "version": built.version}
    with _starting("the engine was not registered"):
        server.ask("POST", f"{_CATALOG}/{name}", "sudo", body, writing=True)


def bring_up(server: Server, built: Executable, mount: str) -> str:
    """Mount the engine, or have the mount run this version; what was done, in words."""
    found = server.ask("GET", "sys/mounts", "read").get(f"{mount}/")
    if found is None:
        body = {"type": PLUGIN, "plugin_version": built.version, "config": {"plugin_version": built.version}}
        with _starting("the engine is registered, and the server does not start it"):
            server.ask("POST", f"sys/mounts/{mount}", "update", body, writing=True)
        return f'mounted at "{mount}/"'
    name = found.get("type")
    if name not in ENGINE_TYPES:
        raise ConflictError(
            f'"{mount}/" is a mount of type "{name}"; the engine is registered, nothing was mounted',
            hint="name another path: --mount PATH",
        )
    with _starting("the engine is registered, and the server does not start it"):
        server.ask("POST", f"sys/mounts/{mount}/tune", "update", {"plugin_version": built.version}, writing=True)
        server.ask("POST", "sys/plugins/reload/backend", "update", {"plugin": name, "scope": "global"}, writing=True)
    return f'"{mount}/" was told to run {built.version}, and reloaded'


@contextlib.contextmanager
def _starting(what: str) -> Iterator[None]:
    """Say what keeps a plugin from starting, where the server just says that it has not."""
    try:
        yield
    except VaultError as exc:
        if isinstance(exc, NotFoundError | PermissionDeniedError | VaultUnavailableError):
            raise
        raise VaultError(
            f"{what}: {exc.message}",
            hint="the file has to be on this node as it was built, with a C library that fits and a TMPDIR that is not"
            " noexec; the server's log says more",
        ) from exc


# -- how it stands ---------------------------------------------------------------------------------------------------


class Registered(NamedTuple):
    """An entry of the catalog."""

    version: str
    sha256: str
    command: str
    name: str = PLUGIN


class Running(NamedTuple):
    """What a mount runs: `sha256` as the server has checked it, `facts` as the process tells them, name in the catalog."""

    version: str
    sha256: str
    facts: Mapping[str, str]
    name: str = PLUGIN


class Standing(NamedTuple):
    """How it stands. None: there is none, or it was not asked for.

    Attributes:
        built: an executable that somebody has.
        registered: the entry of the catalog: that of the version built or running, else the last one.
        installed: what lies in the plugin directory under the registered name.
        running: of the mount.
        unseen: what the token may not see, in words.
    """

    built: Executable | None
    registered: Registered | None
    installed: Executable | None
    running: Running | None
    unseen: tuple[str, ...]


def standing(server: Server, mount: str, plugin_dir: Path | None, built: Executable | None) -> Standing:
    """Ask for all of it. A `VaultAscError` only when nothing at all can be seen."""
    denied: list[PermissionDeniedError] = []
    running = _seen(lambda: _running(server, mount), denied)
    wanted = [each.version for each in (built, running) if each is not None]
    names = ENGINE_TYPES if running is None else (running.name,)
    registered = _seen(lambda: _registered(server, wanted, names), denied)
    if len(denied) > 1:
        raise denied[0]
    installed = None
    if plugin_dir is not None and registered is not None and (plugin_dir / registered.command).is_file():
        installed = look_at(plugin_dir / registered.command)
    return Standing(built, registered, installed, running, tuple(each.message for each in denied))


def _seen(ask: Callable[[], _T], denied: list[PermissionDeniedError]) -> _T | None:
    try:
        return ask()
    except PermissionDeniedError as exc:
        denied.append(exc)
    return None


def _running(server: Server, mount: str) -> Running | None:
    found = server.ask("GET", "sys/mounts", "read").get(f"{mount}/")
    if found is None or found.get("type") not in ENGINE_TYPES:
        return None
    try:
        facts = server.ask("GET", f"{mount}/info", "read")
    except VaultAscError:  # it does not start, or this token may not ask it: the server still knows what it checked
        facts = {}
    version = found.get("running_plugin_version") or found.get("plugin_version") or ""
    told = {k: str(v) for k, v in facts.items()}
    return Running(str(version), str(found.get("running_sha256") or ""), told, str(found["type"]))


def _registered(server: Server, wanted: list[str], names: Sequence[str]) -> Registered | None:
    """The entry under the first of the names that is there."""
    listed = server.ask("GET", "sys/plugins/catalog", "sudo").get("detailed") or []
    listed = [each for each in listed if each.get("type") == "secret"]
    name = next((name for name in names if any(each.get("name") == name for each in listed)), None)
    if name is None:
        return None
    ours = {
        str(each.get("version") or ""): str(each.get("sha256") or "") for each in listed if each.get("name") == name
    }
    version = next((each for each in wanted if each in ours), [*ours][-1])
    try:
        command = str(server.ask("GET", f"{_CATALOG}/{name}?version={version}", "sudo").get("command"))
    except VaultUnavailableError:
        raise
    except VaultError:  # the server tells nothing of an entry whose file is missing
        command = _file_name(version, ours[version])
    return Registered(version, ours[version], command, name)


def differences(now: Standing, mount: str, plugin_dir: Path | None) -> list[str]:
    """What does not agree and what to do about it; a sentence each, in the order in which to do it."""
    return [*_of_registration(now, plugin_dir), *_of_running(now, mount)]


def _of_registration(now: Standing, plugin_dir: Path | None) -> list[str]:
    if now.unseen and now.registered is None:
        return []
    install = f"vault-asc engine install {now.built.path if now.built else 'FILE'} --plugin-dir {plugin_dir or 'DIR'}"
    if now.registered is None:
        return [f"the catalog has no plugin {now.running.name if now.running else PLUGIN}: {install} --register"]
    found = []
    if now.built is not None and now.built.sha256 != now.registered.sha256:
        found.append(f"what is built is not what is registered: {install} --register")
    if plugin_dir is not None and now.installed is None:
        found.append(f'"{plugin_dir / now.registered.command}" is missing, the server cannot start it: {install}')
    elif now.installed is not None and now.installed.sha256 != now.registered.sha256:
        found.append(f'"{now.installed.path}" is not what is registered, the server refuses to start it: {install}')
    return found


def _of_running(now: Standing, mount: str) -> list[str]:
    if now.running is None:
        name = now.registered.name if now.registered else PLUGIN
        enable = f'nothing of ours is mounted at "{mount}/": vault secrets enable -path={mount} {name}'
        return [] if now.unseen else [enable]
    if not now.running.facts:
        return [
            f'"{mount}/info" does not answer: a right is missing, or the process does not start, see the server\'s log'
        ]
    if now.registered is not None and now.running.sha256 not in {"", now.registered.sha256}:
        version = now.registered.version
        tune = f"vault secrets tune -plugin-version={version} {mount}"
        reload = f"vault plugin reload -plugin={now.running.name} -scope=global"
        return [f'"{mount}/" runs another build than the registered one: {tune}; {reload}']
    return []
