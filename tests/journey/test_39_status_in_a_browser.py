"""The status page as people see it, in Chromium. Skipped where Chromium or its driver is not installed.

EMBERGATE_SCREENSHOT=deploy/status-page.png writes that picture, of a gateway that has been under load for
EMBERGATE_SCREENSHOT_SECONDS (60).
"""

import os
import random
import shutil
import subprocess
import threading
import time

import pytest
from admit_world import Key, entries
from harness import PATIENCE, Gateway, backend, echo, port_of, question, reserved
from provider import Provider

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed")

HOSTILE = "<img src=x onerror=\"window.hacked=1\">'&{{7*7}}"
KEYS = [Key("research"), Key("nightly-evals@ci"), Key("alice"), Key("notebooks/bob")]
# What the page tells, where, and what the metrics call it.
FACTS = {"hits": ('embergate_requests_total', 'cache="hit"'), "joins": ('embergate_requests_total', 'cache="join"'),
         "requests": ("embergate_requests_total", ""), "refused": ("embergate_limits_refused_total", ""),
         "input_tokens": ("gen_ai_client_token_usage_sum", 'gen_ai_token_type="input"'),
         "output_tokens": ("gen_ai_client_token_usage_sum", 'gen_ai_token_type="output"'),
         "streams": ("embergate_streams", "")}


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


class Watched:
    """A page, and all it complained of or asked for."""

    def __init__(self, browser, gateway, **more):
        self.origin = f"http://127.0.0.1:{gateway.admin[1]}"
        self.context = browser.new_context(**{"viewport": {"width": 1920, "height": 1080}, **more})
        self.page = self.context.new_page()
        self.said, self.asked = [], []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def __enter__(self):
        self.page.goto(self.origin + "/")
        return self

    def __exit__(self, kind, *_):
        self.context.close()
        if kind is None:
            assert not self.said
            assert all(url.startswith((self.origin + "/", "data:")) for url in self.asked), self.asked

    def wait(self, script, timeout=PATIENCE):
        """Until SCRIPT is true. The page's policy forbids the driver's own way to wait, which is eval() in the page."""
        end = time.monotonic() + timeout
        while not self.page.evaluate(f"!!({script})"):
            assert time.monotonic() < end, script
            self.page.wait_for_timeout(50)

    def text(self, selector):
        return self.page.locator(selector).text_content()

    def fact(self, name):
        return float(self.text(f"[data-fact={name}]").replace(",", ""))


def house(provider, **more):
    return Gateway(backends=[echo(pace="2ms"), backend("gpu-a", provider), backend("gpu-b", provider)],
                   models=[{"name": "llama-3.3-70b", "backends": ["gpu-a", "gpu-b"], "upstream": "tiny"},
                           {"name": "qwen3-32b", "backends": ["gpu-b"], "upstream": "tiny"},
                           {"name": "echo", "backends": ["local"]}, {"name": HOSTILE, "backends": ["local"]}],
                   cache={"when": "repeatable", "memory": "32m"}, workers=2,
                   **{"keys": entries(*KEYS), **more})


class Load:
    """Clients that ask this and that until told to stop."""

    def __init__(self, gateway, clients, models):
        self.gateway, self.models, self.stopped = gateway, models, threading.Event()
        self.threads = [threading.Thread(target=self.ask, args=(number,)) for number in range(clients)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join()

    def ask(self, seed):
        roll, number = random.Random(seed), 0
        while not self.stopped.wait(roll.random() * .15 * (1.5 + roll.choice((0, 0, 1)) + time.monotonic() % 90 / 45)):
            number += 1
            text = roll.choice(["Hello", f"Tell me of {roll.randrange(400)} [[+tokens=40+gap=15]]",
                                f"Of {seed} {number} [[+tokens=25+gap=30+ttfb={roll.randrange(20, 300)}]]"])
            if roll.random() < .008:
                text += " [[+status=400]]"
            self.gateway.chat(question(roll.choice(self.models), text, stream=roll.random() < .8, temperature=0),
                              headers=roll.choice(KEYS[:1] * 4 + KEYS).head)


def counted(gateway, name, label):
    text = gateway.ask("/metrics", address=gateway.admin).body.decode()
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.split("\n")
               if line.startswith((name + "{", name + " ")) and label in line)


