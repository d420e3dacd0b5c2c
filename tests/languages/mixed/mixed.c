/* Mixes everything that a record can be emitted as; the same as mixed.cpp and mixed.zig. */
#include "cofferdam.h"

static cfd_error mixed_process(const cfd_batch *batch, cfd_out *out) {
    for (uint32_t i = 0; i < batch->len; i++) {
        cfd_bytes value = cfd_value(batch, i);
        switch (i % 7) {
        case 0: cfd_keep(out, i); break;
        case 1: cfd_emit(out, i, .value = CFD_TEXT("new")); break;
        case 2: cfd_emit(out, i, .key = CFD_TEXT("other")); break;
        case 3: cfd_emit(out, i, .time = cfd_at(-1), .value = CFD_TEXT("")); break;
        case 4: cfd_emit(out, i, .port = 2, .key = CFD_TEXT(""), .value = value, .time = cfd_at(4)); break;
        case 5: cfd_keep_to(out, 2, i), cfd_keep(out, 0); break;
        case 6: cfd_emit(out, CFD_FRESH, .key = CFD_TEXT("fresh"), .value = value); break;
        }
    }
    cfd_keep_all(out, 1);
    cfd_emit(out, batch->len - 1, .port = 1, .value = CFD_TEXT("after all"));
    return CFD_OK;
}

static cfd_error mixed_finish(cfd_out *out) {
    cfd_emit(out, CFD_FRESH, .value = CFD_TEXT("the end"), .time = cfd_at(99));
    cfd_emit(out, CFD_FRESH, .port = 1, .key = CFD_TEXT("only a key"));
    cfd_keep_to(out, 2, CFD_FRESH);
    return CFD_OK;
}

CFD_PROCESSOR(.process = mixed_process, .finish = mixed_finish)
