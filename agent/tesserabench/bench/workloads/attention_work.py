"""Attention: its operands, how they are checked, and the work of a CPU."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from tesserabench.bench.device.protocol import ArrayDevice
from tesserabench.bench.inputs import checksum
from tesserabench.bench.workloads.arrays import poison, to_host
from tesserabench.bench.workloads.elements import decode, normal_inputs, not_finite, storage

if TYPE_CHECKING:
    import numpy.typing as npt
    from tesserabench.bench.device.protocol import HostArrays

    Matrix = npt.NDArray[np.float64]

CHECKED_HEADS = 6
CHECKED_ROWS = 128
"""Queries of each checked head that are computed again in float64, spread from the first to the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """Q and O are (batch, heads, queries, head_dim), K and V (batch, kv_heads, keys, head_dim), row-major.

    Query i sees the keys up to i + keys - queries if `causal`, else all.
    """

    batch: int
    heads: int
    kv_heads: int
    queries: int
    keys: int
    head_dim: int
    causal: bool
    dtype: str

    @property
    def group(self) -> int:
        """Heads that share keys and values."""
        return self.heads // self.kv_heads

    @property
    def scale(self) -> float:
        """What scores are multiplied with."""
        return 1 / math.sqrt(self.head_dim)


class AttentionWork:
    """Operands and checks; whoever inherits computes."""

    def __init__(self, device: ArrayDevice, heads: Heads, seed: int) -> None:
        self.xp, self.heads = device.xp, heads
        queries = (heads.batch, heads.heads, heads.queries, heads.head_dim)
        keys = (heads.batch, heads.kv_heads, heads.keys, heads.head_dim)
        self.q = self._normal(queries, seed, 0)
        self.k = self._normal(keys, seed, 1)
        self.v = self._normal(keys, seed, 2)
        self.o: Any = self.xp.empty(queries, dtype=storage(heads.dtype))
        self._checked = np.unique(np.linspace(0, heads.batch * heads.heads - 1, num=CHECKED_HEADS).astype(np.int64))
        self._rows = np.unique(np.linspace(0, heads.queries - 1, num=CHECKED_ROWS).astype(np.int64))

    def _normal(self, shape: tuple[int, ...], seed: int, stream: int) -> Any:
        values = normal_inputs(self.xp, math.prod(shape), self.heads.dtype, seed=seed, stream=stream)
        return values.reshape(shape)

    def launch(self) -> None:
        """Do the work once."""
        raise NotImplementedError

    def poison(self) -> None:
        """Fill O with NaN patterns."""
        poison(self.o)

    def checksum(self) -> str:
        """Return a digest of Q, K and V."""
        return checksum(self.xp, self.q, self.k, self.v)

    def outputs(self) -> "HostArrays":
        """Return the compared rows of O, and how many elements of all are not finite."""
        rows = np.stack([self._exact(self.o, *divmod(int(at), self.heads.heads))[self._rows] for at in self._checked])
        return {"rows": rows, "unwritten": not_finite(self.xp, self.o, self.heads.dtype)}

    def _exact(self, array: Any, batch: int, head: int) -> "Matrix":
        """Return the matrix of one head in float64 on the host."""
        return np.asarray(decode(np, to_host(array[batch, head]), self.heads.dtype))

    def reference(self) -> "HostArrays":
        """Return the same computed in float64."""
        rows = np.stack([self._expected(*divmod(int(at), self.heads.heads)) for at in self._checked])
        return {"rows": rows, "unwritten": np.zeros(1)}

    def _expected(self, batch: int, head: int) -> "Matrix":
        heads = self.heads
        q = self._exact(self.q, batch, head)[self._rows]
        k, v = (self._exact(array, batch, head // heads.group) for array in (self.k, self.v))
        scores = q @ k.T * heads.scale
        if heads.causal:
            scores[np.arange(heads.keys) > self._rows[:, None] + heads.keys - heads.queries] = -np.inf
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        result: Matrix = weights @ v / weights.sum(axis=1, keepdims=True)
        return result


class CpuAttention(AttentionWork):
    """NumPy's products, with the scores in memory; each group of heads meets its keys as one matrix."""

    def __init__(self, device: ArrayDevice, heads: Heads, seed: int) -> None:
        super().__init__(device, heads, seed)
        # (batch, kv_heads, group * queries, ...): heads of a group lie side by side.
        grouped = (heads.batch, heads.kv_heads, heads.group * heads.queries)
        self._q = self.q.reshape(*grouped, heads.head_dim)
        self._o = self.o.reshape(*grouped, heads.head_dim)
        self._scores: npt.NDArray[np.float32] = np.empty((*grouped, heads.keys), dtype=np.float32)
        hidden = np.arange(heads.keys) > np.arange(heads.queries)[:, None] + heads.keys - heads.queries
        self._mask = np.tile(np.where(hidden, -np.inf, 0).astype(np.float32), (heads.group, 1))

    def launch(self) -> None:
        """Multiply, mask, normalise, multiply."""
        scores = self._scores
        np.matmul(self._q, self.k.swapaxes(2, 3), out=scores)
        np.multiply(scores, np.float32(self.heads.scale), out=scores)
        if self.heads.causal:
            np.add(scores, self._mask, out=scores)
        np.subtract(scores, scores.max(axis=3, keepdims=True), out=scores)
        np.exp(scores, out=scores)
        np.divide(scores, scores.sum(axis=3, keepdims=True), out=scores)
        np.matmul(scores, self.v, out=self._o)


class CpuNaive(CpuAttention):
    """As many queries as keys."""


class CpuDecode(CpuAttention):
    """One query a sequence."""
