"""What aiperf and guidellm want that no server tells them, without the network: a tokenizer, and a prompt.

Both count tokens by a model's tokenizer; this one has words for tokens, as the paced server does.
"""

from __future__ import annotations

from pathlib import Path

PROMPT = "Tell me of the sea."


def tokenizer(folder: Path) -> Path:
    """Writes it as a model's folder.  ImportError without transformers, which both bring along."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate(["<unk>", *PROMPT.replace(".", "").split()])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", eos_token="<unk>").save_pretrained(folder)
    return folder


def missing(package: str) -> int:
    """Says how to have one in an environment of its own, which ``--python`` names."""
    print(f"python3 -m venv E && E/bin/pip install {package}, then --python {package}=E/bin/python")
    return 77
