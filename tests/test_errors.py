import inspect
import re

import pytest

from vault_asc import errors
from vault_asc.errors import NexlaError, VaultAscError

CLASSES = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, VaultAscError)]

EXIT_CODES = {
    "VaultAscError": 1,
    "ConfigError": 2,
    "PrivateKeyError": 3,
    "TokenRequestError": 3,
    "VaultError": 4,
    "VaultUnavailableError": 5,
    "PermissionDeniedError": 6,
    "NotFoundError": 7,
    "TargetError": 8,
    "NexlaError": 8,
    "ConflictError": 9,
    "SomeTargetsFailedError": 10,
    "BusyError": 75,
}


def test_exit_codes_are_stable() -> None:
    assert {c.__name__: c.exit_code for c in CLASSES} == EXIT_CODES


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    drawn = re.findall(r"^( +)(\w+Error) +(\d+)", str(errors.__doc__), re.MULTILINE)
    levels = {name: len(indent) for indent, name, _ in drawn}
    assert {name: int(code) for _, name, code in drawn} == EXIT_CODES
    above: list[str] = []
    for _, name, _ in drawn:
        while above and levels[above[-1]] >= levels[name]:
            above.pop()
        cls = getattr(errors, name)
        assert cls.__base__.__name__ == (above[-1] if above else "Exception")
        above.append(name)


@pytest.mark.parametrize("cls", CLASSES)
def test_each_class_explains_itself(cls: type[VaultAscError]) -> None:
    error = cls('key "prod" is gone', hint="vault-asc key list")
    assert (error.message, error.hint, str(error)) == ('key "prod" is gone', "vault-asc key list", error.message)
    assert cls("x").hint is None
    assert cls.__doc__


def test_nexla_errors_say_whether_to_try_again() -> None:
    assert (NexlaError("x").status, NexlaError("x").retryable) == (None, False)
    error = NexlaError("x", status=503, retryable=True)
    assert (error.status, error.retryable) == (503, True)
