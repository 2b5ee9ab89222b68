"""The id of a request: the asker's own, or one that is made up; it stands in the answer and in logs."""

import re
from random import getrandbits

from starlette.types import Scope

from gateway.fields import field_of

_GIVEN = re.compile(r"[A-Za-z0-9._-]{1,64}")


def request_id_of(scope: Scope) -> str:
    """What the asker calls the request, if that is an id; else a new one."""
    given = field_of(scope, b"x-request-id")
    if given and _GIVEN.fullmatch(given):
        return given
    # Nothing rests on an id being hard to guess; to ask the kernel for it took a fiftieth of the time.
    return f"{getrandbits(128):032x}"
