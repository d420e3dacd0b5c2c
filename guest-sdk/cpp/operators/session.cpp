// Adds up the numbers of each key's sessions, and emits sum and count when a session ends.
#include "cofferdam.hpp"

namespace cfd = cofferdam;

struct Sessions {
    struct State {
        std::int64_t sum = 0;
        std::uint64_t count = 0;
    };

    cfd::Status fold(cfd::Group &group, cfd::Outcome &out) {
        if (!cfd::is_utf8(group.key())) {
            for (cfd::Record record : group.records()) out.reject(record, "the key is not UTF-8");
            return cfd::ok;
        }
        State state = group.load<State>().value_or(State{});
        for (cfd::Record record : group.records()) {
            if (auto number = cfd::parse_integer(record.value())) state.sum += *number, state.count++;
            else out.reject(record, "not a number");
        }
        if (state.count > 0) group.store(state);
        return cfd::ok;
    }

    cfd::Status merge(cfd::Text, cfd::Text earlier, cfd::Text later, cfd::Writer merged) {
        auto a = cfd::state_of<State>(earlier), b = cfd::state_of<State>(later);
        if (!a || !b) return cfd::fail("a state of another version");
        merged.raw(State{a->sum + b->sum, a->count + b->count});
        return cfd::ok;
    }

    cfd::Status fire(cfd::Group &group, const cfd::Firing &firing, cfd::Outcome &out) {
        auto state = group.load<State>();
        if (!state) return cfd::ok;
        out.write(firing)
            .put("{\"key\":").json(group.key())
            .put(",\"sum\":").integer(state->sum)
            .put(",\"count\":").integer(state->count)
            .put("}");
        return cfd::ok;
    }
};

COFFERDAM_SESSION(Sessions)
