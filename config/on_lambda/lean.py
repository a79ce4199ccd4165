"""Imports that a function saves: what frameworks load and nothing here uses.

The package leaves files out by a list of its own (ops/deploy/left_out.py).
"""

import sys
from types import ModuleType


def leave_out() -> None:
    """To be called before Django REST framework is imported.

    Every APIView has a DefaultSchema, from generators of API descriptions that bring
    Django's admin and its forms; the contract is made by ``manage.py openapi`` instead.
    """
    schemas = ModuleType("rest_framework.schemas")
    vars(schemas)["DefaultSchema"] = type("DefaultSchema", (), {})
    sys.modules.setdefault("rest_framework.schemas", schemas)
