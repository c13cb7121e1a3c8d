/* The persistent LSTM: products of all steps at once around a walk that keeps the recurrent matrix
 * on the chip.
 *
 * Forward: sums = x kernel for all rows and both directions in one product (rows that several steps
 * read, once); then one launch walks all steps (cuda_lstm_mma.cuh, in fp32 cuda_lstm_fma.cuh).
 * Backward: one launch walks back, leaves the gradients of every step's sums and, where steps share
 * rows, of every row's (a sequence's own block adds up its last row, in the order of its steps);
 * then d_x = d_rows kernel^T (which adds the directions up), d_kernel = x^T d_rows and, for each
 * direction, d_recurrent = states^T d_sums are products, made in the walks' order of gates and
 * added to the parameters' gradients in theirs. No atomics: equal inputs give equal bits.
 *
 * In bf16 everything that is a factor of a product outside a walk is stored in bf16; sums,
 * gradients of parameters, cells and accumulators are fp32.
 *
 * 128 units on sm_90: registers as ptxas 13.0 counts them (one block a multiprocessor; no spills on
 * sm_75 to sm_90), shared memory, and cycles a step PREDICTED by arithmetic, never measured: this
 * code has run on the host's emulation only, on no device.
 *
 *                     registers  shared   cycles  what they are
 *   bf16 forward            218   4.5 KB  600-750  mma 256-416, functions 160, B 64, latencies
 *        backward           230   8.5 KB  550-700  mma 256-416, B 256 beside it, cells 150
 *   tf32 forward            254  70.5 KB  1000-1400  mma 512-830, functions 320, A 512 beside
 *        backward           255  96.5 KB   900-1300  mma 512-830, A 640, B 256
 *   fp32 forward            255  67.0 KB  800-950  multiply-adds 512, reads 580 beside them
 *        backward           255  68.0 KB  800-950  multiply-adds 512, reads 640 beside them
 *
 * bf16 in slices of 8 sequences (more blocks than multiprocessors): 244 and 238 registers, about
 * 200 cycles more a step. At 1.8 GHz a layer of 501 steps would take 0.17-0.21 ms forward and
 * 0.15-0.20 back in bf16. */
#include "engine/device/cuda/cuda_lstm_persistent.cuh"

#include "engine/device/cuda/cuda_lstm_fma.cuh"
#include "engine/device/cuda/cuda_lstm_mma.cuh"
#include "engine/device/cuda/cuda_lstm_order.cuh"

