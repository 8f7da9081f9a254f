"""A store to begin with."""

from pathlib import Path

import pytest

from harness.ledger import Ledger


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow store; making one takes seconds."""
    folder = tmp_path_factory.mktemp("store")
    list(Ledger(f"sqlite:///{folder}/mlflow.db", folder).runs())
    return folder / "mlflow.db"
