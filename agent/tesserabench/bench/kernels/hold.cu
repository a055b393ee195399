// Holds a stream back until the host writes this hold's ticket into `words[0]`, or until the limit has passed: then the
// ticket is left in `words[1]`. The words lie in pinned host memory. The limit keeps a host that waits for the stream
// without releasing it (an allocation does) from waiting for ever, and neighbours on the device from starving.
extern "C" __global__ void hold(volatile unsigned int* words, unsigned int ticket, unsigned long long limit_ns)
{
    unsigned long long begin;
    unsigned long long now;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(begin));
    while (words[0] != ticket) {
        asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
        if (now - begin > limit_ns) {
            words[1] = ticket;
            __threadfence_system();
            return;
        }
    }
}

// A launch without any work: what is left of a timed region when nothing is done in it.
extern "C" __global__ void nothing()
{
}
