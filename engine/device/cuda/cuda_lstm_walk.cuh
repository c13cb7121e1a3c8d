/* What the walks of the persistent LSTM share: their arguments, where numbers lie, a cell's step.
 *
 * Gates of a unit lie side by side (unit, gate) in everything that a walk reads or writes: input
 * sums, their gradients, the reserve; the parameters' own order (gate, unit) is changed on the way
 * in and out. A walk's step k is time k, or steps - 1 - k for a direction that is reversed.
 *
 * A block walks one direction of `slice` sequences: blockIdx.x is the slice, blockIdx.y the
 * direction. The reserve is in the order in which blocks write it: (direction, slice, k, unit,
 * sequence in slice). */
#ifndef AFFECT_CUDA_CUDA_LSTM_WALK_CUH
#define AFFECT_CUDA_CUDA_LSTM_WALK_CUH

#include "engine/device/cuda/cuda_backend.cuh"
#include "engine/device/cuda/cuda_ptx.cuh"

namespace affect_lstm_walk {

/* A sequence: its first row among the input sums, its last row (counted from the first; read again
 * by all later times), and the times before which it is not masked. */
struct sequence {
    uint32_t row, last, length;
};

/* What one launch walks. `factors` are operands of products outside: bf16 in that precision, else
 * float. Borrowed device memory. */
struct walk {
    uint32_t batch, steps, directions;
    bool reverse, return_sequences;
    bool hides;                /* masked steps of y are 0 and their d_y is not read */
    const sequence *sequences; /* (batch), or NULL: full rows, nothing masked */
    const uint4 *matrix;       /* (directions, words, 2u): recurrent kernels as threads keep them */
    const float *bias[2];      /* (4u) parameters, or NULL */
    const float *sums;         /* forward: (rows, directions, u, 4) */
    float *y;                  /* forward: (batch, [steps,] directions, u) */
    const float *d_y;          /* backward: the same */
    void *gates;               /* reserve: values after their functions, or NULL */
    float *cells;              /* reserve */
    void *states;              /* factors (batch, steps, directions, u): output BEFORE each step */
    void *d_sums;              /* factors (batch, steps, directions, u, 4): of each step */
    void *d_rows;              /* factors (rows, directions, u, 4): of each row; or NULL, where
                                  every step has its own */
    uint32_t parts;            /* of the sum over all steps: one a cell, or a pair of cells */
    float *d_bias;             /* (directions, parts, u, 4) */
};

__device__ __forceinline__ bool is_reversed(const walk &w) {
    return w.directions == 2 ? blockIdx.y == 1 : w.reverse;
}
__device__ __forceinline__ uint32_t time_of(const walk &w, uint32_t k) {
    return is_reversed(w) ? w.steps - 1 - k : k;
}

/* A place behind the batch's end, in the last slice, is a sequence whose every step is masked. */
__device__ __forceinline__ sequence sequence_of(const walk &w, uint32_t index) {
    if (index >= w.batch) return {0, 0, 0};
    if (w.sequences) return w.sequences[index];
    return {index * w.steps, w.steps - 1, w.steps};
}

__device__ __forceinline__ size_t row_of(const sequence &s, uint32_t time) {
    return s.row + (time < s.last ? time : s.last);
}

/* Place of (row, this direction, unit) in a tensor of `u` units; times 4 where gates lie. */
template <int u>
__device__ __forceinline__ size_t unit_of(const walk &w, size_t row, uint32_t unit) {
    return (row * w.directions + blockIdx.y) * u + unit;
}

/* Place of a step in states and d_sums; it is y's and d_y's too where these have every step. A step
 * later is `step_pitch` further, a sequence later `sequence_pitch`. */
template <int u>
__device__ __forceinline__ size_t step_of(const walk &w, uint32_t index, uint32_t k,
                                          uint32_t unit) {
    return unit_of<u>(w, static_cast<size_t>(index) * w.steps + time_of(w, k), unit);
}
template <int u> __device__ __forceinline__ int step_pitch(const walk &w) {
    int pitch = static_cast<int>(w.directions) * u;
    return is_reversed(w) ? -pitch : pitch;
}
template <int u> __device__ __forceinline__ uint32_t sequence_pitch(const walk &w) {
    return w.steps * w.directions * u;
}

/* Place in the reserve. */
template <int u, int slice>
__device__ __forceinline__ size_t reserve_of(const walk &w, uint32_t k, uint32_t unit,
                                             uint32_t place) {
    size_t block = static_cast<size_t>(blockIdx.y) * gridDim.x + blockIdx.x;
    return ((block * w.steps + k) * u + unit) * slice + place;
}

/* ---- A cell ---- */

/* Within a few units of the last place of 1; the fast ones within 2^-11. */
template <bool fast> __device__ __forceinline__ float sigmoid(float x) {
    return fast ? affect_sigmoid_fast(x) : __fdividef(1.0f, 1.0f + expf(-x));
}
template <bool fast> __device__ __forceinline__ float hyperbolic(float x) {
    return fast ? affect_tanh_fast(x) : 2 * sigmoid<false>(2 * x) - 1;
}

/* i f c o in x, y, z, w. */
__device__ __forceinline__ float4 add(float4 a, float4 b) {
    return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}

template <bool fast> __device__ __forceinline__ float4 gates_of(float4 sum) {
    return make_float4(sigmoid<fast>(sum.x), sigmoid<fast>(sum.y), hyperbolic<fast>(sum.z),
                       sigmoid<fast>(sum.w));
}

/* State of a cell between steps of the forward walk. */
struct cell_state {
    float cell, output;
};

/* A masked step leaves the state as it was. */
template <bool fast>
__device__ __forceinline__ cell_state step_forward(cell_state before, float4 gates, bool masked) {
    float cell = fmaf(gates.y, before.cell, gates.x * gates.z);
    float output = gates.w * hyperbolic<fast>(cell);
    return masked ? before : cell_state{cell, output};
}

/* What a cell hands from step k + 1 to step k: the gradient of its value; and, where step k + 1 was
 * masked, that of its output as it is. */
struct cell_gradient {
    float d_cell, d_output;
};

/* Gradients of the sums of a step. gates, cell, before: the step's gates and cell, and the cell
 * before it; d_output: the gradient of its output but for what a masked step has handed on. */
template <bool fast>
__device__ __forceinline__ float4 step_backward(cell_gradient *carried, float4 gates, float cell,
                                                float before, float d_output, bool masked) {
    float t = hyperbolic<fast>(cell), d_h = d_output + carried->d_output;
    float d = fmaf(d_h * gates.w, 1 - t * t, carried->d_cell);
    float4 d_sum =
        make_float4(d * gates.z * gates.x * (1 - gates.x), d * before * gates.y * (1 - gates.y),
                    d * gates.x * (1 - gates.z * gates.z), d_h * t * gates.w * (1 - gates.w));
    carried->d_output = masked ? d_h : 0;
    if (!masked) carried->d_cell = d * gates.y;
    return masked ? make_float4(0, 0, 0, 0) : d_sum;
}

/* ---- What walks store: factors of products outside, and gates in the reserve ---- */

struct as_float {
    typedef float factor;
    typedef float4 factors, gates;
    static __device__ __forceinline__ float one(float x) { return x; }
    static __device__ __forceinline__ float4 four(float4 x) { return x; }
    static __device__ __forceinline__ float4 save(float4 x) { return x; }
    static __device__ __forceinline__ float4 read(float4 x) { return x; }
};

/* Gates in half: they are at most 1, and it has three bits more than bf16. */
struct as_bf16 {
    typedef __nv_bfloat16 factor;
    typedef uint2 factors, gates;
    static __device__ __forceinline__ __nv_bfloat16 one(float x) { return __float2bfloat16(x); }
    static __device__ __forceinline__ uint2 four(float4 x) {
        return make_uint2(affect_pack_bf16(x.x, x.y), affect_pack_bf16(x.z, x.w));
    }
    static __device__ __forceinline__ uint2 save(float4 x) {
        return make_uint2(affect_pack_half(x.x, x.y), affect_pack_half(x.z, x.w));
    }
    static __device__ __forceinline__ float4 read(uint2 x) {
        float2 low = affect_unpack_half(x.x), high = affect_unpack_half(x.y);
        return make_float4(low.x, low.y, high.x, high.y);
    }
};

/* Bias of a unit. (An index into the arguments would copy them to local memory.) */
template <int u> __device__ __forceinline__ float4 bias_of(const walk &w, uint32_t unit) {
    const float *bias = blockIdx.y ? w.bias[1] : w.bias[0];
    if (!bias) return make_float4(0, 0, 0, 0);
    return make_float4(bias[unit], bias[u + unit], bias[2 * u + unit], bias[3 * u + unit]);
}

/* ---- What a step of a cell leaves in memory ---- */

/* y, the reserve (`saved`: the place there) and the state that the next step starts from. step:
 * step_of this one. */
template <class Stored, int u>
__device__ __forceinline__ void write_forward(const walk &w, uint32_t index, uint32_t k,
                                              uint32_t unit, size_t step, size_t saved,
                                              cell_state state, float4 gates, bool masked) {
    if (w.gates) {
        static_cast<typename Stored::gates *>(w.gates)[saved] = Stored::save(gates);
        w.cells[saved] = state.cell;
    }
    if (index >= w.batch) return;
    float output = masked && w.hides ? 0 : state.output;
    if (w.return_sequences)
        w.y[step] = output;
    else if (k + 1 == w.steps)
        w.y[unit_of<u>(w, index, unit)] = output;
    if (!w.gates) return;
    typename Stored::factor *states = static_cast<typename Stored::factor *>(w.states) + step;
    if (k == 0) states[0] = Stored::one(0);
    if (k + 1 < w.steps) states[step_pitch<u>(w)] = Stored::one(state.output);
}

/* The gradients of a step's sums. bias, last: what the walk adds up, over all steps and over those
 * that read the sequence's last row. */
template <class Stored, int u>
__device__ __forceinline__ void write_backward(const walk &w, float4 *bias, float4 *last,
                                               const sequence &s, uint32_t index, uint32_t k,
                                               uint32_t unit, size_t step, float4 d_sum) {
    if (index >= w.batch) return;
    uint32_t time = time_of(w, k);
    typename Stored::factors d = Stored::four(d_sum);
    static_cast<typename Stored::factors *>(w.d_sums)[step] = d;
    *bias = add(*bias, d_sum);
    if (!w.d_rows) return;
    if (time < s.last)
        static_cast<typename Stored::factors *>(w.d_rows)[unit_of<u>(w, s.row + time, unit)] = d;
    else
        *last = add(*last, d_sum);
}

/* At the walk's end. */
template <class Stored, int u>
__device__ __forceinline__ void write_last(const walk &w, float4 last, const sequence &s,
                                           uint32_t index, uint32_t unit) {
    if (index >= w.batch || !w.d_rows) return;
    static_cast<typename Stored::factors *>(w.d_rows)[unit_of<u>(w, s.row + s.last, unit)] =
        Stored::four(last);
}
template <int u>
__device__ __forceinline__ void write_bias(const walk &w, float4 bias, uint32_t unit,
                                           uint32_t part) {
    reinterpret_cast<float4 *>(w.d_bias)[(blockIdx.y * w.parts + part) * u + unit] = bias;
}

/* d_y of a cell at step k; 0 where there is none. */
template <int u>
__device__ __forceinline__ float read_d_y(const walk &w, const sequence &s, uint32_t index,
                                          uint32_t k, uint32_t unit, size_t step) {
    if (index >= w.batch || (w.hides && time_of(w, k) >= s.length)) return 0;
    if (w.return_sequences) return w.d_y[step];
    return k + 1 == w.steps ? w.d_y[unit_of<u>(w, index, unit)] : 0;
}

} // namespace affect_lstm_walk

#endif
