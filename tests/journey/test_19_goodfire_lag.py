"""A Goodfire client that falls behind: its HTTP library then reads 64 KiB at a time, and an event cut there is lost."""

import threading

import goodfire
import pytest
from harness import Gateway, echo
from memory_world import until

MODEL = "meta-llama/Meta-Llama-3.1-8B-Instruct"
WORDS = 4000


@pytest.fixture(scope="module")
def gateway():
    config = {
        "backends": [echo()],
        "models": [{"name": "echo", "aliases": [MODEL], "backends": ["local"]}],
        "limits": {"high_water": "8m", "low_water": "1m"},
    }
    with Gateway(**config) as gateway:
        yield gateway


def test_a_client_that_lags_behind_reads_whole_events(gateway):
    text = " ".join(f"word{number}" for number in range(WORDS))
    client = goodfire.Client(api_key="k", base_url=gateway.url)
    stream = client.chat.completions.create(
        [{"role": "user", "content": text}], model=MODEL, stream=True, max_completion_tokens=WORDS)
    said = [next(stream).choices[0].delta.content]
    # Over 64 KiB wait for the client when it goes on reading.
    before = gateway.metric("events_total")
    until(lambda: gateway.metric("events_total") >= before + 150 or before >= 150, "events to pile up")
    said += [chunk.choices[0].delta.content for chunk in stream]
    assert "".join(said) == text


def test_many_lag_behind_at_once(gateway):
    text = " ".join(f"word{number}" for number in range(1000))
    results = []

    def run():
        client = goodfire.Client(api_key="k", base_url=gateway.url)
        stream = client.chat.completions.create(
            [{"role": "user", "content": text}], model=MODEL, stream=True, max_completion_tokens=1000)
        results.append("".join(chunk.choices[0].delta.content for chunk in stream) == text)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 8


def test_what_has_arrived_ends_between_two_events(gateway):
    text = " ".join(f"word{number}" for number in range(WORDS))
    body = {"model": "echo", "stream": True, "messages": [{"role": "user", "content": text}]}
    with gateway.client() as client:
        client.ask("POST", "/api/inference/v1/chat/completions", body, read=False)
        begun, ends = gateway.metric("events_total"), []
        while True:
            if len(ends) % 50 == 0:     # fall behind now and then
                until(lambda: gateway.metric("events_total") >= min(begun + 100 + 8 * len(ends), WORDS),
                      "events to pile up")
            data = client.socket.recv(65536)
            ends.append(len(data) + (ends[-1] if ends else 0))
            if data.endswith(b"0\r\n\r\n") or not data:
                break
    assert [end for end in ends[:-1] if end % 256] == []
