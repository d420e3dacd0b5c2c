/* Keeps every record, and shows configuration, log lines and metrics. */
#include "cofferdam.h"

static int64_t every = 2;
static uint64_t seen;

static cfd_error telemetry_open(const cfd_context *context) {
    cfd_bytes greeting = cfd_config("greeting");
    if (!greeting.data) return cfd_fail("config: greeting is missing");
    cfd_error error = cfd_config_i64("every", &every);
    if (cfd_failed(error)) return error;
    if (every < 1) return cfd_fail("config: every must be 1 at least");
    cfd_log(CFD_INFO, "%.*s, subtask %u of %u", CFD_ARG(greeting), context->subtask, context->parallelism);
    return CFD_OK;
}

static cfd_error telemetry_process(const cfd_batch *batch, cfd_out *out) {
    for (uint32_t i = 0; i < batch->len; i++) {
        cfd_bytes value = cfd_value(batch, i);
        cfd_histogram("value_bytes", (double)value.len);
        if (++seen % (uint64_t)every == 0) cfd_log(CFD_DEBUG, "record %llu: %.*s", (unsigned long long)seen, CFD_ARG(value));
    }
    if (batch->len > 0) {
        cfd_counter("records", batch->len);
        cfd_gauge("last_value_bytes", (double)cfd_value(batch, batch->len - 1).len);
    }
    cfd_keep_all(out, 0);
    return CFD_OK;
}

CFD_PROCESSOR(.open = telemetry_open, .process = telemetry_process)
