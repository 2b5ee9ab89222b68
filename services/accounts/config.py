"""Settings of the accounts service."""

from services.shared.config import ServiceSettings


class Settings(ServiceSettings):
    """As in ServiceSettings, with this service's own address and database."""

    listen: str = "127.0.0.1:50051"
    mongodb_database: str = "alliance_accounts"
