"""Ordinals that Kubernetes would never give: told in a line, and never the ordinal of another part."""

import pytest

from vault_asc.errors import ConfigError
from vault_asc.service.shard import Shard


@pytest.mark.parametrize("index", ["9" * 5000, "9" * 4000, "12345", "-1", "x-1", "1\n", "٣"])
def test_an_index_that_is_none_is_refused_and_cut(index: str) -> None:
    with pytest.raises(ConfigError, match=r'JOB_COMPLETION_INDEX ".*" is no ordinal') as caught:
        Shard.parse("auto/4", {"JOB_COMPLETION_INDEX": index, "HOSTNAME": "job-1"})
    assert caught.value.hint
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 300


def test_an_index_beyond_the_parts_is_refused() -> None:
    with pytest.raises(ConfigError, match="9999/4 is not possible"):
        Shard.parse("auto/4", {"JOB_COMPLETION_INDEX": "9999"})


def test_an_empty_index_is_none() -> None:
    assert Shard.parse("auto/4", {"JOB_COMPLETION_INDEX": "", "HOSTNAME": "asc-1"}) == Shard(1, 4)
