"""Settings of the logistics service."""

from services.shared.config import ServiceSettings


class Settings(ServiceSettings):
    """As in ServiceSettings."""

    listen: str = "127.0.0.1:50053"
    mongodb_database: str = "alliance_logistics"
