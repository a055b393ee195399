// Two clocks read on every multiprocessor: its own cycle counter and the device's nanoseconds. Two rows of stamps give
// each multiprocessor's clock rate in between, and say when the work in between began. `slots` is the length of a row.
// One thread writes each stamp in one piece, so that two blocks on one multiprocessor cannot mix theirs.
extern "C" __global__ void stamp(ulonglong2* __restrict__ row, unsigned int slots)
{
    unsigned int processor;
    asm volatile("mov.u32 %0, %%smid;" : "=r"(processor));
    if (threadIdx.x == 0 && processor < slots) {
        ulonglong2 now;
        now.x = (unsigned long long)clock64();
        asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now.y));
        row[processor] = now;
    }
}

// Writes `count` successive readings of the device's nanoseconds: their steps are the resolution of a stamp.
extern "C" __global__ void timer_steps(unsigned long long* __restrict__ readings, unsigned int count)
{
    for (unsigned int i = 0; i < count; ++i) {
        unsigned long long now;
        asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
        readings[i] = now;
    }
}
