/* The persistent LSTM, emulated on the host, against the CPU backend: every kind of walk (fp32,
 * tf32, bf16 with slices of 4 and 8 sequences), forward and backward, over batches that do and do
 * not fill slices, shared rows, masks, last states, one direction and two. Everything that an
 * operation must write is NaN before, as are the masked rows of x. */
#include "engine/device/cuda/cuda_lstm_persistent.cuh"

#include <cmath>
#include <cstdio>
#include <vector>

extern "C" const affect_backend_plugin affect_cuda_plugin;

namespace {

int failures;

struct lstm_case {
    const char *name;
    size_t batch, steps, inputs, units;
    int directions;
    bool reverse, sequences, shared, masked, bias;
    int multiprocessors; /* few: slices of 8 */
};

const lstm_case cases[] = {
    {"one sequence, one step", 1, 1, 5, 32, 2, false, true, false, false, true, 132},
    {"two steps", 3, 2, 8, 32, 2, false, true, false, false, true, 132},
    {"sequences", 5, 13, 12, 32, 2, false, true, false, false, true, 132},
    {"slices of 8", 19, 9, 12, 32, 2, false, true, false, false, true, 3},
    {"128 units", 3, 7, 24, 128, 2, false, true, false, false, true, 132},
    {"128 units, slices of 8", 9, 5, 24, 128, 2, false, true, true, false, true, 2},
    {"96 units", 4, 6, 10, 96, 2, false, true, false, false, true, 132},
    {"64 units", 6, 11, 16, 64, 2, false, true, false, false, true, 132},
    {"50 sequences, 40 steps", 50, 40, 8, 32, 2, false, true, true, false, true, 132},
    {"distinct rows", 7, 20, 12, 32, 2, false, true, true, false, true, 132},
    {"distinct rows, 128 units", 5, 12, 20, 128, 2, false, true, true, false, true, 132},
    {"last states", 6, 10, 12, 64, 2, false, false, false, false, true, 132},
    {"last states of distinct rows", 6, 10, 12, 32, 2, false, false, true, false, true, 132},
    {"masked", 9, 12, 7, 32, 2, false, true, false, true, true, 132},
    {"masked, slices of 8", 11, 12, 7, 64, 2, false, true, false, true, true, 2},
    {"masked distinct rows", 9, 12, 7, 32, 2, false, true, true, true, true, 132},
    {"masked last states", 9, 12, 7, 32, 2, false, false, false, true, true, 132},
    {"masked, one direction", 5, 9, 7, 32, 1, false, true, false, true, true, 132},
    {"masked, one direction back", 5, 9, 7, 32, 1, true, true, false, true, true, 132},
    {"one direction", 4, 8, 9, 32, 1, false, true, false, false, true, 132},
    {"one direction back, distinct rows", 4, 8, 9, 128, 1, true, true, true, false, true, 132},
    {"501 steps, distinct rows", 3, 501, 8, 32, 2, false, true, true, false, true, 132},
    {"150 sequences, masked", 150, 3, 4, 32, 2, false, true, false, true, true, 132},
    {"last state, no bias", 3, 8, 9, 32, 1, true, false, false, false, false, 132},
};

/* ---- Numbers ---- */

uint32_t seed;
float uniform() { /* (-1, 1) */
    seed = seed * 1664525u + 1013904223u;
    return static_cast<float>(seed >> 8) / 8388608.0f - 1;
}
std::vector<float> random_numbers(size_t n, float scale) {
    std::vector<float> x(n);
    for (float &v : x) v = scale * uniform();
    return x;
}

/* Norm of the difference over norm. */
double error_of(const std::vector<float> &got, const std::vector<float> &wanted) {
    double above = 0, below = 0;
    for (size_t i = 0; i < got.size(); i++) {
        double d = static_cast<double>(got[i]) - static_cast<double>(wanted[i]);
        above += d * d;
        below += static_cast<double>(wanted[i]) * static_cast<double>(wanted[i]);
    }
    return std::sqrt(below > 0 ? above / below : above);
}

/* ---- One operation on one backend ---- */

struct inputs_of {
    affect_lstm_shape shape;
    std::vector<size_t> first, lengths;
    std::vector<float> x, d_y, kernel, recurrent, bias;
};

struct results {
    std::vector<float> inferred, y, d_x, d_kernel, d_recurrent, d_bias;
};

struct operations {
    affect_backend *backend;
    size_t (*reserve)(affect_backend *, const affect_lstm_shape *);
    size_t (*workspace)(affect_backend *, const affect_lstm_shape *);
    decltype(affect_backend_ops::lstm_forward) forward;
    decltype(affect_backend_ops::lstm_backward) backward;
};

class device {
  public:
    explicit device(affect_backend *backend) : backend_(backend) {}
    ~device() {
        for (void *memory : taken_) backend_->ops->deallocate(backend_, memory);
    }
    float *put(const std::vector<float> &x) {
        float *memory = static_cast<float *>(take(x.size() * sizeof(float)));
        if (!x.empty()) backend_->ops->upload(backend_, memory, x.data(), x.size() * sizeof(float));
        return memory;
    }
    void *take(size_t n_bytes) {
        std::vector<unsigned char> poison(n_bytes, 0xff);
        void *memory = backend_->ops->allocate(backend_, n_bytes);
        taken_.push_back(memory);
        backend_->ops->upload(backend_, memory, poison.data(), n_bytes);
        affect_backend_synchronize(backend_, nullptr);
        return memory;
    }
    std::vector<float> get(const float *from, size_t n) {
        std::vector<float> x(n);
        backend_->ops->download(backend_, x.data(), from, n * sizeof(float));
        affect_backend_synchronize(backend_, nullptr);
        return x;
    }

