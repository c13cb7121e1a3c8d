/* Predictions for a server: a batch of requests in, an answer each out, over a socket.
 *
 * The socket (SOCK_SEQPACKET) carries JSON packets:
 *   <- {"event": "hello", "protocol": 4, "version": "0.1.0", "pid": 41}
 *   -> {"model": "/path/model.safetensors", "requests": [{"id": 7, "start": 6.29, "end": 8.24,
 *       "audio_start": 6.29, "audio_end": 8.24, "calibrated": true, "parts": {"audio": {"offset":
 * 0, "size": 99044}, "mocap_face": {...}, ...}}, ...]} and as many memory files attached
 * (SCM_RIGHTS), in their order, that hold the parts' bytes
 *   <- {"id": 7, "status": "ok", "result": {...}}  or  {"id": 7, "status": "malformed", "error":
 *       "..."}, one packet a request, in their order
 * A batch is computed as one (predict.h). Models stay open: the last few used. Ends when the other
 * side closes. */
#ifndef AFFECT_PREDICT_SERVE_H
#define AFFECT_PREDICT_SERVE_H

#include "engine/predict/predict.h"

#define AFFECT_SERVE_PROTOCOL 4

/* Serves until the socket ends (OK) or breaks (IO). max_batch is the most requests a packet. */
affect_status affect_predict_serve(int socket, const affect_predictor_options *options,
                                   affect_error *err);

#endif
