// A libnvidia-ml.so.1 whose GPUs stand in a text file, so that a test can change them while a process reads them.
//
// The file is named by FAKE_NVML_STATE and read at every call. Its lines are `KEY VALUE`; keys of a GPU begin with its
// index. What has no line is not supported (3), and `INDEX.error.FUNCTION CODE` makes a function of a GPU fail. A number
// that moves by itself is written BASE+RATE@SINCE/PERIOD: RATE a second since SINCE, a moment of CLOCK_MONOTONIC in
// nanoseconds, in steps of PERIOD nanoseconds. Calls that change something are appended to FAKE_NVML_STATE.calls, and
// locked clocks are kept in FAKE_NVML_STATE.locked.INDEX, as a driver keeps them when the process is gone.
//
// Without headers of the system, so that the smallest compiler will do: what is needed of them is declared here.
typedef struct stream FILE;
typedef unsigned long size_t;
#define NULL ((void *)0)
#define CLOCK_MONOTONIC 1
struct timespec { long tv_sec, tv_nsec; };
int clock_gettime(int clock, struct timespec *now);
FILE *fopen(const char *path, const char *mode);
char *fgets(char *line, int size, FILE *file);
int fclose(FILE *file);
int fprintf(FILE *file, const char *format, ...);
int snprintf(char *text, size_t size, const char *format, ...);
int sscanf(const char *text, const char *format, ...);
int strncmp(const char *one, const char *two, size_t size);
size_t strlen(const char *text);
size_t strcspn(const char *text, const char *reject);
char *strsep(char **text, const char *separators);
double strtod(const char *text, char **end);
unsigned long strtoul(const char *text, char **end, int base);
int atoi(const char *text);
char *getenv(const char *name);
void *memset(void *memory, int value, size_t size);
void *calloc(size_t count, size_t size);
void free(void *memory);
int unlink(const char *path);

typedef unsigned long long u64;
typedef void *device_t;
enum { OK = 0, NOT_SUPPORTED = 3, NO_PERMISSION = 4, TOO_SMALL = 7, NO_DRIVER = 9, TIMED_OUT = 10 };

#define INDEX(device) ((int)(long)(device)-1)

static int find(const char *key, char *value, size_t size) {
    const char *path = getenv("FAKE_NVML_STATE");
    FILE *file = path ? fopen(path, "re") : NULL;
    char line[1024];
    size_t length = strlen(key);
    int found = 0;
    while (file && !found && fgets(line, sizeof line, file)) {
        if (strncmp(line, key, length) == 0 && line[length] == ' ') {
            line[strcspn(line, "\n")] = 0;
            snprintf(value, size, "%s", line + length + 1);
            found = 1;
        }
    }
    if (file) fclose(file);
    return found;
}

static int find_of(device_t device, const char *key, char *value, size_t size) {
    char name[128];
    snprintf(name, sizeof name, "%d.%s", INDEX(device), key);
    return find(name, value, size);
}

static double moving(const char *text) {
    double base = 0, rate = 0;
    u64 since = 0, period = 1;
    if (sscanf(text, "%lf+%lf@%llu/%llu", &base, &rate, &since, &period) < 3) return strtod(text, NULL);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    u64 ns = (u64)now.tv_sec * 1000000000ull + (u64)now.tv_nsec;
    u64 elapsed = ns > since ? (ns - since) / period * period : 0;
    return base + rate * ((double)elapsed / 1e9);
}

static int number(device_t device, const char *function, const char *key, double *value) {
    char name[128], text[1024];
    snprintf(name, sizeof name, "error.%s", function);
    if (find_of(device, name, text, sizeof text)) return atoi(text);
    if (!find_of(device, key, text, sizeof text)) return NOT_SUPPORTED;
    *value = moving(text);
    return OK;
}

static int text_of(device_t device, const char *function, const char *key, char *value, unsigned size) {
    char name[128], text[1024];
    snprintf(name, sizeof name, "error.%s", function);
    if (find_of(device, name, text, sizeof text)) return atoi(text);
    if (!find_of(device, key, text, sizeof text)) return NOT_SUPPORTED;
    snprintf(value, size, "%s", text);
    return OK;
}

static int global_text(const char *key, char *value, unsigned size) {
    char text[1024];
    if (!find(key, text, sizeof text)) return NOT_SUPPORTED;
    snprintf(value, size, "%s", text);
    return OK;
}

