"""A stand-in for App Store Connect that judges tokens as strictly as Apple's text reads.

It shares no code with the minting: signatures are verified by joserfc, header and claims are read here from the raw text.
"""

from vault_asc.lab.apple.judge import Reason, Rules
from vault_asc.lab.apple.simulator import AppleSimulator

__all__ = ["AppleSimulator", "Reason", "Rules"]
