// Keeps one thread busy for a time: the planted slow-down of a drill.
extern "C" __global__ void spin(unsigned long long nanoseconds)
{
    unsigned long long begin;
    unsigned long long now;
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(begin));
    do {
        asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
    } while (now - begin < nanoseconds);
}
