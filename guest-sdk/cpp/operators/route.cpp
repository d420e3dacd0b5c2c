// What looks like a JSON object leaves by port 0, other values by port 1, empty ones are refused.
#include "cofferdam.hpp"

namespace cfd = cofferdam;

struct Route {
    static constexpr std::uint32_t objects = 0, others = 1;

    cfd::Status process(cfd::Batch batch, cfd::Outcome &out) {
        for (cfd::Record record : batch) {
            if (record.value().empty()) out.reject(record, "the value is empty");
            else out.keep(record, record.value().starts_with('{') ? objects : others);
        }
        return cfd::ok;
    }
};

COFFERDAM_PROCESSOR(Route)
