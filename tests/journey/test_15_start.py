"""Ways to start: several workers, unix sockets, a backend's URL alone, and --check with every error told."""

import os
import re
import subprocess
import threading

import pytest
from harness import BINARY, ROOT, Gateway, backend, check_config, echo, port_of, question, reserved
from memory_world import until
from provider import Provider

WORDS = "One two three four five"


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_workers(provider, workers):
    config = {"backends": [backend("one", provider), echo()],
              "models": [{"name": "tiny", "backends": ["one"]}, {"name": "echo", "backends": ["local"]}]}
    with Gateway(workers=workers, **config) as gateway:
        assert gateway.wait_line(rf"{workers} workers?")
        results = []

        def ask_many(number):
            with gateway.client() as client:
                for turn in range(10):
                    answer = client.ask("POST", "/v1/chat/completions",
                                        question("echo" if turn % 2 else "tiny", f"{number} {turn}", stream=turn % 3 == 0))
                    results.append((answer.status, answer.complete))

        threads = [threading.Thread(target=ask_many, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [(200, True)] * 160
        gateway.quiet()
        assert gateway.metric("requests_begun_total") >= 160, "all workers are summed"


def test_unix_sockets_on_both_sides(tmp_path):
    with Provider("llama-server", unix=str(tmp_path / "backend.sock")) as provider:
        here = str(tmp_path / "gateway.sock")
        for workers in (1, 3):
            with Gateway(listen=[f"unix:{here}", "127.0.0.1:0"], workers=workers, backends=[backend("one", provider)],
                         models=[{"name": "tiny", "backends": ["one"]}]) as gateway:
                for _ in range(5):
                    assert gateway.ask("/v1/chat/completions", question(), address=here).status == 200
                assert gateway.ask("/v1/chat/completions", question(stream=True), address=here).text() == WORDS
                gateway.wait_for(lambda: any(record["client"].startswith("unix") for record in gateway.log()), "a record")


def test_a_left_over_socket_file_is_no_obstacle(tmp_path, provider):
    here = str(tmp_path / "gateway.sock")
    for _ in range(2):
        gateway = Gateway(listen=[f"unix:{here}"], backends=[backend("one", provider)],
                          models=[{"name": "tiny", "backends": ["one"]}])
        assert gateway.ask("/healthz", address=here).status == 200
        gateway.process.kill()
        gateway.process.wait()
        gateway.folder.cleanup()


def test_ipv6():
    with Gateway(listen=["[::1]:0"], backends=[echo()], models=[{"name": "echo", "backends": ["local"]}]) as gateway:
        import socket
        with socket.create_connection(("::1", gateway.port)) as client:
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("kind", ["openai", "vllm", "llama-server", "sglang", "ollama"])
def test_a_url_is_enough(kind):
    """The kind is found out; what the server lists can be asked for."""
    with Provider(kind, models=["first-model", "second/model:tag"]) as provider:
        arguments = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--backend", provider.url + "/v1"]
        with Gateway(arguments=arguments, text=False) as gateway:
            until(lambda: gateway.chat(question("first-model")).status == 200, "the list of the server")
            names = {model["id"] for model in gateway.ask("/v1/models").json()["data"]}
            assert {"first-model", "second/model:tag"} <= names
            assert gateway.chat(question("second/model:tag", stream=True)).text() == WORDS
            body = provider.last().json
            assert body["model"] == "second/model:tag"
            # Each kind has its own name for the output limit and its own explicit defaults.
            gateway.chat(question("first-model", max_completion_tokens=9))
            body = provider.last().json
            assert ("max_tokens" in body) == (kind in ("llama-server", "ollama"))
            assert body.get("top_k") == {"vllm": 0, "llama-server": 0, "sglang": -1}.get(kind)


def test_a_url_whose_server_comes_later(provider):
    """The server loads its model while the gateway is up."""
    holder = reserved()
    port = port_of(holder)
    arguments = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--backend", f"http://127.0.0.1:{port}/v1"]
    with holder, Gateway(arguments=arguments, text=False) as gateway:
        assert gateway.chat().status in (404, 502, 503)
        assert gateway.ask("/healthz").status == 200
        with Provider("vllm", port=port):
            until(lambda: gateway.chat().status == 200, "the server to be noticed", 20)


def test_two_urls():
    with Provider("vllm", models=["a"]) as one, Provider("ollama", models=["b"]) as two:
        arguments = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--backend", one.url, "--backend",
                     two.url + "/v1"]
        with Gateway(arguments=arguments, text=False) as gateway:
            for name, provider in (("a", one), ("b", two)):
                until(lambda name=name: gateway.chat(question(name)).status == 200, "the list")
                assert provider.last().json["model"] == name


def test_command_line_wins_over_the_file(provider):
    with Gateway(arguments=["--listen", "127.0.0.1:0", "--workers", "2"], listen=["127.0.0.1:1"],
                 backends=[echo()], models=[{"name": "echo", "backends": ["local"]}]) as gateway:
        assert gateway.wait_line("2 workers") and gateway.port != 1
        assert gateway.ask("/healthz").status == 200


def run(*arguments):
    return subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=30, check=False)


