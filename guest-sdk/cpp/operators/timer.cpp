// Says when a key has been idle: no record for `timeout_ms` of event time, 10,000 if not given.
#include "cofferdam.hpp"

namespace cfd = cofferdam;

struct Idle {
    struct State {
        std::int64_t last; // Event time of the last record.
        std::uint64_t count;
    };

    std::int64_t timeout_ms = 10'000;

    cfd::Status open(const cfd::Context &) { return cfd::config::read("timeout_ms", timeout_ms); }

    cfd::Status fold(cfd::Group &group, cfd::Outcome &out) {
        if (!cfd::is_utf8(group.key())) {
            for (cfd::Record record : group.records()) out.reject(record, "the key is not UTF-8");
            return cfd::ok;
        }
        auto state = group.load<State>();
        for (cfd::Record record : group.records()) {
            auto time = record.timestamp();
            if (!time) {
                out.reject(record, "the record has no event time");
                continue;
            }
            if (state) group.delete_timer(cfd::TimerKind::event, state->last + timeout_ms);
            group.set_timer(cfd::TimerKind::event, *time + timeout_ms);
            state = State{*time, state ? state->count + 1 : 1};
        }
        if (state) group.store(*state);
        return cfd::ok;
    }

    cfd::Status fire(cfd::Group &group, const cfd::Firing &firing, cfd::Outcome &out) {
        auto state = group.load<State>();
        if (!state) return cfd::ok;
        out.write(firing)
            .put("{\"key\":").json(group.key())
            .put(",\"idle_since\":").integer(state->last)
            .put(",\"records\":").integer(state->count)
            .put("}");
        group.delete_state();
        return cfd::ok;
    }
};

COFFERDAM_KEYED(Idle)
