"""Writes a tiny chat model and two LoRA adapters that llama-server can load.

The weights are random with a fixed seed, so the answers are nonsense but real: the
text, the tokenizer, the template and the log-probabilities behave as those of any
Llama model, and every run of this script writes the same bytes.

The vocabulary is 256 byte tokens, merges learned from the text below, and special
tokens last. The first coordinate of every embedding is a large constant, which
makes the first column of the output matrix a bias per token: single high bytes and
special tokens stay improbable, and <|eot_id|> comes with a few percent, so answers
end by themselves. An incomplete UTF-8 piece still comes when logit_bias asks for it.

Usage: make_model.py [DIRECTORY]; writes model.gguf, lora.gguf, lora2.gguf there.
"""

import collections
import os
import re
import sys

import gguf
import numpy as np

VOCAB = 704
WIDTH = 64
LAYERS = 2
HEADS = 4
HIDDEN = 128
CONTEXT = 65536
RANK = 4

SPECIAL = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]

TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)

TEXT = """
The harbour wakes before the town does. Lamps go out one by one along the quay, and
the first boats come in with nets that are heavy with silver and weed. A woman in a
blue coat counts the boxes, writes the number down, and counts them again because
the wind has turned the page. Yes, she says, that is right, and no one asks her how
she knows. The gulls argue about what is left. Children run down the hill with bread
under their arms; a dog follows them as far as the bridge and then thinks better of
it. What is the weather going to be today? Nobody can say. It rained all night, so
it may be clear before noon, or it may rain again, and either answer is a good reason
to stay near the stove. The old clock above the market has shown ten minutes past
three for longer than anyone remembers, yet people still look up at it when they pass,
and some of them walk a little faster. In the afternoon the ferry brings letters,
flour, two bicycles and a teacher who has been away since the spring. Hello, they tell
him, we have kept your chair, but we gave your window to somebody else. He laughs and
takes the chair. When the light begins to go, the boats leave again in a line, each
with a small red lamp, and from the hill it looks as if the street had decided to
continue over the water. If you want to write a program that tells this story, start
with the sea: it returns the same value every time, and never the same way twice.
"""


def byte_characters():
    """The printable character that stands for each byte in a byte-level vocabulary."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    characters, spare = {}, 256
    for byte in range(256):
        if byte in plain:
            characters[byte] = chr(byte)
        else:
            characters[byte] = chr(spare)
            spare += 1
    return characters


def learn_merges(text, characters, count):
    """The `count` most frequent pairs, found one after another as byte-pair encoding does."""
    words = collections.Counter(re.findall(r" ?[A-Za-z]+| ?[^\sA-Za-z]+|\s+", text))
    words = {tuple(characters[b] for b in word.encode()): times for word, times in words.items()}
    merges = []
    while len(merges) < count:
        pairs = collections.Counter()
        for word, times in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += times
        if not pairs:
            raise ValueError(f"the text gives only {len(merges)} merges of {count}")
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        words = {merge_pair(word, best): times for word, times in words.items()}
    return merges


def merge_pair(word, pair):
    out, i = [], 0
    while i < len(word):
        if word[i : i + 2] == pair:
            out.append(word[i] + word[i + 1])
            i += 2
        else:
            out.append(word[i])
            i += 1
    return tuple(out)


def token_biases(tokens):
    """How much each token is helped by the constant coordinate."""
    bias = np.zeros(len(tokens), np.float32)
    for i in range(256):
        bias[i] = -1.0 if 32 <= i < 127 or i == 10 else -12.0
    for name in SPECIAL:
        bias[tokens.index(name)] = -12.0
    bias[tokens.index("<|eot_id|>")] = 4.5
    return bias


def write_model(path, random):
    characters = byte_characters()
    merges = learn_merges(TEXT, characters, VOCAB - 256 - len(SPECIAL))
    tokens = [characters[b] for b in range(256)] + [a + b for a, b in merges] + SPECIAL
    types = [gguf.TokenType.NORMAL] * (VOCAB - len(SPECIAL)) + [gguf.TokenType.CONTROL] * len(SPECIAL)

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny random llama")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(VOCAB)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([f"{a} {b}" for a, b in merges])
    writer.add_bos_token_id(tokens.index("<|begin_of_text|>"))
    writer.add_eos_token_id(tokens.index("<|eot_id|>"))
    writer.add_add_bos_token(True)
    writer.add_chat_template(TEMPLATE)

    def matrix(rows, columns, scale=1.0):
        return (random.standard_normal((rows, columns)) * scale / np.sqrt(columns)).astype(np.float32)

    embedding = matrix(VOCAB, WIDTH, np.sqrt(WIDTH))
    constant = 8.0
    embedding[:, 0] = constant
    output = matrix(VOCAB, WIDTH, 1.5)
    # After the norm the constant is about constant / sqrt(mean square of the others and itself).
    output[:, 0] = token_biases(tokens) / (constant / np.sqrt(1 + constant**2 / WIDTH))
    writer.add_tensor("token_embd.weight", embedding)
    writer.add_tensor("output.weight", output)
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        writer.add_tensor(f"{block}.attn_norm.weight", np.ones(WIDTH, np.float32))
        writer.add_tensor(f"{block}.ffn_norm.weight", np.ones(WIDTH, np.float32))
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            writer.add_tensor(f"{block}.{name}.weight", matrix(WIDTH, WIDTH))
        writer.add_tensor(f"{block}.ffn_gate.weight", matrix(HIDDEN, WIDTH))
        writer.add_tensor(f"{block}.ffn_up.weight", matrix(HIDDEN, WIDTH))
        writer.add_tensor(f"{block}.ffn_down.weight", matrix(WIDTH, HIDDEN))
    finish(writer)


def write_lora(path, random):
    """An adapter on the value and output projections, strong enough to change the text at scale 1."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(RANK))
    for layer in range(LAYERS):
        for name in ("attn_v", "attn_output"):
            tensor = f"blk.{layer}.{name}.weight"
            writer.add_tensor(f"{tensor}.lora_a", random.standard_normal((RANK, WIDTH)).astype(np.float32) / 8)
            writer.add_tensor(f"{tensor}.lora_b", random.standard_normal((WIDTH, RANK)).astype(np.float32) / 2)
    finish(writer)


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    directory = sys.argv[1] if len(sys.argv) > 1 else "."
    write_model(os.path.join(directory, "model.gguf"), np.random.default_rng(1))
    write_lora(os.path.join(directory, "lora.gguf"), np.random.default_rng(2))
    write_lora(os.path.join(directory, "lora2.gguf"), np.random.default_rng(3))


if __name__ == "__main__":
    main()