def contrast(one, other):
    def light(color):
        parts = [int(color[i:i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= .04045 else ((part + .055) / 1.055) ** 2.4 for part in parts]
        return .2126 * linear[0] + .7152 * linear[1] + .0722 * linear[2]

    low, high = sorted((light(one), light(other)))
    return (high + .05) / (low + .05)


# --- under load -------------------------------------------------------------------------------------------------------

def test_numbers_are_those_of_the_metrics(browser, provider):
    with house(provider) as gateway, Watched(browser, gateway) as watched:
        watched.wait("document.getElementById('state').textContent === 'ready'")
        with Load(gateway, 6, ["llama-3.3-70b"] * 4 + ["qwen3-32b", HOSTILE]):
            watched.wait("parseFloat(document.getElementById('rate').textContent) > 0")
            watched.wait("document.querySelectorAll('#plot-rate .line, #plot-tokens .line').length >= 2")
            watched.wait("document.querySelectorAll('#models tbody tr').length === 3")
            watched.wait("document.querySelectorAll('#keys tbody tr').length === 4")
            watched.wait("/[0-9]/.test(document.querySelector('#quantiles tbody td:nth-child(3)').firstChild.data)")
        assert gateway.chat(question("qwen3-32b", "no [[+status=400]]"), headers=KEYS[2].head).status == 400
        gateway.wait("exchanges", 1)
        requests = counted(gateway, "embergate_requests_total", "")
        watched.wait(f"document.querySelector('[data-fact=requests]').textContent.replaceAll(',', '') === '{requests:.0f}'")
        for name, (metric, label) in FACTS.items():
            assert watched.fact(name) == counted(gateway, metric, label), name
        rows = watched.page.locator("#models tbody tr").all_inner_texts()
        for name, row in ((row.split("\t")[0], row.split("\t")) for row in rows):
            label = 'model="' + name.replace('"', '\\"') + '"'
            assert float(row[1].replace(",", "")) == counted(gateway, "embergate_requests_total", label), row
        latest = watched.page.locator("#failures tbody tr").first.inner_text().split("\t")
        assert latest[1] == "400" and latest[3:5] == ["qwen3-32b", "alice"]
        assert HOSTILE in watched.page.locator("#models td.name").all_text_contents()
        assert watched.page.evaluate("[window.hacked, document.images.length, document.scripts.length]") == [None, 0, 1]
        assert watched.page.evaluate("document.documentElement.scrollHeight <= innerHeight"), "a wall has no mouse"


@pytest.mark.parametrize("width, height", [(1920, 1080), (1366, 768), (390, 844)])
def test_nothing_hangs_over(browser, provider, width, height):
    with house(provider) as gateway, \
            Watched(browser, gateway, viewport={"width": width, "height": height}) as watched:
        for model in ("llama-3.3-70b", HOSTILE, "nobody"):
            gateway.chat(question(model), headers=KEYS[1].head)
        watched.wait("document.querySelectorAll('#models tbody tr').length === 2")
        assert watched.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


# --- light and dark ---------------------------------------------------------------------------------------------------

def test_light_and_dark(browser, provider):
    colors = """() => { const style = getComputedStyle(document.documentElement);
                return ['page', 'card', 'text', 'soft', 'accent', 'bad'].map(name => style.getPropertyValue('--' + name).trim()); }"""
    with house(provider) as gateway, Watched(browser, gateway, color_scheme="dark") as watched:
        seen = []
        for expected in ("dark", "light"):
            assert watched.page.evaluate("document.documentElement.dataset.theme") == expected
            page, card, *inks = watched.page.evaluate(colors)
            assert all(contrast(ink, ground) >= 4.5 for ink in inks for ground in (page, card)), (page, card, inks)
            assert contrast(inks[0], card) >= 12
            seen.append(watched.page.evaluate("getComputedStyle(document.body).color"))
            if expected == "dark":
                watched.page.click("#theme")
        assert seen[0] != seen[1]
        watched.page.reload()
        assert watched.page.evaluate("document.documentElement.dataset.theme") == "light", "the choice is kept"


# --- the first request, and no connection -----------------------------------------------------------------------------

def test_it_tells_how_to_begin(browser):
    with reserved() as holder, Gateway(backends=[echo()], models=[{"name": "it's", "backends": ["local"]}],
                                       listen=[f"127.0.0.1:{port_of(holder)}"]) as gateway, Watched(browser, gateway) as watched:
        watched.wait("!document.getElementById('first').hidden")
        done = subprocess.run(["sh", "-c", watched.text("#command")], capture_output=True, text=True, timeout=30, check=True)
        assert '"chat.completion"' in done.stdout
        watched.wait("document.getElementById('first').hidden")
        assert watched.fact("requests") == 1


def test_a_lost_connection_is_told_and_found_again(browser):
    with reserved() as holder, Gateway(backends=[echo()], models=[{"name": "echo", "backends": ["local"]}],
                                       admin=f"127.0.0.1:{port_of(holder)}") as gateway, Watched(browser, gateway) as watched:
        assert gateway.chat(question("echo")).status == 200
        watched.wait("document.querySelector('[data-fact=requests]').textContent === '1'")
        assert not watched.page.is_visible("#lost")
        gateway.stop()
        watched.wait("!document.getElementById('lost').hidden", timeout=20)
        assert watched.text("#state") == "no connection" and "Trying again" in watched.text("#lost")
        watched.said.clear()        # of the connection itself the browser complains
        gateway.lines, gateway.addresses, gateway.admin = [], [], None
        gateway.records = []
        gateway.start()
        watched.wait("document.getElementById('lost').hidden", timeout=20)
        watched.wait("document.querySelector('[data-fact=requests]').textContent === '0'")
        watched.said.clear()


# --- the picture ------------------------------------------------------------------------------------------------------

@pytest.mark.skipif("EMBERGATE_SCREENSHOT" not in os.environ, reason="only when it is wanted")
def test_picture(browser):
    seconds = float(os.environ.get("EMBERGATE_SCREENSHOT_SECONDS", "60"))
    with Provider("openai") as provider, house(provider) as gateway, \
            Watched(browser, gateway, color_scheme="dark") as watched:
        with Load(gateway, 24, ["llama-3.3-70b"] * 5 + ["qwen3-32b"] * 3 + ["echo"]):
            watched.page.wait_for_timeout(seconds * 1000)
            watched.page.screenshot(path=os.environ["EMBERGATE_SCREENSHOT"])
