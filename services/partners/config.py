"""Settings of the partners service."""

from pydantic import Field, SecretStr

from services.shared.config import ServiceSettings


class Settings(ServiceSettings):
    """As in ServiceSettings, and:"""

    listen: str = "127.0.0.1:50052"
    mongodb_database: str = "alliance_partners"
    currency: str = Field(default="EUR", pattern=r"^[A-Z]{3}$", description="the one currency that agreements are in")
    operator_client_id: str = Field(default="operator", description="client id of the first operator")
    operator_client_secret: SecretStr | None = Field(
        default=None, description="secret of the first operator; unset: no operator can get a token"
    )
