"""Damages TorchScript archives by structure: tables of contents, records, pickles by instruction, code by word."""

from __future__ import annotations

import io
import pickletools
import random
import re
import struct
import zipfile
from collections.abc import Callable

from fuzz_mutations import EXTREMES, LINES, mutate_bytes

TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"|[A-Za-z_][\w.]*|\d[\w.]*|\s+|.', re.DOTALL)
CLASS = re.compile(rb"class (\w+)")
WORDS = (
    *("torch.save", "torch.from_file", "ops.aten.save", "torch", "ops", "ops.aten", "torch.as_strided", "torch.set_"),
    *("torch.resize_", "x", "self", "None", "True", "torch.relu", "torch.empty", "torch.sparse_coo_tensor", "inf"),
    *("getattr", "uninitialized", "annotate", "unchecked_cast", "List[int]", "Tensor", "int", "Dict[str, Tensor]"),
    *("__torch__.torch.classes.quantized.LinearPackedParamsBase", "__torch__.gone", "CONSTANTS.c0", "fork", "print"),
    *("torch.max_unpool2d", "torch.embedding", "torch.gather", "torch.index_put_", "torch.scatter_", "torch.take"),
    *("torch._make_per_channel_quantized_tensor", "torch.quantize_per_tensor", "ops.quantized.linear_prepack"),
    *("torch.view", "torch.expand", "torch.unfold", "torch.pad", "torch.conv2d", "torch.repeat", "torch.slice"),
)
HOSTILE = (
    'ops.aten.save([1, 2], "{outside}/written")',
    'torch.save([1, 2], "{outside}/written")',
    '_9 = torch.from_file("{outside}/secret.bin", False, 4)',
    't = torch\n    t.save([1, 2], "{outside}/written")',
)
NAMES = (
    *(b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch._utils\n_rebuild_qtensor\n", b"ctorch\nFloatStorage\n"),
    *(
        b"ctorch._utils\n_rebuild_sparse_tensor\n",
        b"ctorch\nLongStorage\n",
        b"ctorch\nDoubleStorage\n",
        b"cos\nsystem\n",
    ),
    *(b"ctorch.jit._pickle\nrestore_type_tag\n", b"ctorch.jit._pickle\nbuild_intlist\n", b"ctorch\nQInt8Storage\n"),
    *(b"ctorch.jit._pickle\nbuild_tensorlist\n", b"c__torch__.torch.classes.quantized\nLinearPackedParamsBase\n"),
    *(b"ccollections\nOrderedDict\n", b"ctorch\ndevice\n", b"ctorch.distributed.rpc\nrref\n", b"c__main__\nTensorID\n"),
)
Record = tuple[str, bytes]


def mutate_script(content: bytes, rng: random.Random, outside: str) -> bytes:
    """One to three changes to the records of an archive, and at times one to the archive around them."""
    with zipfile.ZipFile(io.BytesIO(content)) as old:
        records = [(info.filename, old.read(info)) for info in old.infolist()]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        rng.choice(RECORDS)(records, rng)
    records = [(name, data.replace(b"{outside}", outside.encode())) for name, data in records]
    made = _zip(records, rng)
    return rng.choice(AROUND)(made, content, rng, outside) if rng.random() < 0.25 else made


def _zip(records: list[Record], rng: random.Random) -> bytes:
    made = io.BytesIO()
    packing = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(made, "w", packing) as new:
        for name, data in records:
            new.writestr(name, data)
    return made.getvalue()


def _swap(records: list[Record], rng: random.Random) -> None:
    """The contents of two records, or their order."""
    first, second = rng.randrange(len(records)), rng.randrange(len(records))
    if rng.random() < 0.7:
        a, b = records[first], records[second]
        records[first], records[second] = (a[0], b[1]), (b[0], a[1])
    else:
        records[first], records[second] = records[second], records[first]


def _names(records: list[Record], rng: random.Random) -> None:
    place = rng.randrange(len(records))
    name, data = records[place]
    top = name.partition("/")[0]
    odd = (
        name.upper(),
        name + "\0.txt",
        f"{top}/../{top}",
        f"{top}/data/99",
        f"{top}/code/other.py",
        f"x/{name}",
        name,
    )
    if rng.random() < 0.5:
        records[place] = rng.choice(odd), data
    else:
        records.insert(rng.randrange(len(records)), (rng.choice(odd), data))


def _sizes(records: list[Record], rng: random.Random) -> None:
    """A storage that is shorter or longer than the structure says."""
    places = [i for i, (name, _) in enumerate(records) if re.search(r"/(data|constants)/\d+$", name)]
    if not places:
        return
    place = rng.choice(places)
    name, data = records[place]
    records[place] = name, rng.choice((data[: rng.randrange(len(data) + 1)], data * 2, b"", mutate_bytes(data, rng)))


def _version(records: list[Record], rng: random.Random) -> None:
    values = {
        "version": (b"1\n", b"2", b"3", b"9", b"10", b"99", b"-1", b"", b"x"),
        "byteorder": (b"big", b"little", b"", b"x"),
    }
    for place, (name, _) in enumerate(records):
        word = name.rpartition("/")[2]
        if word in values and rng.random() < 0.6:
            records[place] = name, rng.choice(values[word])


def _pickle(records: list[Record], rng: random.Random) -> None:
    """Instructions of a pickle: numbers, names, texts; one taken out, doubled, or exchanged."""
    places = [i for i, (name, _) in enumerate(records) if name.endswith("pkl")]
    main = [i for i in places if records[i][0].endswith(("/data.pkl", "/constants.pkl"))]
    if not places:
        return
    place = rng.choice(main if main and rng.random() < 0.8 else places)
    name, data = records[place]
    try:
        found = [(op.name, position) for op, _, position in pickletools.genops(data)]
    except ValueError:  # damaged by an earlier change
        return
    ends = [position for _, position in found[1:]] + [len(data)]
    steps = [(op, data[start:end]) for (op, start), end in zip(found, ends, strict=True)]
    for _ in range(rng.choice((1, 1, 2, 4))):
        _step(steps, rng)
    records[place] = name, b"".join(raw for _, raw in steps)


def _step(steps: list[tuple[str, bytes]], rng: random.Random) -> None:
    kind = rng.random()
    chosen = rng.randrange(1, len(steps))
    if kind < 0.45:
        numbers = [i for i, (op, _) in enumerate(steps) if "INT" in op or op == "LONG1"]
        if numbers:
            value = rng.choice((*EXTREMES, rng.randrange(300)))
            steps[rng.choice(numbers)] = "LONG1", b"\x8a\x08" + struct.pack("<q", max(-(2**63), min(value, 2**63 - 1)))
    elif kind < 0.6:
        names = [i for i, (op, _) in enumerate(steps) if op == "GLOBAL"]
        if names:
            steps[rng.choice(names)] = "GLOBAL", rng.choice((*NAMES, steps[rng.choice(names)][1]))
    elif kind < 0.7:
        texts = [i for i, (op, _) in enumerate(steps) if op == "BINUNICODE"]
        if texts:
            word = rng.choice(
                (b"0", b"99", b"cuda:0", b"meta", b"List[Tensor]", b"Dict[str, int]", b"training", b"x" * 70_000)
            )
            steps[rng.choice(texts)] = "BINUNICODE", b"X" + struct.pack("<L", len(word)) + word
    elif kind < 0.8 and len(steps) > 3:
        del steps[chosen]
    elif kind < 0.9:
        steps.insert(chosen, steps[rng.randrange(len(steps))])
    else:
        other = rng.randrange(1, len(steps))
        steps[chosen], steps[other] = steps[other], steps[chosen]


def _code(records: list[Record], rng: random.Random) -> None:
    """Words of the code: exchanged, taken out, doubled; and lines that would do harm."""
    places = [i for i, (name, _) in enumerate(records) if name.endswith(".py")]
    if not places:
        return
    place = rng.choice(places)
    name, data = records[place]
    text = data.decode("utf-8", "replace")
    if rng.random() < 0.25:
        lines = text.split("\n")
        bodies = [i for i, line in enumerate(lines) if line.startswith("    ")] or [0]
        lines.insert(rng.choice(bodies), "    " + rng.choice((*HOSTILE, *LINES)))
        records[place] = name, "\n".join(lines).encode()
        return
    words = TOKEN.findall(text)
    for _ in range(rng.choice((1, 1, 2, 3))):
        if not words:
            break
        chosen = rng.randrange(len(words))
        kind = rng.random()
        if kind < 0.5:
            words[chosen] = rng.choice((*WORDS, *map(str, EXTREMES), rng.choice(words)))
        elif kind < 0.7:
            calls = [i for i, word in enumerate(words) if word.startswith(("torch.", "ops."))]
            if calls:
                words[rng.choice(calls)] = rng.choice([w for w in (*WORDS, *words) if w.startswith(("torch.", "ops."))])
        elif kind < 0.8:
            del words[chosen]
        elif kind < 0.9:
            words.insert(chosen, rng.choice(words))
        else:
            numbers = [i for i, word in enumerate(words) if word.isdecimal()]
            if numbers:
                words[rng.choice(numbers)] = str(rng.choice(EXTREMES))
    records[place] = name, "".join(words).encode()


def _loads_code(records: list[Record], rng: random.Random) -> None:
    """Code that runs when the archive is loaded: a ``__setstate__`` for a class of it."""
    places = [i for i, (name, data) in enumerate(records) if name.endswith(".py") and b"(Module)" in data]
    if not places:
        return
    place = rng.choice(places)
    name, data = records[place]
    path = name.partition("/code/")[2].removesuffix(".py").replace("/", ".")
    own = f"{path}.{CLASS.findall(data)[-1].decode()}"
    line = rng.choice((*HOSTILE, "pass", "self.training = False"))
    made = (
        f"  def __setstate__(self: {own},\n    state: Dict[str, Any]) -> NoneType:\n    {line}\n    return None\n"
        f"  def __getstate__(self: {own}) -> Dict[str, Any]:\n    return annotate(Dict[str, Any], {{}})\n"
    )
    records[place] = name, data.rstrip(b"\n") + b"\n" + made.encode()


RECORDS: tuple[Callable[[list[Record], random.Random], None], ...] = (
    *(_swap, _names, _sizes, _version, _loads_code, _pickle, _pickle, _pickle, _pickle, _code, _code, _code, _code),
)


def _end(content: bytes) -> tuple[int, int, int]:
    """(entries, size, start) of the table of contents."""
    found: tuple[int, int, int] = struct.unpack("<HLL", content[-12:-2])
    return found


def _two_tables(made: bytes, harmless: bytes, rng: random.Random, outside: str) -> bytes:
    """Two archives in one: which is read depends on which table of contents is believed."""
    with zipfile.ZipFile(io.BytesIO(harmless)) as old:
        shown = _zip([(info.filename, old.read(info)) for info in old.infolist()], random.Random(0))
    first, second = (made, shown) if rng.random() < 0.7 else (shown, made)
    count, _, _ = _end(first)
    _, size, start = _end(second)
    table, place = bytearray(second[start : start + size]), 0
    by = rng.choice((0, len(first) - 22, len(first)))
    while by and place + 46 <= len(table):
        name, extra, comment = struct.unpack_from("<3H", table, place + 28)
        struct.pack_into("<L", table, place + 42, struct.unpack_from("<L", table, place + 42)[0] + by)
        place += 46 + name + extra + comment
    stated = rng.choice((_end(first)[2], start, start + len(first)))
    head = first[: rng.choice((len(first) - 22, len(first)))]
    record = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, size, stated, 0)
    return head + second[:start] + bytes(table) + record


def _numbers(made: bytes, _: bytes, rng: random.Random, __: str) -> bytes:
    """A number of a header, of the table of contents, or of the end record."""
    marks = [match.start() for match in re.finditer(rb"PK(?:\x01\x02|\x03\x04|\x05\x06)", made)]
    place = rng.choice(marks) + rng.randrange(4, 46)
    width = rng.choice((1, 2, 4))
    value = rng.choice((0, 1, 8, 0xFF, 0xFFFF, 0xFFFFFFFF, rng.randrange(2**32))) & (256**width - 1)
    return made[:place] + value.to_bytes(width, "little") + made[place + width :]


def _around(made: bytes, _: bytes, rng: random.Random, __: str) -> bytes:
    start = _end(made)[2]
    place = rng.choice((0, start, len(made), len(made) - 22))
    return made[:place] + rng.choice((b"\0" * 4, b"PK\x03\x04", made[:30], b"PK\x05\x06" + bytes(18))) + made[place:]


AROUND: tuple[Callable[[bytes, bytes, random.Random, str], bytes], ...] = (
    *(_two_tables, _two_tables, _numbers, _numbers, _around),
    lambda made, _, rng, __: mutate_bytes(made, rng),
)
