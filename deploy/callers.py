"""`python -m deploy.callers`: writes deploy/docs/callers.md, who may call what by the access rules in the protos."""

import sys
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor_pool import Default

from alliance.accounts.v1 import accounts_pb2  # noqa: F401  (makes its descriptors known, as the next ones do)
from alliance.logistics.v1 import logistics_pb2  # noqa: F401
from alliance.partners.v1 import partners_pb2  # noqa: F401
from alliance.rewards.v1 import ledger_pb2, rewards_pb2  # noqa: F401
from services.shared.access import access_rule
from services.shared.identity import CallerKind

PAGE = Path(__file__).parent / "docs" / "callers.md"
SERVICES = (
    "alliance.accounts.v1.AccountsService",
    "alliance.partners.v1.PartnersService",
    "alliance.logistics.v1.LogisticsService",
    "alliance.rewards.v1.RewardsService",
    "alliance.rewards.v1.LedgerService",
)
_COLUMNS = (
    CallerKind.OPERATOR,
    CallerKind.PARTNER,
    CallerKind.MEMBER,
    CallerKind.ANYONE,
    CallerKind.GATEWAY,
    CallerKind.MACHINE,
)
_HEAD = """# Who may call what

Made by `make protos` from the access rules in the protos, which every server's first interceptor reads. A method that
has no rule can be called by nobody.

How a caller is known:

- **operator, partner, member, anyone** come through the gateway, which has checked their access token and names
  them. No other process may call for somebody else.
- **gateway** is the gateway itself, reading for requests that it has authorized; a **service** calls for itself.
  Every call carries a token that the calling process signed, good only on a connection whose certificate names the
  same process (`spiffe://alliance/ns/.../sa/<process>`).
- **machine** has neither certificate nor token: it signs what it sends, and the method checks that.
"""


def render() -> str:
    """The page."""
    return "\n".join([_HEAD, *(line for name in SERVICES for line in _table(name))])


def _table(name: str) -> Iterator[str]:
    yield f"## {name.rpartition('.')[2]}\n"
    yield f"| method | {' | '.join(_COLUMNS)} | services |"
    yield f"|---|{':-:|' * len(_COLUMNS)}---|"
    for method in Default().FindServiceByName(name).methods:
        kinds, services = access_rule(f"/{name}/{method.name}")
        marks = " | ".join("●" if kind in kinds else "" for kind in _COLUMNS)
        yield f"| {method.name} | {marks} | {', '.join(sorted(services))} |"
    yield ""


if __name__ == "__main__":
    PAGE.write_text(render())
    sys.stdout.write(f"wrote {PAGE}\n")
