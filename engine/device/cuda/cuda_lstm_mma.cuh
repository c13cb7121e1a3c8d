/* The walks of the persistent LSTM on tensor cores, for bf16 and tf32.
 *
 * A block has u / 16 warps; a warp owns 16 units. Forward: the recurrent product's rows (M) are
 * gates, one tile of 16 x 8 a gate, its columns (N) sequences, k the units of the step before: so
 * the four gates of a cell meet in one thread's accumulators. Backward: the rows are units, k the
 * gradients of all 4u sums. Either way the warp's rows of the matrix, (64, u) or (16, 4u), stay in
 * registers as fragments for the whole walk, 2u registers a thread in tf32, u in bf16; what is more
 * than 192 registers lies in shared memory. Outputs (or gradients of sums) cross warps through one
 * of two buffers in turn: one barrier a step. Cells, sums and accumulators are fp32.
 *
 * k is permuted: lane place p takes k's p * 4 .. p * 4 + 3 words of a chunk of 16 words, the same
 * for both factors, so that a thread reads B as one 16-byte word of its sequence's row.
 *
 * A slice of 8 sequences fills the 8 columns. In a slice of 4 columns 4..7 are empty; lanes of
 * places 2 and 3, whose accumulators belong to those, then take the cells of rows + 8 from places 0
 * and 1: every lane has one pair of cells, and a step half as many transcendentals a block. */
#ifndef AFFECT_CUDA_CUDA_LSTM_MMA_CUH
#define AFFECT_CUDA_CUDA_LSTM_MMA_CUH

#include "engine/device/cuda/cuda_lstm_walk.cuh"

