// Counts the records of each key, and emits the count so far for each record.
#include "cofferdam.hpp"

namespace cfd = cofferdam;

struct Count {
    struct State {
        std::uint64_t count = 0;
    };

    cfd::Status fold(cfd::Group &group, cfd::Outcome &out) {
        if (!cfd::is_utf8(group.key())) {
            for (cfd::Record record : group.records()) out.reject(record, "the key is not UTF-8");
            return cfd::ok;
        }
        State state = group.load<State>().value_or(State{});
        for (cfd::Record record : group.records()) {
            state.count++;
            out.write(record).put("{\"key\":").json(group.key()).put(",\"count\":").integer(state.count).put("}");
        }
        group.store(state);
        return cfd::ok;
    }
};

COFFERDAM_KEYED(Count)
