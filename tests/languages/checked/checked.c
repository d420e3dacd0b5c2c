/* Every export there is, and timers of processing time; the same as checked.cpp and checked.zig. */
#include "cofferdam.h"

static cfd_error checked_fold(cfd_group *group, cfd_out *out) {
    (void)out;
    cfd_set_timer(group, CFD_PROCESSING_TIME, group->now.processing + 1000);
    cfd_set_timer(group, CFD_PROCESSING_TIME, group->now.processing + 2000);
    cfd_delete_timer(group, CFD_PROCESSING_TIME, group->now.processing + 2000);
    cfd_set_state(group, cfd_value(group->batch, group->rows[group->len - 1]));
    return CFD_OK;
}

static cfd_error checked_fire(cfd_group *group, cfd_firing firing, cfd_out *out) {
    cfd_emit(out, firing.index, .value = cfd_state(group), .time = cfd_at(firing.kind == CFD_FIRED_PROCESSING));
    cfd_delete_state(group);
    return CFD_OK;
}

static cfd_error checked_merge(cfd_bytes key, cfd_bytes earlier, cfd_bytes later, cfd_writer *merged) {
    (void)key;
    cfd_put(merged, earlier);
    cfd_put(merged, later);
    return CFD_OK;
}

static cfd_error checked_check(cfd_bytes key, cfd_bytes state) {
    (void)key;
    return state.len < 3 ? CFD_OK : cfd_fail("a state of %zu bytes", state.len);
}

CFD_CHECKED_SESSION(.fold = checked_fold, .fire = checked_fire, .merge = checked_merge, .check = checked_check)
