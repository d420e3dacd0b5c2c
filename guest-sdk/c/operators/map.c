/* Writes every ASCII digit of the value as `#`; key and time stay. */
#include "cofferdam.h"

static cfd_error map_process(const cfd_batch *batch, cfd_out *out) {
    for (uint32_t i = 0; i < batch->len; i++) {
        cfd_bytes value = cfd_value(batch, i);
        uint8_t *masked = cfd_extend(cfd_emit_writer(out, i, .port = 0), value.len);
        for (size_t b = 0; b < value.len; b++)
            masked[b] = value.data[b] >= '0' && value.data[b] <= '9' ? '#' : value.data[b];
    }
    return CFD_OK;
}

CFD_PROCESSOR(.process = map_process)
