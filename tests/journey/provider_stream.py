"""How the scripted provider writes a stream: events as SSE text, text as HTTP chunks, chunks as writes, each step with
its faults."""

import asyncio
import json

from provider_kinds import compact, error_object


def event_text(payload, faults, first):
    """One event as SSE text with the framing quirks asked for."""
    text = payload if isinstance(payload, str) else compact(payload)
    lines = ["data: " + text]
    if "multiline" in faults and not isinstance(payload, str):
        lines = ["data: " + line for line in json.dumps(payload, indent=1).split("\n")]
    if "nospace" in faults:
        lines = ["data:" + text]
    if "event" in faults:
        lines.insert(0, "event: message")
    if "id" in faults:
        lines.insert(0, "id: 7")
    blocks = [lines]
    if "comments" in faults:
        blocks = [[": before"], [": inside", *lines, ": after"]]
    if "retry" in faults and first:
        blocks.insert(0, ["retry: 10000"])
    if "id" in faults:
        blocks.append([": a comment after an id"])
    if "emptydata" in faults:
        blocks.append(["data:"])
    end = "\r\n" if "crlf" in faults else "\r" if "cr" in faults else "\n"
    data = "".join(line + end for block in blocks for line in (*block, "")).encode()
    if "bom" in faults and first:
        data = b"\xef\xbb\xbf" + data
    if "nul" in faults:
        data = data.replace(b"two", b"t\x00o")
    if "badutf8" in faults:
        data = data.replace(b"two", b"t\xff\xfe")
    return data


def trouble(kind, faults):
    """(position, raw SSE text) of the error event that was asked for, or None."""
    error = error_object(kind if kind != "sglang" else "openai", 500, "the engine died")
    forms = {
        "errorevent": "data: " + compact(error) + "\n\ndata: [DONE]\n\n",
        "namederror": "event: error\ndata: " + compact(error) + "\n\n",
        "errortext": 'data: {"error":"the engine died"}\n\n',
        "flaterror": "data: " + compact(error_object("sglang", 500, "the engine died")) + "\n\n",
        "errorline": "error: " + compact(error["error"] if "error" in error else error) + "\n\n",
        "badjson": 'data: {"id":"x","choices":[{"index":0,"delta":{"conte\n\n',
    }
    for name, text in forms.items():
        if name in faults:
            return int(faults[name] if faults[name] else 2), text.encode()
    return None


def texts(answer, reply):
    """All events of the answer as SSE texts, in order."""
    faults, events = answer.faults, list(reply.events)
    done = "[DONE]"
    if "giant" in faults:
        events[1] = json.loads(compact(events[1]))
        events[1]["choices"][0]["delta"]["content"] = "g" * int(faults["giant"])
    out = [event_text(event, faults, i == 0) for i, event in enumerate(events)]
    bad = trouble(answer.provider.kind, faults)
    if bad:
        return out[:bad[0]] + [bad[1]]
    if "nodone" not in faults:
        out.append(event_text(done, faults, False))
    if "afterdone" in faults:
        out.append(event_text(events[1], faults, False))
    if "noblank" in faults:
        out[-1] = out[-1].rstrip(b"\r\n") + b"\n"
    return out


async def run(answer, reply):
    """Write the stream. True when the connection is kept."""
    faults, connection, request = answer.faults, answer.connection, answer.request
    await answer.informational()
    plain = "close" in faults
    kind = "text/html" if "html" in faults else "text/event-stream; charset=utf-8"
    headers = [("Content-Type", kind), *reply.headers]
    if "gzip" in faults:
        headers.append(("Content-Encoding", "gzip"))
    if "101" in faults or "302" in faults or "204" in faults:
        reply.body = {}
        return await answer._plain(reply)
    if not plain:
        headers.append(("Transfer-Encoding", "chunked"))
    data = texts(answer, reply)
    writer = Writer(answer, plain)
    if "onewrite" in faults or "onechunk" in faults:
        await answer.provider.gate(0)
        data = [b"".join(data)] if "onechunk" in faults else data
        frames = b"".join(writer.frame(text) for text in data) + (b"" if plain else b"0\r\n\r\n")
        await connection.write(answer.head(200, headers) + frames)
        request.written = len(data)
        return keeps(answer)
    await answer.send_head(answer.head(200, headers))
    if "flood" in faults:
        await flood(writer, data[1])
    for number, text in enumerate(data):
        await answer.provider.gate(number)
        if await stops(answer, writer, number, text):
            return keeps(answer)
        await writer.event(text)
        request.written = number + 1
        with answer.provider.changed:
            answer.provider.changed.notify_all()
        if faults.get("gap"):
            await asyncio.sleep(int(faults["gap"]) / 1000)
    if await stops(answer, writer, len(data), b""):
        return keeps(answer)
    await writer.end()
    return keeps(answer)


def keeps(answer):
    """llama-server closes after every stream, without having said so."""
    if "close" in answer.faults or ("noblank" in answer.faults and answer.provider.kind == "llama-server"):
        return False
    return answer.provider.kind != "llama-server" or "keep" in answer.faults


async def stops(answer, writer, number, text):
    """The faults that end or halt the stream before event NUMBER. True: the stream is over, in good HTTP order."""
    faults, connection = answer.faults, answer.connection

    def now(name):
        return name in faults and int(faults[name] or 0) == number

    if now("rst_after"):
        await connection.can_write.wait()
        connection.reset()
    if now("eof_after"):
        connection.transport.close()
        raise ConnectionResetError
    if now("end_after"):
        await writer.end()
        return True
    if now("stall_after"):
        with answer.provider.changed:
            answer.request.stalled = True
            answer.provider.changed.notify_all()
        await asyncio.Event().wait()
    if now("halfevent"):
        await writer.event(text[:len(text) // 2])
        await writer.end()
        return True
    if now("cutevent"):
        await writer.event(text[:len(text) // 2])
        connection.reset()
    return False


async def flood(writer, text):
    """Events as fast as the socket takes them, for ever (well, 200 MB)."""
    block = text * 16
    for _ in range(200_000_000 // len(block)):
        await writer.event(block)
        writer.answer.request.written += 16
        writer.answer.request.flooded = getattr(writer.answer.request, "flooded", 0) + len(block)
        await asyncio.sleep(0)


class Writer:
    """Texts into HTTP chunks, chunks into writes."""

    def __init__(self, answer, plain):
        self.answer, self.connection, self.plain = answer, answer.connection, plain

    def frame(self, data):
        return data if self.plain else b"%x\r\n%s\r\n" % (len(data), data)

    async def event(self, text):
        size = int(self.answer.faults.get("slice") or len(text) or 1)
        for i in range(0, len(text), size):
            await self._send(self.frame(text[i:i + size]))

    async def _send(self, data):
        size = int(self.answer.faults.get("tcpslice") or len(data))
        for i in range(0, len(data), size):
            await self.connection.write(data[i:i + size])
            if size < len(data):
                await asyncio.sleep(0)

    async def end(self):
        if not self.plain:
            await self._send(b"0\r\n\r\n")
