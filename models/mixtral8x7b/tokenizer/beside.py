"""What stands beside a tokenizer: the tokens that a fine-tune added, what they are for, the chat's template.

tokenizer_config.json     added_tokens_decoder, bos_token, eos_token, ..., chat_template, legacy, add_prefix_space
special_tokens_map.json   bos_token, eos_token, ...; what tokenizer_config.json says counts
added_tokens.json         {"<|im_end|>": 32000}
chat_template.jinja       counts before tokenizer_config.json's
generation_config.json    eos_token_id: one or a list
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.mixtral8x7b.mistake import reason
from models.mixtral8x7b.tokenizer.added_tokens import AddedToken
from models.mixtral8x7b.tokenizer.errors import TokenizerError
from models.mixtral8x7b.tokenizer.finding import read, values_of

CONFIG, ADDED, TEMPLATE = "tokenizer_config.json", "added_tokens.json", "chat_template.jinja"


@dataclass(frozen=True)
class Template:
    text: str
    file: Path


@dataclass(frozen=True)
class Beside:
    tokens: list[tuple[AddedToken, Path]]  # and which file says so
    roles: dict[str, str]  # bos_token, eos_token, unk_token, ... -> content
    control: frozenset[str]  # contents that are control tokens by what a file says of them
    template: Template | None
    stop_ids: frozenset[int]
    adds_bos: bool | None  # to plain text; None: nothing is said
    prefixes_every_part: bool  # "legacy": text behind a control token begins like a text of its own
    prefixes: bool  # "add_prefix_space"

    @classmethod
    def read(cls, folder: Path) -> "Beside":
        """Raises TokenizerError for files that cannot be used."""
        config_file, added_file = folder / CONFIG, folder / ADDED
        config, added = _values(config_file), _values(added_file)
        special = _values(folder / "special_tokens_map.json")
        decoder = config.get("added_tokens_decoder") or {}
        if not isinstance(decoder, dict) or not all(isinstance(values, dict) for values in decoder.values()):
            raise TokenizerError(
                f"{config_file} has no table of tokens in added_tokens_decoder; expected ids and contents"
            )
        tokens = [(AddedToken.read(number, values, config_file), config_file) for number, values in decoder.items()]
        tokens += [(AddedToken.read(n, {"content": name}, added_file), added_file) for name, n in added.items()]
        roles = _roles(special) | _roles(config)
        extra = [
            _content(token)
            for values in (config, special)
            for key in ("additional_special_tokens", "extra_special_tokens")
            for token in _listed(values.get(key))
        ]
        return cls(
            tokens,
            roles,
            frozenset(filter(None, (*roles.values(), *extra))),
            _template(folder, config),
            _stop_ids(folder / "generation_config.json"),
            config["add_bos_token"] if isinstance(config.get("add_bos_token"), bool) else None,
            config.get("legacy") is True,
            config.get("add_prefix_space") is not False,
        )


def _values(file: Path) -> dict[str, Any]:
    return values_of(file) if file.is_file() else {}


def _roles(values: Mapping[str, Any]) -> dict[str, str]:
    found = {key: _content(value) for key, value in values.items() if key.endswith("_token")}
    return {key: content for key, content in found.items() if content}


def _content(token: object) -> str | None:
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) else None


def _listed(tokens: object) -> list[object]:
    if isinstance(tokens, dict):
        return list(tokens.values())
    return tokens if isinstance(tokens, list) else []


def _template(folder: Path, config: Mapping[str, Any]) -> Template | None:
    file = folder / TEMPLATE
    if file.is_file():
        read(file)
        try:
            return Template(file.read_text(encoding="utf-8-sig"), file)
        except (OSError, UnicodeDecodeError) as error:
            why = reason(error) if isinstance(error, OSError) else str(error)
            raise TokenizerError(f"{file} cannot be read ({why}); expected a chat template in UTF-8") from error
    found = config.get("chat_template")
    if isinstance(found, list):  # several, by name
        found = {entry.get("name"): entry.get("template") for entry in found if isinstance(entry, dict)}
    if isinstance(found, dict):
        if found and "default" not in found:
            names = ", ".join(map(str, found))
            raise TokenizerError(
                f"{folder / CONFIG} has the chat templates {names}; expected one that is named default"
            )
        found = found.get("default")
    return Template(found, folder / CONFIG) if isinstance(found, str) and found.strip() else None


def _stop_ids(file: Path) -> frozenset[int]:
    value = _values(file).get("eos_token_id")
    ids = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(token, int) and not isinstance(token, bool) and token >= 0 for token in ids):
        raise TokenizerError(f"{file} has eos_token_id {json.dumps(value)}; expected a token id or a list of them")
    return frozenset(ids)
