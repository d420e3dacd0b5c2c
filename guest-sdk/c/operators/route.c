/* What looks like a JSON object leaves by port 0, other values by port 1, empty ones are refused. */
#include "cofferdam.h"

enum { OBJECTS, OTHERS };

static cfd_error route_process(const cfd_batch *batch, cfd_out *out) {
    for (uint32_t i = 0; i < batch->len; i++) {
        cfd_bytes value = cfd_value(batch, i);
        if (value.len == 0) cfd_reject(out, i, CFD_TEXT("the value is empty"));
        else cfd_keep_to(out, value.data[0] == '{' ? OBJECTS : OTHERS, i);
    }
    return CFD_OK;
}

CFD_PROCESSOR(.process = route_process)
