/*
 * A stream socket of either family, as libuv's functions want to see it.
 */
#pragma once

#include <uv.h>

union stream_socket {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
};
