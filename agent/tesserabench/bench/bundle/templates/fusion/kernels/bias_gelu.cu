// variants: FUSED=0,1
// `bench validate` compiles every combination of the definitions named above.

__device__ inline unsigned long long thread_index() {
  return blockIdx.x * static_cast<unsigned long long>(blockDim.x) + threadIdx.x;
}

extern "C" __global__ void bias(const float* x, float* y, float amount, unsigned long long n) {
  const unsigned long long i = thread_index();
  if (i < n) y[i] = x[i] + amount;
}

extern "C" __global__ void bias_gelu(const float* x, float* y, float amount, unsigned long long n) {
  const unsigned long long i = thread_index();
  if (i >= n) return;
  const float v = FUSED ? x[i] + amount : x[i];
  y[i] = v / (1.0f + __expf(-1.702f * v));
}
