/* Emits, for each record, how many bytes of values have come so far: state in the operator's own
 * memory, which a snapshot saves. */
#include "cofferdam.h"

static uint64_t total;

static cfd_error stateful_open(const cfd_context *context) {
    (void)context;
    total = 0;
    return CFD_OK;
}

static cfd_error stateful_process(const cfd_batch *batch, cfd_out *out) {
    for (uint32_t i = 0; i < batch->len; i++) {
        total += cfd_value(batch, i).len;
        cfd_put_u64(cfd_emit_writer(out, i, .port = 0), total);
    }
    return CFD_OK;
}

static cfd_error stateful_snapshot(cfd_writer *state) {
    cfd_put(state, cfd_bytes_of(&total, sizeof total));
    return CFD_OK;
}

static cfd_error stateful_restore(cfd_bytes state) {
    if (state.len != sizeof total) return cfd_fail("a snapshot of %zu bytes, not %zu", state.len, sizeof total);
    __builtin_memcpy(&total, state.data, sizeof total);
    return CFD_OK;
}

CFD_STATEFUL(.open = stateful_open, .process = stateful_process, .snapshot = stateful_snapshot, .restore = stateful_restore)
