"""All of it at once: clients of every temper, servers of every kind with every fault, in random order (the seed is
printed). No right answer is checked here but the ones that must hold whatever happens: a complete stream is a true one,
nothing is left over, no sanitizer speaks."""

import os
import random
import threading
import time

import pytest
from conftest import house_config
from harness import Gateway, question, request_bytes
from memory_world import until

DOORS = ["/v1/chat/completions", "/api/inference/v1/chat/completions"]
FAULTS = [
    "", "", "", "", "+gap=2", "+slice=1", "+tcpslice=5", "+onewrite", "+crlf", "+cr", "+bom", "+comments+id+retry", "+nodone",
    "+noblank", "+afterdone", "+nofinish", "+rst_after=2", "+rst_after=3+gap=2", "+eof_after=2", "+end_after=3",
    "+halfevent=2", "+cutevent=3", "+errorevent=2", "+errorline=3+gap=2", "+badjson=2", "+nul", "+badutf8", "+giant=70000",
    "+giant=2000000", "+flood", "+flood", "+stall_after=2", "+hang", "+drop", "+ttfb=30", "+status=400", "+status=429+ra=1",
    "+status=500", "+status=503", "+status=404", "+html", "+empty", "+notjson", "+gzip", "+101", "+302", "+204", "+1xx=3",
    "+cl=5", "+cl=-5", "+2cl", "+clte", "+hdr=400000", "+close", "+close+end_after=2", "+tokens=300", "+slowhdr=1"]
WORDS = "One two three four five"


def one(gateway, chance, kinds):
    """One client's life; what it saw, for the message when something is wrong."""
    fault, kind, door = chance.choice(FAULTS), chance.choice(kinds), chance.choice(DOORS)
    stream, temper = chance.random() < 0.7, chance.choice(["patient", "patient", "patient", "leaves", "resets", "half",
                                                          "never reads", "cut body", "pipelines", "logits"])
    with gateway.client(timeout=20, receive_buffer=chance.choice([None, 4096])) as client:
        if temper == "logits":
            client.send(request_bytes("POST", "/v1/chat/logits", question(kind, f"[[{fault}]]")))
            client.read_answer()
            return
        data = request_bytes("POST", door, question(kind, f"[[{fault}]]", stream=stream))
        if temper == "cut body":
            client.send(data[:chance.randrange(len(data))])
            return
        client.send(data * (3 if temper == "pipelines" else 1))
        if temper in ("leaves", "resets", "half", "never reads"):
            time.sleep(chance.random() * 0.05)      # anywhere in the life of the request
            if temper == "half":
                import socket
                client.socket.shutdown(socket.SHUT_WR)
            if temper == "resets":
                client.reset()
            return
        if fault == "+flood":
            client.read_head()
            return
        answer = client.read_answer()
        if stream and answer.status == 200 and answer.complete:
            if "tokens" not in fault and "giant" not in fault:
                seen = "".join(dict.fromkeys(
                    choice["delta"].get("content") or "" for event in answer.objects() for choice in event["choices"]))
                assert seen == WORDS, (fault, kind, door, answer.body)
            assert not any(word in fault for word in ("rst", "eof", "nofinish", "error", "badjson", "nul", "badutf8",
                                                      "half", "cut", "stall", "hang")), (fault, kind, door, answer.body)


@pytest.mark.parametrize("workers", [1, 3])
def test_storm(providers, workers):
    seed = int(os.environ.get("EMBERGATE_STORM_SEED") or random.randrange(1 << 30))
    print("EMBERGATE_STORM_SEED =", seed)
    rounds = int(os.environ.get("EMBERGATE_STORM_ROUNDS") or 40)
    limits = {"event_bytes": "128k", "answer_bytes": "256k"}
    timeouts = {"client_stall": "2s", "keepalive": "50ms", "header": "2s", "body": "2s"}
    wrong = []

    def life(number):
        chance = random.Random(seed * 100 + number)
        for _ in range(rounds):
            try:
                one(gateway, chance, list(providers))
            except (EOFError, ConnectionError):
                pass
            except (AssertionError, TimeoutError) as error:
                wrong.append(error)

    patience = {"connect": "1s", "first_byte": "400ms", "between_bytes": "400ms", "total": "2s"}
    with Gateway(**house_config(providers, patience, limits=limits, timeouts=timeouts, workers=workers)) as gateway:
        threads = [threading.Thread(target=life, args=(number,)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong, (seed, wrong[:3])
        for name in ("calls", "exchanges", "streams", "connections", "body_bytes"):
            gateway.wait(name, 0, timeout=20)
        for kind in providers:
            until(lambda kind=kind: gateway.chat(question(kind)).status == 200, f"{kind} to be served")
        ids = [record["id"] for record in gateway.log()]
        assert len(ids) == len(set(ids)), "one line per request"
