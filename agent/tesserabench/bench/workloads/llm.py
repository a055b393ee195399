"""What a language model spends its time on, from the other suites."""

from tesserabench.bench.registry import INSTALLED

INSTALLED.suite(
    "llm",
    summary="layers, attention, decoding and norms of language models",
    members=(
        "gemm/linear",
        "attention/flash",
        "attention/naive",
        "attention/decode",
        "norm/softmax",
        "norm/rmsnorm",
        "norm/residual_rmsnorm",
    ),
)
