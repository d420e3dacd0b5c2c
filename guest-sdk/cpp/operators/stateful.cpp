// Emits, for each record, how many bytes of values have come so far: state in the operator's own memory,
// which a snapshot saves.
#include "cofferdam.hpp"

namespace cfd = cofferdam;

struct Total {
    std::uint64_t total = 0;

    cfd::Status process(cfd::Batch batch, cfd::Outcome &out) {
        for (cfd::Record record : batch) {
            total += record.value().size();
            out.write(record).integer(total);
        }
        return cfd::ok;
    }

    cfd::Status snapshot(cfd::Writer state) {
        state.raw(total);
        return cfd::ok;
    }

    cfd::Status restore(cfd::Text state) {
        auto saved = cfd::state_of<std::uint64_t>(state);
        if (!saved) return cfd::fail("a snapshot of another version");
        total = *saved;
        return cfd::ok;
    }
};

COFFERDAM_STATEFUL(Total)
