"""What pydantic found wrong, in words of ours: each field with the rule it breaks, and nothing of what was sent."""

from __future__ import annotations

import re
from typing import get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails, core_schema

from antrean.gateway.problems import Problem, invalid_fields

#: A name that may be shown to whoever sent it.
FIELD_NAME = re.compile(r"[A-Za-z_]{1,40}")

#: pydantic's error types whose messages speak of the rule alone; all others get words of ours.
_OWN_WORDS = {
    "missing": "is required",
    "extra_forbidden": "is not a field here",
    "union_tag_invalid": "must be purchase or affix",
    "union_tag_not_found": "is required: purchase or affix",
    "string_type": "must be a text",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "dict_type": "must be an object",
}
_THEIR_WORDS = {
    "string_too_short",
    "string_too_long",
    "greater_than_equal",
    "less_than_equal",
    "literal_error",
    "finite_number",
}
#: Of lists: pydantic's words name what was sent by its type.
_COUNTED = {"too_long": ("max_length", "at most"), "too_short": ("min_length", "at least")}
_BUILT_IN = frozenset(get_args(core_schema.ErrorType))


def problem_of(error: ValidationError, *, tagged: bool) -> Problem:
    """The problem that names each field at fault. `tagged`: the fields of a kind stand under its name."""
    found = [_field_error(e, tagged) for e in error.errors(include_url=False, include_input=False)[:50]]
    return invalid_fields(found)


def _field_error(error: ErrorDetails, tagged: bool) -> dict[str, str]:
    kind = error["type"]
    place = list(error["loc"])
    if tagged and place and place[0] in ("purchase", "affix"):
        place = place[1:]
    if kind.startswith("union_tag"):
        place = ["kind"]
    rule = kind
    if ":" in kind:
        field, _, rule = kind.partition(":")
        place.append(field)
    # The sender may have invented the field's name, so it may hold anything.
    names = [str(p) if isinstance(p, int) or FIELD_NAME.fullmatch(p) else "(unnamed)" for p in place]
    speaks_of_rule = kind in _THEIR_WORDS or kind not in _BUILT_IN
    message = error["msg"] if speaks_of_rule else _OWN_WORDS.get(kind, "is not valid")
    bound, words = _COUNTED.get(kind, ("", ""))
    if (most := error.get("ctx", {}).get(bound)) is not None:
        message = f"must hold {words} {most}"
    return {"field": ".".join(names) or "body", "rule": rule.replace("_", "-"), "message": message}
