"""Everything the simulated tenant holds, behind one lock; looking things up, not deciding."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from vault_asc.clock import Clock
from vault_asc.lab.nexla.answers import RefusedError
from vault_asc.lab.nexla.model import RANK, Credential, Role, ServiceKey, Session, Source, Template, User, Vendor
from vault_asc.lab.nexla.readings import Readings
from vault_asc.lab.web import Request


@dataclass(slots=True)
class State:
    """The tenant. Whoever reads or writes holds `lock`; every value in it is frozen."""

    clock: Clock
    readings: Readings
    session_seconds: float = 3600.0
    lock: threading.RLock = field(default_factory=threading.RLock)
    service_keys: list[ServiceKey] = field(default_factory=list)
    sessions: dict[str, Session] = field(default_factory=dict, repr=False)
    vendors: dict[str, Vendor] = field(default_factory=dict)
    credentials: dict[int, Credential] = field(default_factory=dict)
    sources: dict[int, Source] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    async_probes: dict[int, dict[str, Any]] = field(default_factory=dict)

    def credential(self, credential_id: int, user: User, least: Role) -> Credential:
        """A credential that the user may use: 404 when there is none, 403 below the least role."""
        credential = self.credentials.get(credential_id)
        if credential is None:
            raise RefusedError(404)
        role = credential.roles.get(user.id)
        if role is None or RANK[role] < RANK[least]:
            raise RefusedError(403)
        return credential

    def keep(self, credential: Credential) -> Credential:
        """Store a credential in the place of the one with its ID."""
        self.credentials[credential.id] = credential
        return credential

    def change(self, credential_id: int, **changes: Any) -> Credential:
        """Store a credential with these attributes changed."""
        return self.keep(replace(self.credentials[credential_id], **changes))

    def users_of(self, credential_id: int) -> list[Source]:
        """The sources that use a credential."""
        return [source for source in self.sources.values() if source.credential_id == credential_id]

    def template_of(self, credential: Credential) -> tuple[Vendor, Template] | None:
        """Vendor and template that a credential was built from; None for a generic one."""
        if credential.vendor is None:
            return None
        vendor = self.vendors[credential.vendor]
        return vendor, next(each for each in vendor.templates if each.name == credential.template)


@dataclass(frozen=True, slots=True)
class Call:
    """An authenticated request on its way to an endpoint.

    Attributes:
        ids: numbers out of the path.
        query: decoded.
    """

    request: Request
    user: User
    ids: tuple[int, ...]
    query: Mapping[str, str] = field(repr=False)
