"""Services with forms of their own: JSON with numbers or images, and forms."""

from __future__ import annotations

import base64
import email
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from remote_kit import Reply, Seen, reply, served

from robaudit.errors import UsageError
from robaudit.target.files.remote.answers import Answers
from robaudit.target.load import Allowed, open_target
from robaudit.target.reading.opened import OpenedTarget

pytest.importorskip("aiohttp", reason="NOT TESTED: the extra `remote` is not installed")
SHAPE = (8, 8, 3)
WEIGHTS = np.random.default_rng(0).normal(size=(8 * 8 * 3, 4))
WEIGHTS -= WEIGHTS.mean(0)
IMAGES = "input: {name: image, shape: [null, 8, 8, 3], dtype: uint8}\n"
ROWS = "input: {name: row, shape: [null, 5], dtype: float32}\n"
NAMES = ["ant", "bee", "cat", "dog"]


def truth(pixels: np.ndarray) -> list[float]:
    return (pixels.reshape(-1).astype(float) / 255 @ WEIGHTS).tolist()


def decoded(text: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def opened(url: str, folder: Path, text: str) -> OpenedTarget:
    path = folder / "endpoint.yaml"
    path.write_text(f"url: {url}/classify\n{text}", encoding="utf-8")
    return open_target(path, device="cpu", allowed=Allowed(answers=Answers()))


def images(count: int = 3) -> torch.Tensor:
    return torch.rand((count, 3, 8, 8), generator=torch.Generator().manual_seed(1))


def expected(u: torch.Tensor) -> torch.Tensor:
    pixels = (u.double() * 255).round().numpy().astype(np.uint8).transpose(0, 2, 3, 1)
    return torch.tensor([truth(one) for one in pixels])


def test_images_as_png_in_base64(tmp_path):
    def answer(seen: Seen) -> Reply:
        content = json.loads(seen.body)
        assert content["model"] == "v7"
        return reply({"result": [{"scores": truth(decoded(content["image"]["b64"]))}]})

    with served(answer) as server:
        target = opened(
            server.url,
            tmp_path,
            IMAGES + "request: {json: {model: v7, image: {b64: $image}}}\nresponse: {scores: 'result[0].scores'}",
        )
        assert torch.allclose(target.scores(images()).double(), expected(images()).double(), rtol=1e-5)
        assert target.spec.shape == (3, 8, 8)


def test_several_rows_in_a_request_with_classes_in_an_order_of_their_own(tmp_path):
    def answer(seen: Seen) -> Reply:
        predictions = []
        for row in json.loads(seen.body)["rows"]:
            order = np.argsort(row[:4])[::-1]
            predictions.append([{"label": NAMES[i], "score": row[i]} for i in order])
        return reply({"predictions": predictions})

    with served(answer) as server:
        target = opened(
            server.url,
            tmp_path,
            ROWS
            + "max_batch: 8\nrequest: {json: {rows: $rows}}\n"
            + "response: {scores: 'predictions[*][*].score', names: 'predictions[*][*].label',\n"
            + "  classes: [ant, bee, cat, dog]}",
        )
        points = torch.rand((6, 5), generator=torch.Generator().manual_seed(0))
        assert torch.equal(target.scores(points), points[:, :4])
        assert [len(json.loads(seen.body)["rows"]) for seen in server.posts][-1] == 6


def test_a_form_with_a_label_for_an_answer(tmp_path):
    def answer(seen: Seen) -> Reply:
        form = email.message_from_bytes(
            b"Content-Type: " + seen.headers["Content-Type"].encode() + b"\r\n\r\n" + seen.body
        )
        fields = {
            part.get_param("name", header="Content-Disposition"): part.get_payload(decode=True)
            for part in form.get_payload()
        }
        assert fields["lang"] == b"en"
        scores = truth(np.asarray(Image.open(io.BytesIO(fields["file"]))))
        return reply({"label": NAMES[int(np.argmax(scores))]})

    with served(answer) as server:
        target = opened(
            server.url,
            tmp_path,
            IMAGES
            + "request: {multipart: {file: $image, lang: en}}\n"
            + "response: {labels: label, classes: [ant, bee, cat, dog]}",
        )
        assert target.labels(images(8)).tolist() == expected(images(8)).argmax(1).tolist()
        assert target.num_classes == 4
        assert target.no_scores == "the file returns labels only"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (IMAGES + "request: {json: {image: x}}\nresponse: {scores: s}", "request sends no input"),
        (
            IMAGES + "max_batch: 4\nrequest: {json: {image: $image}}\nresponse: {scores: s}",
            "takes \\$images or \\$rows",
        ),
        (ROWS + "request: {json: {image: $image}}\nresponse: {scores: s}", "request sends images, which takes input"),
        (ROWS + "request: {json: {row: $row}}\nresponse: {scores: s}", "has no 's' on the path s; there are t"),
        (
            ROWS + "request: {json: {row: $row}}\nresponse: {scores: t, names: u, classes: [a, b, c]}",
            "no score for the class 'c'; say with response.missing",
        ),
    ],
)
def test_what_is_wrong_is_told(tmp_path, text, words):
    with (
        served(lambda seen: reply({"t": [0.25, 0.75], "u": ["b", "a"]})) as server,
        pytest.raises(UsageError, match=words),
    ):
        opened(server.url, tmp_path, text)
