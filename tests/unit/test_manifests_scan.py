"""A security finding is accepted only with a reason, and only as long as it is there."""

from pathlib import Path

import pytest

from deploy.checks.scan import Acceptance, Finding, accepted, judge

LIMITS = Acceptance("CKV_K8S_11", ("Deployment.*", "CronJob.*.backup"), "throttling")


def finding(check: str, resource: str) -> Finding:
    return Finding(check, "title", resource, "production.yaml")


def test_a_finding_that_is_accepted_passes():
    found = [finding("CKV_K8S_11", "Deployment.alliance.accounts"), finding("CKV_K8S_11", "CronJob.alliance.backup")]
    assert judge(found, [LIMITS]) == ([], [])


@pytest.mark.parametrize(
    "new", [finding("CKV_K8S_16", "Deployment.alliance.accounts"), finding("CKV_K8S_11", "CronJob.alliance.reports")]
)
def test_another_finding_is_new(new: Finding):
    found = [finding("CKV_K8S_11", "Deployment.alliance.accounts"), finding("CKV_K8S_11", "CronJob.alliance.backup")]
    assert judge([*found, new], [LIMITS]) == ([new], [])


def test_what_is_accepted_in_vain_is_told():
    assert judge([finding("CKV_K8S_11", "Deployment.alliance.accounts")], [LIMITS]) == (
        [],
        ["CKV_K8S_11 CronJob.*.backup"],
    )


def test_nothing_is_accepted_without_a_reason(tmp_path: Path):
    path = tmp_path / "accepted.yaml"
    path.write_text("- {check: CKV_K8S_11, resources: ['*']}")
    with pytest.raises(ValueError, match="CKV_K8S_11 is accepted without a reason"):
        accepted(path)
    assert all(len(entry.reason) > 80 for entry in accepted())
