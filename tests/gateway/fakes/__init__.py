"""Small stand-ins for the four services: real gRPC servers on free ports, real access rules, state in dicts.

Every call is recorded with its request and caller, and a call can be made to fail.
"""

from tests.gateway.fakes.alliance import FakeAlliance
from tests.gateway.fakes.recording import LATER, NOW

__all__ = ["LATER", "NOW", "FakeAlliance"]
