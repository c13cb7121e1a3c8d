/* The special path of LSTM on a device: a block walks all steps of a few sequences with the
 * recurrent kernel held on its chip. For one or two directions of 32, 64, 96 or 128 units.
 *
 * cuda_recurrent.cu asks affect_cuda_lstm_persistent_can, and where the answer is yes hands over
 * the whole operation (contracts in device/backend.h: shared rows, masks, last states, reserve NULL
 * in inference). The answer depends on the device, its precision and shape's units and directions
 * alone, so that it is the same in each of the four calls. */
#ifndef AFFECT_CUDA_CUDA_LSTM_PERSISTENT_CUH
#define AFFECT_CUDA_CUDA_LSTM_PERSISTENT_CUH

#include "engine/device/cuda/cuda_backend.cuh"

/* Whether the kernel fits on a multiprocessor of this device in the backend's precision. */
bool affect_cuda_lstm_persistent_can(affect_backend *backend, const affect_lstm_shape *shape);

/* Bytes; `first` may be NULL, n_rows is then the most there may be. Sizes never fall when batch,
 * steps or n_rows rise. */
size_t affect_cuda_lstm_persistent_reserve(affect_backend *backend, const affect_lstm_shape *shape);
size_t affect_cuda_lstm_persistent_workspace(affect_backend *backend,
                                             const affect_lstm_shape *shape);

void affect_cuda_lstm_persistent_forward(affect_backend *backend, float *y, void *reserve,
                                         const float *x, const affect_lstm_parameters *parameters,
                                         void *workspace, const affect_lstm_shape *shape);
void affect_cuda_lstm_persistent_backward(affect_backend *backend, float *d_x,
                                          const affect_lstm_parameters *gradients, const float *d_y,
                                          const float *x, const float *y, void *reserve,
                                          const affect_lstm_parameters *parameters, void *workspace,
                                          const affect_lstm_shape *shape);

#endif
