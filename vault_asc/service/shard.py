"""Which targets are this process's when several machines share a configuration: by a hash of the name, for ever the same."""

import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Self

from vault_asc.config import Target
from vault_asc.errors import ConfigError
from vault_asc.secret import safe_text

_MAX: Final = 1000  # parts
_NUMBER: Final = "[0-9]{1,4}"
_WRITTEN: Final = rf"(auto|{_NUMBER})/({_NUMBER})"


class Shard(NamedTuple):
    """Part `part` (counted from 0, as Kubernetes counts pods) of `parts`."""

    part: int = 0
    parts: int = 1

    @classmethod
    def parse(cls, text: str, environ: Mapping[str, str]) -> Self:
        """What `--shard` says: `0/4` to `3/4`, or `auto/4` for the ordinal that Kubernetes gives. `ConfigError`."""
        found = re.fullmatch(_WRITTEN, text, re.ASCII)
        if not found or not 1 <= int(found[2]) <= _MAX:
            raise ConfigError(
                f'--shard "{safe_text(text)}" is no part', hint=f"write 0/4 for the first of four; {_MAX} at most"
            )
        part = _ordinal(environ) if found[1] == "auto" else int(found[1])
        if part >= int(found[2]):
            raise ConfigError(
                f"--shard {part}/{found[2]} is not possible: the parts are counted from 0",
                hint=f"the last one is {int(found[2]) - 1}/{found[2]}; run as many replicas as there are parts",
            )
        return cls(part, int(found[2]))

    def holds(self, name: str) -> bool:
        """Whether a target of that name is in this part."""
        return zlib.crc32(name.encode()) % self.parts == self.part

    def of(self, targets: Sequence[Target]) -> tuple[Target, ...]:
        """The targets in this part."""
        return tuple(target for target in targets if self.holds(target.name))

    def __str__(self) -> str:
        return f"{self.part}/{self.parts}"


def _ordinal(environ: Mapping[str, str]) -> int:
    """The number of this pod: of an Indexed Job, else at the end of the name of a StatefulSet's pod, its host name."""
    if job := environ.get("JOB_COMPLETION_INDEX"):
        if not re.fullmatch(_NUMBER, job, re.ASCII):
            raise ConfigError(
                f'JOB_COMPLETION_INDEX "{safe_text(job)}" is no ordinal of a part',
                hint=f"there are {_MAX} parts at most, counted from 0; or write the part: --shard 0/4",
            )
        return int(job)
    pod = re.search(rf"-({_NUMBER})$", environ.get("HOSTNAME", ""), re.ASCII)
    if pod is None:
        raise ConfigError(
            "--shard auto finds no ordinal: neither JOB_COMPLETION_INDEX nor a HOSTNAME that ends in -NUMBER",
            hint="run it in an Indexed Job or a StatefulSet, or write the part: --shard 0/4",
        )
    return int(pod[1])