namespace affect_lstm_walk {

/* Operands: what a 32-bit word of a factor holds. */
struct bf16_words {
    typedef as_bf16 stored;
    static const bool fast = true; /* functions */
    static const int in_word = 2;
    static const uint32_t ahead = 2; /* steps that a walk reads memory before its use */
    template <class F> static __device__ __forceinline__ uint32_t word(F at, int k) {
        return affect_pack_bf16(at(k), at(k + 1));
    }
    static __device__ __forceinline__ void store(unsigned char *row, int k, float x) {
        reinterpret_cast<__nv_bfloat16 *>(row)[k] = __float2bfloat16(x);
    }
    static __device__ __forceinline__ void store4(unsigned char *row, int k, float4 x) {
        *reinterpret_cast<uint2 *>(row + 2 * k) = as_bf16::four(x);
    }
    static __device__ __forceinline__ void multiply(float c[4], const uint32_t a[4], uint32_t b0,
                                                    uint32_t b1) {
        affect_mma_bf16(c, a, b0, b1);
    }
};

struct tf32_words {
    typedef as_float stored;
    static const bool fast = false;
    static const int in_word = 1;
    static const uint32_t ahead = 1; /* its steps are longer, and it has no register to spare */
    template <class F> static __device__ __forceinline__ uint32_t word(F at, int k) {
        return affect_to_tf32(at(k));
    }
    static __device__ __forceinline__ void store(unsigned char *row, int k, float x) {
        reinterpret_cast<uint32_t *>(row)[k] = affect_to_tf32(x);
    }
    static __device__ __forceinline__ void store4(unsigned char *row, int k, float4 x) {
        reinterpret_cast<uint4 *>(row)[k / 4] = make_uint4(
            affect_to_tf32(x.x), affect_to_tf32(x.y), affect_to_tf32(x.z), affect_to_tf32(x.w));
    }
    static __device__ __forceinline__ void multiply(float c[4], const uint32_t a[4], uint32_t b0,
                                                    uint32_t b1) {
        affect_mma_tf32(c, a, b0, b1);
    }
};

/* A warp's rows of the recurrent matrix: `tiles` of 16 rows, `depth` k's. */
template <class Words, int u, bool forward> struct matrix_shape {
    static const int tiles = forward ? 4 : 1, depth = forward ? u : 4 * u;
    static const int chunks = depth / (16 * Words::in_word); /* of 8 registers a tile */
    /* What lets ptxas spill nothing on any target, and fits 99 KB of shared memory. */
    static const int most = (forward ? 192 : u == 128 ? 176 : 160) / (8 * tiles);
    static const int kept = chunks < most ? chunks : most; /* in registers */
    static const int words = chunks * tiles * 2;           /* of 16 bytes, a thread */
    /* A sequence's row of B: rows of two neighbours in different halves of the 32 banks. */
    static const int row_bytes = (depth * 4 / Words::in_word + 127) / 128 * 128 + 64;

    static size_t shared_bytes(int slice) {
        int matrix = (words - kept * tiles * 2) * 2 * u * 16, bias = forward ? u * 16 : 0;
        int sequences = slice * static_cast<int>(sizeof(sequence));
        return static_cast<size_t>(2 * slice * row_bytes + bias + matrix + sequences);
    }

    /* Element of unit `unit`'s row: of its gate `tile`, forward. */
    static __device__ __forceinline__ float at(const float *recurrent, int tile, int unit, int k) {
        return forward ? recurrent[k * 4 * u + tile * u + unit]
                       : recurrent[unit * 4 * u + k % 4 * u + k / 4];
    }

    /* A thread's 16-byte word number `index` = (chunk, tile, half): the A of one instruction. */
    static __device__ __forceinline__ uint4 word(const float *recurrent, int index, int thread) {
        int half = index % 2, tile = index / 2 % tiles, chunk = index / 2 / tiles;
        int unit = thread / 32 * 16 + thread % 32 / 4, place = thread % 4;
        uint32_t a[4];
        for (int v = 0; v < 4; v++) {
            int k = ((chunk * 4 + place) * 4 + half * 2 + v / 2) * Words::in_word;
            a[v] = Words::word([&](int i) { return at(recurrent, tile, unit + v % 2 * 8, i); }, k);
        }
        return make_uint4(a[0], a[1], a[2], a[3]);
    }
};

template <class Words, int u, bool forward> struct fragments {
    typedef matrix_shape<Words, u, forward> shape;
    static const int tiles = shape::tiles, n_kept = shape::kept * tiles * 2;
    uint4 kept[n_kept];
    uint4 *others; /* shared: (words, threads) */

    /* Before a barrier. Returns what is behind the matrix in shared memory. */
    __device__ __forceinline__ unsigned char *load(unsigned char *shared, const walk &w) {
        const uint4 *from = w.matrix + blockIdx.y * shape::words * 2 * u + threadIdx.x;
        others = reinterpret_cast<uint4 *>(shared) + threadIdx.x;
#pragma unroll
        for (int i = 0; i < n_kept; i++) kept[i] = from[i * 2 * u];
        for (int i = n_kept; i < shape::words; i++) others[(i - n_kept) * 2 * u] = from[i * 2 * u];
        return shared + (shape::words - n_kept) * 2 * u * 16;
    }

    /* c[i], i < 4, sum to the product of tile i where there are four, else together to that of the
     * only one. row: of this lane's column (group), NULL where that is empty. */
    __device__ __forceinline__ void multiply(float c[4][4], const unsigned char *row) const {
        const uint4 *b = reinterpret_cast<const uint4 *>(row);
        if (row) b += threadIdx.x % 4;
#pragma unroll
        for (int chunk = 0; chunk < shape::kept; chunk++)
            multiply_chunk(c, kept + chunk * 2 * tiles, 1, b, chunk, chunk % 2);
        static_assert((shape::chunks - shape::kept) % 2 == 0, "chunks in shared memory are pairs");
#pragma unroll 1 /* more would not find registers */
        for (int chunk = shape::kept; chunk < shape::chunks; chunk += 2)
#pragma unroll
            for (int odd = 0; odd < 2; odd++)
                multiply_chunk(c, others + (chunk + odd - shape::kept) * 2 * tiles * 2 * u, 2 * u,
                               b, chunk + odd, odd);
    }

    /* words: of this chunk, `step` apart. */
    static __device__ __forceinline__ void multiply_chunk(float c[4][4], const uint4 *words,
                                                          int step, const uint4 *b_words, int chunk,
                                                          int odd) {
        uint4 b = make_uint4(0, 0, 0, 0);
        if (b_words) b = b_words[chunk * 4];
#pragma unroll
        for (int i = 0; i < 2 * tiles; i++) {
            uint4 word = words[i * step];
            uint32_t a[4] = {word.x, word.y, word.z, word.w};
            Words::multiply(c[forward ? i / 2 : odd * 2 + i], a, i % 2 ? b.z : b.x,
                            i % 2 ? b.w : b.y);
        }
    }
};

/* A thread's cells: pair p is (unit[p], sequences `place` and place + 1 of the slice). */
template <int slice> struct lane_cells {
    static const int pairs = slice / 4;
    uint32_t unit[pairs], place;
    uint32_t index[2];         /* in the batch */
    const sequence *sequences; /* [2], in shared memory: registers are short */

    /* shared: for `slice` sequences; they are there after a barrier. */
    __device__ __forceinline__ lane_cells(const walk &w, sequence *shared) {
        uint32_t warp = threadIdx.x / 32, group = threadIdx.x % 32 / 4, column = threadIdx.x % 4;
        place = 2 * (slice == 8 ? column : column % 2);
#pragma unroll
        for (uint32_t p = 0; p < pairs; p++)
            unit[p] = 16 * warp + group + 8 * (slice == 8 ? p : column / 2);
        index[0] = blockIdx.x * slice + place;
        index[1] = index[0] + 1;
        sequences = shared + place;
        if (threadIdx.x < slice)
            shared[threadIdx.x] = sequence_of(w, blockIdx.x * slice + threadIdx.x);
    }

    /* The row of B of this lane's column; NULL where the column is empty. */
    template <int row_bytes>
    static __device__ __forceinline__ const unsigned char *column(const unsigned char *buffer) {
        uint32_t group = threadIdx.x % 32 / 4;
        return group < slice ? buffer + group * row_bytes : nullptr;
    }

    /* The numbers of a tile that belong to this lane's cells. */
    static __device__ __forceinline__ void take(float to[pairs][2], const float c[4]) {
        if (slice == 8) {
#pragma unroll
            for (int i = 0; i < 4; i++) to[i / 2 % pairs][i % 2] = c[i];
        } else {
            uint32_t lane = threadIdx.x % 32;
            bool own = lane % 4 < 2;
            float low = __shfl_sync(0xffffffffu, c[2], static_cast<int>(lane & ~2u));
            float high = __shfl_sync(0xffffffffu, c[3], static_cast<int>(lane & ~2u));
            to[0][0] = own ? c[0] : low;
            to[0][1] = own ? c[1] : high;
        }
    }
};

/* Input sums of a lane's cells at one step. */
template <int u, int slice>
__device__ __forceinline__ void read_sums(float4 to[slice / 4][2], const walk &w,
                                          const lane_cells<slice> &cells, uint32_t k) {
#pragma unroll
    for (int e = 0; e < 2; e++) {
        size_t row = row_of(cells.sequences[e], time_of(w, k));
#pragma unroll
        for (int p = 0; p < slice / 4; p++)
            to[p][e] = reinterpret_cast<const float4 *>(w.sums)[unit_of<u>(w, row, cells.unit[p])];
    }
}

/* The cells of step k: outputs to `buffer` (rows of B) and to memory. products: of each gate. */
template <class Words, int u, int slice>
__device__ __forceinline__ void forward_cells(cell_state state[slice / 4][2], unsigned char *buffer,
                                              const walk &w, const lane_cells<slice> &cells,
                                              uint32_t k, const float products[4][slice / 4][2],
                                              const float4 sums[slice / 4][2], const float4 *bias) {
    size_t step = step_of<u>(w, cells.index[0], k, cells.unit[0]);
#pragma unroll
    for (uint32_t p = 0; p < slice / 4; p++)
#pragma unroll
        for (uint32_t e = 0; e < 2; e++) {
            uint32_t unit = cells.unit[p], place = cells.place + e;
            float4 product = make_float4(products[0][p][e], products[1][p][e], products[2][p][e],
                                         products[3][p][e]);
            float4 gates = gates_of<Words::fast>(add(add(sums[p][e], bias[unit]), product));
            bool masked = time_of(w, k) >= cells.sequences[e].length;
            state[p][e] = step_forward<Words::fast>(state[p][e], gates, masked);
            Words::store(buffer + place * matrix_shape<Words, u, true>::row_bytes,
                         static_cast<int>(unit), state[p][e].output);
            write_forward<typename Words::stored, u>(
                w, cells.index[e], k, unit, step + e * sequence_pitch<u>(w) + 8 * p,
                reserve_of<u, slice>(w, k, unit, place), state[p][e], gates, masked);
        }
}

template <class Words, int u, int slice>
__global__ void __launch_bounds__(2 * u, 1) forward_mma_kernel(walk w) {
    const int pairs = slice / 4, buffer_bytes = slice * matrix_shape<Words, u, true>::row_bytes;
    const uint32_t ahead = Words::ahead;
    unsigned char *buffers = affect_cuda_shared();
    float4 *bias = reinterpret_cast<float4 *>(buffers + 2 * buffer_bytes);
    fragments<Words, u, true> matrix;
    unsigned char *after = matrix.load(reinterpret_cast<unsigned char *>(bias + u), w);
    lane_cells<slice> cells(w, reinterpret_cast<sequence *>(after));
    if (threadIdx.x < u) bias[threadIdx.x] = bias_of<u>(w, threadIdx.x);
    __syncthreads();

    cell_state state[pairs][2] = {};
    float4 sums[ahead][pairs][2];
#pragma unroll
    for (uint32_t a = 0; a < ahead; a++)
        if (a < w.steps) read_sums<u, slice>(sums[a], w, cells, a);

    for (uint32_t begin = 0; begin < w.steps; begin += ahead) {
#pragma unroll
        for (uint32_t a = 0; a < ahead; a++) {
            uint32_t k = begin + a;
            if (k >= w.steps) break;
            float c[4][4] = {}, products[4][pairs][2];
            if (k)
                matrix.multiply(c, cells.template column<buffer_bytes / slice>(
                                       buffers + (k - 1) % 2 * buffer_bytes));
#pragma unroll
            for (int g = 0; g < 4; g++) cells.take(products[g], c[g]);
            forward_cells<Words, u, slice>(state, buffers + k % 2 * buffer_bytes, w, cells, k,
                                           products, sums[a], bias);
            if (k + ahead < w.steps) read_sums<u, slice>(sums[a], w, cells, k + ahead);
            __syncthreads();
        }
    }
}

/* What backward reads of a step: gates, the cell before, d_y. */
template <class Stored, int u, int slice> struct saved_step {
    typename Stored::gates gates[slice / 4][2];
    float before[slice / 4][2], d_y[slice / 4][2];

    __device__ __forceinline__ void read(const walk &w, const lane_cells<slice> &cells,
                                         uint32_t k) {
        size_t step = step_of<u>(w, cells.index[0], k, cells.unit[0]);
        uint32_t pitch = sequence_pitch<u>(w);
#pragma unroll
        for (uint32_t p = 0; p < slice / 4; p++)
#pragma unroll
            for (uint32_t e = 0; e < 2; e++) {
                uint32_t unit = cells.unit[p];
                size_t place = reserve_of<u, slice>(w, k, unit, cells.place + e);
                gates[p][e] = static_cast<const typename Stored::gates *>(w.gates)[place];
                before[p][e] = k ? w.cells[place - u * slice] : 0;
                d_y[p][e] = read_d_y<u>(w, cells.sequences[e], cells.index[e], k, unit,
                                        step + e * pitch + 8 * p);
            }
    }
};

/* What a lane carries from step to step, and what it adds up on the way. */
template <int slice> struct backward_state {
    cell_gradient carried[slice / 4][2];
    float cell[slice / 4][2], d_output[slice / 4][2]; /* d_output: through the recurrent kernel */
    float4 bias[slice / 4], last[slice / 4][2];
};

/* The cells of step k: gradients of their sums to `buffer` (rows of B) and to memory. */
template <class Words, int u, int slice>
__device__ __forceinline__ void
backward_cells(backward_state<slice> *state, unsigned char *buffer, const walk &w,
               const lane_cells<slice> &cells, uint32_t k,
               const saved_step<typename Words::stored, u, slice> &saved) {
    typedef typename Words::stored stored;
    size_t step = step_of<u>(w, cells.index[0], k, cells.unit[0]);
#pragma unroll
    for (uint32_t p = 0; p < slice / 4; p++)
#pragma unroll
        for (uint32_t e = 0; e < 2; e++) {
            bool masked = time_of(w, k) >= cells.sequences[e].length;
            float4 d_sum = step_backward<Words::fast>(
                &state->carried[p][e], stored::read(saved.gates[p][e]), state->cell[p][e],
                saved.before[p][e], state->d_output[p][e] + saved.d_y[p][e], masked);
            state->cell[p][e] = saved.before[p][e];
            Words::store4(buffer + (cells.place + e) * matrix_shape<Words, u, false>::row_bytes,
                          4 * static_cast<int>(cells.unit[p]), d_sum);
            write_backward<stored, u>(w, &state->bias[p], &state->last[p][e], cells.sequences[e],
                                      cells.index[e], k, cells.unit[p],
                                      step + e * sequence_pitch<u>(w) + 8 * p, d_sum);
        }
}

template <class Words, int u, int slice>
__device__ __forceinline__ void end_backward(const walk &w, const lane_cells<slice> &cells,
                                             const backward_state<slice> &state) {
#pragma unroll
    for (uint32_t p = 0; p < slice / 4; p++) {
        write_bias<u>(w, state.bias[p], cells.unit[p], (blockIdx.x * slice + cells.place) / 2);
#pragma unroll
        for (uint32_t e = 0; e < 2; e++)
            write_last<typename Words::stored, u>(w, state.last[p][e], cells.sequences[e],
                                                  cells.index[e], cells.unit[p]);
    }
}

template <class Words, int u, int slice>
__global__ void __launch_bounds__(2 * u, 1) backward_mma_kernel(walk w) {
    const int buffer_bytes = slice * matrix_shape<Words, u, false>::row_bytes;
    const uint32_t ahead = slice == 4 ? Words::ahead : 1; /* as registers allow */
    unsigned char *buffers = affect_cuda_shared();
    fragments<Words, u, false> matrix;
    unsigned char *after = matrix.load(buffers + 2 * buffer_bytes, w);
    lane_cells<slice> cells(w, reinterpret_cast<sequence *>(after));
    __syncthreads();

    uint32_t end = w.steps - 1;
    backward_state<slice> state = {};
    saved_step<typename Words::stored, u, slice> saved[ahead];
#pragma unroll
    for (uint32_t a = 0; a < ahead; a++)
        if (a < w.steps) saved[a].read(w, cells, end - a);
#pragma unroll
    for (uint32_t p = 0; p < slice / 4; p++)
#pragma unroll
        for (uint32_t e = 0; e < 2; e++)
            state.cell[p][e] =
                w.cells[reserve_of<u, slice>(w, end, cells.unit[p], cells.place + e)];

    for (uint32_t k = w.steps; k > 0;) {
#pragma unroll
        for (uint32_t a = 0; a < ahead; a++) {
            k--;
            unsigned char *buffer = buffers + k % 2 * buffer_bytes;
            backward_cells<Words, u, slice>(&state, buffer, w, cells, k, saved[a]);
            if (k == 0) break;
            if (k >= ahead) saved[a].read(w, cells, k - ahead);
            __syncthreads();
            float c[4][4] = {};
            matrix.multiply(c, cells.template column<buffer_bytes / slice>(buffer));
#pragma unroll
            for (int i = 0; i < 4; i++) c[0][i] = (c[0][i] + c[1][i]) + (c[2][i] + c[3][i]);
            cells.take(state.d_output, c[0]);
        }
    }
    end_backward<Words, u, slice>(w, cells, state);
}

} // namespace affect_lstm_walk

#endif
