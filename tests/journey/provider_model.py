"""A language model of 40 tokens for the scripted provider: a tokenizer, true logits, and what servers make of them.

The logits of a prompt are a fixed function of its text, so a test can compute what an exact answer is.
"""

import math
import zlib

SPECIAL = {0: "<|begin_of_text|>", 1: "<|eot_id|>"}
# One token is a lone UTF-8 lead byte: servers cannot show it as text.
LEAD_BYTE = 2
PIECES = [
    " I", " you", " we", " the", " a", "Hello", " world", " yes", " no", "Yes", "No", " one", " two", " three", "A",
    "B", "C", "a", "b", "c", " A", " B", " C", "!", "?", ".", ",", "\n", " ", "0", "1", "2", "\u00e9", "\u20ac",
    "data: ", "\"", "\\",
]
VOCABULARY = {**{number: text.encode() for number, text in SPECIAL.items()}, LEAD_BYTE: b"\xc3",
              **{number + 3: text.encode() for number, text in enumerate(PIECES)}}
SIZE = len(VOCABULARY)


def token_id(text):
    """The id of the token that is exactly TEXT, or None."""
    wanted = text.encode()
    for number, piece in VOCABULARY.items():
        if piece == wanted:
            return number
    return None


def tokenize(text, special=True):
    """Longest match first; bytes that no token holds become token 0 + their own number (never in the tests)."""
    data, out = text.encode(), []
    pieces = sorted(((piece, number) for number, piece in VOCABULARY.items()
                     if special or number not in SPECIAL), key=lambda item: -len(item[0]))
    while data:
        for piece, number in pieces:
            if data.startswith(piece):
                out.append(number)
                data = data[len(piece):]
                break
        else:
            out.append(SIZE + data[0])
            data = data[1:]
    return out


def detokenize(numbers):
    data = b"".join(VOCABULARY.get(number, bytes([(number - SIZE) % 256])) for number in numbers)
    return data.decode("utf-8", "replace")


def template(messages):
    """The chat template of this model."""
    return "".join(f"<{message['role']}>{text_of(message)}" for message in messages) + "<assistant>"


def text_of(message):
    content = message.get("content")
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return content or ""


def logits(prompt):
    """{id: logit}; between -6 and 18, no two equal. The lead byte is never the best."""
    out = {}
    for number in VOCABULARY:
        mixed = zlib.crc32(f"{prompt}|{number}".encode())
        out[number] = -6.0 + 24.0 * (mixed % 1000003) / 1000003.0 + number * 1e-7
    out[LEAD_BYTE] = min(out[LEAD_BYTE], 0.5)
    return out


def log_softmax(values):
    top = max(values.values())
    total = top + math.log(sum(math.exp(value - top) for value in values.values()))
    return {number: value - total for number, value in values.items()}


def best(values, count):
    """The COUNT best as (id, value), best first."""
    return sorted(values.items(), key=lambda item: -item[1])[:count]


def biased(values, bias):
    out = dict(values)
    pairs = bias.items() if isinstance(bias, dict) else bias or []
    for number, amount in pairs:
        number = int(number)
        if number in out:
            out[number] += float(amount)
    return out
