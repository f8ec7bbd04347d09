"""What goes before the scenes of custody transit, of moves, and of the try at App Store Connect."""

import json

import pytest

from tests.cli.conftest import CLOSED, OLD_ID
from tests.cli.stage import Setup, Stage, after, handed_over, known
from vault_asc import policy
from vault_asc.lab.apple import faults as apple_faults
from vault_asc.lab.faults import Fault
from vault_asc.names import Custody

TRANSIT = ("--custody", "transit")
POLICY = ("policy", "write", "minter", "--key", "prod")
BOTH = ("--custody", "kv", "--custody", "transit")
MOVE = ("key", "move", "prod")


def free(stage: Stage) -> None:
    """A Transit mount, and no key."""
    stage.user.sets(transit_mount=stage.transit_mount)


def in_transit(stage: Stage, *options: str) -> None:
    """A key that Vault signs with."""
    free(stage)
    assert stage.apple.url
    stage.user.imports("prod", OLD_ID, *TRANSIT, *options)


def without_escrow(stage: Stage) -> None:
    in_transit(stage, "--no-escrow")


def in_both(stage: Stage) -> None:
    """A key in KV, and a mount to move it to."""
    free(stage)
    known(stage)


def strict(stage: Stage) -> None:
    """A deployment whose custody is transit."""
    stage.user.sets(transit_mount=stage.transit_mount, custodies=("transit",))


def mount_missing(stage: Stage) -> None:
    """A key in KV, and a configuration that names a Transit mount which is not there."""
    known(stage)
    stage.user.sets(transit_mount="nowhere")


def granted(stage: Stage) -> None:
    """A key in KV, whose minters may mint in both custodies."""
    in_both(stage)
    stage.user.does(*POLICY, *BOTH)


def granted_in_kv(stage: Stage) -> None:
    in_both(stage)
    stage.user.does(*POLICY)


moved = after((*MOVE, *TRANSIT), begin=granted)


def ready_to_finish(stage: Stage) -> None:
    moved(stage)
    stage.user.does(*POLICY, *TRANSIT, "--force")


def moved_to_kv(stage: Stage) -> None:
    in_transit(stage)
    stage.user.does(*MOVE, "--custody", "kv", "--granted")


def policy_in_json(stage: Stage) -> None:
    """Moved, and a policy that somebody has written by hand, as JSON and with wildcards, still grants the old place."""
    ready_to_finish(stage)
    text = json.dumps({"path": {f"{stage.user.mount}/data/asc/+/prod": {"capabilities": ["read"]}}})
    stage.root("PUT", "sys/policies/acl/by-hand", {"policy": text})


# -- Transit that is not as it should be -----------------------------------------------------------------------------


def transit_at(mount: str) -> Setup:
    def setup(stage: Stage) -> None:
        stage.user.sets(transit_mount=stage.filled(mount))

    return setup


def dotted(stage: Stage) -> None:
    """Of this prefix no name in Transit can be made."""
    free(stage)
    stage.user.sets(prefix="a.b")


def foreign(**settings: object) -> Setup:
    """Somebody has made a key of the name that ours would have."""

    def setup(stage: Stage) -> None:
        free(stage)
        stage.root("POST", f"{stage.transit_mount}/keys/asc.prod", {"type": "ecdsa-p256", **settings})

    return setup


def gone_in_transit(stage: Stage) -> None:
    in_transit(stage)
    key = f"{stage.transit_mount}/keys/asc.prod"
    stage.root("POST", f"{key}/config", {"deletion_allowed": True})
    stage.root("DELETE", key)


def swapped_in_transit(stage: Stage) -> None:
    """The key of that name is another one."""
    gone_in_transit(stage)
    stage.root("POST", f"{stage.transit_mount}/keys/asc.prod", {"type": "ecdsa-p256"})


def retired_too_far(stage: Stage) -> None:
    """Somebody has retired the current version."""
    after(("key", "stage", "prod", "NEW"), begin=in_transit)(stage)
    stage.root("POST", f"{stage.transit_mount}/keys/asc.prod/config", {"min_encryption_version": 2})


def faster_in_transit(stage: Stage) -> None:
    """Between the note on our version and its promotion somebody else writes the record."""
    in_transit(stage)
    record = stage.root("GET", f"{stage.user.mount}/data/asc/keys/prod")["data"]["data"]

    def done(method: str, asked: str) -> None:
        if method == "POST" and asked == f"{stage.user.mount}/data/asc/staged/prod":
            stage.put("asc/keys/prod", {**record, "changed_by": "mallory"})

    stage.wire.done = done


def held_by(*names: str, begin: Setup = in_transit, custodies: tuple[str, ...] = ("kv",)) -> Setup:
    """The user has these shipped policies, written for these custodies, and no other."""

    def setup(stage: Stage) -> None:
        begin(stage)
        texts = [
            policy.render(
                name,
                mount=stage.user.mount,
                prefix="asc",
                key="prod" if name == "minter" else None,
                transit_mount=stage.transit_mount,
                engine_mount=stage.user.settings.engine_mount or "asc",
                custodies=[Custody(custody) for custody in custodies],
            )
            for name in names
        ]
        stage.user.use(stage.token_with(*texts))

    return setup


# -- App Store Connect -----------------------------------------------------------------------------------------------


def apple_says(fault: Fault, count: int = 1, begin: Setup = known) -> Setup:
    """What it answers to the next tries."""

    def setup(stage: Stage) -> None:
        begin(stage)
        stage.apple.inject(fault, count=count)

    return setup


def unknown_key(stage: Stage) -> None:
    """App Store Connect has never heard of the next key."""
    known(stage)
    stage.user.apple = None


def no_apple(stage: Stage) -> None:
    """Nothing answers where App Store Connect should be."""
    known(stage)
    stage.user.sets(apple_url=CLOSED)


def no_agreement(stage: Stage) -> None:
    known(stage)
    stage.apple.agreement_signed = False


def plain_file(stage: Stage) -> None:
    """Another key, in a file whose name says nothing."""
    known(stage)
    stage.user.key_file(name="plain.p8")


def enterprise(stage: Stage) -> None:
    """A key that App Store Connect knows nothing of: it is of the Enterprise Program."""
    assert stage.apple.url
    stage.user.imports("prod", OLD_ID, "--enterprise")


def elsewhere(stage: Stage) -> None:
    """Where App Store Connect should be is something that answers 200 to everything."""
    known(stage)
    stage.user.sets(apple_url=f"{stage.hostile.url}/html")


def handed_over_and_no_apple(stage: Stage) -> None:
    handed_over(stage)
    stage.user.sets(apple_url=CLOSED)


def minted_in_transit(stage: Stage) -> None:
    """A token of a key in Transit, in the file `token`."""
    if stage.user.server.audit_device is None:
        pytest.skip("needs a server whose audit log can be read here")
    in_transit(stage)
    stage.user.does("mint", "prod", "--out", "token")


role_forbidden = apple_says(apple_faults.FORBIDDEN_ROLE)
refused_once = apple_says(apple_faults.FALSE_401)
refused_thrice = apple_says(apple_faults.FALSE_401, 3)
throttled = apple_says(apple_faults.RATE_LIMITED, 20)
