import pytest

from vault_asc.config import StoreSettings, parse
from vault_asc.errors import ConfigError
from vault_asc.names import Custody


def store(**values: object) -> StoreSettings:
    return parse({"version": 1, "store": values}, None, {}).store


def test_custodies_and_transit_mount_have_defaults() -> None:
    assert store() == StoreSettings("secret", "asc", "asc-transit", (Custody.KV,)) == StoreSettings()


@pytest.mark.parametrize(
    ("said", "custodies"),
    [
        (["kv"], (Custody.KV,)),
        (["transit"], (Custody.TRANSIT,)),
        (["transit", "kv", "transit"], (Custody.KV, Custody.TRANSIT)),
    ],
)
def test_custodies_are_in_one_order_and_each_once(said: list[str], custodies: tuple[Custody, ...]) -> None:
    found = store(custodies=said, transit_mount="keys/transit")
    assert found == StoreSettings("secret", "asc", "keys/transit", custodies)
    assert all(isinstance(custody, Custody) for custody in found.custodies)


@pytest.mark.parametrize("said", [[], ["engine"], ["KV"], [""], ["kv", 1], [["kv"]], [True], [{"kv": 1}]])
def test_what_is_no_custody_is_refused(said: list[object]) -> None:
    with pytest.raises(ConfigError, match=r"store\.custodies"):
        store(custodies=said)


def test_prefix_with_a_dot_goes_with_kv_alone() -> None:
    assert store(prefix="x.y").prefix == "x.y"
    with pytest.raises(ConfigError, match="has a dot"):
        store(prefix="x.y", custodies=["kv", "transit"])


@pytest.mark.parametrize("mount", ["", "/x", "x/", "a*", "../x", "a b"])
def test_transit_mount_is_a_plain_path(mount: str) -> None:
    with pytest.raises(ConfigError, match=r"store\.transit_mount"):
        store(transit_mount=mount)
