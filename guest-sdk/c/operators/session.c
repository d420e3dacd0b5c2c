/* Adds up the numbers of each key's sessions, and emits sum and count when a session ends. */
#include "cofferdam.h"

typedef struct {
    int64_t sum;
    uint64_t count;
} session_state;

static cfd_error session_fold(cfd_group *group, cfd_out *out) {
    if (!cfd_is_utf8(group->key)) {
        for (uint32_t i = 0; i < group->len; i++) cfd_reject(out, group->rows[i], CFD_TEXT("the key is not UTF-8"));
        return CFD_OK;
    }
    session_state state;
    cfd_load(group, &state);
    for (uint32_t i = 0; i < group->len; i++) {
        int64_t number;
        if (cfd_parse_i64(cfd_value(group->batch, group->rows[i]), &number)) state.sum += number, state.count++;
        else cfd_reject(out, group->rows[i], CFD_TEXT("not a number"));
    }
    if (state.count > 0) cfd_store(group, &state);
    return CFD_OK;
}

static cfd_error session_merge(cfd_bytes key, cfd_bytes earlier, cfd_bytes later, cfd_writer *merged) {
    (void)key;
    session_state a, b;
    if (earlier.len != sizeof a || later.len != sizeof b) return cfd_fail("a state of another version");
    __builtin_memcpy(&a, earlier.data, sizeof a);
    __builtin_memcpy(&b, later.data, sizeof b);
    a.sum += b.sum, a.count += b.count;
    cfd_put(merged, cfd_bytes_of(&a, sizeof a));
    return CFD_OK;
}

static cfd_error session_fire(cfd_group *group, cfd_firing firing, cfd_out *out) {
    session_state state;
    if (!cfd_load(group, &state)) return CFD_OK;
    cfd_writer *value = cfd_emit_writer(out, firing.index, .port = 0);
    CFD_PUT(value, "{\"key\":");
    cfd_put_json(value, group->key);
    CFD_PUT(value, ",\"sum\":");
    cfd_put_i64(value, state.sum);
    CFD_PUT(value, ",\"count\":");
    cfd_put_u64(value, state.count);
    CFD_PUT(value, "}");
    return CFD_OK;
}

CFD_SESSION(.fold = session_fold, .fire = session_fire, .merge = session_merge)
