"""The wall clock jumps (P8): no timer of ours notices."""

import time

import pytest
from harness import FAKETIME, Gateway, backend, question

pytestmark = pytest.mark.skipif(not FAKETIME, reason="faketime is not installed")


def test_p8_the_wall_clock_jumps(provider, tmp_path):
    offset = tmp_path / "offset"
    offset.write_text("+0")
    environment = {"LD_PRELOAD": FAKETIME, "FAKETIME_TIMESTAMP_FILE": str(offset), "FAKETIME_NO_CACHE": "1",
                   "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1",
                   "ASAN_OPTIONS": "verify_asan_link_order=0:detect_leaks=0:exitcode=99"}
    config = {"backends": [backend("one", provider)], "models": [{"name": "tiny", "backends": ["one"]}],
              "timeouts": {"keepalive": "200ms", "idle": "30s"}}
    with Gateway(environment=environment, **config) as gateway:
        provider.hold(at=3)
        kept = gateway.client()
        assert kept.ask("GET", "/healthz").status == 200
        client = gateway.client()
        client.ask("POST", "/v1/chat/completions", question(stream=True), read=False)
        answer = client.read_head()
        client.until(b" two")
        for jump in ("+1h", "-1h", "+400d", "+0"):
            offset.write_text(jump)
            began = time.monotonic()
            before = gateway.metric("keepalives_total")
            gateway.wait("keepalives_total", lambda count, before=before: count >= before + 2)
            assert 0.1 < time.monotonic() - began, "keepalives come at their own pace"
            assert gateway.metric("streams") == 1
        provider.release()
        client.until(b"[DONE]")
        assert kept.ask("GET", "/healthz").status == 200, "the idle connection is still there"
        assert answer.status == 200