  private:
    affect_backend *backend_;
    std::vector<void *> taken_;
};

affect_lstm_parameters cut(const inputs_of &in, float *kernel, float *recurrent, float *bias) {
    const affect_lstm_shape &s = in.shape;
    affect_lstm_parameters p = {};
    for (size_t d = 0; d < static_cast<size_t>(s.directions); d++) {
        p.kernel[d] = kernel + d * s.inputs * 4 * s.units;
        p.recurrent_kernel[d] = recurrent + d * s.units * 4 * s.units;
        p.bias[d] = in.bias.empty() ? nullptr : bias + d * 4 * s.units;
    }
    return p;
}

results run(const operations &ops, const inputs_of &in) {
    device dev(ops.backend);
    const affect_lstm_shape *s = &in.shape;
    results out;
    affect_lstm_shape largest = *s; /* sizes are asked before rows and lengths are known */
    largest.first = largest.lengths = nullptr;
    float *x = dev.put(in.x), *d_y = dev.put(in.d_y);
    affect_lstm_parameters p = cut(in, dev.put(in.kernel), dev.put(in.recurrent), dev.put(in.bias));
    std::vector<float> half_kernel(in.kernel.size(), 0.5f),
        half_recurrent(in.recurrent.size(), 0.5f);
    std::vector<float> half_bias(in.bias.size(), 0.5f);
    float *d_kernel = dev.put(half_kernel), *d_recurrent = dev.put(half_recurrent);
    float *d_bias = dev.put(half_bias);
    affect_lstm_parameters gradients = cut(in, d_kernel, d_recurrent, d_bias);
    void *workspace = dev.take(ops.workspace(ops.backend, &largest));
    void *reserve = dev.take(ops.reserve(ops.backend, &largest));
    size_t n_y = in.d_y.size();
    float *y = static_cast<float *>(dev.take(n_y * sizeof(float)));
    float *inferred = static_cast<float *>(dev.take(n_y * sizeof(float)));
    float *d_x = static_cast<float *>(dev.take(in.x.size() * sizeof(float)));
    ops.forward(ops.backend, inferred, nullptr, x, &p, workspace, s);
    ops.forward(ops.backend, y, reserve, x, &p, workspace, s);
    ops.backward(ops.backend, d_x, &gradients, d_y, x, y, reserve, &p, workspace, s);
    out.inferred = dev.get(inferred, n_y);
    out.y = dev.get(y, n_y);
    out.d_x = dev.get(d_x, in.x.size());
    out.d_kernel = dev.get(d_kernel, in.kernel.size());
    out.d_recurrent = dev.get(d_recurrent, in.recurrent.size());
    out.d_bias = dev.get(d_bias, in.bias.size());
    for (std::vector<float> *d : {&out.d_kernel, &out.d_recurrent, &out.d_bias})
        for (float &v : *d) v -= 0.5f; /* it was added */
    affect_error err = {};
    if (affect_backend_synchronize(ops.backend, &err) != AFFECT_STATUS_OK) {
        fprintf(stderr, "%s\n", err.message);
        failures++;
    }
    return out;
}

/* ---- Cases ---- */

inputs_of make_inputs(const lstm_case &c) {
    inputs_of in = {};
    size_t directions = static_cast<size_t>(c.directions), rows = c.batch * c.steps;
    seed = 7;
    in.shape = {c.batch,   c.steps,     c.inputs, c.units, c.directions,
                c.reverse, c.sequences, 0,        nullptr, nullptr};
    if (c.shared) {
        in.first.push_back(0);
        for (size_t b = 0; b < c.batch; b++) /* 1 row, all steps, and between */
            in.first.push_back(in.first[b] + (b % 3 == 2 ? c.steps : 1 + b * 5 % c.steps));
        rows = in.first.back();
    }
    in.x = random_numbers(rows * c.inputs, 1);
    if (c.masked) {
        for (size_t b = 0; b < c.batch; b++) {
            size_t own = c.shared ? in.first[b + 1] - in.first[b] : c.steps;
            size_t length = b == 0 ? c.steps : 1 + b * 7 % c.steps;
            if (c.shared && length + 1 < own) length = own - 1; /* the last row alone is masked */
            in.lengths.push_back(length);
            for (size_t i = length * c.inputs; !c.shared && i < own * c.inputs; i++)
                in.x[b * c.steps * c.inputs + i] = NAN;
        }
    }
    size_t width = directions * c.units;
    in.d_y = random_numbers(c.batch * (c.sequences ? c.steps : 1) * width, 1);
    in.kernel = random_numbers(c.inputs * 4 * width, 0.5f);
    in.recurrent = random_numbers(c.units * 4 * width, 1.5f / std::sqrt((float)c.units));
    if (c.bias) in.bias = random_numbers(4 * width, 0.5f);
    return in;
}

void check(const char *what, const std::vector<float> &got, const std::vector<float> &wanted,
           double most, const char *name) {
    double error = error_of(got, wanted);
    if (error <= most) return; /* not where a NaN is */
    fprintf(stderr, "%s: %s differs by %.3g (allowed %.3g)\n", name, what, error, most);
    failures++;
}

bool same(const std::vector<float> &a, const std::vector<float> &b) {
    return a.size() == b.size() && memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

void run_case(const lstm_case &c, affect_backend *cpu, affect_backend *cuda, double most) {
    inputs_of in = make_inputs(c);
    if (c.shared) {
        in.shape.n_rows = in.first.back();
        in.shape.first = in.first.data();
    }
    if (c.masked) in.shape.lengths = in.lengths.data();
    affect_cuda_of(cuda)->n_multiprocessors = c.multiprocessors;
    if (!affect_cuda_lstm_persistent_can(cuda, &in.shape)) {
        fprintf(stderr, "%s: cannot\n", c.name);
        failures++;
        return;
    }
    const affect_backend_ops *table = cpu->ops;
    operations on_cpu = {cpu, table->lstm_reserve, table->lstm_workspace, table->lstm_forward,
                         table->lstm_backward};
    operations on_cuda = {
        cuda, affect_cuda_lstm_persistent_reserve, affect_cuda_lstm_persistent_workspace,
        affect_cuda_lstm_persistent_forward, affect_cuda_lstm_persistent_backward};
    results wanted = run(on_cpu, in), got = run(on_cuda, in);
    check("y", got.y, wanted.y, most, c.name);
    check("d_x", got.d_x, wanted.d_x, most, c.name);
    check("d_kernel", got.d_kernel, wanted.d_kernel, most, c.name);
    check("d_recurrent", got.d_recurrent, wanted.d_recurrent, most, c.name);
    check("d_bias", got.d_bias, wanted.d_bias, most, c.name);
    if (!same(got.inferred, got.y)) {
        fprintf(stderr, "%s: inference differs from training\n", c.name);
        failures++;
    }
}

/* Shapes and devices that the general path must take. */
void check_limits(affect_backend *cuda) {
    affect_cuda *device = affect_cuda_of(cuda);
    affect_lstm_shape s = {4, 8, 16, 128, 2, false, true, 0, nullptr, nullptr};
    size_t limit = device->shared_limit;
    bool found = affect_cuda_lstm_persistent_can(cuda, &s);
    device->shared_limit = 1024;
    bool found_small = affect_cuda_lstm_persistent_can(cuda, &s);
    device->shared_limit = 99 * 1024; /* sm_86, sm_89 */
    bool found_middle = affect_cuda_lstm_persistent_can(cuda, &s);
    device->shared_limit = 64 * 1024; /* sm_75: not 128 units in fp32 and tf32 */
    bool found_old = affect_cuda_lstm_persistent_can(cuda, &s);
    s.units = 96;
    bool found_old_fewer = affect_cuda_lstm_persistent_can(cuda, &s);
    device->shared_limit = limit;
    s.units = 48;
    if (!found || found_small || !found_middle || !found_old_fewer ||
        found_old != (device->precision == AFFECT_PRECISION_BF16) ||
        affect_cuda_lstm_persistent_can(cuda, &s)) {
        fprintf(stderr, "what fits: %d %d %d %d %d\n", found, found_small, found_middle, found_old,
                found_old_fewer);
        failures++;
    }
}

} // namespace

int main() {
    const double most[AFFECT_PRECISION_COUNT] = {1e-5, 2e-3, 1e-2};
    affect_error err = {};
    affect_backend *cpu = nullptr;
    if (affect_cpu_backend_open(&cpu, 1, &err) != AFFECT_STATUS_OK) return 1;
    for (int precision = 0; precision < AFFECT_PRECISION_COUNT; precision++) {
        affect_backend *cuda = nullptr;
        if (affect_cuda_plugin.open(&cuda, 0, static_cast<affect_precision>(precision), &err) !=
            AFFECT_STATUS_OK) {
            fprintf(stderr, "%s\n", err.message);
            return 1;
        }
        check_limits(cuda);
        int before = failures;
        for (const lstm_case &c : cases) run_case(c, cpu, cuda, most[precision]);
        fprintf(stderr, "%s: %d of %zu cases failed checks\n", affect_precision_names[precision],
                failures - before, sizeof cases / sizeof *cases);
        cuda->ops->free(cuda);
    }
    affect_backend_free(cpu);
    return failures != 0;
}
