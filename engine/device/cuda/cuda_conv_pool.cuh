/* The special path of conv1d_pool on a device: convolution, bias, relu and the maximum of pairs in
 * one kernel, and a backward that puts gradients back to their positions on the way into shared
 * memory; the convolution's own output is never in memory.
 *
 * cuda_conv.cu asks affect_cuda_conv_pool_can, and where the answer is yes hands over the whole
 * operation (contracts in device/backend.h; switches have the general path's layout). The answer
 * depends on the device, its precision and the shape without its n, so that it is the same in each
 * of the four calls. x, y, d_x and d_y must be 16-byte aligned. */
#ifndef AFFECT_CUDA_CUDA_CONV_POOL_CUH
#define AFFECT_CUDA_CUDA_CONV_POOL_CUH

#include "engine/device/cuda/cuda_backend.cuh"

/* Kernels of 3 at stride 1; one channel, or channels and filters multiples of 16 to 256, where the
 * kernel and an item fit into a multiprocessor's shared memory in the backend's precision (tensor
 * cores, for tf32 and bf16, from sm_80 on). */
bool affect_cuda_conv_pool_can(affect_backend *backend, const affect_conv1d_shape *shape);

size_t affect_cuda_conv_pool_workspace(affect_backend *backend, const affect_conv1d_shape *shape);

void affect_cuda_conv_pool_forward(affect_backend *backend, float *y, uint32_t *switches,
                                   const float *x, const float *kernel, const float *bias,
                                   void *workspace, const affect_conv1d_shape *shape);
void affect_cuda_conv_pool_backward(affect_backend *backend, float *d_x, float *d_kernel,
                                    float *d_bias, const float *d_y, const float *x, const float *y,
                                    const uint32_t *switches, const float *kernel, void *workspace,
                                    const affect_conv1d_shape *shape);

#endif
