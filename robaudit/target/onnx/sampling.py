"""Reading an image at positions between its pixels, and cutting regions out of it."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from robaudit.target.onnx.arguments import along, constant, ints, is_known, torch_pads
from robaudit.target.onnx.graph import Node
from robaudit.target.onnx.registry import operator

_MODES = {"linear": "bilinear", "cubic": "bicubic"}


@operator("GridSample")
def _grid_sample(node: Node, x: Tensor, grid: Tensor) -> Tensor:
    mode = node.text("mode", "linear" if node.version >= 20 else "bilinear")
    mode = _MODES.get(mode, mode)
    padding = node.text("padding_mode", "zeros")
    rank, dtype = x.dim() - 2, x.dtype
    if rank > 3 or (rank == 3 and mode == "bicubic"):
        raise node.unsupported(f"mode {mode} in {rank} spatial dimensions")
    if not x.is_floating_point():
        x = x.to(grid.dtype)
    if rank == 1:
        # An image of one row, read at its middle.
        x = torch.unsqueeze(x, 2)
        grid = torch.unsqueeze(torch.cat([grid, torch.zeros_like(grid)], -1), 1)
    y = F.grid_sample(x, grid.to(x.dtype), mode, padding, bool(node.integer("align_corners", 0)))
    return (torch.squeeze(y, 2) if rank == 1 else y).to(dtype)


@operator("AffineGrid", host=(1,))
def _affine_grid(node: Node, theta: Tensor, size: Tensor) -> Tensor:
    batch, _, *space = ints(size)
    corners = bool(node.integer("align_corners", 0))
    axes = [_positions(length, theta.dtype, corners=corners) for length in space]
    # The last axis of the image comes first in a position: (x, y, z, 1).
    mesh = list(reversed(torch.meshgrid(*axes, indexing="ij")))
    points = torch.stack([*mesh, torch.ones_like(mesh[0])], -1).reshape(1, -1, len(space) + 1)
    grid = torch.matmul(points, theta.transpose(1, 2))
    return torch.reshape(grid, [batch, *space, len(space)])


def _positions(length: int, dtype: torch.dtype, *, corners: bool) -> Tensor:
    """From -1 to 1: the pixels' centres, or (corners) the outer pixels' centres at the ends."""
    if corners:
        # A single pixel is at both ends; ONNX Runtime puts it at the upper.
        return torch.linspace(-1.0, 1.0, length, dtype=dtype) if length > 1 else torch.ones(1, dtype=dtype)
    return (torch.arange(length, dtype=dtype) * 2 + 1) / length - 1


@operator("DeformConv")
def _deformed(
    node: Node, x: Tensor, weight: Tensor, offset: Tensor, bias: Tensor | None = None, mask: Tensor | None = None
) -> Tensor:
    if x.dim() != 4:
        raise node.unsupported(f"{x.dim() - 2} spatial dimensions")
    kernel = list(weight.shape[2:])
    taps = kernel[0] * kernel[1]
    strides, dilations = node.integers("strides") or [1, 1], node.integers("dilations") or [1, 1]
    pads = node.integers("pads") or [0] * 4
    parts, group = node.integer("offset_group", 1), node.integer("group", 1)
    batch, channels, height, width = x.shape
    out = list(offset.shape[2:])
    moved = torch.reshape(offset, [batch, parts, *kernel, 2, *out])
    places = []
    for axis, size in ((1, width), (0, height)):  # a grid's positions are (x, y)
        shape: list[int] = [1] * 6
        shape[2 + axis], shape[4 + axis] = kernel[axis], out[axis]
        tap = (torch.arange(kernel[axis]) * dilations[axis]).reshape(-1, 1)
        start = (torch.arange(out[axis]) * strides[axis] - pads[axis]).reshape(1, -1)
        at = moved[:, :, :, :, axis] + (tap + start).reshape(shape).to(x.dtype)
        places.append((2 * at + 1) / size - 1)
    grid = torch.reshape(torch.stack(places, -1), [batch * parts, taps * out[0], out[1], 2])
    images = torch.reshape(x, [batch * parts, channels // parts, height, width])
    seen = F.grid_sample(images, grid, "bilinear", "zeros", False)
    seen = torch.reshape(seen, [batch, parts, channels // parts, taps, *out])
    if mask is not None:
        seen = seen * torch.reshape(mask, [batch, parts, 1, taps, *out])
    columns = torch.reshape(seen, [batch, group, channels // group * taps, out[0] * out[1]])
    rows = torch.reshape(weight, [1, group, weight.shape[0] // group, channels // group * taps])
    y = torch.reshape(torch.matmul(rows, columns), [batch, weight.shape[0], *out])
    return y if bias is None else y + torch.reshape(bias, [-1, 1, 1])


@operator("RoiAlign")
def _roi_align(node: Node, x: Tensor, rois: Tensor, image: Tensor) -> Tensor:
    shift = node.text("coordinate_transformation_mode", "half_pixel" if node.version >= 16 else "output_half_pixel")
    half = shift == "half_pixel"
    out = [node.integer("output_height", 1), node.integer("output_width", 1)]
    corners = rois * node.number("spatial_scale", 1.0) - (0.5 if half else 0.0)
    lengths = [corners[:, 3] - corners[:, 1], corners[:, 2] - corners[:, 0]]
    if not half:
        lengths = [torch.clamp(length, min=1.0) for length in lengths]
    starts = [corners[:, 1], corners[:, 0]]
    ratio = node.integer("sampling_ratio", 0)
    if ratio > 0:
        return _aligned(node, x, image, starts, lengths, out, [ratio, ratio])
    if not is_known(rois):
        raise node.unsupported("the number of samples depends on the data")
    results = []
    for i in range(rois.shape[0]):
        part = slice(i, i + 1)
        samples = [max(0, math.ceil(float(length[i]) / n)) for length, n in zip(lengths, out, strict=True)]
        results.append(
            _aligned(node, x, image[part], [s[part] for s in starts], [n[part] for n in lengths], out, samples)
        )
    return torch.cat(results, 0)


def _aligned(
    node: Node,
    x: Tensor,
    image: Tensor,
    starts: list[Tensor],
    lengths: list[Tensor],
    out: list[int],
    samples: list[int],
) -> Tensor:
    """Regions with the same number of samples a bin."""
    own = torch.index_select(x, 0, image.to(torch.int64))
    low, high, near = [], [], []
    for axis in (0, 1):
        count, bins = samples[axis], out[axis]
        fractions = (torch.arange(bins).reshape(-1, 1) + (torch.arange(count) + 0.5) / max(count, 1)).reshape(1, -1)
        step = torch.unsqueeze(lengths[axis] / bins, 1)
        at = torch.unsqueeze(starts[axis], 1) + step * fractions.to(x.dtype)
        below, above, weight = _neighbours(at, x.shape[2 + axis])
        low.append(below)
        high.append(above)
        near.append(weight)
    if node.text("mode", "avg") == "max":
        return _largest_share(own, low, high, near, out, samples)
    rows, columns = (_bin_matrix(low[a], high[a], near[a], x.shape[2 + a], out[a]) for a in (0, 1))
    # [regions, 1, bins, height] @ [regions, channels, height, width] @ [regions, 1, width, bins]
    return torch.matmul(torch.matmul(torch.unsqueeze(rows, 1), own), torch.unsqueeze(columns, 1).transpose(2, 3))


def _neighbours(at: Tensor, size: int) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    """The pixels around each position and their weights; beyond one pixel outside there is nothing."""
    inside = torch.logical_and(at >= -1.0, at <= size)
    at = torch.clamp(at, 0.0, size - 1.0)
    below = torch.floor(at.detach())
    share = at - below
    near = (torch.where(inside, 1 - share, 0.0), torch.where(inside, share, 0.0))
    index = below.to(torch.int64)
    return index, torch.clamp(index + 1, max=size - 1), near


def _bin_matrix(low: Tensor, high: Tensor, near: tuple[Tensor, Tensor], size: int, bins: int) -> Tensor:
    """What each bin takes of each pixel: the mean over its samples, [regions, bins, size]."""
    pixels = torch.arange(size).reshape(1, 1, -1)
    matrix = sum(
        torch.where(torch.unsqueeze(index, 2) == pixels, torch.unsqueeze(weight, 2), 0.0)
        for index, weight in zip((low, high), near, strict=True)
    )
    assert isinstance(matrix, Tensor)
    shape = [low.shape[0], bins, low.shape[1] // bins, size]
    return torch.sum(torch.reshape(matrix, shape), 2) / max(shape[2], 1)


def _largest_share(
    own: Tensor,
    low: list[Tensor],
    high: list[Tensor],
    near: list[tuple[Tensor, Tensor]],
    out: list[int],
    samples: list[int],
) -> Tensor:
    """Mode max: of the weighted pixels around all samples the largest, not of the interpolated values."""
    regions, channels, height, width = own.shape
    flat = torch.reshape(own, [regions, channels, height * width])
    best: Tensor | None = None
    for rows, row_weight in zip((low[0], high[0]), near[0], strict=True):
        for columns, column_weight in zip((low[1], high[1]), near[1], strict=True):
            index = torch.unsqueeze(rows, 2) * width + torch.unsqueeze(columns, 1)
            weight = torch.unsqueeze(torch.unsqueeze(row_weight, 2) * torch.unsqueeze(column_weight, 1), 1)
            points = [regions, 1, index.shape[1] * index.shape[2]]
            spread = torch.reshape(index, points).expand([regions, channels, points[2]])
            value = torch.reshape(torch.gather(flat, 2, spread), [regions, channels, *index.shape[1:]]) * weight
            best = value if best is None else torch.maximum(best, value)
    assert best is not None
    binned = torch.reshape(best, [regions, channels, out[0], samples[0], out[1], samples[1]])
    return torch.amax(binned, [3, 5])


@operator("MaxRoiPool")
def _max_roi_pool(node: Node, x: Tensor, rois: Tensor) -> Tensor:
    bins = node.integers("pooled_shape") or [1, 1]
    # Halves away from zero, as C's round does.
    scaled = rois[:, 1:] * node.number("spatial_scale", 1.0)
    corners = torch.sign(scaled) * torch.floor(torch.abs(scaled) + 0.5)
    own = torch.index_select(x, 0, rois[:, 0].to(torch.int64))
    masks = []
    for axis, (first, last) in enumerate(((1, 3), (0, 2))):
        begin, end = corners[:, first : first + 1], corners[:, last : last + 1]
        step = torch.clamp(end - begin + 1, min=1.0) / bins[axis]
        number, size = torch.arange(bins[axis]).to(x.dtype).reshape(1, -1), x.shape[2 + axis]
        lower = torch.clamp(torch.floor(number * step) + begin, 0, size)
        upper = torch.clamp(torch.ceil((number + 1) * step) + begin, 0, size)
        pixel = torch.arange(size).reshape(1, 1, -1)
        masks.append(torch.logical_and(pixel >= torch.unsqueeze(lower, 2), pixel < torch.unsqueeze(upper, 2)))
    rows = [own.masked_fill(~masks[0][:, None, i, :, None], -math.inf).amax(2) for i in range(bins[0])]
    tall = torch.stack(rows, 2)  # [regions, channels, bins, width]
    pooled = torch.stack(
        [tall.masked_fill(~masks[1][:, None, None, i, :], -math.inf).amax(3) for i in range(bins[1])], 3
    )
    return torch.where(pooled == -math.inf, 0.0, pooled)


@operator("Col2Im", host=(1, 2))
def _columns_to_image(node: Node, x: Tensor, image: Tensor, block: Tensor) -> Tensor:
    space, kernel = ints(image), ints(block)
    rank, taps = len(space), math.prod(kernel)
    strides, dilations = node.integers("strides") or [1] * rank, node.integers("dilations") or [1] * rank
    pads = node.integers("pads") or [0] * (2 * rank)
    wide = [size + pads[i] + pads[i + rank] for i, size in enumerate(space)]
    counts = [(wide[i] - dilations[i] * (kernel[i] - 1) - 1) // strides[i] + 1 for i in range(rank)]
    index = torch.zeros([1] * (2 * rank), dtype=torch.int64)  # taps first, then positions
    for i in range(rank):
        tap, position = torch.arange(kernel[i]) * dilations[i], torch.arange(counts[i]) * strides[i]
        at = along(tap, 2 * rank, i) + along(position, 2 * rank, rank + i)
        index = index * wide[i] + at
    batch, channels = x.shape[0], x.shape[1] // taps
    empty = constant([batch, channels, math.prod(wide)], 0.0, x.dtype)
    columns = torch.reshape(x, [batch, channels, taps * math.prod(counts)])
    whole = torch.reshape(torch.index_add(empty, 2, index.reshape(-1), columns), [batch, channels, *wide])
    return F.pad(whole, torch_pads([-pad for pad in pads])) if any(pads) else whole


@operator("CenterCropPad", host=(1,))
def _centre(node: Node, x: Tensor, shape: Tensor) -> Tensor:
    axes = node.integers("axes") or list(range(x.dim()))
    pads = [0] * (2 * x.dim())
    for axis, wanted in zip(axes, ints(shape), strict=False):
        axis %= x.dim()
        size = x.shape[axis]
        if wanted < size:
            x = torch.narrow(x, axis, (size - wanted) // 2, wanted)
        else:
            pads[2 * (x.dim() - 1 - axis)] = (wanted - size) // 2
            pads[2 * (x.dim() - 1 - axis) + 1] = wanted - size - (wanted - size) // 2
    return F.pad(x, pads) if any(pads) else x