def test_version_and_help():
    done = run("--version")
    assert done.returncode == 0 and re.search(r"embergate \d+\.\d+\.\d+", done.stdout + done.stderr)
    done = run("--help")
    assert done.returncode == 0
    for option in ("--listen", "--admin", "--backend", "--workers", "--check", "-c"):
        assert option in done.stdout + done.stderr


@pytest.mark.parametrize("arguments", [["--nonsense"], ["--workers", "many"], ["--workers", "-1"], ["-c"],
                                       ["--listen", "nowhere"], ["-c", "/nonexistent.yaml"], ["stray"]])
def test_wrong_arguments(arguments):
    done = run(*arguments)
    assert done.returncode not in (0, 99) and done.stderr.strip()


def test_address_in_use(provider):
    import socket
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        gateway = Gateway(start=False, listen=[f"127.0.0.1:{port}"], backends=[echo()],
                          models=[{"name": "echo", "backends": ["local"]}])
        done = subprocess.run(gateway.command(), capture_output=True, text=True, timeout=30, check=False,
                              env=gateway.environment)
        gateway.folder.cleanup()
        assert done.returncode not in (0, 99) and str(port) in done.stderr


# --- P3: --check ------------------------------------------------------------------------------------------------------

GOOD = """
listen: [127.0.0.1:8080]
admin: 127.0.0.1:8081
workers: 2
limits: {body_bytes: 16m, high_water: 64k, low_water: 16k}
timeouts: {header: 10s, keepalive: 500ms, drain: 5m}
backends:
  - name: local
    kind: vllm
    url: http://127.0.0.1:8000/v1
    timeouts: {connect: 1s}
models:
  - name: m
    aliases: [n]
    backends: [local]
"""


def test_p3_check_good():
    status, text = check_config(GOOD)
    assert status == 0 and text.strip().endswith("embergate.yaml: ok")


BAD = [
    ("an unknown key", GOOD.replace("workers: 2", "wrokers: 2"), 4, "wrokers"),
    ("an unknown key inside", GOOD.replace("body_bytes", "body_byte"), 5, "body_byte"),
    ("a size that is none", GOOD.replace("16m", "16q"), 5, "body_bytes"),
    ("a duration that is none", GOOD.replace("500ms", "soon"), 6, "keepalive"),
    ("an unknown kind", GOOD.replace("kind: vllm", "kind: gpt"), 9, "kind"),
    ("a URL that is none", GOOD.replace("http://127.0.0.1:8000/v1", "8000"), 10, "url"),
    ("another scheme", GOOD.replace("http://127.0.0.1:8000/v1", "ftp://x/"), 10, "url"),
    ("a backend nobody has", GOOD.replace("backends: [local]", "backends: [remote]"), 15, "remote"),
    ("water the wrong way round", GOOD.replace("low_water: 16k", "low_water: 128k"), 5, "low_water"),
    ("a name twice", GOOD.replace("aliases: [n]", "aliases: [m]"), 14, "m"),
    ("an address that is none", GOOD.replace("127.0.0.1:8080", "somewhere"), 2, "listen"),
    ("a variable nobody set", GOOD.replace("kind: vllm", "kind: vllm\n    api_key: ${JOURNEY_NOT_SET}"), 10,
     "JOURNEY_NOT_SET"),
    ("a key twice", GOOD + "workers: 3\n", None, "workers"),
    ("no YAML", GOOD + "models: [\n", None, ""),
    ("a negative number", GOOD.replace("workers: 2", "workers: -2"), 4, "workers"),
    ("a list where a word belongs", GOOD.replace("name: m", "name: [m]"), 13, "name"),
]


