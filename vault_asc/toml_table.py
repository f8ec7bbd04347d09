"""Taking a TOML table apart, strictly: every key has a type, and a key that nobody takes is an error."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from vault_asc.errors import ConfigError
from vault_asc.secret import safe_text


class Table:
    """One table of the file: takes known keys with their type, and complains about what is left."""

    def __init__(self, data: Mapping[str, Any], where: str) -> None:
        self.where = where
        self._left = dict(data)
        self._known: list[str] = []

    def take(self, key: str, kind: type, default: Any) -> Any:
        """The value of `key`, of type `kind`; the default when it is absent."""
        self._known.append(key)
        if key not in self._left:
            return default
        value = self._left.pop(key)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise ConfigError(
                f"{key} in {self.where} is {_kind(type(value))}, not {_kind(kind)}",
                hint=f"write {key} = {_EXAMPLES[kind]}",
            )
        return value

    def required(self, key: str, kind: type) -> Any:
        """The value of `key`, which must be there."""
        value = self.take(key, kind, None)
        if value is None:
            raise ConfigError(f"{key} is missing in {self.where}", hint=self._how_to_add(key, kind))
        return value

    def path(self, key: str) -> Path | None:
        """An absolute path."""
        value = self.take(key, str, None)
        if value is not None and not (value.startswith("/") and value.isprintable()):
            raise ConfigError(
                f'{key} "{safe_text(value)}" in {self.where} is not a plain absolute path',
                hint="write the whole path from /, without control characters",
            )
        return None if value is None else Path(value)

    def json(self, key: str) -> dict[str, Any]:
        """A sub-table that can be sent as JSON: TOML also has dates, and numbers that are none."""
        fields: dict[str, Any] = self.take(key, dict, {})
        try:
            json.dumps(fields, allow_nan=False)
        except (TypeError, ValueError) as exc:
            raise ConfigError(
                f"{key} in {self.where} holds a value that JSON has not", hint="a date goes into quotes"
            ) from exc
        return fields

    def table(self, key: str) -> "Table":
        """A sub-table; an empty one when it is absent."""
        return Table(self.take(key, dict, {}), f"[{key}]")

    def tables(self) -> list[tuple[str, "Table"]]:
        """All sub-tables, by name."""
        names = list(self._left)
        loose = next((name for name in names if not isinstance(self._left[name], dict)), None)
        if loose is not None:
            section = self.where.strip("[]")
            raise ConfigError(
                f'"{loose}" stands directly in {self.where}, which is made of named tables',
                hint=f"give it a name: write [{section}.default] in place of [{section}]",
            )
        return [(name, Table(self.take(name, dict, {}), f"[{self.where.strip('[]')}.{name}]")) for name in names]

    def tables_in(self, key: str) -> list["Table"]:
        """An array of tables."""
        items = self.take(key, list, [])
        if not all(isinstance(item, dict) for item in items):
            raise ConfigError(f"{key} in {self.where} is no array of tables", hint=f"write [[{key}]] above each")
        return [Table(item, f'[[{key}]] "{item.get("name", number)}"') for number, item in enumerate(items, 1)]

    def _how_to_add(self, key: str, kind: type) -> str:
        """The hint for a missing key: often it is there, misspelt."""
        import difflib

        near = difflib.get_close_matches(key, self._left, 1)
        return f'"{near[0]}" there is unknown: write {key}' if near else f"add {key} = {_EXAMPLES[kind]}"

    def done(self) -> None:
        """Refuse what was not taken."""
        if not self._left:
            return
        import difflib

        unknown = next(iter(self._left))
        near = difflib.get_close_matches(unknown, self._known, 1)
        hint = f'did you mean "{near[0]}"?' if near else f"known here: {', '.join(sorted(self._known))}"
        raise ConfigError(f'unknown key "{unknown}" in {self.where}', hint=hint)


_EXAMPLES: Final = {str: '"..."', int: "<number>", list: '["..."]', dict: "{ ... }"}


def _kind(kind: type) -> str:
    names: dict[type, str] = {
        str: "a string",
        int: "a whole number",
        list: "an array",
        dict: "a table",
        bool: "a boolean",
    }
    return names.get(kind, kind.__name__)
