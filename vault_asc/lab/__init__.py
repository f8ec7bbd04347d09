"""The laboratory: a real OpenBao server and stand-ins for Nexla and Apple, for the demo and the tests.

Everything listens on 127.0.0.1 only. The stand-ins share no code with the minting and pushing that they judge.
"""

from typing import Final

HOW_TO_INSTALL: Final = "in a checkout: make demo, or pip install --require-hashes -r requirements/lab.txt"
"""The hint where one of its packages is missing."""