@pytest.mark.parametrize("text, line, key", [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_p3_check_names_file_line_and_key(text, line, key):
    status, told = check_config(text)
    assert status == 1, told
    first = told.strip().splitlines()[0]
    found = re.match(r"^\S*embergate\.yaml:(\d+): ", first)
    assert found and key in told, told
    assert line is None or abs(int(found.group(1)) - line) <= 1, told


def test_p3_check_tells_all_errors_at_once():
    text = GOOD.replace("16m", "16q").replace("kind: vllm", "kind: gpt").replace("backends: [local]", "backends: [far]")
    status, told = check_config(text)
    assert status == 1
    assert len([line for line in told.splitlines() if re.match(r"^\S*embergate\.yaml:\d+: ", line)]) >= 3, told


@pytest.mark.parametrize("content", ["not json", '{"interventions": 5}', "[]", ""])
def test_p3_check_reads_the_controllers(content):
    text = GOOD + "variants:\n  - {name: pirate, model: m, controller: pirate.json, adapter: p}\n"
    status, told = check_config(text, {"pirate.json": content})
    assert status == 1 and "pirate.json" in told
    status, told = check_config(text)
    assert status == 1 and "pirate.json" in told, "a file that is not there"


def test_p3_a_bad_file_does_not_start():
    gateway = Gateway(text=GOOD.replace("workers: 2", "wrokers: 2"), start=False)
    done = subprocess.run(gateway.command(), capture_output=True, text=True, timeout=30, check=False,
                          env=gateway.environment)
    gateway.folder.cleanup()
    assert done.returncode == 1 and "wrokers" in done.stderr


def test_p3_the_secret_is_not_told():
    text = GOOD.replace("kind: vllm", "kind: vllm\n    api_key: ${JOURNEY_SECRET}").replace("workers: 2", "wrokers: 2")
    gateway = Gateway(text=text, start=False, environment={"JOURNEY_SECRET": "canary-secret"})
    done = subprocess.run([*gateway.command(), "--check"], capture_output=True, text=True, timeout=30, check=False,
                          env=gateway.environment)
    gateway.folder.cleanup()
    assert done.returncode == 1 and "canary-secret" not in done.stdout + done.stderr


def shipped_examples():
    found = []
    for folder, _, names in os.walk(os.path.join(ROOT, "conf")):
        found += [os.path.join(folder, name) for name in names if name.endswith((".yaml", ".yml"))]
    return sorted(found)


@pytest.mark.parametrize("path", shipped_examples(), ids=lambda path: os.path.relpath(path, ROOT))
def test_p3_shipped_examples_are_good(path):
    with open(path, encoding="utf-8") as file:
        needed = set(re.findall(r"\$\{([A-Z0-9_]+)\}", file.read()))
    done = subprocess.run([BINARY, "-c", path, "--check"], capture_output=True, text=True, timeout=30, check=False,
                          env={**os.environ, **{name: "x" * 32 for name in needed}})
    assert done.returncode == 0, done.stderr


def test_a_backend_that_is_not_there_is_no_missing_model():
    with Gateway(arguments=["--backend", "http://127.0.0.1:1/v1", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"],
                 text=False) as gateway:
        answer = gateway.chat(question("any"))
        assert answer.status == 502 and answer.json()["error"]["code"] == "upstream_connect"
        assert gateway.ask("/v1/models").json()["data"] == []
