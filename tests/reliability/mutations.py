"""Model files as damage, mischief and bad luck would leave them: `mutated` draws one, `edited` signs it anew.

As a script (`make fuzz N=1000000 SEED=0`) it loads so many, and stops at the first that is neither refused by name nor
the very same model.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from safetensors.torch import load, save

from hourglass.core.checkpoints import _checksum, _shapes, model_bytes, model_from_bytes
from hourglass.errors import ModelFileError

Document = dict[str, Any]
Tensors = dict[str, torch.Tensor]
VALUES = (None, True, -1, 0, 3, 10**9, 10**18, 1e300, "x", "", [], [1], {}, {"is": "x"}, [[]] * 3)


def opened(content: bytes) -> tuple[Document, Tensors]:
    """What is in a model file, read without our reader."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return json.loads(header["__metadata__"]["hourglass"]), load(content)


def signed(document: Document, tensors: Tensors) -> bytes:
    """A file whose table of shapes and checksum fit its content: only what does not go together gives it away."""
    text = json.dumps({**document, "shapes": _shapes(tensors)})
    return save(tensors, {"hourglass": text, "sha256": _checksum(text, tensors)})


# Each takes a file and a source of chance, and gives another file.


def flipped(content: bytes, draw: random.Random) -> bytes:
    position = draw.randrange(len(content))
    return content[:position] + bytes([content[position] ^ draw.randrange(1, 256)]) + content[position + 1 :]


def flipped_in_header(content: bytes, draw: random.Random) -> bytes:
    position = draw.randrange(min(8 + int.from_bytes(content[:8], "little"), len(content)))
    return content[:position] + bytes([content[position] ^ draw.randrange(1, 256)]) + content[position + 1 :]


def cut(content: bytes, draw: random.Random) -> bytes:
    return content[: draw.randrange(len(content))]


def longer(content: bytes, draw: random.Random) -> bytes:
    return content + draw.randbytes(draw.randrange(1, 100))


def spliced(content: bytes, draw: random.Random) -> bytes:
    """A stretch of it somewhere else in it."""
    start, place = draw.randrange(len(content)), draw.randrange(len(content))
    return content[:place] + content[start : start + draw.randrange(1, 200)] + content[place:]


def overwritten(content: bytes, draw: random.Random) -> bytes:
    start, place, length = draw.randrange(len(content)), draw.randrange(len(content)), draw.randrange(1, 200)
    return content[:place] + content[start : start + length] + content[place + length :]


def without(content: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(content))
    return content[:start] + content[start + draw.randrange(1, 50) :]


def header_rewritten(content: bytes, draw: random.Random) -> bytes:
    """A header that says something else of the same bytes, its length set right."""
    length = int.from_bytes(content[:8], "little")
    try:
        header = json.loads(content[8 : 8 + length])
        names = [name for name in header if name != "__metadata__"]
    except (ValueError, TypeError):  # another mutation came before
        return content
    one, other = draw.choice(names), draw.choice(names)
    turn = draw.randrange(6)
    if turn == 0:
        header[f"{one}x"] = header.pop(one)
    elif turn == 1:
        header[one], header[other] = header[other], header[one]
    elif turn == 2:
        header[one]["shape"] = header[one]["shape"][::-1]
    elif turn == 3:
        header[one]["dtype"] = draw.choice(["F64", "I32", "BF16", "F8_E4M3", "C64", "BOOL", "U8"])
    elif turn == 4:
        header[one]["shape"] = [2**62, draw.randrange(2**62)]
    text = json.dumps(header)
    if turn == 5:  # the same name twice
        text = text[:-1] + f", {json.dumps(one)}: {json.dumps(header[other])}}}"
    return len(text).to_bytes(8, "little") + text.encode() + content[8 + length :]


MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    flipped,
    flipped_in_header,
    cut,
    longer,
    spliced,
    overwritten,
    without,
    header_rewritten,
)


def mutated(content: bytes, draw: random.Random) -> bytes:
    """One mutation, at times several."""
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        content = draw.choice(MUTATIONS)(content, draw) if content else content
    return content


def edited(content: bytes, draw: random.Random) -> bytes:
    """One value of the document, or one tensor, is another, and the file is signed anew."""
    document, tensors = opened(content)
    if draw.random() < 0.3:
        name = draw.choice(sorted(tensors))
        tensor = tensors[name] if tensors[name].ndim else tensors[name].reshape(1)
        others = (tensor.transpose(0, -1), tensor[..., :-1], tensor[:0], tensor * torch.nan, tensor.double() + 1)
        tensors[name] = draw.choice(others).contiguous()
        return signed(document, tensors)
    place: Any = document
    while True:
        key = draw.choice(sorted(place) if isinstance(place, dict) else range(len(place)))
        inner = place[key]
        if not (isinstance(inner, dict | list) and inner) or draw.random() < 0.2:
            break
        place = inner
    place[key] = copy.deepcopy(draw.choice(VALUES))
    return signed(document, tensors)


def same(one: bytes, other: bytes) -> bool:
    (document, tensors), (others, their) = opened(one), opened(other)
    alike = document == others and tensors.keys() == their.keys()
    return alike and all(torch.equal(tensor, their[name]) for name, tensor in tensors.items())


def verdict(damaged: bytes, content: bytes | None) -> str:
    """How the loader takes a file; `content`: what it must then be, None where it may be another model.

    Any other exception than a refusal by name, and any other model, is the caller's to hear of.
    """
    try:
        model = model_from_bytes(damaged, "cpu", "shop.safetensors")
    except ModelFileError as fault:
        if fault.where != "shop.safetensors" or not fault.how:
            raise AssertionError(f"a refusal that does not say where, or how to mend it: {fault}") from fault
        return "refused"
    if content is not None and not same(model_bytes(model), content):
        raise AssertionError("another model was loaded")
    return "the same model" if content is not None else "a model that fits together"


def fuzz(contents: list[bytes], count: int, seed: int, share_edited: float = 0.002) -> Counter[str]:
    """Load so many mutated files; how they were taken. The file that fails is told by its number and the seed."""
    taken: Counter[str] = Counter()
    for number in range(count):
        draw = random.Random(f"{seed}/{number}")
        content = draw.choice(contents)
        anew = draw.random() < share_edited
        damaged = edited(content, draw) if anew else mutated(content, draw)
        try:
            taken[verdict(damaged, None if anew else content)] += 1
        except BaseException as fault:
            fault.add_note(f"file {number} of seed {seed}")
            raise
    return taken


def main() -> None:
    from tiny import MODALITIES, fit

    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--count", type=int, default=1_000_000)
    options.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    asked = options.parse_args()
    print(f"seed {asked.seed}, {asked.count:,} files", flush=True)
    start = time.perf_counter()
    taken = fuzz([model_bytes(fit(each)) for each in MODALITIES], asked.count, asked.seed)
    print(", ".join(f"{count:,} {how}" for how, count in taken.items()), f"in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
