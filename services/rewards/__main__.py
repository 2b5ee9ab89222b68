"""`python -m services.rewards`: settings -> store -> ledger -> service -> serve."""

from datetime import timedelta

import uvloop

from alliance.partners.v1.partners_pb2_grpc import PartnersServiceStub
from alliance.rewards.v1 import ledger_pb2, ledger_pb2_grpc, rewards_pb2, rewards_pb2_grpc
from services.rewards import invariants, migrate
from services.rewards.config import Settings
from services.rewards.domain.gifts import Limits
from services.rewards.ledger.log import BLOCKS
from services.rewards.ledger_rpc import LedgerRpc
from services.rewards.messages import Messages
from services.rewards.metrics import LedgerMetrics
from services.rewards.partners import PartnersClient, deliveries
from services.rewards.rpc import RewardsRpc
from services.rewards.service.changes import Changes
from services.rewards.service.earnings import Earnings
from services.rewards.service.gifts import Gifts
from services.rewards.service.inspection import Inspection
from services.rewards.service.redemptions import Redemptions
from services.rewards.service.settlements import Settlements
from services.rewards.service.sweeper import Sweeper
from services.rewards.service.wallets import Wallets
from services.rewards.service.watches import Watches
from services.rewards.store.earnings import EarningStore
from services.rewards.store.gifts import GiftStore
from services.rewards.store.redemptions import RedemptionStore
from services.rewards.store.settlements import SettlementStore
from services.shared import clock, collector, telemetry
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
    observed = telemetry.start("rewards", settings.log_level, settings.metrics_listen)
    database = Database.of(settings, observed.meter)
    client = Client(
        settings.partners_target,
        PartnersServiceStub,
        Signer.from_file("rewards", settings.identity_key_file),
        timeout_seconds=settings.call_timeout_seconds,
        tls=settings.certificate_files(),
        telemetry=observed,
    )
    partners = PartnersClient(client)
    events = Outbox(database)
    relay = Relay(events, deliveries(client), observed.meter)
    idempotency = Idempotency(database, relay)
    ledger = migrate.ledger_of(settings, database)
    earnings = Earnings(EarningStore(database), ledger, partners, events, idempotency, clock.now)
    ttl = timedelta(seconds=settings.redemption_ttl_seconds)
    redemptions = Redemptions(RedemptionStore(database), ledger, partners, idempotency, clock.now, ttl)
    limits = Limits(settings.gift_points_per_day, settings.gift_count_per_day)
    code_ttl = timedelta(seconds=settings.gift_code_ttl_seconds)
    gifts = Gifts(GiftStore(database), ledger, clock.now, limits, code_ttl)
    sweeper = Sweeper(ledger, earnings, redemptions, gifts, clock.now, settings.sweep_period_seconds)
    LedgerMetrics(observed.meter, ledger, sweeper)
    settlements = Settlements(SettlementStore(database), ledger, sweeper.sweep, clock.now)
    wallets = Wallets(ledger, clock.now)
    tail = Tail(database[BLOCKS])
    changes = Changes(ledger, tail)
    rpc = RewardsRpc(
        earnings, redemptions, gifts, settlements, wallets, changes, idempotency, Messages(settings.currency)
    )
    watches = Watches(ledger, wallets, clock.now)
    ledger_rpc = LedgerRpc(ledger, wallets, Inspection(ledger), watches, settings.currency)

    watch = Watch(Results(database), invariants.NAMES, observed.meter)

    async def prepare() -> None:
        await migrate.prepare(database, ledger)
        collector.settle()

    server = Server(
        settings,
        {
            rewards_pb2.DESCRIPTOR.services_by_name["RewardsService"]: (
                lambda to: rewards_pb2_grpc.add_RewardsServiceServicer_to_server(rpc, to)
            ),
            ledger_pb2.DESCRIPTOR.services_by_name["LedgerService"]: (
                lambda to: ledger_pb2_grpc.add_LedgerServiceServicer_to_server(ledger_rpc, to)
            ),
        },
        observed,
    )
    jobs = [ledger.run, relay.run, sweeper.run, settlements.tidy, watches.run, tail.run, changes.run, watch.run]
    await server.run(prepare=prepare, ping=database.ping, jobs=jobs)
    await client.close()


if __name__ == "__main__":
    uvloop.run(main())
