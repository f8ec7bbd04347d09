"""Where the new key of a command comes from: a file, standard input, a secret in KV, or a wrapping token.

One set of options for import, stage and rotate. A wrapping token can be used once, so with one everything else is
checked first, and whatever fails after the unwrap says that the token is used up.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple

import click

from vault_asc.cli.output import warn
from vault_asc.cli.wiring import Connection, read_token, vault_token
from vault_asc.errors import ConfigError, PrivateKeyError

if TYPE_CHECKING:
    from vault_asc.handover import HandOver
    from vault_asc.key.fields import Found
    from vault_asc.key.identity import Identity
    from vault_asc.key.private_key import PrivateKey
    from vault_asc.lifecycle import Lifecycle
    from vault_asc.names import Custody
    from vault_asc.secret import Secret
    from vault_asc.vault import Vault

_ROLE_ADMIN: Final = "role-admin"
_POLICIES: Final = {
    "import": ("key-admin", "registrar"),
    "stage": ("key-admin",),
    "rotate": ("key-admin", "registrar"),
}
_USAGE: Final = {"import": "FILE NAME", "stage": "NAME FILE", "rotate": "NAME FILE"}
_STDIN_MAX: Final = 16 * 1024  # bytes, as of a token in a file
_PLAUSIBLE_KEY_ID: Final = "2X9R4HXF34"  # to check an issuer ID whose key ID is still wrapped


class NewKey(NamedTuple):
    """A key that has come in, and the IDs that came with it; the issuer ID only where it lay beside the key."""

    key: "PrivateKey"
    key_id: str
    issuer_id: str | None = None


class KeySource(NamedTuple):
    """What was typed about a new key.

    Attributes:
        command: `import`, `stage` or `rotate`.
        file: name of a .p8, or `-`.
        from_vault: MOUNT/PATH of a secret.
        wrapped: file with a wrapping token, or `-`.
        field: the field of the secret, KV's or the wrapped one, that holds the key.
        creation_path: where the sender has wrapped it, None for `sys/wrapping/wrap`.
        key_id: key ID.
        issuer_id: issuer ID, for import only, as the two flags.
        individual: whether it is a key without issuer ID.
        enterprise: whether it is of the Enterprise Program.
    """

    command: str
    file: str | None
    from_vault: str | None
    wrapped: str | None
    field: str | None
    creation_path: str | None
    key_id: str | None
    issuer_id: str | None = None
    individual: bool = False
    enterprise: bool = False

    @contextmanager
    def opened(
        self,
        connection: Connection,
        name: str,
        *,
        custody: "Custody | None" = None,
        escrow: bool = True,
        role: str | None = None,
        before_unwrap: Callable[[], object] = lambda: None,
    ) -> "Iterator[tuple[Lifecycle, NewKey]]":
        """The commands of key owners and the key, for as long as something is done with it.

        Custody, escrow and role are those that an import is to make. `before_unwrap` may refuse while the token is still good.
        """
        custodies = () if custody is None else (custody,)
        lifecycle = connection.lifecycle(*self._policies(custody), custodies=custodies)
        if self.wrapped is None:
            yield lifecycle, self._found(lifecycle.store.vault) if self.from_vault else self._read()
            return
        hand_over = self._hand_over(lifecycle.store.vault)
        self._check_ids()
        self.check_rights(connection, lifecycle, name, custody=custody, escrow=escrow, role=role)
        before_unwrap()
        with self._unwrapped(hand_over, name) as new:
            yield lifecycle, new

    def identity(self, new: NewKey) -> "Identity":
        """Who the key is: what was typed, and what came with the key."""
        from vault_asc.key.identity import APP_STORE_CONNECT, ENTERPRISE, identity, usual_key_id

        who = identity(
            key_id=new.key_id,
            # What lies beside the key is a help; what was typed is an order, and is refused when it contradicts itself.
            issuer_id=self.issuer_id or (None if self.individual else new.issuer_id),
            individual=self.individual,
            audience=ENTERPRISE if self.enterprise else APP_STORE_CONNECT,
        )
        if not usual_key_id(who.key_id):
            warn(f'key ID "{who.key_id}" does not look like Apple\'s (10 capital letters and digits)')
        return who

    def warn_of_copy(self) -> None:
        """Say where the key still lies, once it is in its place."""
        if self.from_vault is not None:
            warn(f'"{self.from_vault}" still holds the private key: remove it when nobody reads it any more')

    # -- files and KV --------------------------------------------------------------------------------------------

    def _read(self) -> NewKey:
        from vault_asc.key.identity import resolve_key_id

        file = str(self.file)
        key = read_private_key(file)
        return NewKey(key, resolve_key_id(self.key_id, None if file == "-" else Path(file).name, self.issuer_id))

    def _found(self, vault: "Vault") -> NewKey:
        from vault_asc.legacy import read_from_kv

        return self._named(read_from_kv(vault, str(self.from_vault), self.field))

    def _named(self, found: "Found") -> NewKey:
        from vault_asc.key.identity import resolve_key_id

        return NewKey(found.key, resolve_key_id(self.key_id or found.key_id, None, self.issuer_id), found.issuer_id)

    # -- wrapped -------------------------------------------------------------------------------------------------

    def _hand_over(self, vault: "Vault") -> "HandOver":
        from vault_asc.handover import HandOver
        from vault_asc.names import check_path, is_unix
        from vault_asc.secret import safe_text
        from vault_asc.vault import WRAP

        path = WRAP if self.creation_path is None else check_path(self.creation_path, "--creation-path")
        if is_unix(vault.address):
            raise ConfigError(
                "--wrapped does not go through an Agent, which would put its own token in place of the wrapping token",
                hint="name the server: --address https://...",
            )
        typed = str(self.wrapped)
        place = "from standard input" if typed == "-" else f'in "{safe_text(typed)}"'
        return HandOver(vault, _wrapping_token(typed), f"the wrapping token {place}", path)

    def _check_ids(self) -> None:
        """Refuse wrong IDs while the token is still good; the key ID may be wrapped with the key."""
        from vault_asc.key.identity import identity, resolve_key_id

        if self.individual and self.issuer_id:
            raise PrivateKeyError(
                "--individual and --issuer-id contradict each other: individual keys have no issuer ID",
                hint="leave one of the two away",
            )
        if self.key_id:
            resolve_key_id(self.key_id, None, self.issuer_id)
        if self.issuer_id:
            identity(key_id=self.key_id or _PLAUSIBLE_KEY_ID, issuer_id=self.issuer_id, individual=False)

    def check_rights(
        self,
        connection: Connection,
        lifecycle: "Lifecycle",
        name: str,
        *,
        custody: "Custody | None" = None,
        escrow: bool = True,
        role: str | None = None,
    ) -> None:
        """Refuse what Vault would refuse later, as far as it can be known without writing."""
        from vault_asc.handover import Task, ready
        from vault_asc.names import Custody

        def advice(path: str, capability: str) -> str | None:
            from vault_asc.cli.advice import Need, advise  # only a missing right needs it

            return advise(
                connection.config(),
                Need(self._policies(custody), custodies=() if custody is None else (custody,)),
                path,
                capability,
            )

        ready(
            lifecycle.store,
            name,
            Task(self.command),
            advice,
            custody=custody or Custody.KV,
            escrow=escrow,
            role=role,
            untouched="the wrapping token was not used" if self.wrapped else "nothing was written",
        )

    def _policies(self, custody: "Custody | None") -> tuple[str, ...]:
        """What the command needs; a new key of the engine needs a role."""
        from vault_asc.names import Custody

        return (*_POLICIES[self.command], *([_ROLE_ADMIN] if custody is Custody.ENGINE else []))

    @contextmanager
    def _unwrapped(self, hand_over: "HandOver", name: str) -> Iterator[NewKey]:
        from vault_asc.handover import lost_unless_stored, used_up

        wrapping = hand_over.look()
        try:
            found = hand_over.take(self.field)
            with used_up(hand_over.place, lost_unless_stored(name)):
                yield self._named(found)
        except KeyboardInterrupt:
            warn(f"{hand_over.place} may be used up now; {lost_unless_stored(name)}")
            raise
        click.echo(
            f"  was wrapped at {wrapping.creation_time}: if the sender did so at another time, somebody else has the key"
        )


def read_private_key(file: str) -> "PrivateKey":
    """The key in a .p8 file, or in standard input for `-`."""
    from vault_asc.key.file import read_key_file, read_limited
    from vault_asc.key.private_key import parse_private_key

    if file == "-":
        return parse_private_key(read_limited(_stdin("name the .p8 file, or pipe it: ... - < FILE")))
    return parse_private_key(read_key_file(Path(file), warn))


def takes_key(command: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the arguments and options for a new key, handed over as `name` and `source`."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def with_source(*args: Any, **kwargs: Any) -> Any:
            name = kwargs.pop("name")
            source = KeySource(command, **{part: kwargs.pop(part) for part in KeySource._fields[1:] if part in kwargs})
            return function(*args, **_checked(source, name), **kwargs)

        wrapped: Callable[..., Any] = with_source
        for option in reversed([*_ARGUMENTS[command], *_OPTIONS, *(_IDENTITY if command == "import" else [])]):
            wrapped = option(wrapped)
        return wrapped

    return decorate


def _checked(source: KeySource, name: str | None) -> dict[str, Any]:
    """Source and name, provided that they fit together; with another source than a FILE, NAME stands alone."""
    from vault_asc.names import check_name

    elsewhere = [place for place in (source.from_vault, source.wrapped) if place is not None]
    if elsewhere and name is None:
        source, name = source._replace(file=None), source.file
    if name is None or len(elsewhere) + (source.file is not None) != 1:
        command, usage = f"vault-asc key {source.command}", _USAGE[source.command]
        raise ConfigError(
            f"{source.command} needs one source and a name",
            hint=f"{command} {usage}, {command} --from-vault MOUNT/PATH NAME, or {command} --wrapped FILE NAME",
        )
    if source.field is not None and not elsewhere:
        raise ConfigError("--field is for --from-vault and --wrapped", hint="leave --field away: a file holds one key")
    if source.creation_path is not None and source.wrapped is None:
        raise ConfigError("--creation-path is for --wrapped", hint="leave --creation-path away")
    return {"name": check_name(name), "source": source}


def _stdin(hint: str) -> BinaryIO:
    if not sys.stdin:
        raise ConfigError("standard input is closed", hint=hint)
    return sys.stdin.buffer


def _wrapping_token(typed: str) -> "Secret":
    """The token in a file, or in standard input for `-`; it is read like a Vault token, which it is."""
    stdin = _stdin("name a file with the wrapping token, or pipe it: --wrapped - < FILE") if typed == "-" else None
    try:
        if stdin is None:
            return read_token(Path(typed), {})
        return vault_token(stdin.read(_STDIN_MAX).decode("latin-1"), "standard input")
    except ConfigError as error:
        if isinstance(error.__cause__, OSError):
            raise
        raise ConfigError(
            error.message,
            hint="give the wrapping token alone: vault write -field=wrapping_token -wrap-ttl=15m sys/wrapping/wrap ...",
        ) from error


_FILE: Final = click.argument("file", required=False)
_ARGUMENTS: Final = {
    "import": [_FILE, click.argument("name", required=False)],
    "stage": [click.argument("name"), _FILE],
    "rotate": [click.argument("name"), _FILE],
}
_OPTIONS: Final = [
    click.option("--key-id", help="Key ID; else from a file name like AuthKey_<ID>.p8, with which it must agree."),
    click.option("--from-vault", metavar="MOUNT/PATH", help="Take the .p8 from a KV secret instead of a FILE."),
    click.option(
        "--wrapped",
        metavar="FILE|-",
        help="Unwrap the .p8 with the wrapping token in this file, or from standard input, instead of a FILE.",
    ),
    click.option(
        "--creation-path",
        metavar="PATH",
        help="With --wrapped: the path that the sender has wrapped, such as secret/data/handover/apple for a secret in"
        " KV; else sys/wrapping/wrap.",
    ),
    click.option("--field", help="With --from-vault or --wrapped: the field with the .p8, when there are several."),
]
_IDENTITY: Final = [
    click.option("--issuer-id", help="Issuer ID of a team key (App Store Connect, Users and Access, Integrations)."),
    click.option("--individual", is_flag=True, help="An individual key: it has no issuer ID."),
    click.option("--enterprise", is_flag=True, help="A key of the Apple Developer Enterprise Program."),
]
