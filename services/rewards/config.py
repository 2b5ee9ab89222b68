"""Settings of the rewards service."""

from pydantic import Field

from services.shared.config import ServiceSettings


class Settings(ServiceSettings):
    """As in ServiceSettings, and:"""

    listen: str = "127.0.0.1:50054"
    mongodb_database: str = "alliance_rewards"
    currency: str = Field(default="EUR", pattern=r"^[A-Z]{3}$", description="what the value of a point is in")
    ledger_partitions: int = Field(
        default=4, ge=1, le=64, description="logs of the ledger; fixed when its database is first used"
    )
    ledger_buckets: int = Field(
        default=128,
        ge=1,
        le=65_536,
        description="documents that hold the members' accounts of a partition: a power of two, so that each holds a "
        "thousand or two; it may grow, and the accounts are taken over at the next start",
    )
    ledger_cached_members: int = Field(default=20_000, ge=1, description="accounts of members that are kept at hand")
    ledger_cached_mb: int = Field(default=200, ge=1, description="memory for what the ledger has read of all accounts")
    redemption_ttl_seconds: int = Field(
        default=14 * 86_400, ge=1, le=366 * 86_400, description="how long a voucher is good and its points are held"
    )
    sweep_period_seconds: float = Field(
        default=5.0, gt=0, le=3600, description="how often due holds and points, and what a crash left, are looked for"
    )
    gift_points_per_day: int = Field(
        default=5_000, ge=1, le=2**53 - 1, description="points that a member may give to others on one day, in UTC"
    )
    gift_count_per_day: int = Field(default=10, ge=1, le=10_000, description="how often a member may give on one day")
    gift_code_ttl_seconds: int = Field(
        default=900, ge=1, le=86_400, description="how long the code is good that a member shows to get points"
    )
