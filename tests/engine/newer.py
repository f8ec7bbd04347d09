"""The product's engine as a later release: a program like it that says another version."""

import sys
from typing import Final

import vault_asc

VERSION: Final = "99.0.0"

if __name__ == "__main__":
    vault_asc.__version__ = VERSION  # before anything takes a copy; the server refuses a version that it was not told

    from vault_asc.engine.__main__ import main

    sys.exit(main())
