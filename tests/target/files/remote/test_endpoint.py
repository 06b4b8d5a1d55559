"""What an ``endpoint.yaml`` may say, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from robaudit.errors import UsageError
from robaudit.target.files.remote.address import model_path
from robaudit.target.files.remote.endpoint import read_endpoint

DOCUMENTATION = Path(__file__).parents[4] / "docs/remote-targets.md"
TEMPLATE = """
url: https://example.com/classify
input: {name: image, shape: [null, 8, 8, 3], dtype: uint8}
request: {json: {image: $image}}
response: {scores: scores}
"""


def documented(key: str) -> list[str]:
    """YAML in the documentation that has a key."""
    blocks = re.findall(r"```yaml\n(.*?)```", DOCUMENTATION.read_text(encoding="utf-8"), re.DOTALL)
    return [block for block in blocks if re.search(rf"^{key}:", block, re.MULTILINE)]


def test_the_examples_of_the_documentation_are_read(tmp_path):
    first, template = (read_endpoint(written(tmp_path, block)) for block in documented("url"))
    assert (first.protocol, first.batch, template.protocol, template.batch) == ("oip", 64, "template", 1)
    (declared,) = documented("outputs")
    assert read_endpoint(written(tmp_path, f"url: https://example.com/v2/models/x\n{declared}")).input is not None


def written(folder: Path, text: str) -> Path:
    path = folder / "endpoint.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("max_batch: 3", "is no endpoint, which has a url"),
        ("url: ftp://example.com/x", "the url must be https://HOST/PATH"),
        ("url: http://example.com/x", "plain http to another machine"),
        ("url: https://me:pw@example.com/x", "holds a user name or password"),
        ("url: https://example.com/x\nmax_bach: 3", r"line 2 of .*unknown key 'max_bach'; did you mean 'max_batch'"),
        ("url: https://example.com/x\nauth: {envy: A}", r"unknown key 'auth.envy'; did you mean 'env'"),
        ("url: https://example.com/x\nauth: {header: X}", "auth: give env"),
        ("url: https://example.com/x\nauth: {env: A, file: b}", "auth: give env"),
        ("url: https://example.com/x\nmax_batch: 0", "line 2 .*max_batch: Input should be greater"),
        ("url: https://example.com/x\nprice: {amount: -1}", "price.amount"),
        ("url: https://example.com/x\nresponse: {scores: a}", "are of protocol: template"),
        ("url: https://example.com/x\nrequest: {json: {a: $row}}", "response is missing"),
        (TEMPLATE.replace("scores: scores", "scores: 'a[b]'"), "is no path such as"),
        (TEMPLATE.replace("[null, 8, 8, 3]", "null"), "input.shape is missing"),
        (TEMPLATE.replace("json: {image: $image}", "headers: {a: b}"), "give json or multipart"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(tmp_path, text, words):
    with pytest.raises(UsageError, match=words) as error:
        read_endpoint(written(tmp_path, text))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "url", ["http://localhost:8000/x", "http://127.0.0.1/x", "http://[::1]:80/x", "https://example.com/x"]
)
def test_addresses_that_are_safe(tmp_path, url):
    assert read_endpoint(written(tmp_path, f"url: {url}")).address.shown == url.replace(":80/", "/")


def test_plain_http_is_allowed_by_name_alone(tmp_path):
    text = "url: http://10.0.0.7:9000/x\nallow: {plain_http: true}"
    assert read_endpoint(written(tmp_path, text)).ports == (9000,)


def test_the_identity_is_of_what_decides_the_answers(tmp_path):
    plain = read_endpoint(written(tmp_path, TEMPLATE)).identity()
    faster = read_endpoint(
        written(tmp_path, TEMPLATE + "concurrency: 2\nrate: 60/min\nprice: {amount: 1}\nauth: {env: A}")
    ).identity()
    other = read_endpoint(written(tmp_path, TEMPLATE.replace("scores: scores", "scores: other"))).identity()
    assert plain == faster != other


def test_a_rate_is_that_of_inputs(tmp_path):
    assert read_endpoint(written(tmp_path, TEMPLATE)).per_second is None
    assert read_endpoint(written(tmp_path, TEMPLATE + "rate: 90/min")).per_second == 1.5
    for text in ("rate: fast", "rate: 0/min", "rate: 5"):
        with pytest.raises(UsageError, match=r"endpoint\.yaml.*rate: .*(2/s, 60/min|string)"):
            read_endpoint(written(tmp_path, TEMPLATE + text))


def test_a_url_becomes_a_file_that_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = model_path("https://Example.com:8443/v2/models/cats/")
    assert model_path(Path("https://Example.com:8443/v2/models/cats/")) == path  # as the command line hands it on
    assert read_endpoint(path).url == "https://example.com:8443/v2/models/cats"
    path.write_text(path.read_text() + "max_batch: 3\n")
    model_path("https://example.com:8443/v2/models/cats")
    assert read_endpoint(path).max_batch == 3
    assert model_path("models/a.onnx") == Path("models/a.onnx")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://example.com/x", "plain http"),
        ("https://a:b@example.com/x", "user name or password"),
        ("https://example.com/x?key=1", "what follows a question mark"),
    ],
)
def test_urls_that_are_refused_leave_nothing(tmp_path, monkeypatch, url, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=words):
        model_path(url)
    assert not list(tmp_path.iterdir())
