/* Says when a key has been idle: no record for `timeout_ms` of event time, 10,000 if not given. */
#include "cofferdam.h"

typedef struct {
    int64_t last; /* Event time of the last record. */
    uint64_t count;
} idle_state;

static int64_t timeout_ms = 10000;

static cfd_error timer_open(const cfd_context *context) {
    (void)context;
    return cfd_config_i64("timeout_ms", &timeout_ms);
}

static cfd_error timer_fold(cfd_group *group, cfd_out *out) {
    if (!cfd_is_utf8(group->key)) {
        for (uint32_t i = 0; i < group->len; i++) cfd_reject(out, group->rows[i], CFD_TEXT("the key is not UTF-8"));
        return CFD_OK;
    }
    idle_state state;
    bool some = cfd_load(group, &state);
    for (uint32_t i = 0; i < group->len; i++) {
        uint32_t row = group->rows[i];
        cfd_time time = cfd_time_of(group->batch, row);
        if (!time.some) {
            cfd_reject(out, row, CFD_TEXT("the record has no event time"));
            continue;
        }
        if (some) cfd_delete_timer(group, CFD_EVENT_TIME, state.last + timeout_ms);
        cfd_set_timer(group, CFD_EVENT_TIME, time.ms + timeout_ms);
        state.last = time.ms, state.count++, some = true;
    }
    if (some) cfd_store(group, &state);
    return CFD_OK;
}

static cfd_error timer_fire(cfd_group *group, cfd_firing firing, cfd_out *out) {
    idle_state state;
    if (!cfd_load(group, &state)) return CFD_OK;
    cfd_writer *value = cfd_emit_writer(out, firing.index, .port = 0);
    CFD_PUT(value, "{\"key\":");
    cfd_put_json(value, group->key);
    CFD_PUT(value, ",\"idle_since\":");
    cfd_put_i64(value, state.last);
    CFD_PUT(value, ",\"records\":");
    cfd_put_u64(value, state.count);
    CFD_PUT(value, "}");
    cfd_delete_state(group);
    return CFD_OK;
}

CFD_KEYED(.open = timer_open, .fold = timer_fold, .fire = timer_fire)
