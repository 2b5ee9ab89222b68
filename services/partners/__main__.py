"""`python -m services.partners`: settings -> store -> service -> serve."""

import uvloop

from alliance.partners.v1 import partners_pb2, partners_pb2_grpc
from services.partners import store
from services.partners.config import Settings
from services.partners.rpc import PartnersRpc
from services.partners.service import Partners
from services.shared import clock, idempotency, outbox, telemetry
from services.shared.mongo import Database
from services.shared.server import Server


async def main() -> None:
    settings = Settings()
    tracing = telemetry.start("partners", settings.log_level)
    database = Database.of(settings)
    partners = Partners(store.PartnerStore(database), clock.now)
    rpc = PartnersRpc(partners, idempotency.Idempotency(database))

    async def prepare() -> None:
        await database.create_indexes({**store.INDEXES, **outbox.INDEXES})

    server = Server(
        settings,
        partners_pb2.DESCRIPTOR.services_by_name["PartnersService"],
        lambda to: partners_pb2_grpc.add_PartnersServiceServicer_to_server(rpc, to),
        tracing,
    )
    await server.run(prepare=prepare, ping=database.ping)


if __name__ == "__main__":
    uvloop.run(main())
