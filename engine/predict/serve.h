/* Predictions for a server: one request packet in, one answer packet out, over a socket.
 *
 * The socket (SOCK_SEQPACKET) carries JSON packets:
 *   <- {"event": "hello", "protocol": 1, "version": "0.1.0", "pid": 41}
 *   -> {"id": 7, "model": "/path/model.safetensors", "start": 6.29, "end": 8.24,
 *       "parts": {"audio": {"offset": 0, "size": 99044}, "mocap_face": {...}, ...}}  with one
 * memory file attached (SCM_RIGHTS) that holds the parts' bytes
 *   <- {"id": 7, "status": "ok", "result": {...}}  or  {"id": 7, "status": "malformed", "error":
 * "..."} Models stay open: the last few used. Ends when the other side closes. */
#ifndef AFFECT_PREDICT_SERVE_H
#define AFFECT_PREDICT_SERVE_H

#include "engine/core/status.h"

#define AFFECT_SERVE_PROTOCOL 1

/* Serves until the socket ends (OK) or breaks (IO). */
affect_status affect_predict_serve(int socket, const char *device, int n_threads,
                                   affect_error *err);

#endif
