"""Baseline: the smallest useful click command."""

import click


@click.group()
def root() -> None:
    """Nothing."""


if __name__ == "__main__":
    root()