namespace {

using namespace affect_lstm_walk;

/* ---- Which kernel ---- */

struct walk_kernel {
    void (*function)(walk);
    void (*matrix)(uint4 *, directions_of);
    unsigned words; /* of the matrix, a thread */
    size_t shared;  /* bytes */
};

template <class Words, int u, int slice> walk_kernel mma_kernel(bool forward) {
    typedef matrix_shape<Words, u, true> ahead;
    typedef matrix_shape<Words, u, false> back;
    if (forward)
        return {forward_mma_kernel<Words, u, slice>, matrix_kernel<ahead>, ahead::words,
                ahead::shared_bytes(slice)};
    return {backward_mma_kernel<Words, u, slice>, matrix_kernel<back>, back::words,
            back::shared_bytes(slice)};
}

template <int u> walk_kernel fma_kernel(bool forward) {
    typedef weights<u, true> ahead;
    typedef weights<u, false> back;
    if (forward)
        return {forward_fma_kernel<u>, matrix_kernel<ahead>, ahead::words, ahead::shared_bytes()};
    return {backward_fma_kernel<u>, matrix_kernel<back>, back::words, back::shared_bytes()};
}

template <int u> walk_kernel kernel_of_units(affect_precision precision, int slice, bool forward) {
    if (precision == AFFECT_PRECISION_FP32) return fma_kernel<u>(forward);
    if (precision == AFFECT_PRECISION_TF32) return mma_kernel<tf32_words, u, 4>(forward);
    return slice == 4 ? mma_kernel<bf16_words, u, 4>(forward)
                      : mma_kernel<bf16_words, u, 8>(forward);
}

/* function NULL: there is none. */
walk_kernel kernel_of(affect_precision precision, size_t units, int slice, bool forward) {
    switch (units) {
    case 32:
        return kernel_of_units<32>(precision, slice, forward);
    case 64:
        return kernel_of_units<64>(precision, slice, forward);
    case 96:
        return kernel_of_units<96>(precision, slice, forward);
    case 128:
        return kernel_of_units<128>(precision, slice, forward);
    default:
        return {};
    }
}

/* Sequences a block: few while all blocks find a multiprocessor. */
int slice_of(const affect_cuda *cuda, const affect_lstm_shape *s) {
    if (cuda->precision == AFFECT_PRECISION_FP32) return 1;
    if (cuda->precision == AFFECT_PRECISION_TF32) return 4;
    size_t blocks = (s->batch + 3) / 4 * static_cast<size_t>(s->directions);
    return blocks <= static_cast<size_t>(cuda->n_multiprocessors) ? 4 : 8;
}

/* ---- Sizes ---- */

struct sizes {
    size_t slice, slices, places; /* places: sequences rounded up to slices */
    size_t rows, most_rows;       /* of x: in this call, and to plan for */
    size_t width;                 /* directions times units */
    size_t factor;                /* bytes of a factor */
};

sizes sizes_of(affect_backend *backend, const affect_lstm_shape *s) {
    const affect_cuda *cuda = affect_cuda_of(backend);
    sizes z = {};
    z.slice = static_cast<size_t>(slice_of(cuda, s));
    z.slices = (s->batch + z.slice - 1) / z.slice;
    z.places = z.slices * z.slice;
    z.most_rows = s->n_rows ? s->n_rows : s->batch * s->steps;
    z.rows = s->n_rows && s->first ? s->first[s->batch] : z.most_rows;
    z.width = static_cast<size_t>(s->directions) * s->units;
    z.factor = cuda->precision == AFFECT_PRECISION_BF16 ? 2 : 4;
    return z;
}

/* Parts of the reserve and the workspace; NULL base: only their size is asked for. */
struct parts {
    char *end;
    template <typename T> T *take(size_t n) { return affect_cuda_take<T>(&end, n); }
    void *take_factors(const sizes &z, size_t n) { return take<char>(n * z.factor); }
};

/* x: in bf16, backward finds it as forward has rounded it. */
size_t take_reserve(walk *w, void **x, void *reserve, const sizes &z, const affect_lstm_shape *s) {
    parts p = {static_cast<char *>(reserve)};
    if (z.factor == 2) *x = p.take_factors(z, z.most_rows * s->inputs);
    w->gates = p.take_factors(z, z.places * s->steps * z.width * 4);
    w->cells = p.take<float>(z.places * s->steps * z.width);
    w->states = p.take_factors(z, s->batch * s->steps * z.width);
    return static_cast<size_t>(p.end - static_cast<char *>(reserve));
}

struct work {
    sequence *sequences;
    uint4 *matrix;         /* recurrent kernels, as the walk keeps them */
    void *kernel;          /* factors (inputs, directions, u, 4) */
    void *x;               /* factors (rows, inputs) */
    float *sums;           /* forward */
    void *d_sums, *d_rows; /* backward */
    float *d_kernel;       /* (inputs, directions, u, 4) */
    float *d_recurrent;    /* (directions, u, u, 4) */
    float *d_bias;         /* (directions, places, u, 4) */
};

size_t take_work(work *k, void *workspace, const sizes &z, const affect_lstm_shape *s,
                 bool forward) {
    parts p = {static_cast<char *>(workspace)};
    k->sequences = p.take<sequence>(s->batch);
    k->matrix = static_cast<uint4 *>(p.take_factors(z, s->units * z.width * 4));
    k->kernel = p.take_factors(z, s->inputs * z.width * 4);
    k->x = p.take_factors(z, z.most_rows * s->inputs);
    if (forward) {
        k->sums = p.take<float>(z.most_rows * z.width * 4);
    } else {
        k->d_sums = p.take_factors(z, s->batch * s->steps * z.width * 4);
        k->d_rows = s->n_rows ? p.take_factors(z, z.most_rows * z.width * 4) : nullptr;
        k->d_kernel = p.take<float>(s->inputs * z.width * 4);
        k->d_recurrent = p.take<float>(s->units * z.width * 4);
        k->d_bias = p.take<float>(z.places * z.width * 4);
    }
    return static_cast<size_t>(p.end - static_cast<char *>(workspace));
}

/* ---- One call ---- */

struct call {
    affect_backend *backend;
    const affect_lstm_shape *shape;
    const affect_lstm_parameters *parameters;
    bool bf16, has_x; /* has_x: k.x is filled */
    sizes z;
    work k;
    walk w;
};

call make_call(affect_backend *backend, const affect_lstm_parameters *parameters, void *reserve,
               void *workspace, const affect_lstm_shape *s, bool forward) {
    call c = {};
    c.backend = backend;
    c.shape = s;
    c.parameters = parameters;
    c.bf16 = affect_cuda_of(backend)->precision == AFFECT_PRECISION_BF16;
    c.z = sizes_of(backend, s);
    take_work(&c.k, workspace, c.z, s, forward);
    if (reserve) take_reserve(&c.w, &c.k.x, reserve, c.z, s);
    c.has_x = c.bf16 && !forward;
    c.w.batch = static_cast<uint32_t>(s->batch);
    c.w.steps = static_cast<uint32_t>(s->steps);
    c.w.directions = static_cast<uint32_t>(s->directions);
    c.w.reverse = s->reverse;
    c.w.return_sequences = s->return_sequences;
    c.w.hides = s->lengths && s->return_sequences && s->directions == 2;
    c.w.sequences = s->n_rows || s->lengths ? c.k.sequences : nullptr;
    for (int d = 0; d < s->directions; d++) c.w.bias[d] = parameters->bias[d];
    c.w.matrix = c.k.matrix;
    c.w.sums = c.k.sums;
    c.w.d_sums = c.k.d_sums;
    c.w.d_rows = c.k.d_rows;
    c.w.d_bias = c.k.d_bias;
    c.w.parts = static_cast<uint32_t>(c.z.slice == 1 ? c.z.places : c.z.places / 2);
    return c;
}

void put_sequences(const call &c) {
    const affect_lstm_shape *s = c.shape;
    sequence some[128];
    for (size_t b = 0, n = 0; c.w.sequences && b < s->batch; b++) {
        size_t row = s->n_rows ? s->first[b] : b * s->steps;
        size_t end = s->n_rows ? s->first[b + 1] : row + s->steps;
        some[n++] = {static_cast<uint32_t>(row), static_cast<uint32_t>(end - row - 1),
                     static_cast<uint32_t>(s->lengths ? s->lengths[b] : s->steps)};
        if (n < 128 && b + 1 < s->batch) continue;
        affect_cuda_put(c.backend, c.k.sequences + (b + 1 - n), some, n * sizeof *some);
        n = 0;
    }
}

directions_of both(affect_real *const of[2]) {
    return {{of[0], of[1]}};
}

template <typename T> void pack(const call &c) {
    const affect_lstm_shape *s = c.shape;
    size_t n = s->inputs * c.z.width * 4;
    AFFECT_CUDA_LAUNCH(c.backend, pack_kernel<T>, affect_cuda_blocks(n, 256), 256, 0,
                       static_cast<T *>(c.k.kernel), both(c.parameters->kernel), n, c.w.directions,
                       static_cast<uint32_t>(s->units));
}

template <typename T> void copy_x(const call &c, const float *x) {
    const affect_lstm_shape *s = c.shape;
    dim3 grid(affect_cuda_blocks(s->steps * s->inputs, 1024, 64),
              affect_cuda_blocks(s->batch, 1, affect_cuda_most_y));
    AFFECT_CUDA_LAUNCH(c.backend, copy_x_kernel<T>, grid, 256, 0, static_cast<T *>(c.k.x), x,
                       c.w.sequences, c.w.batch, c.w.steps, static_cast<uint32_t>(s->inputs));
}

/* The kernel and x as factors, in c.k; returns x's. */
const void *prepare(const call &c, const float *x) {
    put_sequences(c);
    if (c.bf16) {
        pack<__nv_bfloat16>(c);
        if (!c.has_x) copy_x<__nv_bfloat16>(c, x);
        return c.k.x;
    }
    pack<float>(c);
    if (!c.shape->lengths) return x;
    copy_x<float>(c, x);
    return c.k.x;
}

/* As affect_cuda_product, of factors. */
void product(const call &c, float *to, const void *a, const void *b, const affect_gemm_shape &p) {
    if (!affect_cuda_ready(c.backend)) return;
    const affect_cuda *cuda = affect_cuda_of(c.backend);
    cudaDataType type = c.bf16 ? CUDA_R_16BF : CUDA_R_32F;
    cublasComputeType_t compute = cuda->precision == AFFECT_PRECISION_TF32
                                      ? CUBLAS_COMPUTE_32F_FAST_TF32
                                      : CUBLAS_COMPUTE_32F;
    /* row-major: the transpose of cuBLAS' */
    affect_cublas_check(
        c.backend,
        cublasGemmEx(cuda->cublas, p.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N,
                     p.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N, static_cast<int>(p.n),
                     static_cast<int>(p.m), static_cast<int>(p.k), &p.alpha, b, type,
                     static_cast<int>(p.ldb), a, type, static_cast<int>(p.lda), &p.beta, to,
                     CUDA_R_32F, static_cast<int>(p.ldc), compute, CUBLAS_GEMM_DEFAULT),
        "lstm product");
    if (affect_cuda_debug) affect_cuda_debug_wait(c.backend, "lstm product");
    if (affect_cuda_debug) affect_cuda_debug_wait(c.backend, "lstm product");
}

void launch_walk(const call &c, bool forward) {
    const affect_lstm_shape *s = c.shape;
    walk_kernel kernel = kernel_of(affect_cuda_of(c.backend)->precision, s->units,
                                   static_cast<int>(c.z.slice), forward);
    unsigned threads = static_cast<unsigned>(2 * s->units);
    AFFECT_CUDA_LAUNCH(c.backend, kernel.matrix, dim3(kernel.words, c.w.directions), threads, 0,
                       c.k.matrix, both(c.parameters->recurrent_kernel));
    dim3 grid(static_cast<unsigned>(c.z.slices), c.w.directions);
    affect_cuda_launch(c.backend, forward ? "lstm forward walk" : "lstm backward walk",
                       kernel.function, grid, threads, kernel.shared, c.w);
}

void recurrent_products(const call &c) {
    size_t u = c.shape->units, steps = c.shape->batch * c.shape->steps;
    for (size_t d = 0; d < c.w.directions; d++)
        product(c, c.k.d_recurrent + d * u * 4 * u,
                static_cast<const char *>(c.w.states) + d * u * c.z.factor,
                static_cast<const char *>(c.k.d_sums) + d * 4 * u * c.z.factor,
                {u, 4 * u, steps, true, false, c.z.width, 4 * c.z.width, 4 * u, 1, 0});
}

void add_gradients(const call &c, const affect_lstm_parameters *gradients) {
    const affect_lstm_shape *s = c.shape;
    gradient_parts g = {both(gradients->kernel),
                        both(gradients->recurrent_kernel),
                        both(gradients->bias),
                        c.k.d_kernel,
                        c.k.d_recurrent,
                        c.k.d_bias,
                        static_cast<uint32_t>(s->inputs),
                        c.w.directions,
                        static_cast<uint32_t>(s->units),
                        c.w.parts};
    size_t n = 4 * c.z.width * (s->inputs + s->units + 1);
    AFFECT_CUDA_LAUNCH(c.backend, add_gradients_kernel, affect_cuda_blocks(n, 256, n), 256, 0, g);
}

} // namespace

