"""Hostile HTTP through the real program: refused, and whatever reaches the provider is well-formed and asked once.

Each row: name, the bytes, the statuses that are right. Rows follow faults.md 2.3 (the number is the rule's).
"""

import json

import pytest
from harness import Gateway, backend, question

CHAT = b"POST /v1/chat/completions HTTP/1.1\r\n"
BODY = json.dumps(question()).encode()
HEAD = CHAT + b"Host: x\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
WHOLE = HEAD + LENGTH + b"\r\n" + BODY
CHUNK = b"%x\r\n%s\r\n" % (len(BODY), BODY)
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
INNER = b"GET /v1/models HTTP/1.1\r\nHost: smuggled\r\n\r\n"


def headers(*lines, body=BODY, line=CHAT, length=True):
    """A request with LINES after its Host."""
    extra = b"".join(one + b"\r\n" for one in lines)
    return line + b"Host: x\r\n" + extra + (b"Content-Length: %d\r\n" % len(body) if length else b"") + b"\r\n" + body


REFUSED = [
    # 1: line ends
    ("fold", headers(b"X: a", b" b"), {400}),
    ("fold with a tab", headers(b"X: a", b"\tb"), {400}),
    ("folded transfer-encoding", headers(b"X: a", b" Transfer-Encoding: chunked"), {400}),
    ("folded host hides a length", CHAT + b"Host: a\r\n Content-Length: 1\r\n" + LENGTH + b"\r\n" + BODY, {400}),
    ("lone LF after the request line", b"POST /v1/chat/completions HTTP/1.1\nHost: x\r\n" + LENGTH + b"\r\n" + BODY, {400}),
    ("lone LF after a header", HEAD + b"X: y\n" + LENGTH + b"\r\n" + BODY, {400}),
    ("lone LF everywhere", WHOLE.replace(b"\r\n", b"\n"), {400}),
    ("lone LF at the end of the head", HEAD + LENGTH + b"\n" + BODY, {400}),
    ("lone CR in a value", headers(b"X: a\rTransfer-Encoding: chunked"), {400}),
    ("lone CR ends a header", headers(b"X:\rTransfer-Encoding: chunked"), {400}),
    ("CR LF CR X", HEAD + LENGTH + b"\rX: y\r\n\r\n" + BODY, {400}),
    ("CR CR LF", headers(b"X: a\r"), {400}),
    ("NUL in a value", headers(b"X: a\x00b"), {400}),
    ("NUL in a name", headers(b"X\x00: a"), {400}),
    ("NUL in the target", headers(line=b"POST /v1/chat\x00/completions HTTP/1.1\r\n"), {400}),
    ("space after the head's first line", CHAT + b" Host: x\r\n" + LENGTH + b"\r\n" + BODY, {400}),
    # 2: names
    ("empty name", headers(b": x"), {400}),
    ("space before the colon", headers(b"X : y"), {400}),
    ("space before the colon of a length", HEAD + b"Content-Length : %d\r\n\r\n" % len(BODY) + BODY, {400}),
    ("tab before the colon", headers(b"Transfer-Encoding\t: chunked"), {400}),
    ("no colon", headers(b"Xyz"), {400}),
    ("name in brackets", headers(b"(X): y"), {400}),
    ("8-bit name", headers(b"X\xe9: y"), {400}),
    ("control byte in a value", headers(b"X: a\x01b"), {400}),
    ("delete in a value", headers(b"X: a\x7fb"), {400}),
    # 3: Host
    ("no host", CHAT + LENGTH + b"\r\n" + BODY, {400}),
    ("two hosts", headers(b"Host: y"), {400}),
    ("two equal hosts", headers(b"Host: x"), {400}),
    ("empty host", CHAT + b"Host: \r\n" + LENGTH + b"\r\n" + BODY, {400}),
    ("host with a user", CHAT + b"Host: a@b\r\n" + LENGTH + b"\r\n" + BODY, {400}),
    ("host with a path", CHAT + b"Host: a/b\r\n" + LENGTH + b"\r\n" + BODY, {400}),
    ("host list", CHAT + b"Host: a,b\r\n" + LENGTH + b"\r\n" + BODY, {400}),
    ("host with a space", CHAT + b"Host: a b\r\n" + LENGTH + b"\r\n" + BODY, {400}),
    # 4, 5: Transfer-Encoding
    ("both framings", HEAD + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNK + b"0\r\n\r\n", {400}),
    ("both framings, other order", HEAD + b"Transfer-Encoding: chunked\r\n" + LENGTH + b"\r\n" + CHUNK + b"0\r\n\r\n", {400}),
    ("gzip, chunked", HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNK + b"0\r\n\r\n", {400, 501}),
    ("identity", headers(b"Transfer-Encoding: identity"), {400, 501}),
    ("identity, chunked", HEAD + b"Transfer-Encoding: identity, chunked\r\n\r\n" + CHUNK + b"0\r\n\r\n", {400, 501}),
    (",chunked", HEAD + b"Transfer-Encoding: ,chunked\r\n\r\n" + CHUNK + b"0\r\n\r\n", {400, 501}),
    ("chunked, chunked", HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n" + CHUNK + b"0\r\n\r\n", {400, 501}),
    ("two fields", HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNK + b"0\r\n\r\n", {400, 501}),
    ("second field", HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n" + CHUNK + b"0\r\n\r\n", {400, 501}),
    ("xchunked", HEAD + b"Transfer-Encoding: xchunked\r\n\r\n" + CHUNK + b"0\r\n\r\n", {400, 501}),
    ("chunked with a parameter", HEAD + b"Transfer-Encoding: chunked;q=1\r\n\r\n" + CHUNK + b"0\r\n\r\n", {400, 501}),
    ("quoted chunked", HEAD + b"Transfer-Encoding: \"chunked\"\r\n\r\n" + CHUNK + b"0\r\n\r\n", {400, 501}),
    ("empty encoding and a length", headers(b"Transfer-Encoding:"), {400, 501}),
    ("chunked in 1.0", b"POST /v1/chat/completions HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNK + b"0\r\n\r\n", {400}),
    # 6: Content-Length
    *((f"length {value!r}", HEAD + b"Content-Length:" + value + b"\r\n\r\n" + BODY, {400}) for value in (
        b" 01", b" +%d" % len(BODY), b" -1", b" 0x10", b" %d, %d" % (len(BODY), len(BODY)), b"", b" ", b" 1 2", b" 1e2",
        b" 18446744073709551616", b" 99999999999999999999999", b" 4.0", b" \x0b1")),
    ("length over the limit", HEAD + b"Content-Length: 9223372036854775807\r\n\r\n", {400, 413}),
    ("two lengths", headers(b"Content-Length: 5"), {400}),
    ("two equal lengths", headers(b"Content-Length: %d" % len(BODY)), {400}),
    # 7: twins
    ("Transfer_Encoding", headers(b"Transfer_Encoding: chunked"), {400}),
    ("Content_Length", headers(b"Content_Length: 0"), {400}),
    # 8: sizes are in test_12; chunk overhead here
    ("endless chunk extension", CHUNKED + b"5;" + b"x" * 70_000 + b"\r\n", {400, 413, 431}),
    ("very many tiny chunks", CHUNKED + b"1\r\n \r\n" * 20_000, {400, 413}),
    # 9: trailers
    ("length in a trailer", CHUNKED + CHUNK + b"0\r\nContent-Length: 5\r\n\r\n", {400}),
    ("encoding in a trailer", CHUNKED + CHUNK + b"0\r\nTransfer-Encoding: chunked\r\n\r\n", {400}),
    ("host in a trailer", CHUNKED + CHUNK + b"0\r\nHost: y\r\n\r\n", {400}),
    ("authorization in a trailer", CHUNKED + CHUNK + b"0\r\nAuthorization: y\r\n\r\n", {400}),
    ("lone LF in a trailer", CHUNKED + CHUNK + b"0\r\nX: y\n\r\n", {400}),
    ("folded trailer", CHUNKED + CHUNK + b"0\r\nX: y\r\n z\r\n\r\n", {400}),
    ("endless trailers", CHUNKED + CHUNK + b"0\r\n" + b"X: y\r\n" * 20_000, {400, 413, 431}),
    # chunk sizes
    *((f"chunk size {size!r}", CHUNKED + size + b"\r\n" + BODY + b"\r\n0\r\n\r\n", {400, 413}) for size in (
        b"0x5", b"-1", b"+5", b" 5", b"g", b"", b"5 5", b"ffffffffffffffffff", b"7fffffffffffffff", b"1_0")),
    ("chunk ended by other bytes", CHUNKED + b"1\r\n{XX" + b"0\r\n\r\n", {400}),
    ("chunk ended by LF", CHUNKED + CHUNK[:-2] + b"\n0\r\n\r\n", {400}),
    ("chunk size ended by LF", CHUNKED + CHUNK.replace(b"\r\n", b"\n", 1) + b"0\r\n\r\n", {400}),
    # 10: other protocols
    ("CONNECT", b"CONNECT example.test:443 HTTP/1.1\r\nHost: example.test:443\r\n\r\n", {400, 405, 501}),
    ("websocket", headers(b"Upgrade: websocket", b"Connection: upgrade"), {400, 501}),
    ("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400, 501, 505}),
    ("TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64, {400, 408}),
    # 11: versions
    *((f"version {version!r}", WHOLE.replace(b"HTTP/1.1", version, 1), {400, 505}) for version in (
        b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.2", b"HTTP/1.10", b"HTTP/11", b"http/1.1", b"RTSP/1.0", b"ICE/1.0", b"HTTP/",
        b"HTTP/1", b"")),
    # 12: methods
    *((f"method {method!r}", WHOLE.replace(b"POST", method, 1), {400, 405, 501}) for method in (
        b"BREW", b"post", b"PURGE", b"TRACE", b"M-SEARCH", b"SOURCE", b"P@ST", b"PATCH")),
    # 13: targets
    *((f"target {target!r}", WHOLE.replace(b"/v1/chat/completions", target, 1), {400, 404}) for target in (
        b"http://x/v1/chat/completions", b"http://evil/v1/chat/completions", b"https://x@y@z/", b"*", b"v1/chat/completions",
        b"/v1/chat/completions#x", b"//v1/chat/completions", b"/v1/chat/../chat/completions", b"/v1/chat%2fcompletions",
        b"/v1/chat/completions%00", b"/v1/chat/completions;x=1", b"/V1/chat/completions", b"/v1/chat/completions/",
        b"/v1\\chat\\completions", b"/v1/chat/compl\xe9tions", b"/v1/./chat/completions")),
    # 14: the request line
    ("two spaces", WHOLE.replace(b"POST ", b"POST  ", 1), {400}),
    ("two spaces before the version", WHOLE.replace(b" HTTP", b"  HTTP", 1), {400}),
    ("tab", WHOLE.replace(b"POST ", b"POST\t", 1), {400}),
    ("leading space", b" " + WHOLE, {400}),
    ("space at the end of the line", WHOLE.replace(b"HTTP/1.1", b"HTTP/1.1 ", 1), {400}),
    ("many blank lines first", b"\r\n" * 50 + WHOLE, {400}),
    ("no target", b"POST HTTP/1.1\r\nHost: x\r\n\r\n", {400, 505}),
    ("0.9", b"GET /v1/models\r\n\r\n", {400, 505}),
    ("garbage", b"\x00\x01\x02\x03\r\n\r\n", {400}),
    ("nothing but colons", b":::::\r\n\r\n", {400}),
    # 15: Expect
    ("unknown expectation", headers(b"Expect: dance"), {417}),
    ("expectation list", headers(b"Expect: 100-continue, dance"), {417}),
]

GOOD = [
    ("plain", WHOLE),
    ("chunked", CHUNKED + CHUNK + b"0\r\n\r\n"),
    ("chunked in any case", CHUNKED.replace(b"chunked", b"ChUnKeD") + CHUNK + b"0\r\n\r\n"),
    ("chunk per byte", CHUNKED + b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n\r\n"),
    ("harmless trailer", CHUNKED + CHUNK + b"0\r\nX-Sum: 5\r\n\r\n"),
    ("chunk size with zeros", CHUNKED + b"000" + CHUNK + b"0\r\n\r\n"),
    ("names in any case", WHOLE.replace(b"Content-Length", b"cOnTeNt-LeNgTh").replace(b"Host", b"hOST")),
    ("one blank line first", b"\r\n" + WHOLE),
    ("spaces around a value", headers(b"X:    y   ")),
    ("empty value", headers(b"X:")),
    ("8-bit value", headers(b"X: \xe9\xff")),
    ("query", WHOLE.replace(b"completions HTTP", b"completions?api-version=1 HTTP")),
    ("hop-by-hop names", headers(b"Connection: keep-alive, content-length, host", b"Keep-Alive: 5", b"TE: trailers")),
    ("upgrade is ignored", headers(b"Upgrade: h2c", b"Connection: Upgrade", b"HTTP2-Settings: AAAA")),
]


@pytest.fixture(scope="module")
def gateway(provider):
    with Gateway(backends=[backend("one", provider)], models=[{"name": "tiny", "backends": ["one"]}]) as one:
        yield one


def check_what_arrived(provider, most):
    """Every byte at the provider belongs to a question of ours."""
    assert len(provider.requests) <= most, provider.requests
    for connection in provider.connections:
        assert connection.input == b"", connection.input[:200]
    for request in provider.requests:
        assert (request.method, request.path) == ("POST", "/v1/chat/completions") and request.json == json.loads(BODY)
        assert b"smuggled" not in request.head


def test_there_are_enough_of_them():
    assert len(REFUSED) + len(GOOD) >= 120


@pytest.mark.parametrize("data, statuses", [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_refused(gateway, provider, data, statuses):
    """One answer, then the end: what follows on that connection is never read as a request."""
    with gateway.client() as client:
        try:
            client.send(data)
            client.send(INNER)
        except OSError:
            pass
        answer = client.read_answer()
        assert answer.status in statuses, (answer.status, answer.body[:200])
        if answer.status not in (404, 405) or answer.header("connection") == "close":
            client.wait_end()
            assert b"HTTP/1.1" not in client.input, client.input[:200]
    check_what_arrived(provider, 0)


@pytest.mark.parametrize("data", [row[1] for row in GOOD], ids=[row[0] for row in GOOD])
def test_good(gateway, provider, data):
    with gateway.client() as client:
        client.send(data)
        answer = client.read_answer()
        assert answer.status == 200, answer.body
        check_what_arrived(provider, 1)
        if answer.header("connection") != "close":
            client.send(WHOLE)
            assert client.read_answer().status == 200


@pytest.mark.parametrize("data", [row[1] for row in GOOD[:2]], ids=["length", "chunked"])
def test_byte_by_byte_and_cut_everywhere(gateway, provider, data):
    """Same answer and same upstream bytes, wherever the input is cut."""
    with gateway.client() as client:
        for at in range(len(data)):
            client.send(data[at:at + 1])
        assert client.read_answer().status == 200
        for at in range(1, len(data), 3):
            client.send(data[:at])
            client.send(data[at:])
            assert client.read_answer().status == 200
    check_what_arrived(provider, 1000)
    assert {request.body for request in provider.requests} == {BODY}


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"DELETE"])
def test_16_a_body_where_none_belongs_never_becomes_a_request(gateway, provider, method):
    with gateway.client() as client:
        client.send(method + b" /v1/models HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(INNER) + INNER)
        answer = client.read_answer(method.decode())
        assert answer.status in (200, 400, 405)
        if answer.header("connection") != "close":
            client.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.read_answer().status == 200
        assert b"HTTP/1.1" not in client.input
    check_what_arrived(provider, 0)


def test_17_nothing_after_connection_close_is_parsed(gateway, provider):
    with gateway.client() as client:
        client.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" + WHOLE)
        assert client.read_answer().status == 200
        client.wait_end()
        assert client.input == b""
    check_what_arrived(provider, 0)


def test_options_star(gateway):
    with gateway.client() as client:
        client.send(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.read_answer("OPTIONS").status in (200, 204, 400, 404, 405)


# --- JSON bodies, after JSONTestSuite's kinds of trouble ---------------------------------------------------------

BAD_JSON = [
    b"[1,]", b"[,1]", b"[1 2]", b"{,}", b'{"a"}', b'{"a":}', b'{"a" 1}', b'{a:1}', b"{'a':1}", b'{"a":1,}', b'{"a":1,,"b":2}',
    b'{1:1}', b'{"a":1]', b'[1}', b"[", b"{", b'["a', b'{"a":"', b"]", b"}", b"01", b"-", b"+1", b"1.", b".5", b"1e", b"1e+",
    b"0x10", b"1_000", b"NaN", b"Infinity", b"-Infinity", b"- 1", b"--1", b"1.2.3", b"truE", b"True", b"nul", b"undefined",
    b'"\\x41"', b'"\\u12"', b'"\\u12G4"', b'"\\"', b'"\\a"', b'"\t"', b'"\n"', b'"\x00"', b"'single'", b"/* c */ 1",
    b"1 // c", b"# c\n1", b"[1]\x0c", b"\x0b1", b"\xa01", b"\xef\xbb\xbf1", b"\xfe\xff", b'"\xff"', b'"\xc0\x80"',
    b'"\xed\xa0\x80"', b'"\xf5\x80\x80\x80"', b'"\xe2\x82"', b'"\\ud800\\ud800"', b'"\\udc00"', b'"\\ud800x"',
]


@pytest.mark.parametrize("value", BAD_JSON, ids=repr)
def test_bad_json(gateway, provider, value):
    """Alone, and inside a question that would be good without it."""
    for body in (value, b'{"model":"tiny","messages":[{"role":"user","content":"x"}],"x":' + value + b"}"):
        answer = gateway.ask("/v1/chat/completions", body)
        assert answer.status == 400 and answer.json()["error"]["type"] == "invalid_request_error"
    assert provider.requests == []


GOOD_JSON = [
    b"[]", b"{}", b"[[],[[]]]", b'{"":0}', b'{"a":{"b":[null,true,false]}}', b"0", b"-0", b"-0.0", b"1E400", b"1e-400", b"1.5e+3",
    b"123456789012345678901234567890", b'"\\u00e9\\ud83d\\ude00"', b'"\\/\\b\\f\\n\\r\\t\\\\\\""', b'"\xe2\x82\xac\xf0\x9f\x98\x80"',
    b'"\x7f"', b'"\xef\xbf\xbf"', b'"\xf4\x8f\xbf\xbf"', b" [ 1 , 2 ] ", b"\r\n\t[1]\r\n",
]


@pytest.mark.parametrize("value", GOOD_JSON, ids=repr)
def test_good_json_travels_byte_for_byte(gateway, provider, value):
    body = b'{"model":"tiny","messages":[{"role":"user","content":"x"}],"x":' + value + b"}"
    answer = gateway.ask("/v1/chat/completions", body)
    assert answer.status == 200, answer.body
    assert provider.last().body == body
