"""Tokenizers of open_clip and Hugging Face."""

from collections.abc import Callable
from typing import Any

from harness.model.open_clip_configs import first_sentence
from harness.model.open_clip_library import open_clip
from methods.kit.core.errors import UsageError

Tokenizer = Callable[[list[str]], list[list[int]]]


def load_tokenizer(name: str, config: dict[str, Any]) -> Tokenizer:
    """Return a function from texts to token ids with start and end, neither cut nor padded.

    Raises UsageError where a Hugging Face tokenizer is not on disk and cannot be downloaded.
    """
    text = config["text_cfg"]
    if text.get("hf_tokenizer_name"):
        return _hf_tokenizer(name, text)
    simple = open_clip.SimpleTokenizer()

    def encode(texts: list[str]) -> list[list[int]]:
        return [[simple.sot_token_id, *simple.encode(t), simple.eot_token_id] for t in texts]

    return encode


def _hf_tokenizer(name: str, text: dict[str, Any]) -> Tokenizer:
    length = text.get("context_length", 77)
    try:
        found = open_clip.get_tokenizer(name, context_length=length)
    except Exception as error:
        reason = first_sentence(error)
        raise UsageError(
            f"backbone {name!r}: its tokenizer {text['hf_tokenizer_name']!r} is not on disk and"
            f" could not be downloaded ({reason})"
        ) from None
    pad = found.tokenizer.pad_token_id or 0

    def encode(texts: list[str]) -> list[list[int]]:
        long = found(texts, context_length=4 * length)  # to notice texts that are too long
        beyond = (long[:, length:] != pad).any(1)
        return [row[: length + bool(over)].tolist() for row, over in zip(long, beyond, strict=True)]

    return encode
