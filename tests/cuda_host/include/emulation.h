/* A kernel's grid on the host: one fiber for each thread of a block, one block after another.
 *
 * A fiber runs until it waits: for its warp (shuffles, matrix products), for its block
 * (__syncthreads), or until it ends. Within a warp the lanes run in turn, so no two run at once,
 * but AFFECT_CUDA_HOST_ORDER=reversed turns the order of warps and lanes round: results that change
 * depend on a missing barrier. Threads that wait for different things, or for others that have
 * ended, stop the program with a message that names the kernel's place. */
#ifndef AFFECT_CUDA_HOST_EMULATION_H
#define AFFECT_CUDA_HOST_EMULATION_H

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <tuple>

namespace affect_host {

struct index3 {
    unsigned x, y, z;
};

int lane(); /* of the running fiber */

struct launch_shape {
    index3 grid, block;
    size_t shared;
};
void run_grid(const launch_shape &shape, const std::function<void()> &kernel);

/* The block's dynamic shared memory, NaNs at first. */
unsigned char *shared_memory();

/* Waits for all threads of the block; n_threads > 0: barrier `number` of so many threads. */
void block_barrier(int number, int n_threads);
int block_any(int value);
int block_count(int value);

/* Waits for the lanes of the mask. */
void warp_barrier(unsigned mask);
unsigned ballot(unsigned mask, bool predicate);

/* All lanes of the mask give `size` bytes; then `combine` is called once with the 32 pointers (NULL
 * where a lane is not in the mask), and may write through them; then all go on. kind: lanes that
 * meet must have given the same. */
typedef void combine_function(void *const lanes[32]);
void collective(unsigned mask, const void *kind, void *mine, combine_function *combine);

template <typename T> struct exchanged {
    T value, got;
    int from;
};
template <typename T> void combine_exchange(void *const lanes[32]) {
    for (int i = 0; i < 32; i++) {
        if (!lanes[i]) continue;
        exchanged<T> *mine = static_cast<exchanged<T> *>(lanes[i]);
        void *other = mine->from >= 0 && mine->from < 32 ? lanes[mine->from] : nullptr;
        mine->got = other ? static_cast<exchanged<T> *>(other)->value : mine->value;
    }
}
/* The value that lane `from` gives. */
template <typename T> T exchange(unsigned mask, T value, int from) {
    exchanged<T> mine = {value, value, from};
    collective(mask, reinterpret_cast<const void *>(&combine_exchange<T>), &mine,
               combine_exchange<T>);
    return mine.got;
}

/* Sums of products of a warp's fragments (engine/device/cuda/cuda_ptx.cuh says which is where). */
struct product_lane {
    float *c;
    const uint32_t *a;
    uint32_t b[2];
};
void combine_mma_bf16(void *const lanes[32]);
void combine_mma_tf32(void *const lanes[32]);

struct matrix_lane {
    uint32_t *r;
    const void *row;
};
void combine_ldmatrix(void *const lanes[32]);
void combine_ldmatrix_transposed(void *const lanes[32]);

} // namespace affect_host

#endif
