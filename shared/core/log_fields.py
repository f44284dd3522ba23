"""The log fields that come from a delivery."""

from collections.abc import Mapping
from typing import Any

from shared.core.actions import actions
from shared.core.normalization import subject_of


def log_fields(document: Mapping[str, Any]) -> dict[str, Any]:
    """What a line `acr_delivery` has from `document`, a delivery that may be invalid."""
    target, request = (_texts(document.get(name)) for name in ("target", "request"))
    top = _texts(document)
    action = actions().get(top.get("action", ""))
    fields = {
        "id": top.get("id"),
        "action": top.get("action"),
        "registry": request.get("host"),
        "repository": target.get("repository"),
        "subject": subject_of(action, target) if action else None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _texts(part: Any) -> dict[str, str]:
    """The members of `part` that are text. Empty where it is no object."""
    if not isinstance(part, dict):
        return {}
    return {name: value for name, value in part.items() if isinstance(value, str)}
