"""`config`: what holds for all roles of a mount."""

from typing import Final

from vault_asc.engine.entries import CONFIG, Config, dump_config
from vault_asc.engine.fields import Field, Kind, taken
from vault_asc.engine.mount import Mount
from vault_asc.engine.path import Path, writing
from vault_asc.engine.request import Operation, Request, RequestError, Response
from vault_asc.tokens import BACKDATES, MAX_LIFETIME, TokenRequest

_SHARE: Final = (0.1, 0.9)  # an Agent reads again at 0.85 to 0.95 of a lease, and needs some time for it


async def read(mount: Mount, request: Request, _name: str) -> Response:
    """The configuration in force."""
    config = await mount.config(request.storage)
    return Response(config._asdict())


async def write(mount: Mount, request: Request, _name: str) -> None:
    """Change what is given; the rest stays."""
    given = taken(request.data, FIELDS)
    async with mount.lock(CONFIG):
        before = await mount.config(request.storage)
        config = _checked(before._replace(**given))
        if config != before:
            await mount.put(request.storage, CONFIG, dump_config(config))


async def delete(mount: Mount, request: Request, _name: str) -> None:
    """Back to the defaults."""
    async with mount.lock(CONFIG):
        await mount.delete(request.storage, CONFIG)


def _checked(config: Config) -> Config:
    """The configuration itself when every role without limits of its own gets tokens by it."""
    if not BACKDATES[0] <= config.backdate <= BACKDATES[1]:
        raise RequestError(
            f"a backdate of {config.backdate} s is not possible", hint=f"use {BACKDATES[0]}s to {BACKDATES[1]}s"
        )
    if not _SHARE[0] <= config.lease_share <= _SHARE[1]:
        raise RequestError(
            f"a lease share of {config.lease_share:g} is not possible", hint=f"use {_SHARE[0]} to {_SHARE[1]}"
        )
    TokenRequest(config.max_lifetime, backdate=config.backdate)
    TokenRequest(config.lifetime, backdate=config.backdate)
    if config.lifetime > config.max_lifetime:
        raise RequestError(
            f"the lifetime of {config.lifetime} s is above the maximum of {config.max_lifetime} s",
            hint="lower lifetime, or raise max_lifetime with it",
        )
    return config


FIELDS: Final = (
    Field("lifetime", Kind.SECONDS, "From iat to exp, for roles that name none. Default 1140 (19m)."),
    Field("max_lifetime", Kind.SECONDS, f"Limit for all roles, at most {MAX_LIFETIME}, Apple's limit and the default."),
    Field(
        "backdate",
        Kind.SECONDS,
        f"By how much iat lies in the past, {BACKDATES[0]} to {BACKDATES[1]}. Default 60. The usable life of a token is"
        " its lifetime less this.",
    ),
    Field(
        "lease_share",
        Kind.DECIMAL,
        f"The part of the usable life that a lease lasts, {_SHARE[0]} to {_SHARE[1]}. Default 0.5, so that an Agent holds"
        " a token with half its life left.",
    ),
)
PATH: Final = Path(
    "config",
    "Lifetimes, back-dating and leases for all roles of this mount.",
    "A write changes the fields that it names and keeps the others; a delete brings the defaults back. Leases and tokens"
    " that are out already keep what they had. A role that allows more than max_lifetime gets max_lifetime.",
    {Operation.READ: read, **writing(write), Operation.DELETE: delete},
    FIELDS,
)
