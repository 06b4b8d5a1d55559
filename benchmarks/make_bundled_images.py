"""Make the bundled images, which a scan uses when its user has no data (stability mode).

What it does
    Cuts seven public-domain or CC0 photographs out of scikit-image's package data, and renders eight
    pictures of its own: four ray-marched scenes with shaded solids and four drawn ones. All are written as
    256 x 256 RGB JPEG files. `SOURCES.md` beside them, written by hand, names source and licence of each.

What it needs
    numpy, scipy and Pillow; for the photographs, the folder `skimage/data` of an unpacked scikit-image 0.26
    wheel (`--skimage`). The photographs' digests are checked against those that scikit-image publishes.

How to run it
    pip download --no-deps scikit-image==0.26.0 && unzip scikit_image-*.whl 'skimage/data/*'
    python benchmarks/make_bundled_images.py --skimage skimage/data

The rendered pictures depend on the seed only.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

Array = NDArray[np.float64]
SIZE = 256
OVER = 2  # every rendered picture is made at twice its size and reduced

# name, file, square crop (left, top, side)
PHOTOGRAPHS = (
    ("astronaut", "astronaut.png", (40, 0, 400)),
    ("chelsea", "chelsea.png", (75, 0, 300)),
    ("coffee", "coffee.png", (80, 0, 400)),
    ("rocket", "rocket.jpg", (130, 57, 370)),
    ("camera", "camera.png", (60, 30, 420)),
    ("deep_field", "hubble_deep_field.jpg", (500, 300, 400)),
    ("brick", "brick.png", (100, 100, 320)),
)
# SHA-256 as published in skimage/data/_registry.py
DIGESTS = {
    "astronaut.png": "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    "chelsea.png": "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
    "coffee.png": "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
    "rocket.jpg": "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
    "camera.png": "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a",
    "hubble_deep_field.jpg": "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4",
    "brick.png": "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf",
}


# --- small helpers -------------------------------------------------------------------------------------


def mix(a: Array, b: Array, t: Array) -> Array:
    """Blend from a to b by t, with t broadcast over the colour channel."""
    return a + (b - a) * t[..., None]


def smooth(lo: float, hi: float, x: Array) -> Array:
    """Smooth step from 0 at lo to 1 at hi (either order)."""
    t = np.clip((x - lo) / (hi - lo), 0, 1)
    return t * t * (3 - 2 * t)


def rgb(r: float, g: float, b: float) -> Array:
    """Give a linear colour."""
    return np.array([r, g, b], dtype=np.float64)


def grid(n: int) -> tuple[Array, Array]:
    """Pixel centres: x from 0 (left) to 1, y from 0 (top) to 1."""
    t = (np.arange(n) + 0.5) / n
    return np.meshgrid(t, t)


def noise2(n: int, cells: int, octaves: int, rng: np.random.Generator) -> Array:
    """Fractal value noise, n x n, scaled to 0..1."""
    total = np.zeros((n, n))
    for k in range(octaves):
        c = cells * 2**k
        lattice = rng.standard_normal((c + 3, c + 3))
        t = 1 + np.arange(n) / n * c
        rows, columns = np.meshgrid(t, t, indexing="ij")
        total += ndimage.map_coordinates(lattice, [rows, columns], order=3, mode="nearest") / 2**k
    return (total - total.min()) / (total.max() - total.min())


def noise1(x: Array, cells: int, octaves: int, rng: np.random.Generator) -> Array:
    """Fractal value noise along a line, about -1..1."""
    total = np.zeros_like(x)
    for k in range(octaves):
        c = cells * 2**k
        total += ndimage.map_coordinates(rng.standard_normal(c + 4), [1 + x * c], order=3, mode="nearest") / 2.2**k
    return total / 2


def noise3(p: Array, frequency: float, rng: np.random.Generator) -> Array:
    """Value noise at points of space, about -1..1 (a periodic lattice, interpolated smoothly)."""
    lattice = rng.uniform(-1, 1, (32, 32, 32))
    q = np.moveaxis(p * frequency, -1, 0)
    return ndimage.map_coordinates(lattice, q, order=1, mode="grid-wrap")


def finish(linear: Array) -> Image.Image:
    """Tone-map a linear picture, reduce it to the final size."""
    srgb = np.clip(linear, 0, 1) ** (1 / 2.2)
    return Image.fromarray((srgb * 255 + 0.5).astype(np.uint8)).resize((SIZE, SIZE), Image.Resampling.LANCZOS)


# --- a small ray marcher -------------------------------------------------------------------------------


class Surface(NamedTuple):
    """What the shading needs to know of hit points."""

    colour: Array
    shine: Array
    bump: Array | None = None


class Scene(NamedTuple):
    """A signed distance, a material, and where camera and light stand."""

    distance: Callable[[Array], Array]
    surface: Callable[[Array, Array], Surface]
    eye: Array
    look: Array
    light: Array
    sky: tuple[Array, Array]
    zoom: float = 2.6


def unit(v: Array) -> Array:
    """Scale vectors to length 1."""
    return v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-12)


def march(distance: Callable[[Array], Array], origin: Array, ray: Array, far: float, steps: int) -> tuple[Array, Array]:
    """Sphere tracing; the distance travelled, and the smallest opening angle met (for soft shadows)."""
    travelled = np.full(len(ray), 0.02)
    opening = np.ones(len(ray))
    active = np.arange(len(ray))
    for _ in range(steps):
        d = distance(origin[active] + ray[active] * travelled[active, None])
        opening[active] = np.minimum(opening[active], 12 * d / travelled[active])
        travelled[active] += np.maximum(d, 1e-4)
        active = active[(d > 5e-4) & (travelled[active] < far)]
        if not len(active):
            break
    return travelled, np.clip(opening, 0, 1)


def normal(distance: Callable[[Array], Array], p: Array) -> Array:
    """Gradient of the distance by central differences."""
    h = 1e-3
    return unit(np.stack([distance(p + e) - distance(p - e) for e in np.eye(3) * h], axis=-1))


def render(scene: Scene) -> Image.Image:
    """Render a scene with one sun, soft shadows, ambient occlusion and a sky gradient."""
    n, far = SIZE * OVER, 30.0
    x, y = grid(n)
    forward = unit(scene.look - scene.eye)
    right = unit(np.cross(forward, rgb(0, 1, 0)))
    up = np.cross(right, forward)
    ray = unit((2 * x.ravel() - 1)[:, None] * right + (1 - 2 * y.ravel())[:, None] * up + scene.zoom * forward)
    origin = np.broadcast_to(scene.eye, ray.shape)
    low, high = scene.sky
    picture = mix(low, high, np.clip(ray[:, 1] * 1.6 + 0.1, 0, 1))
    travelled, _ = march(scene.distance, origin, ray, far, 160)
    hit = np.flatnonzero(travelled < far)
    p = origin[hit] + ray[hit] * travelled[hit, None]
    nrm = normal(scene.distance, p)
    surface = scene.surface(p, nrm)
    if surface.bump is not None:
        nrm = unit(nrm + surface.bump)
    sun = unit(scene.light)
    lit = np.clip(nrm @ sun, 0, 1)
    _, shadow = march(scene.distance, p + 0.02 * nrm, np.broadcast_to(sun, p.shape), 12.0, 60)
    occlusion = np.clip(1 - 1.1 * sum((0.1 * k - scene.distance(p + nrm * 0.1 * k)) / 2**k for k in (1, 2, 3, 4)), 0, 1)
    half = unit(sun - ray[hit])
    gloss = surface.shine * np.clip((nrm * half).sum(-1), 0, 1) ** 60 * shadow
    ambient = mix(0.35 * low, 0.45 * high, 0.5 + 0.5 * nrm[:, 1]) * occlusion[:, None]
    colour = surface.colour * (ambient + rgb(1.05, 1.0, 0.9) * (lit * shadow)[:, None]) + gloss[:, None]
    fog = 1 - np.exp(-((travelled[hit] / 18) ** 3))
    picture[hit] = mix(colour, picture[hit], fog)
    return finish(picture.reshape(n, n, 3))


def sphere(p: Array, centre: Array, radius: float) -> Array:
    """Distance to a sphere."""
    return np.linalg.norm(p - centre, axis=-1) - radius


def box(p: Array, centre: Array, half: Array, rounding: float, turn: float = 0.0) -> Array:
    """Distance to a rounded box turned about the vertical."""
    q = p - centre
    c, s = np.cos(turn), np.sin(turn)
    q = np.stack([c * q[..., 0] - s * q[..., 2], q[..., 1], s * q[..., 0] + c * q[..., 2]], axis=-1)
    q = np.abs(q) - half + rounding
    return np.linalg.norm(np.maximum(q, 0), axis=-1) + np.minimum(q.max(-1), 0) - rounding


def cylinder(p: Array, centre: Array, radius: float, half: float) -> Array:
    """Distance to an upright cylinder."""
    q = p - centre
    d = np.stack([np.hypot(q[..., 0], q[..., 2]) - radius, np.abs(q[..., 1]) - half], axis=-1)
    return np.minimum(d.max(-1), 0) + np.linalg.norm(np.maximum(d, 0), axis=-1)


def torus(p: Array, centre: Array, ring: float, tube: float) -> Array:
    """Distance to a torus lying flat."""
    q = p - centre
    return np.hypot(np.hypot(q[..., 0], q[..., 2]) - ring, q[..., 1]) - tube


def choose(p: Array, parts: list[tuple[Callable[[Array], Array], Array, float]]) -> tuple[Array, Array, Array]:
    """Colour and shine of the nearest part, and which part it is."""
    which = np.argmin(np.stack([f(p) for f, _, _ in parts]), axis=0)
    return np.stack([c for _, c, _ in parts])[which], np.array([s for _, _, s in parts])[which], which


def planks(p: Array, rng: np.random.Generator) -> Array:
    """Give the colour of a table of wooden planks."""
    board = np.floor(p[:, 0] * 1.3)
    stretched = np.stack([p[:, 0] * 3 + board * 5.3, board * 1.7, p[:, 2] * 0.35], axis=-1)
    grain = noise3(stretched, 2.0, rng) + 0.5 * noise3(stretched, 7.0, rng)
    rings = 0.5 + 0.5 * np.sin(14 * grain + 3 * p[:, 0])
    seam = smooth(0.0, 0.03, np.abs(p[:, 0] * 1.3 - np.round(p[:, 0] * 1.3)))
    return mix(rgb(0.27, 0.13, 0.05), rgb(0.48, 0.27, 0.12), rings) * (0.35 + 0.65 * seam)[:, None]


def balls(rng: np.random.Generator) -> Image.Image:
    """Three balls on a chequered floor."""
    places = [(rgb(-0.95, 0.75, 0.2), 0.75), (rgb(0.75, 0.55, -0.35), 0.55), (rgb(0.2, 0.33, -1.25), 0.33)]
    colours = [rgb(0.75, 0.06, 0.05), rgb(0.05, 0.22, 0.65), rgb(0.9, 0.65, 0.05)]
    parts = [(lambda p: p[..., 1], rgb(1, 1, 1), 0.1)]
    parts += [(lambda p, c=c, r=r: sphere(p, c, r), k, 0.9) for (c, r), k in zip(places, colours, strict=True)]

    def surface(p: Array, _: Array) -> Surface:
        colour, shine, which = choose(p, parts)
        check = (np.floor(p[:, 0] * 1.4) + np.floor(p[:, 2] * 1.4)) % 2
        floor = mix(rgb(0.62, 0.6, 0.55), rgb(0.08, 0.1, 0.09), check)
        floor = floor * (0.85 + 0.15 * noise3(p, 6.0, rng))[:, None]
        stripe = (which == 1) & (np.abs(p[:, 1] - 0.75) < 0.2)
        colour = np.where(stripe[:, None], rgb(0.85, 0.82, 0.75), colour)
        return Surface(np.where((which == 0)[:, None], floor, colour), shine)

    return render(
        Scene(
            lambda p: np.min([f(p) for f, _, _ in parts], axis=0),
            surface,
            eye=rgb(0.3, 1.9, -4.6),
            look=rgb(-0.1, 0.5, 0),
            light=rgb(-0.7, 1.1, -0.8),
            sky=(rgb(0.75, 0.8, 0.85), rgb(0.25, 0.42, 0.75)),
        )
    )


def vase(rng: np.random.Generator) -> Image.Image:
    """A glazed vase on a wooden table in front of a wall."""

    def body(p: Array) -> Array:
        h = np.clip(p[..., 1], 0, 2.1)
        profile = 0.33 + 0.38 * np.sin(np.clip(h * 1.55 + 0.25, 0, np.pi)) ** 2 + 0.16 * smooth(1.75, 2.1, h)
        shell = np.hypot(p[..., 0], p[..., 2]) - profile
        shell = np.maximum(shell, p[..., 1] - 2.1)
        hollow = np.maximum(np.hypot(p[..., 0], p[..., 2]) - profile + 0.07, 0.3 - p[..., 1])
        return 0.6 * np.maximum(shell, -hollow)

    parts = [
        (lambda p: p[..., 1], rgb(1, 1, 1), 0.15),
        (lambda p: 2.5 - p[..., 2], rgb(0.55, 0.56, 0.46), 0.0),
        (body, rgb(0.1, 0.35, 0.4), 1.0),
    ]

    def surface(p: Array, _: Array) -> Surface:
        colour, shine, which = choose(p, parts)
        colour = np.where((which == 0)[:, None], planks(p, rng), colour)
        colour = np.where((which == 1)[:, None], colour * (0.9 + 0.1 * noise3(p, 5.0, rng))[:, None], colour)
        angle = np.arctan2(p[:, 2], p[:, 0])
        wave = np.abs(p[:, 1] - 1.0 - 0.1 * np.sin(9 * angle)) < 0.05
        bands = (np.abs(p[:, 1] - 1.35) < 0.04) | (np.abs(p[:, 1] - 0.65) < 0.04) | wave
        glaze = np.where(bands[:, None], rgb(0.85, 0.72, 0.45), colour * (1 + 0.35 * noise3(p, 3.0, rng))[:, None])
        return Surface(np.where((which == 2)[:, None], glaze, colour), shine)

    return render(
        Scene(
            lambda p: np.min([f(p) for f, _, _ in parts], axis=0),
            surface,
            eye=rgb(0.4, 2.0, -4.8),
            look=rgb(0, 0.95, 0),
            light=rgb(0.9, 1.1, -0.9),
            sky=(rgb(0.7, 0.68, 0.62), rgb(0.6, 0.6, 0.6)),
        )
    )


def oranges(rng: np.random.Generator) -> Image.Image:
    """Give two oranges with dimpled skin and a leaf on a blue cloth."""
    first, second = rgb(-0.35, 0.85, 0), rgb(1.0, 0.62, -0.75)

    def leaf(p: Array) -> Array:
        q = p - rgb(-0.02, 1.8, -0.05)
        turn = 0.5
        along = np.cos(turn) * q[..., 0] - np.sin(turn) * q[..., 2]
        across = np.sin(turn) * q[..., 0] + np.cos(turn) * q[..., 2]
        width = 0.2 * np.sin(np.pi * np.clip((along + 0.3) / 1.1, 0, 1)) + 1e-3
        flat = np.abs(q[..., 1] - 0.12 * np.sin(2.2 * along) - 0.35 * np.abs(across)) - 0.012
        return 0.5 * np.maximum(flat, np.maximum(np.abs(across) - width, np.abs(along - 0.25) - 0.55))

    parts = [
        (lambda p: p[..., 1] - 0.05 * np.sin(1.7 * p[..., 0] + 0.8 * p[..., 2]), rgb(0.16, 0.24, 0.42), 0.0),
        (
            lambda p: sphere(p * rgb(1, 1.06, 1), first * rgb(1, 1.06, 1), 0.85) / 1.06,
            rgb(0.92, 0.34, 0.02),
            0.5,
        ),
        (lambda p: sphere(p, second, 0.62), rgb(0.95, 0.42, 0.03), 0.5),
        (leaf, rgb(0.1, 0.34, 0.05), 0.3),
        (lambda p: cylinder(p, rgb(-0.33, 1.68, -0.02), 0.045, 0.12), rgb(0.2, 0.16, 0.06), 0.0),
    ]

    def surface(p: Array, _: Array) -> Surface:
        colour, shine, which = choose(p, parts)
        weave = 0.85 + 0.15 * np.sin(60 * p[:, 0]) * np.sin(60 * p[:, 2])
        stripe = smooth(0.42, 0.46, np.abs((p[:, 0] * 0.9 + p[:, 2] * 0.5) % 1.0 - 0.5))
        cloth = mix(colour, rgb(0.75, 0.76, 0.74), stripe) * weave[:, None]
        skin = (which == 1) | (which == 2)
        bump = 0.16 * np.stack([noise3(p + 3.1 * k, 14.0, rng) for k in range(3)], axis=-1) * skin[:, None]
        colour = np.where((which == 0)[:, None], cloth, colour * (1 + 0.12 * noise3(p, 4.0, rng))[:, None])
        return Surface(colour, shine, bump)

    return render(
        Scene(
            lambda p: np.min([f(p) for f, _, _ in parts], axis=0),
            surface,
            eye=rgb(0.5, 2.3, -4.3),
            look=rgb(0.2, 0.75, 0),
            light=rgb(-0.9, 1.2, -0.6),
            sky=(rgb(0.8, 0.76, 0.68), rgb(0.75, 0.75, 0.78)),
        )
    )


def blocks(rng: np.random.Generator) -> Image.Image:
    """Toy blocks: a cube, a cylinder, a ring and an arch on a carpet."""

    def arch(p: Array) -> Array:
        q = p - rgb(1.15, 0.55, 0.35)
        whole = box(p, rgb(1.15, 0.55, 0.35), rgb(0.75, 0.55, 0.3), 0.03)
        return np.maximum(whole, 0.42 - np.hypot(q[..., 0], q[..., 1] + 0.55))

    parts = [
        (lambda p: p[..., 1], rgb(0.4, 0.32, 0.24), 0.0),
        (lambda p: box(p, rgb(-0.85, 0.6, 0.1), rgb(0.6, 0.6, 0.6), 0.06, 0.6), rgb(0.8, 0.1, 0.07), 0.4),
        (lambda p: cylinder(p, rgb(-0.85, 1.55, 0.1), 0.38, 0.35) - 0.02, rgb(0.95, 0.7, 0.08), 0.4),
        (arch, rgb(0.07, 0.3, 0.7), 0.4),
        (lambda p: torus(p, rgb(0.25, 0.17, -1.05), 0.42, 0.17), rgb(0.1, 0.5, 0.18), 0.6),
    ]

    def surface(p: Array, nrm: Array) -> Surface:
        colour, shine, which = choose(p, parts)
        pile = 0.75 + 0.25 * noise3(p, 18.0, rng) + 0.15 * noise3(p, 2.0, rng)
        pattern = smooth(0.1, 0.13, np.abs(np.hypot(p[:, 0] - 0.1, p[:, 2] + 0.3) % 0.9 - 0.45))
        carpet = mix(rgb(0.5, 0.16, 0.12), colour, pattern) * pile[:, None]
        wood = colour * (0.92 + 0.12 * noise3(p * rgb(1, 6, 1), 3.0, rng))[:, None]
        bump = 0.25 * np.stack([noise3(p + k, 16.0, rng) for k in range(3)], axis=-1) * (which == 0)[:, None]
        return Surface(np.where((which == 0)[:, None], carpet, wood), shine, bump * nrm[:, 1:2])

    return render(
        Scene(
            lambda p: np.min([f(p) for f, _, _ in parts], axis=0),
            surface,
            eye=rgb(-0.6, 2.6, -4.9),
            look=rgb(0.1, 0.65, 0),
            light=rgb(-0.5, 1.2, -0.9),
            sky=(rgb(0.72, 0.74, 0.78), rgb(0.55, 0.6, 0.7)),
        )
    )


# --- drawn pictures ------------------------------------------------------------------------------------


def mask(draw: Callable[[ImageDraw.ImageDraw, float], None]) -> Array:
    """Coverage of a shape drawn by Pillow in units of the picture's width."""
    n = SIZE * OVER
    layer = Image.new("L", (n * 2, n * 2))
    draw(ImageDraw.Draw(layer), n * 2.0)
    return np.asarray(layer.resize((n, n), Image.Resampling.BOX), dtype=np.float64) / 255


