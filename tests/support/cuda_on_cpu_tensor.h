// What bench/kernels/element.cuh and tensor.cuh need on a host: 16-bit elements, mma.m16n8k16, ldmatrix and cp.async,
// after the PTX ISA's own tables of which lane holds what. Addresses are offsets into dynamic shared memory.
//
// A fetch happens only when its group is awaited: who forgets to wait reads the 0xFF that was there before.
#pragma once
#include <vector>

namespace cuda_on_cpu {

static inline float half_to_float(unsigned short bits)
{
    _Float16 half;
    memcpy(&half, &bits, sizeof(half));
    return (float)half;
}

static inline unsigned short float_to_half(float value)
{
    const _Float16 half = (_Float16)value;
    unsigned short bits;
    memcpy(&bits, &half, sizeof(bits));
    return bits;
}

static inline unsigned short float_to_bfloat(float value) // round to nearest, ties to even
{
    unsigned int bits;
    memcpy(&bits, &value, sizeof(bits));
    return value != value ? 0x7fff : (unsigned short)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static inline unsigned int shared_address(const void* pointer)
{
    const long offset = static_cast<const unsigned char*>(pointer) - dynamic_bytes;
    if (offset < 0 || offset >= (long)DYNAMIC_SHARED_BYTES) {
        fail("%p is no address of dynamic shared memory", pointer);
    }
    return (unsigned int)offset;
}

static inline unsigned char* sixteen_bytes(unsigned int address)
{
    if (address % 16 != 0 || address + 16 > DYNAMIC_SHARED_BYTES) {
        fail("shared address %u is misaligned or out of bounds", address);
    }
    return dynamic_bytes + address;
}


// ldmatrix.x4: lane i names row i % 8 of matrix i / 8.
template <bool TRANSPOSED> static inline void matrices(unsigned int (&r)[4], unsigned int row)
{
    unsigned int rows[32];
    exchange(0xffffffffu, row, rows);
    const unsigned int lane = self->number % 32;
    for (unsigned int matrix = 0; matrix < 4; ++matrix) {
        unsigned short pair[2];
        for (unsigned int i = 0; i < 2; ++i) {
            const unsigned int major = TRANSPOSED ? lane % 4 * 2 + i : lane / 4;
            const unsigned int minor = TRANSPOSED ? lane / 4 : lane % 4 * 2 + i;
            memcpy(&pair[i], sixteen_bytes(rows[matrix * 8 + major]) + minor * 2, 2);
        }
        r[matrix] = pair[0] | (unsigned int)pair[1] << 16;
    }
}

static inline void load_matrices(unsigned int (&r)[4], unsigned int row) { matrices<false>(r, row); }
static inline void load_matrices_transposed(unsigned int (&r)[4], unsigned int row) { matrices<true>(r, row); }

template <class T> static inline float element(const unsigned int (&registers)[6], unsigned int index, unsigned int half)
{
    T value;
    value.bits = (unsigned short)(registers[index] >> (16 * half));
    return widen(value);
}

struct Operands {
    unsigned int word[6];
};

// d (16, 8) += a (16, 16) b (16, 8); lane = 4 group + quad.
template <class T>
static inline void multiply(float (&d)[4], const unsigned int (&a)[4], unsigned int b0, unsigned int b1, T)
{
    Operands all[32];
    exchange(0xffffffffu, Operands{{a[0], a[1], a[2], a[3], b0, b1}}, all);
    const unsigned int lane = self->number % 32;
    for (unsigned int i = 0; i < 4; ++i) {
        const unsigned int row = lane / 4 + (i / 2) * 8, column = lane % 4 * 2 + i % 2;
        double sum = d[i];
        for (unsigned int k = 0; k < 16; ++k) {
            // a0: rows 0-7, k 0-7; a1: rows 8-15, k 0-7; a2: rows 0-7, k 8-15; a3: rows 8-15, k 8-15.
            const Operands& left = all[row % 8 * 4 + k % 8 / 2];
            const Operands& right = all[column * 4 + k % 8 / 2];
            sum += (double)element<T>(left.word, row / 8 + k / 8 * 2, k % 2) * element<T>(right.word, 4 + k / 8, k % 2);
        }
        d[i] = (float)sum;
    }
}

template <class T> static inline unsigned int pair_of(float low, float high, T)
{
    T first, second;
    narrow(low, first);
    narrow(high, second);
    return first.bits | (unsigned int)second.bits << 16;
}

struct Fetch {
    unsigned int to;
    const void* from;
    bool any;
};

static std::vector<std::vector<Fetch>> fetches[MOST_THREADS]; // of a thread: its groups, the last one still open

static inline std::vector<std::vector<Fetch>>& own_fetches()
{
    auto& groups = fetches[self->number];
    if (groups.empty()) {
        groups.emplace_back();
    }
    return groups;
}

static inline void fetch(unsigned int to, const void* from, bool any)
{
    sixteen_bytes(to);
    if (any && (uintptr_t)from % 16 != 0) {
        fail("fetches from the misaligned address %p", from);
    }
    own_fetches().back().push_back({to, from, any});
}

static inline void end_fetches() { own_fetches().emplace_back(); }

template <int N> static inline void await_fetches()
{
    auto& groups = own_fetches();
    while (groups.size() > N + 1) {
        for (const Fetch& item : groups.front()) {
            if (item.any) {
                memcpy(sixteen_bytes(item.to), item.from, 16);
            } else {
                memset(sixteen_bytes(item.to), 0, 16);
            }
        }
        groups.erase(groups.begin());
    }
}

static inline float power_of_two(float x) { return exp2f(x); }

} // namespace cuda_on_cpu
