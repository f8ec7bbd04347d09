import pytest

from vault_asc.config import StoreSettings, parse
from vault_asc.errors import ConfigError
from vault_asc.names import Custody


def store(**values: object) -> StoreSettings:
    return parse({"version": 1, "store": values}, None, {}).store


def test_custodies_and_mounts_have_defaults() -> None:
    assert store() == StoreSettings("secret", "asc", "asc-transit", "asc", (Custody.KV,)) == StoreSettings()


@pytest.mark.parametrize(
    ("said", "custodies"),
    [
        (["kv"], (Custody.KV,)),
        (["transit"], (Custody.TRANSIT,)),
        (["transit", "kv", "transit"], (Custody.KV, Custody.TRANSIT)),
        (["engine", "transit"], (Custody.TRANSIT, Custody.ENGINE)),
    ],
)
def test_custodies_are_in_one_order_and_each_once(said: list[str], custodies: tuple[Custody, ...]) -> None:
    found = store(custodies=said, transit_mount="keys/transit")
    assert found == StoreSettings("secret", "asc", "keys/transit", "asc", custodies)
    assert all(isinstance(custody, Custody) for custody in found.custodies)


@pytest.mark.parametrize("said", [[], ["engin"], ["KV"], [""], ["kv", 1], [["kv"]], [True], [{"kv": 1}]])
def test_what_is_no_custody_is_refused(said: list[object]) -> None:
    with pytest.raises(ConfigError, match=r"store\.custodies"):
        store(custodies=said)


def test_prefix_with_a_dot_goes_with_kv_alone() -> None:
    assert store(prefix="x.y").prefix == "x.y"
    with pytest.raises(ConfigError, match="has a dot"):
        store(prefix="x.y", custodies=["kv", "transit"])


@pytest.mark.parametrize("setting", ["transit_mount", "engine_mount"])
@pytest.mark.parametrize("mount", ["", "/x", "x/", "a*", "../x", "a b"])
def test_a_mount_is_a_plain_path(setting: str, mount: str) -> None:
    with pytest.raises(ConfigError, match=rf"store\.{setting}"):
        store(**{setting: mount})


@pytest.mark.parametrize("other", [{"mount": "kv"}, {"prefix": "asc/team-a"}])
def test_another_store_names_its_own_mount_of_the_engine(other: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="need a mount of their own") as caught:
        store(custodies=["engine"], **other)
    assert "set store.engine_mount" in str(caught.value.hint)
    assert store(custodies=["engine"], engine_mount="team/asc", **other).engine_mount == "team/asc"
    assert store(**other).engine_mount == "asc", "of no use to keys in KV"
