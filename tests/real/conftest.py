"""The gateway in front of a real llama-server: the harness of the journeys, a model of our own."""

import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "journey"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import Gateway  # noqa: E402
from llama import LlamaServer  # noqa: E402

GOODFIRE_NAME = "meta-llama/Meta-Llama-3.1-8B-Instruct"


@pytest.fixture(scope="session")
def server():
    with LlamaServer(slots=2, ping=1) as server:
        yield server


@pytest.fixture(scope="session")
def gateway(server):
    config = {
        "backends": [{"name": "llama", "kind": "llama-server", "url": server.url}],
        "models": [{"name": "tiny", "aliases": [GOODFIRE_NAME], "backends": ["llama"]}],
        "variants": [
            {"name": "steered", "model": "tiny", "lora": [{"id": 0, "scale": 1}]},
            {"name": "broken", "model": "tiny", "lora": [{"id": 7, "scale": 1}]},
        ],
    }
    with Gateway(**config) as gateway:
        yield gateway
