"""What a person may see of a Nexla credential before anything is written to it: names, never a value. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vault_asc.errors import VaultAscError
from vault_asc.nexla.auth_template import Parameter, Template, template_in_use, templates_in
from vault_asc.nexla.credential_body import missing_parameters
from vault_asc.nexla.discovery import Plan, Wanted, discover, kind_of, vendor_of
from vault_asc.secret import safe_text


@dataclass(frozen=True)
class CredentialView:
    """A credential as `vault-asc nexla inspect` shows it. Names inside `templates` and `plan` are Nexla's own: show them by `safe_text`.

    Attributes:
        kind: connector type, "" when Nexla does not name it.
        vendor, vendor_id: "" and None for a generic credential.
        templates: the auth templates that Nexla shows.
        template_id: the one that was chosen, else the one in use; None when unknown.
        missing: parameters that a write needs and nobody supplies; the fix is `extra_fields`.
        plan: where the token would go; None when `problem` says why nowhere.
    """

    credential_id: int
    kind: str
    vendor: str
    vendor_id: int | None
    templates: tuple[Template, ...]
    template_id: int | None
    missing: tuple[str, ...] = ()
    plan: Plan | None = None
    problem: VaultAscError | None = None

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters of that template."""
        return next((t.parameters for t in self.templates if t.id == self.template_id), ())


def describe(credential: Mapping[str, Any], wanted: Wanted) -> CredentialView:
    """What there is to know; a problem that stands in the way of a push is part of it, not an exception."""
    plan: Plan | None = None
    problem: VaultAscError | None = None
    missing: tuple[str, ...] = ()
    try:
        plan = discover(credential, wanted)
        missing = missing_parameters(plan, credential, wanted)
    except VaultAscError as error:
        problem = error
    vendor = vendor_of(credential) or {}
    return CredentialView(
        wanted.credential_id,
        safe_text(kind_of(credential)),
        safe_text(str(vendor.get("name", ""))),
        vendor.get("id"),
        templates_in(credential),
        template_in_use(credential) if plan is None else plan.auth_template_id,
        tuple(safe_text(name) for name in missing),
        plan,
        problem,
    )
