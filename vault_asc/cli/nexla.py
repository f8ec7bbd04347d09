"""`vault-asc nexla`: what Nexla says about a credential."""

import click


@click.group()
def nexla() -> None:
    """Look at Nexla credentials."""
