/* Fails when it is told to, in every way that there is. */
#include "cofferdam.h"

static cfd_error failing_process(const cfd_batch *batch, cfd_out *out) {
    for (uint32_t i = 0; i < batch->len; i++) {
        cfd_bytes value = cfd_value(batch, i);
        if (cfd_equal(value, CFD_TEXT("panic"))) cfd_panic("boom: told to panic");
        if (cfd_equal(value, CFD_TEXT("error"))) return cfd_fail("told to fail");
        if (cfd_equal(value, CFD_TEXT("trap"))) __builtin_trap();
        cfd_keep(out, i);
    }
    return CFD_OK;
}

CFD_PROCESSOR(.process = failing_process)
