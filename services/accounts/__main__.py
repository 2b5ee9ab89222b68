"""`python -m services.accounts`: settings -> store -> service -> serve."""

from functools import partial

import uvloop

from alliance.accounts.v1 import accounts_pb2, accounts_pb2_grpc
from alliance.rewards.v1.rewards_pb2_grpc import RewardsServiceStub
from services.accounts import events, invariants, migrate
from services.accounts.config import Settings
from services.accounts.rpc import AccountsRpc
from services.accounts.service.acts import Acts
from services.accounts.service.impact import Impact
from services.accounts.service.members import Members
from services.accounts.store.acts import ActStore
from services.accounts.store.factors import FactorStore
from services.accounts.store.impact import COUNTERS, ImpactStore
from services.accounts.store.members import MemberStore
from services.shared import clock, telemetry
from services.shared.client import Client
from services.shared.idempotency import Idempotency
from services.shared.identity import Signer
from services.shared.invariants import Results, Watch
from services.shared.mongo import Database
from services.shared.outbox import Outbox, Relay
from services.shared.server import Server
from services.shared.tail import Tail


async def main() -> None:
    settings = Settings()
    observed = telemetry.start("accounts", settings.log_level, settings.metrics_listen)
    database = Database.of(settings, observed.meter)
    rewards = Client(
        settings.rewards_target,
        RewardsServiceStub,
        Signer.from_file("accounts", settings.identity_key_file),
        timeout_seconds=settings.call_timeout_seconds,
        tls=settings.certificate_files(),
        telemetry=observed,
    )
    events_out = Outbox(database)
    relay = Relay(events_out, {events.CLAIMS: events.claims_to(rewards)}, observed.meter)
    member_store, factor_store = MemberStore(database), FactorStore(database)
    impact_store, tail = ImpactStore(database), Tail(database[COUNTERS])
    impact = Impact(impact_store, tail)
    members = Members(member_store, clock.now)
    acts = Acts(ActStore(database, impact_store), member_store, factor_store, events.announcer(events_out), clock.now)
    rpc = AccountsRpc(members, acts, impact, Idempotency(database, relay))

    watch = Watch(Results(database), invariants.NAMES, observed.meter)

    server = Server(
        settings,
        {
            accounts_pb2.DESCRIPTOR.services_by_name["AccountsService"]: (
                lambda to: accounts_pb2_grpc.add_AccountsServiceServicer_to_server(rpc, to)
            )
        },
        observed,
    )
    await server.run(
        prepare=partial(migrate.prepare, database),
        ping=database.ping,
        jobs=[relay.run, watch.run, impact.run, tail.run],
    )


if __name__ == "__main__":
    uvloop.run(main())
