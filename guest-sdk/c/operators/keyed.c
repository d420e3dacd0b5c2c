/* Counts the records of each key, and emits the count so far for each record. */
#include "cofferdam.h"

typedef struct {
    uint64_t count;
} count_state;

static cfd_error keyed_fold(cfd_group *group, cfd_out *out) {
    if (!cfd_is_utf8(group->key)) {
        for (uint32_t i = 0; i < group->len; i++) cfd_reject(out, group->rows[i], CFD_TEXT("the key is not UTF-8"));
        return CFD_OK;
    }
    count_state state;
    cfd_load(group, &state);
    for (uint32_t i = 0; i < group->len; i++) {
        state.count++;
        cfd_writer *value = cfd_emit_writer(out, group->rows[i], .port = 0);
        CFD_PUT(value, "{\"key\":");
        cfd_put_json(value, group->key);
        CFD_PUT(value, ",\"count\":");
        cfd_put_u64(value, state.count);
        CFD_PUT(value, "}");
    }
    cfd_store(group, &state);
    return CFD_OK;
}

CFD_KEYED(.fold = keyed_fold)
