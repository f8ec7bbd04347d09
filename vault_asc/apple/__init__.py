"""App Store Connect itself, asked whether it accepts a key: one harmless GET before anything is written.

answers   what Apple's words mean, here and where Nexla relays them
trial     what a try can prove, and what follows from it
client    the GET and its repetitions
"""

from vault_asc.apple.client import Api, out_of_reach, tried, try_key
from vault_asc.apple.trial import Trial, TrialOutcome, refusal

__all__ = ["Api", "Trial", "TrialOutcome", "out_of_reach", "refusal", "tried", "try_key"]