bool affect_cuda_lstm_persistent_can(affect_backend *backend, const affect_lstm_shape *shape) {
    const affect_cuda *cuda = affect_cuda_of(backend);
    if (cuda->precision != AFFECT_PRECISION_FP32 && cuda->compute_capability < 80) return false;
    for (int slice = 4; slice <= 8; slice += 4)
        for (int forward = 0; forward < 2; forward++) {
            walk_kernel kernel = kernel_of(cuda->precision, shape->units, slice, forward != 0);
            if (!kernel.function || kernel.shared > cuda->shared_limit) return false;
        }
    return true;
}

size_t affect_cuda_lstm_persistent_reserve(affect_backend *backend,
                                           const affect_lstm_shape *shape) {
    walk w;
    void *x;
    return take_reserve(&w, &x, nullptr, sizes_of(backend, shape), shape);
}

size_t affect_cuda_lstm_persistent_workspace(affect_backend *backend,
                                             const affect_lstm_shape *shape) {
    work k;
    sizes z = sizes_of(backend, shape);
    size_t forward = take_work(&k, nullptr, z, shape, true);
    size_t backward = take_work(&k, nullptr, z, shape, false);
    return forward > backward ? forward : backward;
}

void affect_cuda_lstm_persistent_forward(affect_backend *backend, float *y, void *reserve,
                                         const float *x, const affect_lstm_parameters *parameters,
                                         void *workspace, const affect_lstm_shape *shape) {
    if (!affect_cuda_ready(backend)) return;
    call c = make_call(backend, parameters, reserve, workspace, shape, true);
    size_t gates = 4 * c.z.width, inputs = shape->inputs;
    const void *factors = prepare(c, x);
    product(c, c.k.sums, factors, c.k.kernel,
            {c.z.rows, gates, inputs, false, false, inputs, gates, gates, 1, 0});
    c.w.y = y;
    launch_walk(c, true);
}

void affect_cuda_lstm_persistent_backward(affect_backend *backend, float *d_x,
                                          const affect_lstm_parameters *gradients, const float *d_y,
                                          const float *x, const float *, void *reserve,
                                          const affect_lstm_parameters *parameters, void *workspace,
                                          const affect_lstm_shape *shape) {
    if (!affect_cuda_ready(backend)) return;
    call c = make_call(backend, parameters, reserve, workspace, shape, false);
    size_t gates = 4 * c.z.width, inputs = shape->inputs;
    const void *factors = prepare(c, x);
    c.w.d_y = d_y;
    launch_walk(c, false);
    const void *d_rows = c.k.d_rows ? c.k.d_rows : c.k.d_sums;
    if (d_x)
        product(c, d_x, d_rows, c.k.kernel,
                {c.z.rows, inputs, gates, false, true, gates, gates, inputs, 1, 0});
    product(c, c.k.d_kernel, factors, d_rows,
            {inputs, gates, c.z.rows, true, false, inputs, gates, gates, 1, 0});
    recurrent_products(c);
    add_gradients(c, gradients);
}
