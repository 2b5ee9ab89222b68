"""The query page for browsers."""

import json
import re
from pathlib import Path

import pytest

from gateway import ide
from tests.gateway.conftest import Gateway

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


async def test_a_browser_gets_the_page_and_a_program_does_not(gateway: Gateway):
    page = await gateway.http.get("/graphql", headers={"Accept": BROWSER})
    assert page.status_code == 200
    assert page.headers["Content-Type"].startswith("text/html")
    assert "GraphiQL" in page.text
    program = await gateway.http.get("/graphql", headers={"Accept": "application/json"})
    assert program.status_code == 400


async def test_a_browser_that_sends_a_query_gets_its_answer(gateway: Gateway):
    response = await gateway.http.get("/graphql", params={"query": "{ viewer { kind } }"}, headers={"Accept": BROWSER})
    assert response.json() == {"data": {"viewer": {"kind": "ANYONE"}}}


async def test_the_page_may_load_what_it_names_and_nothing_else(gateway: Gateway):
    page = await gateway.http.get("/graphql", headers={"Accept": BROWSER})
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src" in policy
    assert "unsafe-inline" not in policy.split("script-src")[1].split(";")[0]
    assert "unsafe-eval" not in policy


def test_without_local_assets_the_page_takes_the_pinned_ones_by_hash(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(ide, "MODULES", tmp_path)
    page = ide.page()
    tags = re.findall(r'(?:src|href)="(https://[^"]+)" integrity="(sha384-[^"]+)" crossorigin="anonymous"', page.html)
    assert len(tags) == len(ide.ASSETS)
    versions = ide.versions()
    for (url, _), (package, file) in zip(tags, ide.ASSETS, strict=True):
        assert url == f"{ide.CDN}/{package}@{versions[package]}/{file}"
    assert page.html.count("<script src=") == 3
    assert f"script-src {ide.CDN} 'sha256-" in page.content_security_policy


def test_with_local_assets_the_page_needs_no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for package, file in ide.ASSETS:
        (tmp_path / package / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / package / file).touch()
    monkeypatch.setattr(ide, "MODULES", tmp_path)
    page = ide.page()
    assert "https://" not in page.html
    assert "https://" not in page.content_security_policy


def test_the_hashes_are_of_the_pinned_versions():
    hashes = json.loads(ide.INTEGRITY.read_text())
    versions = ide.versions()
    assert set(hashes) == {f"{package}@{versions[package]}/{file}" for package, file in ide.ASSETS}
    if ide.installed():
        assert ide.computed_integrity() == hashes


def test_the_lock_file_names_no_host_to_fetch_from():
    assert '"resolved"' not in ide.LOCK.read_text()
