// One thread follows a chain: every address comes out of the load before, so the time of a hop is the latency of a
// load (and the few cycles of computing an address from an index). state[0] is where the chain was left, so that the
// next launch goes on from there and finds lines that were not used just before; state[1] counts launches, from
// 0xffffffff on. An index outside of the array, such as that of a fresh state, means the beginning.
extern "C" __global__ void chase(const unsigned int* __restrict__ next, unsigned int* __restrict__ state,
                                 unsigned int hops, unsigned int count)
{
    if (blockIdx.x != 0 || threadIdx.x != 0) {
        return;
    }
    unsigned int at = state[0] < count ? state[0] : 0;
#pragma unroll 8
    for (unsigned int hop = 0; hop < hops; ++hop) {
        at = next[at];
    }
    state[0] = at;
    state[1] += 1;
}
