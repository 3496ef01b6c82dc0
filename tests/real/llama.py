"""A real llama.cpp server for tests, on a port of its own.

The server is llama.cpp's own HTTP server (the code of llama-server), which the Python
package xllamacpp carries and runs inside a Python process. This file is both halves:
imported, it offers LlamaServer, which needs only the standard library; run with the
Python that install.sh made, it is the server, and ends when its standard input does,
so that no server outlives the test that started it.

    with LlamaServer(api_key="k") as server:
        server.ask("/v1/chat/completions", {"messages": [...]})
"""

import argparse
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request


def cache_directory():
    default = os.path.join(os.path.expanduser("~"), ".cache", "embergate-tests", "real")
    return os.environ.get("EMBERGATE_TEST_CACHE") or default


class LlamaServer:
    """Starts the server, waits until /health is 200, and stops it at the end of the block.

    Attributes for tests: url (without /v1), port, process, log_path (what it printed).
    """

    def __init__(self, *, alias="tiny", slots=2, context=32768, loras=("lora.gguf", "lora2.gguf"),
                 lora_scale=0.0, api_key=None, ping=30, port=0, log_path=None):
        """`context` is per slot; `lora_scale` is the scale of each adapter for requests that name none."""
        directory = cache_directory()
        self.log_path = log_path or os.path.join(directory, f"server-{os.getpid()}-{id(self):x}.log")
        self._keep_log = log_path is not None
        self._api_key = api_key
        self._command = [
            os.path.join(directory, "venv", "bin", "python"), os.path.abspath(__file__),
            "--model", os.path.join(directory, "model.gguf"), "--alias", alias, "--port", str(port),
            "--slots", str(slots), "--context", str(context), "--ping", str(ping), "--lora-scale", str(lora_scale),
        ]
        for lora in loras:
            self._command += ["--lora", os.path.join(directory, lora)]
        if api_key:
            self._command += ["--api-key", api_key]
        self.process = None
        self.port = None
        self.url = None

    def start(self, timeout=30):
        if not os.path.exists(self._command[0]):
            raise RuntimeError("nothing is installed there yet, run install.sh: " + cache_directory())
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        try:
            self.url = self.process.stdout.readline().decode().strip()
            if not self.url:
                raise RuntimeError("the server ended at once: " + self.log()[-2000:])
            self.port = int(self.url.rsplit(":", 1)[1])
            self._wait(time.monotonic() + timeout)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self):
        """Ends the server, however it fares; its connections are cut."""
        if self.process is None:
            return
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        self.process = None
        if not self._keep_log:
            os.unlink(self.log_path)

    def ask(self, path, body=None, timeout=30):
        """GET, or POST when there is a body; returns (status, parsed JSON), also for errors."""
        request = urllib.request.Request(self.url + path, headers={"Content-Type": "application/json"})
        if body is not None:
            request.data = json.dumps(body).encode()
        if self._api_key:
            request.add_header("Authorization", "Bearer " + self._api_key)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def _wait(self, deadline):
        while True:
            try:
                if self.ask("/health", timeout=1)[0] == 200:
                    return
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the server does not answer: " + self.log()[-2000:])
            time.sleep(0.02)

    def __enter__(self):
        return self.start()

    def __exit__(self, *exception):
        self.stop()


def serve():
    import xllamacpp

    parser = argparse.ArgumentParser(description="Serves a model until standard input ends; prints its address.")
    parser.add_argument("--model", default=os.path.join(cache_directory(), "model.gguf"))
    parser.add_argument("--alias", default="tiny")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--context", type=int, default=32768, help="tokens per slot")
    parser.add_argument("--lora", action="append", default=[])
    parser.add_argument("--lora-scale", type=float, default=0.0)
    parser.add_argument("--api-key")
    parser.add_argument("--ping", type=int, default=30, help="seconds between comments in a silent stream")
    arguments = parser.parse_args()

    params = xllamacpp.CommonParams()
    params.model.path = arguments.model
    params.model_alias = {arguments.alias}
    params.hostnames = ["127.0.0.1"]
    params.port = arguments.port
    params.n_parallel = arguments.slots
    params.n_ctx = arguments.slots * arguments.context
    params.n_predict = 256
    params.n_gpu_layers = 0
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(path, arguments.lora_scale) for path in arguments.lora]
    params.api_keys = [arguments.api_key] if arguments.api_key else []
    params.sse_ping_interval = arguments.ping
    params.endpoint_metrics = True
    params.offline = True
    params.ui = False

    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    try:
        sys.stdin.read()
    except KeyboardInterrupt:
        pass
    os._exit(0)


if __name__ == "__main__":
    serve()
