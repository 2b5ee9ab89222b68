"""`python -m services.partners`: settings -> store -> service -> serve."""

from functools import partial

import uvloop

from alliance.partners.v1 import partners_pb2, partners_pb2_grpc
from alliance.rewards.v1.rewards_pb2_grpc import RewardsServiceStub
from services.partners import invariants, migrate
from services.partners.config import Settings
from services.partners.events import Events, deliveries
from services.partners.rpc import PartnersRpc
from services.partners.service.agreements import Agreements
from services.partners.service.clients import ApiClients
from services.partners.service.earning import Earning
from services.partners.service.partners import Partners
from services.partners.store.agreements import AgreementStore
from services.partners.store.clients import ClientStore
from services.partners.store.earning import EarningStore
from services.partners.store.partners import PartnerStore
from services.shared import clock, idempotency, outbox, telemetry
from services.shared.client import Client
from services.shared.identity import Signer
from services.shared.invariants import Results, Watch
from services.shared.mongo import Database
from services.shared.server import Server


async def main() -> None:
    settings = Settings()
    observed = telemetry.start("partners", settings.log_level, settings.metrics_listen)
    database = Database.of(settings, observed.meter)
    rewards = Client(
        settings.rewards_target,
        RewardsServiceStub,
        Signer.from_file("partners", settings.identity_key_file),
        timeout_seconds=settings.call_timeout_seconds,
        tls=settings.certificate_files(),
        telemetry=observed,
    )
    relay = outbox.Relay(outbox.Outbox(database), deliveries(rewards), observed.meter)
    events = Events(outbox.Outbox(database))
    partners, agreements = PartnerStore(database), AgreementStore(database)
    operator_secret = settings.operator_client_secret
    rpc = PartnersRpc(
        Partners(partners, clock.now),
        ApiClients(
            ClientStore(database),
            partners,
            settings.operator_client_id,
            operator_secret.get_secret_value() if operator_secret else None,
            clock.now,
        ),
        Agreements(agreements, partners, events, settings.currency, clock.now),
        Earning(EarningStore(database), partners, agreements, database, clock.now),
        idempotency.Idempotency(database, relay),
    )

    watch = Watch(Results(database), invariants.NAMES, observed.meter)

    server = Server(
        settings,
        {
            partners_pb2.DESCRIPTOR.services_by_name["PartnersService"]: (
                lambda to: partners_pb2_grpc.add_PartnersServiceServicer_to_server(rpc, to)
            )
        },
        observed,
    )
    await server.run(prepare=partial(migrate.prepare, database), ping=database.ping, jobs=[relay.run, watch.run])
    await rewards.close()


if __name__ == "__main__":
    uvloop.run(main())
