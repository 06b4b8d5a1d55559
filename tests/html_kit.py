"""Reading a page as a browser's parser does, and runs with evidence to show."""

from __future__ import annotations

import base64
import hashlib
import io
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from results import make_result

from robaudit.audit.result.document import Evidence, Result
from robaudit.audit.verdict.conclusion import conclude

VOID = {"meta", "link", "br", "img"}


class Page(HTMLParser):
    """Elements in order, text, and what is not nested as it should be."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.headings: list[tuple[int, str]] = []
        self.wrong: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        self.wrong += [f"{tag} stays open" for tag in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if len(dict(attrs)) != len(attrs):
            self.wrong.append(f"an attribute of {tag} twice")
        if tag in ("h1", "h2", "h3"):
            self.headings.append((int(tag[1]), ""))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.wrong.append(f"{tag} ends where it did not begin")
        self.texts.append(" " if tag in ("td", "th", "dt", "dd", "li") else "")

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.texts.append(data)
        if self.headings and self._open and self._open[-1] in ("h1", "h2", "h3"):
            level, text = self.headings[-1]
            self.headings[-1] = (level, text + data)

    def handle_comment(self, data: str) -> None:
        self.wrong.append(f"a comment: {data}")

    def handle_pi(self, data: str) -> None:
        self.wrong.append(f"an instruction: {data}")

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())

    @property
    def tags(self) -> Counter[str]:
        return Counter(tag for tag, _ in self.elements)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def pictures(self) -> list[tuple[Image.Image, str]]:
        """Decoded, with their alternative texts."""
        found = []
        for attributes in self.all("img"):
            kind, _, data = (attributes["src"] or "").partition(",")
            assert kind == "data:image/png;base64"
            image = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
            image.load()
            found.append((image, attributes["alt"] or ""))
        return found


def write_run(
    folder: Path,
    original: np.ndarray,
    adversarial: np.ndarray,
    *,
    input: dict[str, Any] | None = None,
    confidence: bool = True,
    **changes: Any,
) -> Result:
    """A run directory of adversarial examples [N, *shape], of classes 0 to 9, all broken by apgd-ce."""
    folder.mkdir(exist_ok=True)
    n = len(original)
    arrays = {
        "original": original.astype(np.float32),
        "adversarial": adversarial.astype(np.float32),
        "index": np.arange(n),
        "label": np.arange(n) % 10,
        "prediction": (np.arange(n) + 1) % 10,
        "attack": np.array(["apgd-ce"] * n),
    }
    if confidence:
        arrays["confidence"] = np.tile([0.875, 0.625], (n, 1))
    np.savez(folder / "evidence.npz", **arrays)
    digest = hashlib.sha256((folder / "evidence.npz").read_bytes()).hexdigest()
    samples = [
        {"id": f"img/{i}.png", "index": i, "label": i % 10, "clean_prediction": i % 10, "broken_by": "apgd-ce"}
        | {"adversarial_prediction": (i + 1) % 10}
        for i in range(n)
    ]
    draft = make_result(
        evidence=Evidence(path="evidence.npz", sha256=digest, count=n),
        samples=samples,
        **{"data": {"classes": [f"kind {i}" for i in range(10)]}} | changes,
    )
    if input is not None:
        spec = draft.target.input.model_copy(update=input)
        draft = draft.model_copy(update={"target": draft.target.model_copy(update={"input": spec})})
    result = conclude(draft, [])
    (folder / "result.json").write_text(result.to_json())
    return result
