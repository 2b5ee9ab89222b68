"""The ledger tells how it keeps up."""

from pathlib import Path

from deploy.local.embedded import free_port
from tests.contract.rewards_world import rewards_world
from tests.support.metrics import metrics_when


async def test_commits_blocks_heads_and_lag_are_read(mongodb_uri: str, keys: Path, tmp_path: Path):
    address = f"127.0.0.1:{free_port()}"
    async with rewards_world(
        mongodb_uri, keys, tmp_path / "log", ALLIANCE_METRICS_LISTEN=address, ALLIANCE_LEDGER_PARTITIONS="2"
    ) as world:
        await world.new_member(100)
        metrics = await metrics_when(
            address,
            lambda read: (
                read.value("alliance_ledger_head") == read.value("alliance_ledger_projected") > 0
                and read.value("alliance_ledger_lag") == read.value("alliance_ledger_queue") == 0
            ),
        )
        commits = metrics.value("alliance_ledger_commit_duration_seconds_count")
        assert commits >= 2  # an allotment and an issue
        assert metrics.value("alliance_ledger_block_size_sum") >= commits
        assert metrics.labels("alliance_ledger_head", "partition") == {"0", "1"}
        assert {"alliance_ledger_lag", "alliance_ledger_queue"} <= set(metrics.samples)
        assert metrics.value("alliance_ledger_busy_total") == 0
        await metrics_when(address, lambda read: read.value("alliance_rewards_swept_time_seconds") > 1.7e9)
