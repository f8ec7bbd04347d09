"""Token files by a role of the engine: one template each, which the Agent renders again by the token's lease.

Measured ground (OpenBao): what follows a question mark in the path of `secret` is the query of a read, while arguments of
its own make a write of it; a lease that is not renewable is read again at 0.85 to 0.95 of what it lasts; and what differs
in its query alone is one secret to an Agent: it is read once, and every template gets that.
"""

import json
from collections.abc import Iterable
from urllib.parse import urlencode

from vault_asc.agent.parts import quoted
from vault_asc.config import Config, Rendered, Target
from vault_asc.errors import ConfigError


def check_roles(targets: Iterable[Target | Rendered]) -> None:
    """Refuse, with `ConfigError`, two targets that ask one role for different tokens: both would get the same one."""
    first: dict[str | None, Target | Rendered] = {}
    for target in targets:
        other = first.setdefault(target.role, target)
        if other.request != target.request:
            raise ConfigError(
                f'targets "{other.name}" and "{target.name}" narrow role "{target.role}" differently, and an Agent reads a'
                " role once for all its files",
                hint="give each a role of its own in the engine, with that scope and lifetime",
            )


def template(config: Config, target: Target | Rendered) -> str:
    """The template of a token file by a role."""
    contents = f'{{{{ with secret "{_path(config, target)}" }}}}{{{{ .Data.token }}}}{{{{ end }}}}'
    return f"""\
# Target "{target.name}": a token by role "{target.role}". Its lease is half its usable life, and the Agent reads again at 0.85 to
# 0.95 of a lease: whoever reads the file finds more than half the usable life left. A role that gives no leases is read
# at the interval above. When the engine refuses, the file stays as it is, and so do the other templates.
template {{
  contents             = {json.dumps(contents)}
  destination          = {quoted(target.token_file)}
  perms                = "0600"
  backup               = false
  error_on_missing_key = true
  error_fatal          = false
}}
"""


def _path(config: Config, target: Target | Rendered) -> str:
    """What is read, narrowed to what the target names."""
    request = target.request
    lifetime = [] if request.asked_lifetime is None else [("lifetime", str(request.asked_lifetime))]
    # Percent-encoded, so that nothing in it means anything to HCL or to the template language.
    query = urlencode([*lifetime, *(("scope", entry) for entry in request.scope)])
    return f"{config.store.engine_mount}/token/{target.role}" + (f"?{query}" if query else "")
