// Writes every ASCII digit of the value as `#`; key and time stay.
#include "cofferdam.hpp"

#include <algorithm>

namespace cfd = cofferdam;

struct Map {
    cfd::Status process(cfd::Batch batch, cfd::Outcome &out) {
        for (cfd::Record record : batch) {
            cfd::Text value = record.value();
            auto masked = out.write(record).extend(value.size());
            std::ranges::transform(value, masked.begin(), [](char c) { return c >= '0' && c <= '9' ? '#' : c; });
        }
        return cfd::ok;
    }
};

COFFERDAM_PROCESSOR(Map)
