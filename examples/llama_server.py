"""llama.cpp's own server with a tiny model of random weights: a real model server with nothing to download.

    pip install xllamacpp gguf
    python examples/llama_server.py --port 8080 --alias tiny

writes the model (0.3 s, under 1 MB), serves it, and prints its URL on the first line of stdout.  It ends on Ctrl-C,
SIGTERM, or when ``--for`` is over.  What it says means nothing; how it says it is llama.cpp's: slots, queue,
prompt cache, streams, ``/metrics``.

The vocabulary is bytes and a few hundred words, so any text can be a prompt, and an answer is words: bytes and control
tokens have no weight in the output.  ``--tokenizer FILE`` writes the same vocabulary as a Hugging Face tokenizer.json.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

CONTEXT = 16384
WIDTH, HEADS, LAYERS, INNER = 64, 4, 2, 128
SPECIALS = ("<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>")
END = "</s>"
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_WORDS = """
time year people way day man thing woman life child world school state family student group country problem hand part
place case week company system program question work government number night point home water room mother area money
story fact month lot right study book eye job word business issue side kind head house service friend father power
hour game line end member law car city name president team minute idea body information back parent face others level
office door health person art war history party result change morning reason research girl guy moment air teacher
force education
"""
WORDS = _WORDS.split()


def byte_letters() -> dict[int, str]:
    """GPT-2's printable letter for each byte: https://github.com/openai/gpt-2/blob/master/src/encoder.py"""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {byte: chr(byte) for byte in printable}
    others = (byte for byte in range(256) if byte not in letters)
    return letters | {byte: chr(256 + number) for number, byte in enumerate(others)}


def vocabulary() -> tuple[list[str], list[str]]:
    """(tokens, merges): the specials, the bytes, and each word with a space before it, built up letter by letter."""
    letters = byte_letters()
    tokens = dict.fromkeys([*SPECIALS, *letters.values()])
    merges: dict[str, None] = {}
    for word in WORDS:
        left = letters[ord(" ")]
        for letter in word:
            merges[f"{left} {letter}"] = None
            left += letter
            tokens[left] = None
    return list(tokens), list(merges)


def write_model(path: Path, seed: int = 0) -> None:
    """A LLaMA of random weights as a GGUF file."""
    import gguf
    import numpy as np

    tokens, merges = vocabulary()
    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name("tiny-random")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    normal, control = gguf.TokenType.NORMAL, gguf.TokenType.CONTROL
    writer.add_token_types([control if token in SPECIALS else normal for token in tokens])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(SPECIALS.index("<s>"))
    writer.add_eos_token_id(SPECIALS.index(END))
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)

    def weights(*shape: int) -> np.ndarray:
        return (random.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)

    said = {"Ġ" + word for word in WORDS} | {END}
    output = 2.0 * weights(len(tokens), WIDTH) * np.array([token in said for token in tokens], np.float32)[:, None]
    writer.add_tensor("token_embd.weight", weights(len(tokens), WIDTH))
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    writer.add_tensor("output.weight", output)
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"{block}{name}.weight", np.ones(WIDTH, np.float32))
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            writer.add_tensor(f"{block}{name}.weight", weights(WIDTH, WIDTH))
        writer.add_tensor(f"{block}ffn_gate.weight", weights(INNER, WIDTH))
        writer.add_tensor(f"{block}ffn_up.weight", weights(INNER, WIDTH))
        writer.add_tensor(f"{block}ffn_down.weight", weights(WIDTH, INNER))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def tokenizer_json() -> dict[str, object]:
    """The model's vocabulary as the ``tokenizers`` library reads it."""
    tokens, merges = vocabulary()
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "added_tokens": [
            {
                "id": number,
                "content": token,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for number, token in enumerate(SPECIALS)
        ],
        "normalizer": None,
        "pre_tokenizer": level,
        "post_processor": None,
        "decoder": level,
        "model": {
            "type": "BPE",
            "vocab": {token: number for number, token in enumerate(tokens)},
            "merges": merges,
        },
    }


def write_tokenizer(path: Path) -> None:
    """tokenizer.json, and beside it tokenizer_config.json with the chat template, as model repositories have them."""
    path.write_text(json.dumps(tokenizer_json()), encoding="utf-8")
    config = {"chat_template": CHAT_TEMPLATE, "eos_token": END, "bos_token": "<s>"}
    path.with_name("tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


def main() -> int:
    """Serves until it is told to stop."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, default=0, help="0: any that is free")
    parser.add_argument("--alias", default="tiny", help="the model's name")
    parser.add_argument("--slots", type=int, default=4, help="requests that are answered at once; the others wait")
    parser.add_argument("--answer", type=int, default=32, help="tokens of an answer where a request sets no limit")
    parser.add_argument("--context", type=int, default=4096, help="tokens of each slot's window")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help="of the weights")
    parser.add_argument("--api-key", help="what requests must carry")
    parser.add_argument("--tokenizer", type=Path, metavar="FILE", help="write its tokenizer.json here as well")
    parser.add_argument("--for", type=float, dest="seconds", metavar="SECONDS", help="end after so long")
    arguments = parser.parse_args()
    try:
        import gguf  # noqa: F401
        import xllamacpp
    except ImportError as error:
        print(f"{error}; pip install xllamacpp gguf", file=sys.stderr)
        return 1
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    with tempfile.TemporaryDirectory(prefix="llama-") as folder:
        model = Path(folder) / f"{arguments.alias}.gguf"
        write_model(model, arguments.seed)
        if arguments.tokenizer is not None:
            write_tokenizer(arguments.tokenizer)
        params = xllamacpp.CommonParams()
        for name, value in settings(arguments, model):
            setattr(params, name, value)
        params.model.path = str(model)
        params.cpuparams.n_threads = arguments.threads
        params.cpuparams_batch.n_threads = arguments.threads
        server = xllamacpp.Server(params)
        print(server.listening_address, flush=True)
        over.wait(arguments.seconds)
        del server
    return 0


def settings(arguments: argparse.Namespace, model: Path) -> Iterator[tuple[str, object]]:
    """What differs from llama.cpp's own defaults."""
    yield "hostnames", ["127.0.0.1"]
    yield "port", arguments.port
    yield "model_alias", {arguments.alias}
    yield "n_parallel", arguments.slots
    yield "n_ctx", arguments.context * arguments.slots
    yield "n_predict", arguments.answer
    yield "endpoint_metrics", True
    yield "warmup", False
    yield "ui", False
    if arguments.api_key:
        yield "api_keys", [arguments.api_key]


if __name__ == "__main__":
    sys.exit(main())
