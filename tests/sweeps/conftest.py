"""Sweeps and suites upload no report: tests/reports/provenance/test_mlflow_upload.py does that."""

import pytest


@pytest.fixture(autouse=True)
def no_upload(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeps.suite.drive.UPLOAD", "tests.sweeps.no_upload")
