/* Counts the records of each key in each window, and emits the count when the window ends. */
#include "cofferdam.h"

typedef struct {
    uint64_t count;
} count_state;

static cfd_error window_fold(cfd_group *group, cfd_out *out) {
    if (!cfd_is_utf8(group->key)) {
        for (uint32_t i = 0; i < group->len; i++) cfd_reject(out, group->rows[i], CFD_TEXT("the key is not UTF-8"));
        return CFD_OK;
    }
    count_state state;
    cfd_load(group, &state);
    state.count += group->len;
    cfd_store(group, &state);
    return CFD_OK;
}

static cfd_error window_fire(cfd_group *group, cfd_firing firing, cfd_out *out) {
    count_state state;
    if (!cfd_load(group, &state)) return CFD_OK; /* All that came was refused. */
    cfd_writer *value = cfd_emit_writer(out, firing.index, .port = 0);
    CFD_PUT(value, "{\"key\":");
    cfd_put_json(value, group->key);
    CFD_PUT(value, ",\"window_start\":");
    cfd_put_i64(value, group->window_start);
    CFD_PUT(value, ",\"window_end\":");
    cfd_put_i64(value, group->window_end);
    CFD_PUT(value, ",\"count\":");
    cfd_put_u64(value, state.count);
    CFD_PUT(value, "}");
    return CFD_OK;
}

CFD_KEYED(.fold = window_fold, .fire = window_fire)
