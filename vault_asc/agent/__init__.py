"""Complete configurations for `vault agent` and `bao agent`, as text, from a `Config`.

Two kinds: with the Agent's helper, vault-asc itself, which keeps Nexla credentials fresh (`ticking`), and without
anything but the Agent, for token files alone (`pure`). What both have in common is in `parts`, and, for token files by a
role of the engine, in `leased`.
"""

from vault_asc.agent.leased import check_roles
from vault_asc.agent.parts import check_ticks
from vault_asc.agent.pure import render as render_pure
from vault_asc.agent.ticking import EXEC_TIMEOUT, Exec, render

__all__ = ["EXEC_TIMEOUT", "Exec", "check_roles", "check_ticks", "render", "render_pure"]
