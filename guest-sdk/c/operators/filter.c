/* Keeps the records whose value contains a text: `contains` of the config, "error" if not given. */
#include "cofferdam.h"

static cfd_bytes wanted;

static cfd_error filter_open(const cfd_context *context) {
    (void)context;
    wanted = cfd_config_text("contains", "error");
    return CFD_OK;
}

static cfd_error filter_process(const cfd_batch *batch, cfd_out *out) {
    for (uint32_t i = 0; i < batch->len; i++)
        if (cfd_contains(cfd_value(batch, i), wanted)) cfd_keep(out, i);
    return CFD_OK;
}

CFD_PROCESSOR(.open = filter_open, .process = filter_process)
