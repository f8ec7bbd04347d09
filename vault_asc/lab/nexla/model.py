"""What Nexla keeps: users, keys, sessions, vendors with templates, credentials, sources. Values only, no behaviour."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from vault_asc.secret import Secret

Role = Literal["collaborator", "operator", "admin", "owner"]
RANK: Final[Mapping[str, int]] = {"collaborator": 0, "operator": 1, "admin": 2, "owner": 3}
"""Roles from the weakest to the strongest; a stronger one may do what a weaker one may."""


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who owns service keys and credentials, in one organisation."""

    id: int = 2
    full_name: str = "Lab Owner"
    email: str = "owner@lab.example"


@dataclass(frozen=True, slots=True)
class ServiceKey:
    """A key that logs in as its user for ever, until it is paused."""

    value: Secret
    user: User
    active: bool = True


@dataclass(frozen=True, slots=True)
class Session:
    """What a login gave."""

    user: User
    expires_at: float


@dataclass(frozen=True, slots=True)
class Parameter:
    """One auth parameter of a template; `global_` ones belong to all templates of the vendor."""

    name: str
    secured: bool = True
    display_name: str = ""
    description: str = ""
    data_type: str = "string"
    global_: bool = False
    allowed_values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Template:
    """An auth template: a credentials object with `${parameter}` in its values."""

    id: int
    name: str
    config: Mapping[str, Any]
    parameters: tuple[Parameter, ...]
    credentials_type: str = "rest"
    display_name: str = ""


@dataclass(frozen=True, slots=True)
class Vendor:
    """A named connector, such as `appstore_api`, with its templates."""

    id: int
    name: str
    display_name: str
    templates: tuple[Template, ...] = ()


@dataclass(frozen=True, slots=True)
class Credential:
    """A data credential.

    Attributes:
        stored: the resolved credentials object, secrets included.
        supplied: the parameter values that it was built from.
        roles: by user ID; no entry is no access.
        writes: how often the secret part was replaced.
    """

    id: int
    name: str
    owner: User
    credentials_type: str = "rest"
    description: str | None = None
    stored: Mapping[str, Any] = field(default_factory=dict, repr=False)
    supplied: Mapping[str, Any] = field(default_factory=dict, repr=False)
    vendor: str | None = None
    template: str | None = None
    credentials_version: str = "1"
    verified_status: str | None = None
    verified_at: float | None = None
    tags: tuple[str, ...] = ()
    roles: Mapping[int, Role] = field(default_factory=dict)
    created_at: float = 0.0
    updated_at: float = 0.0
    writes: int = 0


@dataclass(frozen=True, slots=True)
class Source:
    """A data source that uses a credential."""

    id: int
    credential_id: int
    name: str
    config: Mapping[str, Any] = field(repr=False)
    status: str = "ACTIVE"
