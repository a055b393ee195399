#pragma once

// Headers of the bundle are included in quotes, those of CUDA in angle brackets.
__device__ inline unsigned long long thread_index() {
  return blockIdx.x * static_cast<unsigned long long>(blockDim.x) + threadIdx.x;
}
