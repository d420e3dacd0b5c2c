// Counts the records of each key in each window, and emits the count when the window ends.
#include "cofferdam.hpp"

namespace cfd = cofferdam;

struct WindowCount {
    struct State {
        std::uint64_t count = 0;
    };

    cfd::Status fold(cfd::Group &group, cfd::Outcome &out) {
        if (!cfd::is_utf8(group.key())) {
            for (cfd::Record record : group.records()) out.reject(record, "the key is not UTF-8");
            return cfd::ok;
        }
        State state = group.load<State>().value_or(State{});
        state.count += group.records().size();
        group.store(state);
        return cfd::ok;
    }

    cfd::Status fire(cfd::Group &group, const cfd::Firing &firing, cfd::Outcome &out) {
        auto window = group.window();
        if (!window) return cfd::fail("this operator needs a window");
        auto state = group.load<State>();
        if (!state) return cfd::ok; // All that came was refused.
        out.write(firing)
            .put("{\"key\":").json(group.key())
            .put(",\"window_start\":").integer(window->start)
            .put(",\"window_end\":").integer(window->end)
            .put(",\"count\":").integer(state->count)
            .put("}");
        return cfd::ok;
    }
};

COFFERDAM_KEYED(WindowCount)