def polygon(*points: tuple[float, float]) -> Array:
    """Coverage of a polygon."""
    return mask(lambda d, s: d.polygon([(x * s, y * s) for x, y in points], fill=255))


def ellipse(x: float, y: float, a: float, b: float) -> Array:
    """Coverage of an ellipse."""
    return mask(lambda d, s: d.ellipse([(x - a) * s, (y - b) * s, (x + a) * s, (y + b) * s], fill=255))


def clouds(rng: np.random.Generator, low: Array, high: Array, amount: float) -> Array:
    """Sky from low (at the horizon) to high, with clouds."""
    n = SIZE * OVER
    _, y = grid(n)
    cover = ndimage.zoom(noise2(n, 4, 6, rng)[: n // 2], (2, 1), order=1)
    cover = smooth(0.55, 0.85, cover) * amount
    return mix(mix(high, low, smooth(0, 0.8, y)), rgb(0.95, 0.95, 0.95), cover)


def mountains(rng: np.random.Generator) -> Image.Image:
    """Ridges at sunset above a lake that mirrors them."""
    n = SIZE * OVER
    x, y = grid(n)
    shore = 0.66
    sun = np.hypot(x - 0.62, y - 0.4)
    sky = mix(rgb(0.95, 0.45, 0.16), rgb(0.12, 0.16, 0.42), smooth(0.6, 0.0, y))
    sky = mix(sky, rgb(0.95, 0.55, 0.35), 0.7 * smooth(0.5, 0.8, noise2(n, 3, 6, rng)) * smooth(0.5, 0.1, y))
    sky = sky + rgb(1.0, 0.7, 0.35) * (np.exp(-8 * sun) * 0.8)[..., None]
    picture = mix(sky, rgb(1.0, 0.93, 0.7), smooth(0.056, 0.05, sun))
    line = grid(n)[0][0]
    for k, (base, height) in enumerate([(0.42, 0.13), (0.5, 0.1), (0.58, 0.07)]):
        ridge = base - height * noise1(line, 3 + 2 * k, 6, rng)
        depth = y - ridge[None]
        rock = mix(rgb(0.36, 0.22, 0.3), rgb(0.03, 0.05, 0.05), np.full_like(x, k / 2))
        rock = rock * (0.7 + 0.5 * noise2(n, 8, 5, rng))[..., None]
        if k == 0:
            rock = mix(rock, rgb(0.8, 0.6, 0.6), smooth(0.09, 0.02, depth + 0.08 * noise2(n, 12, 4, rng)))
        picture = mix(picture, rock, smooth(-0.001, 0.001, depth))
    ripple = 0.012 * noise2(n, 24, 3, rng) * (1 + 6 * (y - shore))
    wave = ripple * np.sin(900 * np.maximum(y - shore, 0) ** 0.7)
    rows = np.clip(2 * shore - y - 0.004 + wave, 0, shore) * n
    mirrored = np.stack(
        [ndimage.map_coordinates(picture[..., c], [rows, x * n - 0.5], order=1, mode="nearest") for c in range(3)],
        -1,
    )
    water = mirrored * rgb(0.62, 0.68, 0.78) + rgb(0.01, 0.02, 0.04)
    return finish(np.where((y > shore)[..., None], water, picture))


def sign(rng: np.random.Generator) -> Image.Image:
    """A no-entry sign on a post before sky and hedge."""
    n = SIZE * OVER
    x, y = grid(n)
    picture = clouds(rng, rgb(0.62, 0.78, 0.92), rgb(0.12, 0.34, 0.75), 0.9)
    leaves = noise2(n, 24, 4, rng)
    hedge = mix(rgb(0.02, 0.09, 0.02), rgb(0.2, 0.4, 0.08), smooth(0.3, 0.8, leaves))
    top = 0.74 + 0.04 * noise1(grid(n)[0][0], 10, 4, rng)
    picture = mix(picture, hedge, smooth(-0.002, 0.002, y - top[None]))
    post = polygon((0.475, 0.5), (0.525, 0.5), (0.525, 1.0), (0.475, 1.0))
    metal = mix(rgb(0.25, 0.26, 0.27), rgb(0.75, 0.76, 0.77), np.exp(-(((x - 0.49) / 0.012) ** 2)))
    picture = mix(picture, metal, post)
    light = (1.05 - 0.35 * np.hypot(x - 0.35, y - 0.2)) * (0.97 + 0.06 * noise2(n, 6, 5, rng))
    for radius, colour in (
        (0.315, rgb(0.55, 0.56, 0.57)),
        (0.305, rgb(0.9, 0.9, 0.9)),
        (0.29, rgb(0.72, 0.03, 0.05)),
    ):
        picture = mix(picture, colour * light[..., None], ellipse(0.5, 0.42, radius, radius))
    bar = mask(lambda d, s: d.rounded_rectangle([0.28 * s, 0.365 * s, 0.72 * s, 0.475 * s], 0.015 * s, fill=255))
    return finish(mix(picture, rgb(0.92, 0.92, 0.92) * light[..., None], bar))


def sailboat(rng: np.random.Generator) -> Image.Image:
    """A sailing boat on open water."""
    n = SIZE * OVER
    x, y = grid(n)
    horizon = 0.62
    picture = clouds(rng, rgb(0.75, 0.85, 0.92), rgb(0.16, 0.38, 0.72), 0.8)
    depth = np.clip((y - horizon) / (1 - horizon), 1e-3, 1)
    swell = noise2(n, 10, 5, rng)
    away = 1 / (depth + 0.12)
    places = [away * 0.35 * n, (0.5 + (x - 0.5) * away * 0.3) * n]
    waves = ndimage.map_coordinates(swell, places, order=1, mode="mirror")
    crest = smooth(0.45, 0.8, waves + 0.12 * noise2(n, 40, 3, rng))
    sea = mix(rgb(0.02, 0.12, 0.2), rgb(0.16, 0.4, 0.5), crest)
    sea = mix(sea, rgb(0.6, 0.72, 0.78), smooth(0.35, 0.0, depth) * 0.6)
    picture = mix(picture, sea, smooth(-0.001, 0.001, y - horizon))
    shade = 0.93 + 0.12 * (x - 0.4) + 0.04 * np.sin(60 * (y + 0.25 * x))
    hull = polygon((0.22, 0.66), (0.8, 0.64), (0.72, 0.75), (0.3, 0.75))
    stripe = polygon((0.225, 0.668), (0.795, 0.648), (0.785, 0.665), (0.235, 0.685))
    main = polygon((0.505, 0.08), (0.52, 0.6), (0.25, 0.615), (0.33, 0.45), (0.42, 0.27))
    jib = polygon((0.54, 0.14), (0.63, 0.36), (0.77, 0.61), (0.54, 0.6))
    mast = polygon((0.515, 0.05), (0.525, 0.05), (0.53, 0.66), (0.518, 0.66))
    mirror = np.clip(1 - np.abs(x - 0.5) / 0.3, 0, 1) * smooth(0.95, 0.74, y) * (y > 0.74) * (waves > 0.45)
    picture = mix(picture, rgb(0.75, 0.75, 0.72), 0.55 * mirror)
    picture = mix(picture, rgb(0.9, 0.88, 0.82) * shade[..., None], main)
    picture = mix(picture, rgb(0.85, 0.25, 0.12) * shade[..., None], jib)
    picture = mix(picture, rgb(0.3, 0.2, 0.1), mast)
    picture = mix(picture, mix(rgb(0.5, 0.5, 0.52), rgb(0.85, 0.85, 0.85), smooth(0.76, 0.64, y)), hull)
    picture = mix(picture, rgb(0.05, 0.12, 0.35), stripe)
    foam = smooth(0.012, 0.0, np.abs(y - 0.755 - 0.006 * np.sin(80 * x))) * smooth(0.3, 0.25, np.abs(x - 0.5))
    return finish(mix(picture, rgb(0.92, 0.94, 0.95), 0.8 * foam * smooth(0.3, 0.6, noise2(n, 30, 3, rng))))


def daisy(rng: np.random.Generator) -> Image.Image:
    """A daisy seen from above on blurred grass."""
    n = SIZE * OVER
    x, y = grid(n)
    blades = noise2(n, 5, 3, rng)
    streaks = ndimage.gaussian_filter(ndimage.rotate(noise2(n, 30, 3, rng), 35, reshape=False, mode="reflect"), (6, 2))
    meadow = 0.6 * blades + 1.2 * (streaks - streaks.mean()) + 0.2
    picture = mix(rgb(0.02, 0.08, 0.01), rgb(0.3, 0.5, 0.1), np.clip(meadow, 0, 1))
    cx, cy = 0.5, 0.48
    radius, angle = np.hypot(x - cx, y - cy), np.arctan2(y - cy, x - cx)
    for layer, count in enumerate((17, 16, 15)):
        for k in range(count):
            at = 2 * np.pi * (k + 0.5 * layer + 0.25 * rng.uniform(-1, 1)) / count
            length = 0.36 * rng.uniform(0.88, 1.0) - 0.03 * layer
            off = (angle - at + np.pi) % (2 * np.pi) - np.pi
            across = radius * np.sin(off) * (np.abs(off) < 1.2) + 9.0 * (np.abs(off) >= 1.2)
            t = np.clip(radius * np.cos(off) / length, 0, 1.2)
            width = 0.044 * np.sqrt(np.clip(1 - np.abs(2 * t - 1.05) ** 3, 0, 1)) * (t < 1.02)
            cover = smooth(0.001, -0.001, np.abs(across) - width) * (width > 0.002)
            veins = 0.95 + 0.05 * np.cos(across * 900)
            tone = (0.62 + 0.3 * t) * veins * (1 - 0.35 * (np.abs(across) / 0.05) ** 2) * (0.86 + 0.07 * layer)
            rim = smooth(0.012, -0.004, np.abs(across) - width) * smooth(0.0, 0.02, width) * (1 - cover)
            picture = picture * (1 - 0.35 * rim)[..., None]
            picture = mix(picture, rgb(0.98, 0.97, 0.95) * tone[..., None], cover)
    picture = picture * (1 - 0.5 * smooth(0.14, 0.09, radius))[..., None]
    dome = np.sqrt(np.clip(1 - (radius / 0.105) ** 2, 0, 1))
    florets = np.zeros_like(x)
    for k in range(320):
        r, a = 0.103 * np.sqrt((k + 0.5) / 320), k * np.pi * (3 - np.sqrt(5))
        spot = np.exp(-(((x - cx - r * np.cos(a)) ** 2 + (y - cy - r * np.sin(a)) ** 2) / 0.0035**2))
        florets = np.maximum(florets, spot)
    light = (0.35 + 0.65 * dome) * (0.55 + 0.45 * florets) * (1 - 1.5 * ((x - cx) + (y - cy)))
    heart = mix(rgb(0.8, 0.36, 0.01), rgb(1.0, 0.74, 0.05), florets) * light[..., None]
    return finish(mix(picture, heart, smooth(0.106, 0.103, radius + 0.002 * np.sin(60 * angle))))


RENDERED = (balls, vase, oranges, blocks, mountains, sign, sailboat, daisy)


def photograph(folder: Path, file: str, crop: tuple[int, int, int]) -> Image.Image:
    """Cut one photograph of scikit-image to a square and reduce it."""
    raw = (folder / file).read_bytes()
    if hashlib.sha256(raw).hexdigest() != DIGESTS[file]:
        raise SystemExit(f"{file}: not the file that scikit-image publishes under this name")
    left, top, side = crop
    with Image.open(folder / file) as image:
        cut = image.convert("RGB").crop((left, top, left + side, top + side))
    return cut.resize((SIZE, SIZE), Image.Resampling.LANCZOS)


def main() -> None:
    """Write the files."""
    root = Path(__file__).resolve().parents[1]
    p = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    p.add_argument("--skimage", type=Path, help="folder skimage/data; without it the photographs are left alone")
    p.add_argument("--out", type=Path, default=root / "robaudit" / "data" / "bundled")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--quality", type=int, default=85, help="JPEG quality")
    args = p.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    images: list[tuple[str, Image.Image | None]] = [
        (name, photograph(args.skimage, *rest) if args.skimage else None) for name, *rest in PHOTOGRAPHS
    ]
    images += [(f.__name__, f(np.random.default_rng([args.seed, k]))) for k, f in enumerate(RENDERED)]
    for k, (name, image) in enumerate(images):
        if image is not None:
            path = args.out / f"{k:02d}_{name}.jpg"
            image.save(path, quality=args.quality, optimize=True)
            print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
