// Every export there is, and timers of processing time; the same as checked.c and checked.zig.
#include "cofferdam.hpp"

#include <string>

namespace cfd = cofferdam;

struct Checked {
    cfd::Status fold(cfd::Group &group, cfd::Outcome &) {
        group.set_timer(cfd::TimerKind::processing, group.processing_time() + 1000);
        group.set_timer(cfd::TimerKind::processing, group.processing_time() + 2000);
        group.delete_timer(cfd::TimerKind::processing, group.processing_time() + 2000);
        group.set_state(group.records().back().value());
        return cfd::ok;
    }

    cfd::Status fire(cfd::Group &group, const cfd::Firing &firing, cfd::Outcome &out) {
        out.emit(firing, {.value = group.state(), .timestamp = firing.is_processing_time()});
        group.delete_state();
        return cfd::ok;
    }

    cfd::Status merge(cfd::Text, cfd::Text earlier, cfd::Text later, cfd::Writer merged) {
        merged.put(earlier).put(later);
        return cfd::ok;
    }

    cfd::Status check(cfd::Text, cfd::Text state) {
        return state.size() < 3 ? cfd::ok : cfd::fail("a state of " + std::to_string(state.size()) + " bytes");
    }
};

COFFERDAM_CHECKED_SESSION(Checked)
