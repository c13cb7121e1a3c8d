/* Fibers, barriers and collectives; see emulation.h. */
#include "emulation.h"

#include <cuda_runtime.h>

#include "switch.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

namespace affect_host {
namespace {

enum { STACK_BYTES = 64 * 1024, WARP = 32, N_BARRIERS = 16 };
enum waiting { RUNS, AT_WARP, AT_BLOCK, ENDED };

struct fiber_slot {
    index3 thread;
    stack_context context;
    waiting waits;
    int barrier; /* number, at AT_BLOCK */
    unsigned warp, lane;
};

/* A warp's meeting: lanes arrive until all of the mask are there. */
struct meeting {
    unsigned mask, arrived;
    const void *kind;
    combine_function *combine;
    void *lanes[WARP];
};

struct block_barrier_state {
    int arrived, expected; /* expected 0: all threads that have not ended */
    int sum, result;
};

struct grid_run {
    const std::function<void()> *kernel;
    std::vector<fiber_slot> fibers;
    std::vector<meeting> warps;
    block_barrier_state barriers[N_BARRIERS];
    unsigned n_ended;
    stack_context scheduler;
    fiber_slot *running;
    std::vector<unsigned char> shared;
    unsigned char *shared_aligned;
    bool reversed;
};

thread_local grid_run *current;
/* Stacks are kept for later launches. */
struct stack_pool {
    char *memory = nullptr;
    size_t count = 0;
    ~stack_pool() {
        if (memory) munmap(memory, count * STACK_BYTES);
    }
    char *get(size_t n) {
        if (n > count) {
            if (memory) munmap(memory, count * STACK_BYTES);
            void *made = mmap(nullptr, n * STACK_BYTES, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (made == MAP_FAILED) abort();
            memory = static_cast<char *>(made);
            count = n;
        }
        return memory;
    }
};
thread_local stack_pool stacks;

[[noreturn]] void die(const char *what) {
    const fiber_slot *f = current ? current->running : nullptr;
    if (f)
        fprintf(stderr, "cuda_host: %s (block %u,%u,%u thread %u,%u,%u)\n", what, blockIdx.x,
                blockIdx.y, blockIdx.z, f->thread.x, f->thread.y, f->thread.z);
    else
        fprintf(stderr, "cuda_host: %s\n", what);
    abort();
}

void yield() {
    grid_run *run = current;
    fiber_slot *mine = run->running;
    switch_stack(&mine->context, &run->scheduler);
}

void fiber_main() {
    enter_stack(&current->scheduler);
    (*current->kernel)();
    current->running->waits = ENDED;
    current->n_ended++;
    leave_stack(&current->running->context, &current->scheduler);
}

void resume(grid_run *run, fiber_slot *f) {
    run->running = f;
    threadIdx = f->thread;
    switch_stack(&run->scheduler, &f->context);
    run->running = nullptr;
}

/* Runs the lanes of a warp until each waits for its block or has ended. */
void run_warp(grid_run *run, unsigned warp) {
    unsigned begin = warp * WARP;
    unsigned end = begin + WARP < run->fibers.size() ? begin + WARP
                                                     : static_cast<unsigned>(run->fibers.size());
    for (;;) {
        bool progress = false, waits = false;
        for (unsigned i = 0; i < end - begin; i++) {
            fiber_slot *f = &run->fibers[run->reversed ? end - 1 - i : begin + i];
            if (f->waits == RUNS) {
                resume(run, f);
                progress = true;
            }
            waits = waits || f->waits == AT_WARP || f->waits == RUNS;
        }
        if (!waits) return;
        if (!progress) {
            for (unsigned i = begin; i < end; i++)
                if (run->fibers[i].waits == AT_WARP) {
                    run->running = &run->fibers[i];
                    die("lanes of a warp wait for lanes that do not come");
                }
        }
    }
}

/* Opens the barriers that all have reached; true when one was. */
bool open_barriers(grid_run *run) {
    bool any = false;
    for (int b = 0; b < N_BARRIERS; b++) {
        block_barrier_state *barrier = &run->barriers[b];
        if (barrier->arrived == 0) continue;
        int expected = barrier->expected ? barrier->expected
                                         : static_cast<int>(run->fibers.size() - run->n_ended);
        if (barrier->arrived > expected) die("more threads at a barrier than it expects");
        if (barrier->arrived < expected) continue;
        barrier->result = barrier->sum;
        barrier->arrived = barrier->sum = 0;
        for (fiber_slot &f : run->fibers)
            if (f.waits == AT_BLOCK && f.barrier == b) f.waits = RUNS;
        any = true;
    }
    return any;
}

void run_block(grid_run *run, const launch_shape &shape, index3 block) {
    size_t n = run->fibers.size();
    char *memory = stacks.get(n);
    memset(run->shared_aligned, 0xff, shape.shared);
    memset(run->barriers, 0, sizeof run->barriers);
    run->n_ended = 0;
    blockIdx = block;
    for (size_t i = 0; i < n; i++) {
        fiber_slot *f = &run->fibers[i];
        unsigned t = static_cast<unsigned>(i);
        f->thread = {t % shape.block.x, t / shape.block.x % shape.block.y,
                     t / (shape.block.x * shape.block.y)};
        f->waits = RUNS;
        f->warp = t / WARP;
        f->lane = t % WARP;
        prepare_stack(&f->context, memory + i * STACK_BYTES, STACK_BYTES, fiber_main);
    }
    unsigned n_warps = static_cast<unsigned>(run->warps.size());
    for (meeting &w : run->warps) w.arrived = 0;
    while (run->n_ended < n) {
        for (unsigned w = 0; w < n_warps; w++) run_warp(run, run->reversed ? n_warps - 1 - w : w);
        if (run->n_ended < n && !open_barriers(run)) die("threads wait at a barrier for ever");
    }
}

} // namespace

int lane() {
    return static_cast<int>(current->running->lane);
}
unsigned char *shared_memory() {
    return current->shared_aligned;
}

void run_grid(const launch_shape &shape, const std::function<void()> &kernel) {
    std::unique_ptr<grid_run> run(new grid_run());
    const char *order = getenv("AFFECT_CUDA_HOST_ORDER");
    size_t n = static_cast<size_t>(shape.block.x) * shape.block.y * shape.block.z;
    run->kernel = &kernel;
    run->fibers.resize(n);
    run->warps.resize((n + WARP - 1) / WARP);
    run->shared.resize(shape.shared + 256);
    run->shared_aligned = run->shared.data();
    while (reinterpret_cast<uintptr_t>(run->shared_aligned) % 128) run->shared_aligned++;
    run->reversed = order && strcmp(order, "reversed") == 0;
    grid_run *before = current;
    current = run.get();
    blockDim = shape.block;
    gridDim = shape.grid;
    for (unsigned z = 0; z < shape.grid.z; z++)
        for (unsigned y = 0; y < shape.grid.y; y++)
            for (unsigned x = 0; x < shape.grid.x; x++) run_block(run.get(), shape, {x, y, z});
    current = before;
}

void block_barrier(int number, int n_threads) {
    grid_run *run = current;
    if (number < 0 || number >= N_BARRIERS) die("no such barrier");
    run->barriers[number].arrived++;
    run->barriers[number].expected = n_threads;
    run->running->barrier = number;
    run->running->waits = AT_BLOCK;
    yield();
}

int block_count(int value) {
    current->barriers[0].sum += value != 0;
    block_barrier(0, 0);
    return current->barriers[0].result;
}

int block_any(int value) {
    return block_count(value) != 0;
}

void collective(unsigned mask, const void *kind, void *mine, combine_function *combine) {
    grid_run *run = current;
    fiber_slot *f = run->running;
    meeting *m = &run->warps[f->warp];
    unsigned bit = 1u << f->lane;
    if (!(mask & bit)) die("a lane that is not in its own mask");
    if (m->arrived == 0) {
        m->mask = mask;
        m->kind = kind;
        m->combine = combine;
        memset(m->lanes, 0, sizeof m->lanes);
    }
    if (m->mask != mask || m->kind != kind) die("lanes of a warp meet at different operations");
    m->arrived |= bit;
    m->lanes[f->lane] = mine;
    if (m->arrived != m->mask) {
        f->waits = AT_WARP;
        yield();
        return;
    }
    if (combine) combine(m->lanes);
    unsigned first = f->warp * WARP;
    for (unsigned i = 0; i < WARP && first + i < run->fibers.size(); i++)
        if ((m->mask >> i & 1u) && run->fibers[first + i].waits == AT_WARP)
            run->fibers[first + i].waits = RUNS;
    m->arrived = 0;
}

void warp_barrier(unsigned mask) {
    char nothing = 0;
    collective(mask, "syncwarp", &nothing, nullptr);
}

namespace {
struct vote {
    bool predicate;
    unsigned all;
};
void combine_ballot(void *const lanes[32]) {
    unsigned all = 0;
    for (int i = 0; i < 32; i++)
        if (lanes[i] && static_cast<vote *>(lanes[i])->predicate) all |= 1u << i;
    for (int i = 0; i < 32; i++)
        if (lanes[i]) static_cast<vote *>(lanes[i])->all = all;
}

float bf16_half(uint32_t pair, int half) {
    uint32_t bits = half ? pair & 0xffff0000u : pair << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
float as_float(uint32_t bits) {
    float value;
    bits &= 0xffffe000u;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* c of every lane += a (16, depth) b (depth, 8). */
template <int depth>
void multiply(void *const lanes[32], const float (*a)[depth], const float (*b)[8]) {
    for (int i = 0; i < 32; i++) {
        float *c = static_cast<product_lane *>(lanes[i])->c;
        int group = i / 4, place = i % 4;
        for (int e = 0; e < 4; e++) {
            int row = group + (e >= 2 ? 8 : 0), column = 2 * place + e % 2;
            double sum = c[e];
            for (int k = 0; k < depth; k++) sum += static_cast<double>(a[row][k]) * b[k][column];
            c[e] = static_cast<float>(sum);
        }
    }
}
} // namespace

unsigned ballot(unsigned mask, bool predicate) {
    vote mine = {predicate, 0};
    collective(mask, "ballot", &mine, combine_ballot);
    return mine.all;
}

void combine_mma_bf16(void *const lanes[32]) {
    float a[16][16], b[16][8];
    for (int i = 0; i < 32; i++) {
        const product_lane *l = static_cast<product_lane *>(lanes[i]);
        int group = i / 4, place = i % 4;
        for (int e = 0; e < 4; e++)
            for (int half = 0; half < 2; half++)
                a[group + (e % 2 ? 8 : 0)][2 * place + half + (e >= 2 ? 8 : 0)] =
                    bf16_half(l->a[e], half);
        for (int e = 0; e < 2; e++)
            for (int half = 0; half < 2; half++)
                b[2 * place + half + 8 * e][group] = bf16_half(l->b[e], half);
    }
    multiply<16>(lanes, a, b);
}

void combine_mma_tf32(void *const lanes[32]) {
    float a[16][8], b[8][8];
    for (int i = 0; i < 32; i++) {
        const product_lane *l = static_cast<product_lane *>(lanes[i]);
        int group = i / 4, place = i % 4;
        for (int e = 0; e < 4; e++)
            a[group + (e % 2 ? 8 : 0)][place + (e >= 2 ? 4 : 0)] = as_float(l->a[e]);
        for (int e = 0; e < 2; e++) b[place + 4 * e][group] = as_float(l->b[e]);
    }
    multiply<8>(lanes, a, b);
}

static void load_matrices(void *const lanes[32], bool transposed) {
    uint16_t rows[32][8];
    for (int i = 0; i < 32; i++) {
        const void *row = static_cast<matrix_lane *>(lanes[i])->row;
        if (reinterpret_cast<uintptr_t>(row) % 16) die("ldmatrix: a row that is not aligned");
        memcpy(rows[i], row, sizeof rows[i]);
    }
    for (int i = 0; i < 32; i++)
        for (int m = 0; m < 4; m++) {
            int r = i / 4, c = 2 * (i % 4);
            uint16_t low = transposed ? rows[8 * m + c][r] : rows[8 * m + r][c];
            uint16_t high = transposed ? rows[8 * m + c + 1][r] : rows[8 * m + r][c + 1];
            static_cast<matrix_lane *>(lanes[i])->r[m] = low | static_cast<uint32_t>(high) << 16;
        }
}
void combine_ldmatrix(void *const lanes[32]) {
    load_matrices(lanes, false);
}
void combine_ldmatrix_transposed(void *const lanes[32]) {
    load_matrices(lanes, true);
}

} // namespace affect_host
