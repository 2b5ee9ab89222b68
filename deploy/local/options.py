"""What can be chosen about a local alliance: where its data are and which ports it uses."""

from pathlib import Path

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

Port = int


class Options(BaseSettings):
    """Each by an option of the command line, or by an environment variable ALLIANCE_LOCAL_<NAME>.

    A port of 0 means any that is free.
    """

    model_config = SettingsConfigDict(env_prefix="ALLIANCE_LOCAL_", extra="ignore", frozen=True, populate_by_name=True)

    data: Path = Field(default=Path("data"), description="folder of the database, keys, logs and the report")
    gateway_port: Port = Field(default=8080, ge=0, le=65535, description="port of the GraphQL gateway")
    accounts_port: Port = Field(default=50051, ge=0, le=65535, description="port of the accounts service")
    partners_port: Port = Field(default=50052, ge=0, le=65535, description="port of the partners service")
    logistics_port: Port = Field(default=50053, ge=0, le=65535, description="port of the logistics service")
    rewards_port: Port = Field(default=50054, ge=0, le=65535, description="port of the rewards service")
    database_port: Port = Field(default=27117, ge=0, le=65535, description="port of the embedded database")
    metrics_port: Port | None = Field(
        default=None,
        ge=0,
        le=65531,
        description="where Prometheus reads the gateway, and at the next four the services; left out, nowhere",
    )
    database_prefix: str = Field(
        default="alliance", pattern=r"^[a-z][a-z0-9_]{0,30}$", description="how the names of the databases begin"
    )
    tls: bool = Field(default=False, description="encrypt the connections between the processes")
    log_level: str = Field(default="INFO", description="what the processes log: DEBUG, INFO, WARNING or ERROR")
    mongodb_uri: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("MONGODB_URI", "mongodb_uri"),
        description="use this MongoDB and start no database; only from the environment, as MONGODB_URI",
    )
