"""`python -m services.logistics`: settings -> store -> service -> serve."""

from functools import partial

import uvloop

from alliance.accounts.v1.accounts_pb2_grpc import AccountsServiceStub
from alliance.logistics.v1 import logistics_pb2, logistics_pb2_grpc
from services.logistics import events, invariants, migrate
from services.logistics.config import Settings
from services.logistics.rpc import LogisticsRpc
from services.logistics.service.capture import Capture
from services.logistics.service.feed import Feed
from services.logistics.service.points import Points
from services.logistics.service.refusals import Refusals
from services.logistics.store.captures import CaptureStore
from services.logistics.store.feed import FeedStore
from services.logistics.store.points import PointStore
from services.logistics.store.refusals import RefusalStore
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
    observed = telemetry.start("logistics", settings.log_level, settings.metrics_listen)
    database = Database.of(settings, observed.meter)
    accounts = Client(
        settings.accounts_target,
        AccountsServiceStub,
        Signer.from_file("logistics", settings.identity_key_file),
        timeout_seconds=settings.call_timeout_seconds,
        tls=settings.certificate_files(),
        telemetry=observed,
    )
    events_out = Outbox(database)
    relay = Relay(events_out, {events.DROP_OFFS: events.drop_offs_to(accounts)}, observed.meter)
    point_store = PointStore(database)
    captures = CaptureStore(database)
    tail = Tail(database["batches"])
    feed = Feed(FeedStore(database), captures, tail)
    rpc = LogisticsRpc(
        Points(point_store, clock.now),
        Capture(
            captures,
            point_store,
            Refusals(RefusalStore(database)),
            events.Events(events_out, relay),
            feed,
            database,
            clock.now,
        ),
        feed,
        Idempotency(database, relay),
    )

    watch = Watch(Results(database), invariants.NAMES, observed.meter)

    server = Server(
        settings,
        {
            logistics_pb2.DESCRIPTOR.services_by_name["LogisticsService"]: (
                lambda to: logistics_pb2_grpc.add_LogisticsServiceServicer_to_server(rpc, to)
            )
        },
        observed,
    )
    jobs = [relay.run, watch.run, feed.run, tail.run]
    await server.run(prepare=partial(migrate.prepare, database), ping=database.ping, jobs=jobs)
    await accounts.close()


if __name__ == "__main__":
    uvloop.run(main())
