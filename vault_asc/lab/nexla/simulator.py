"""The Nexla server: builds the tenant for a test or a demo, and plays the data flows that use it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from vault_asc.clock import Clock, system_clock
from vault_asc.lab.nexla.answers import RefusedError, with_common_headers
from vault_asc.lab.nexla.model import Credential, Parameter, Role, ServiceKey, Source, Template, User, Vendor
from vault_asc.lab.nexla.readings import Readings
from vault_asc.lab.nexla.routes import serve
from vault_asc.lab.nexla.state import State
from vault_asc.lab.nexla.update import resolve
from vault_asc.lab.nexla.vendor_call import call_vendor
from vault_asc.lab.simulator import Served, Simulator
from vault_asc.lab.web import Answer, Request
from vault_asc.secret import Secret

OWNER: Final = User()
_OLD_TOKEN: Final = "unset"  # noqa: S105 - what a new credential holds in place of a token


@dataclass(frozen=True, slots=True)
class FlowRun:
    """A data flow that goes on using the credential that it read when it started."""

    _stored: Mapping[str, Any] = field(repr=False)

    def read(self) -> int:
        """Ask the vendor; its status, or 0 when it could not be asked or gave no answer."""
        try:
            return call_vendor(self._stored)[0]
        except RefusedError:
            return 0


class NexlaSimulator(Simulator):
    """Nexla's API on 127.0.0.1; `url` ends in `/nexla-api`.

    Args:
        clock: the moment that sessions expire by.
        readings: how to read what is not known about Nexla.
        session_seconds: life of a session, announced as `expires_in`.
    """

    def __init__(
        self, *, clock: Clock = system_clock, readings: Readings | None = None, session_seconds: float = 3600.0
    ) -> None:
        super().__init__(clock=clock, prefix="/nexla-api")
        self._state = State(clock, readings or Readings(), session_seconds)

    @property
    def readings(self) -> Readings:
        """The readings in force; may be replaced at any time."""
        with self._state.lock:
            return self._state.readings

    @readings.setter
    def readings(self, readings: Readings) -> None:
        with self._state.lock:
            self._state.readings = readings

    def add_service_key(self, key: Secret | str, *, user: User = OWNER) -> None:
        """Let a service key log in as a user."""
        value = key if isinstance(key, Secret) else Secret(key)
        with self._state.lock:
            self._state.service_keys.append(ServiceKey(value, user))

    def set_service_key(self, key: Secret | str, *, active: bool) -> None:
        """Pause a service key or make it work again; sessions that it opened live on."""
        value = key if isinstance(key, Secret) else Secret(key)
        with self._state.lock:
            keys = self._state.service_keys
            keys[:] = [replace(each, active=active) if each.value == value else each for each in keys]

    def end_sessions(self) -> None:
        """Let every session be over at once."""
        with self._state.lock:
            self._state.sessions.clear()

    def add_template(
        self,
        vendor: str = "appstore_api",
        *,
        name: str | None = None,
        parameters: Sequence[Parameter | str],
        config: Mapping[str, Any],
    ) -> Template:
        """Give a vendor, new or known, an auth template.

        Args:
            vendor: its name.
            name: of the template, by default `<vendor>.<number>`.
            parameters: a plain name is a secured parameter.
            config: values hold `${parameter}`.
        """
        given = tuple(each if isinstance(each, Parameter) else Parameter(each) for each in parameters)
        with self._state.lock:
            vendors = self._state.vendors
            number = sum(len(each.templates) for each in vendors.values()) + 1
            old = vendors.get(vendor) or Vendor(76 + len(vendors) + 1, vendor, vendor.replace("_", " ").title())
            template = Template(87 + number, name or f"{vendor}.{number}", dict(config), given)
            vendors[vendor] = replace(old, templates=(*old.templates, template))
        return template

    def add_template_credential(
        self,
        credential_id: int = 5001,
        *,
        vendor: str = "appstore_api",
        parameters: Sequence[Parameter | str] = ("jwt_token",),
        config: Mapping[str, Any] | None = None,
        test_url: str,
        values: Mapping[str, Any] | None = None,
        owner: User = OWNER,
    ) -> Template:
        """Create a credential from a new template of its vendor; returns the template.

        Args:
            credential_id: a free number.
            vendor: its name.
            parameters: a plain name is a secured parameter.
            config: default is `rest_config("Bearer ${<first parameter>}", test_url)`.
            test_url: what probe and flows call; for the default config.
            values: of the parameters; those left out begin as "unset".
            owner: who owns it.
        """
        first = parameters[0] if isinstance(parameters[0], str) else parameters[0].name
        whole = rest_config(f"Bearer ${{{first}}}", test_url) if config is None else config
        with self._state.lock:
            template = self.add_template(vendor, parameters=parameters, config=whole)
            supplied = {each.name: _OLD_TOKEN for each in template.parameters} | dict(values or {})
            stored = {**resolve(template, supplied), "credentials_type": template.credentials_type}
            self._add(credential_id, owner, stored, supplied=supplied, vendor=vendor, template=template.name)
        return template

    def add_rest_credential(
        self, credential_id: int = 5001, *, test_url: str, token: str = _OLD_TOKEN, owner: User = OWNER
    ) -> None:
        """Create a generic REST credential with a bearer token in the Authorization header."""
        stored = {**rest_config(f"Bearer {token}", test_url), "credentials_type": "rest"}
        with self._state.lock:
            self._add(credential_id, owner, stored)

    def add_source(self, source_id: int, credential_id: int = 5001, *, config: Mapping[str, Any] | None = None) -> None:
        """Let an active data source use a credential."""
        with self._state.lock:
            self._state.sources[source_id] = Source(source_id, credential_id, f"source-{source_id}", config or {})

    def share(self, credential_id: int, user: User, role: Role) -> None:
        """Give a user a role on a credential."""
        with self._state.lock:
            old = self._state.credentials[credential_id]
            self._state.change(credential_id, roles={**old.roles, user.id: role})

    def credential(self, credential_id: int = 5001) -> Credential:
        """A credential as it stands, with the secrets in its `stored`."""
        with self._state.lock:
            return self._state.credentials[credential_id]

    def start_flow(self, credential_id: int = 5001) -> FlowRun:
        """Start a run that keeps the credential as it is now."""
        return FlowRun(self.credential(credential_id).stored)

    def flow_read(self, credential_id: int = 5001) -> int:
        """What a flow sees that reads the credential anew for each request: as `FlowRun.read`."""
        return self.start_flow(credential_id).read()

    def _add(self, credential_id: int, owner: User, stored: Mapping[str, Any], **more: Any) -> None:
        now = self._clock()
        name = f"asc-{credential_id}"
        roles: dict[int, Role] = {owner.id: "owner"}
        self._state.keep(
            Credential(credential_id, name, owner, stored=stored, roles=roles, created_at=now, updated_at=now, **more)
        )

    def _serve(self, request: Request) -> Served:
        return serve(self._state, request)

    def _dress(self, answer: Answer) -> Answer:
        return with_common_headers(answer)


def rest_config(authorization: str, test_url: str) -> dict[str, Any]:
    """A REST credentials object, or the config of a template, that sends this `Authorization` header."""
    return {
        "auth.type": "API_KEY",
        "api.key.include.mode": "HEADER",
        "api.key.auth.key": "Authorization",
        "api.key.auth.value": authorization,
        "test.url": test_url,
        "test.method": "GET",
        "test.content.type": "application/json",
        "skip.validation": False,
        "ignore.ssl.cert.validation": False,
        "jwt.enabled": False,
        "hmac.enabled": False,
    }