static void path_of(const char *suffix, char *path, size_t size) {
    snprintf(path, size, "%s.%s", getenv("FAKE_NVML_STATE"), suffix);
}

static void note(const char *what, device_t device, unsigned low, unsigned high) {
    char path[4096];
    path_of("calls", path, sizeof path);
    FILE *file = fopen(path, "ae");
    if (!file) return;
    fprintf(file, "%s %d %u %u\n", what, INDEX(device), low, high);
    fclose(file);
}

#define NUMBER(function, type, key)                              \
    int function(device_t device, type *value) {                 \
        double found = 0;                                        \
        int code = number(device, #function, key, &found);       \
        if (code == OK) *value = (type)(long long)(found + 0.5);           \
        return code;                                             \
    }
#define TEXT(function, key)                                      \
    int function(device_t device, char *value, unsigned size) {  \
        return text_of(device, #function, key, value, size);     \
    }
#define PAIR(function, first, second)                                                          \
    int function(device_t device, unsigned *one, unsigned *two) {                              \
        double a = 0, b = 0;                                                                   \
        int code = number(device, #function, first, &a);                                       \
        if (code == OK) code = number(device, #function, second, &b);                          \
        if (code == OK) *one = (unsigned)a, *two = (unsigned)b;                                \
        return code;                                                                           \
    }

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    char text[64];
    return find("count", text, sizeof text) ? OK : NO_DRIVER;
}
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(int code) { return code == NO_PERMISSION ? "Insufficient Permissions" : "fake error"; }
int nvmlSystemGetDriverVersion(char *value, unsigned size) { return global_text("driver", value, size); }
int nvmlSystemGetNVMLVersion(char *value, unsigned size) { return global_text("nvml", value, size); }
int nvmlSystemGetCudaDriverVersion_v2(int *value) {
    char text[64];
    if (!find("cuda", text, sizeof text)) return NOT_SUPPORTED;
    *value = atoi(text);
    return OK;
}
int nvmlSystemGetCudaDriverVersion(int *value) { return nvmlSystemGetCudaDriverVersion_v2(value); }
int nvmlDeviceGetCount_v2(unsigned *value) {
    char text[64];
    if (!find("count", text, sizeof text)) return NOT_SUPPORTED;
    *value = (unsigned)atoi(text);
    return OK;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, device_t *device) {
    *device = (device_t)(long)(index + 1);
    return OK;
}

TEXT(nvmlDeviceGetUUID, "uuid")
TEXT(nvmlDeviceGetName, "name")
TEXT(nvmlDeviceGetVbiosVersion, "vbios")
TEXT(nvmlDeviceGetInforomImageVersion, "inforom")
TEXT(nvmlDeviceGetSerial, "serial")
TEXT(nvmlDeviceGetBoardPartNumber, "board_part")
int nvmlDeviceGetGspFirmwareVersion(device_t device, char *value) {
    return text_of(device, "nvmlDeviceGetGspFirmwareVersion", "gsp", value, 64);
}
PAIR(nvmlDeviceGetCudaComputeCapability, "major", "minor")
PAIR(nvmlDeviceGetEccMode, "ecc", "ecc_pending")
PAIR(nvmlDeviceGetMigMode, "mig", "mig_pending")
PAIR(nvmlDeviceGetPowerManagementLimitConstraints, "power_limit_min", "power_limit_max")
NUMBER(nvmlDeviceGetPowerUsage, unsigned, "power")
NUMBER(nvmlDeviceGetEnforcedPowerLimit, unsigned, "power_limit")
NUMBER(nvmlDeviceGetPowerManagementLimit, unsigned, "power_limit")
NUMBER(nvmlDeviceGetPowerManagementDefaultLimit, unsigned, "power_limit_default")
NUMBER(nvmlDeviceGetTotalEnergyConsumption, u64, "energy")
NUMBER(nvmlDeviceGetCurrentClocksEventReasons, u64, "reasons")
NUMBER(nvmlDeviceGetComputeMode, unsigned, "compute_mode")
NUMBER(nvmlDeviceGetPersistenceMode, unsigned, "persistence")
NUMBER(nvmlDeviceGetMaxPcieLinkGeneration, unsigned, "pcie_generation_max")
NUMBER(nvmlDeviceGetCurrPcieLinkGeneration, unsigned, "pcie_generation")
NUMBER(nvmlDeviceGetMaxPcieLinkWidth, unsigned, "pcie_width_max")
NUMBER(nvmlDeviceGetCurrPcieLinkWidth, unsigned, "pcie_width")
NUMBER(nvmlDeviceGetMemoryBusWidth, unsigned, "bus_width")
NUMBER(nvmlDeviceGetVirtualizationMode, unsigned, "virtualization")
NUMBER(nvmlDeviceGetPcieReplayCounter, unsigned, "pcie_replay")
NUMBER(nvmlDeviceGetPerformanceState, unsigned, "performance_state")

int nvmlDeviceGetMemoryInfo(device_t device, u64 *memory) {
    double total = 0, used = 0;
    int code = number(device, "nvmlDeviceGetMemoryInfo", "memory_total", &total);
    if (code == OK) code = number(device, "nvmlDeviceGetMemoryInfo", "memory_used", &used);
    if (code == OK) memory[0] = (u64)total, memory[1] = (u64)(total - used), memory[2] = (u64)used;
    return code;
}

int nvmlDeviceGetUtilizationRates(device_t device, unsigned *rates) {
    double busy = 0, memory = 0;
    int code = number(device, "nvmlDeviceGetUtilizationRates", "utilization", &busy);
    if (code == OK) code = number(device, "nvmlDeviceGetUtilizationRates", "memory_utilization", &memory);
    if (code == OK) rates[0] = (unsigned)busy, rates[1] = (unsigned)memory;
    return code;
}

static int by_number(device_t device, const char *function, const char *prefix, unsigned which, double *value) {
    char key[64];
    snprintf(key, sizeof key, "%s.%u", prefix, which);
    return number(device, function, key, value);
}

int nvmlDeviceGetClockInfo(device_t device, unsigned kind, unsigned *value) {
    double found = 0;
    int code = by_number(device, "nvmlDeviceGetClockInfo", "clock", kind, &found);
    if (code == OK) *value = (unsigned)found;
    return code;
}
int nvmlDeviceGetMaxClockInfo(device_t device, unsigned kind, unsigned *value) {
    double found = 0;
    int code = by_number(device, "nvmlDeviceGetMaxClockInfo", "clock_max", kind, &found);
    if (code == OK) *value = (unsigned)found;
    return code;
}
int nvmlDeviceGetTemperature(device_t device, unsigned kind, unsigned *value) {
    double found = 0;
    int code = by_number(device, "nvmlDeviceGetTemperature", "temperature", kind, &found);
    if (code == OK) *value = (unsigned)found;
    return code;
}
int nvmlDeviceGetNvLinkState(device_t device, unsigned link, unsigned *value) {
    double found = 0;
    int code = by_number(device, "nvmlDeviceGetNvLinkState", "nvlink", link, &found);
    if (code == OK) *value = (unsigned)found;
    return code;
}
int nvmlDeviceGetTotalEccErrors(device_t device, unsigned kind, unsigned counter, u64 *value) {
    double found = 0;
    int code = by_number(device, "nvmlDeviceGetTotalEccErrors", counter ? "ecc_aggregate" : "ecc_volatile", kind, &found);
    if (code == OK) *value = (u64)found;
    return code;
}
int nvmlDeviceGetViolationStatus(device_t device, unsigned policy, u64 *times) {
    double found = 0;
    int code = by_number(device, "nvmlDeviceGetViolationStatus", "violation", policy, &found);
    if (code == OK) times[0] = 0, times[1] = (u64)found;
    return code;
}
int nvmlDeviceGetRemappedRows(device_t device, unsigned *ok, unsigned *bad, unsigned *pending, unsigned *failed) {
    double found = 0;
    int code = number(device, "nvmlDeviceGetRemappedRows", "remapped", &found);
    if (code == OK) *ok = (unsigned)found, *bad = 0, *pending = 0, *failed = 0;
    return code;
}

struct field {
    unsigned id, scope;
    long long timestamp, latency;
    unsigned type, code;
    union { double real; u64 whole; } value;
};
int nvmlDeviceGetFieldValues(device_t device, int count, struct field *fields) {
    double found = 0;
    char text[64];
    if (find_of(device, "error.nvmlDeviceGetFieldValues", text, sizeof text)) return atoi(text);
    for (int i = 0; i < count; i++) {
        found = 0;
        fields[i].code = (unsigned)by_number(device, "field", "field", fields[i].id, &found);
        fields[i].value.whole = (u64)(long long)(found + 0.5);
    }
    return OK;
}

struct process { unsigned pid; u64 memory; unsigned instance, compute; };
int nvmlDeviceGetComputeRunningProcesses_v3(device_t device, unsigned *count, struct process *processes) {
    char text[1024], *rest = text, *word;
    int code = text_of(device, "nvmlDeviceGetComputeRunningProcesses", "processes", text, sizeof text);
    if (code != OK) return code;
    unsigned room = *count, found = 0;
    while ((word = strsep(&rest, ","))) {
        if (!*word) continue;
        if (processes && found < room) processes[found] = (struct process){.pid = (unsigned)atoi(word)};
        found++;
    }
    *count = found;
    return found > room ? TOO_SMALL : OK;
}
// nvidia-ml-py asks for a version by its number or for none at all, depending on its own version.
int nvmlDeviceGetComputeRunningProcesses(device_t device, unsigned *count, struct process *processes) {
    return nvmlDeviceGetComputeRunningProcesses_v3(device, count, processes);
}

// A set of processors or nodes is written as the hexadecimal digits of its first 64 members.
static int mask(device_t device, const char *function, const char *key, unsigned size, unsigned long *set) {
    char text[64];
    int code = text_of(device, function, key, text, sizeof text);
    if (code != OK) return code;
    memset(set, 0, size * sizeof *set);
    set[0] = strtoul(text, NULL, 16);
    return OK;
}
int nvmlDeviceGetCpuAffinity(device_t device, unsigned size, unsigned long *set) {
    return mask(device, "nvmlDeviceGetCpuAffinity", "processors", size, set);
}
int nvmlDeviceGetMemoryAffinity(device_t device, unsigned size, unsigned long *set, unsigned scope) {
    (void)scope;
    return mask(device, "nvmlDeviceGetMemoryAffinity", "nodes", size, set);
}

int nvmlDeviceSetGpuLockedClocks(device_t device, unsigned low, unsigned high) {
    char path[4096], suffix[64];
    double refused = 0;
    int code = number(device, "nvmlDeviceSetGpuLockedClocks", "name", &refused);
    if (code != OK) return code;
    note("lock", device, low, high);
    snprintf(suffix, sizeof suffix, "locked.%d", INDEX(device));
    path_of(suffix, path, sizeof path);
    FILE *file = fopen(path, "we");
    if (!file) return NO_PERMISSION;
    fprintf(file, "%u %u\n", low, high);
    fclose(file);
    return OK;
}
int nvmlDeviceResetGpuLockedClocks(device_t device) {
    char path[4096], suffix[64];
    double refused = 0;
    int code = number(device, "nvmlDeviceResetGpuLockedClocks", "name", &refused);
    if (code != OK) return code;
    note("reset", device, 0, 0);
    snprintf(suffix, sizeof suffix, "locked.%d", INDEX(device));
    path_of(suffix, path, sizeof path);
    unlink(path);
    return OK;
}

// Every line of FAKE_NVML_STATE.events, `INDEX XID`, is told once to a process, in the order of the file.
struct event { device_t device; u64 kind, data; unsigned instance, compute; };
struct set { unsigned told; };
int nvmlEventSetCreate(struct set **set) {
    *set = calloc(1, sizeof **set);
    return OK;
}
int nvmlDeviceRegisterEvents(device_t device, u64 kinds, struct set *set) {
    double found = 0;
    (void)kinds, (void)set;
    return number(device, "nvmlDeviceRegisterEvents", "name", &found);
}
int nvmlEventSetWait_v2(struct set *set, struct event *event, unsigned milliseconds) {
    char path[4096], line[64];
    unsigned seen = 0;
    int index = 0, xid = 0, found = 0;
    (void)milliseconds;
    path_of("events", path, sizeof path);
    FILE *file = fopen(path, "re");
    while (file && !found && fgets(line, sizeof line, file))
        if (seen++ == set->told && sscanf(line, "%d %d", &index, &xid) == 2) found = 1;
    if (file) fclose(file);
    if (!found) return TIMED_OUT;
    set->told++;
    *event = (struct event){.device = (device_t)(long)(index + 1), .kind = 8, .data = (u64)xid};
    return OK;
}
int nvmlEventSetFree(struct set *set) {
    free(set);
    return OK;
}
