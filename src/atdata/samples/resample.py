"""Resampling sound to another rate, by a Kaiser-windowed sinc."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from atdata._arrays import AnyArray

_ZEROS: Final = 32
"""Zero crossings of the sinc on each side."""
_AT_ONCE: Final = 4096
"""Samples of the result that are computed at once."""
_BETA: Final = 9.0
"""Of the Kaiser window: about 90 dB of attenuation."""


def resampled(samples: AnyArray, rate: int, wanted: int) -> AnyArray:
    """Samples at another rate: n of them become ceil(n × wanted / rate).

    The first sample stays where it is in time. Before and after the sound is silence.

    Args:
        samples: Shape (frames, channels), float32.
        rate: Their frames a second.
        wanted: Those of the result.
    """
    divisor = math.gcd(rate, wanted)
    down, up = rate // divisor, wanted // divisor
    count = -(-len(samples) * up // down)
    out = np.zeros((count, samples.shape[1]), np.float32)
    if not count:
        return out
    cut = min(1.0, up / down)  # the lower Nyquist frequency, in terms of the input's
    half = math.ceil(_ZEROS / cut)
    padded = np.pad(samples, ((half, half + 1), (0, 0)))
    windows = sliding_window_view(padded, 2 * half + 1, axis=0)
    # Output n lies at n × down / up of the input: only `up` places between samples are possible.
    known = _weights(np.arange(up) / up, cut, half) if up <= _AT_ONCE else None
    for begin in range(0, count, _AT_ONCE):
        places = np.arange(begin, min(begin + _AT_ONCE, count)) * down
        phases = places % up
        weights = _weights(phases / up, cut, half) if known is None else known[phases]
        out[begin : begin + len(places)] = np.einsum("nct,nt->nc", windows[places // up], weights)
    return out


def _weights(places: AnyArray, cut: float, half: int) -> AnyArray:
    """What each sample around a place counts; shape (n, 2 half + 1).

    Args:
        places: Where it is between two samples, from 0 to 1; shape (n,).
        cut: The cutoff frequency, 1 for the Nyquist frequency.
        half: Samples that count on each side.
    """
    distances = np.arange(-half, half + 1) - places[:, None]
    weights = np.sinc(cut * distances) * _kaiser(distances / (half + 1))
    weights /= weights.sum(axis=1, keepdims=True)
    out: AnyArray = weights.astype(np.float32)
    return out


def _kaiser(places: AnyArray) -> AnyArray:
    """The Kaiser window from −1 to 1."""
    inside = np.sqrt(np.clip(1 - places**2, 0, None))
    window: AnyArray = np.i0(_BETA * inside) / np.i0(_BETA)
    return window
