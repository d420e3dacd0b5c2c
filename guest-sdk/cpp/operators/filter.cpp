// Keeps the records whose value contains a text: `contains` of the config, "error" if not given.
#include "cofferdam.hpp"

namespace cfd = cofferdam;

struct Filter {
    cfd::Text wanted;

    cfd::Status open(const cfd::Context &) {
        wanted = cfd::config::get("contains").value_or("error");
        return cfd::ok;
    }

    cfd::Status process(cfd::Batch batch, cfd::Outcome &out) {
        for (cfd::Record record : batch)
            if (cfd::contains(record.value(), wanted)) out.keep(record);
        return cfd::ok;
    }
};

COFFERDAM_PROCESSOR(Filter)
