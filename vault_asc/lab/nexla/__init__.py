"""A stand-in for Nexla's API with the traps that its published sources show.

Nothing here was compared with a live tenant: whatever is inferred or unknown is a switch of `Readings`.
"""

from vault_asc.lab.nexla.model import Parameter, Template, User
from vault_asc.lab.nexla.readings import Readings
from vault_asc.lab.nexla.simulator import FlowRun, NexlaSimulator

__all__ = ["FlowRun", "NexlaSimulator", "Parameter", "Readings", "Template", "User"]
