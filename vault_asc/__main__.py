"""`python -m vault_asc` is the console script."""

from vault_asc.cli import main

main()
