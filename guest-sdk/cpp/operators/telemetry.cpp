// Keeps every record, and shows configuration, log lines and metrics.
#include "cofferdam.hpp"

#include <string>

namespace cfd = cofferdam;

struct Telemetry {
    std::int64_t every = 2;
    std::uint64_t seen = 0;

    cfd::Status open(const cfd::Context &context) {
        auto greeting = cfd::config::get("greeting");
        if (!greeting) return cfd::fail("config: greeting is missing");
        if (auto status = cfd::config::read("every", every); !status) return status;
        if (every < 1) return cfd::fail("config: every must be 1 at least");
        cfd::log(cfd::Level::info, std::string(*greeting) + ", subtask " + std::to_string(context.subtask) + " of " +
                                       std::to_string(context.parallelism));
        return cfd::ok;
    }

    cfd::Status process(cfd::Batch batch, cfd::Outcome &out) {
        for (cfd::Record record : batch) {
            cfd::metrics::histogram("value_bytes", double(record.value().size()));
            if (++seen % every == 0)
                cfd::log(cfd::Level::debug, "record " + std::to_string(seen) + ": " + std::string(record.value()));
        }
        if (!batch.empty()) {
            cfd::metrics::counter("records", batch.size());
            cfd::metrics::gauge("last_value_bytes", double(batch.back().value().size()));
        }
        out.keep_all();
        return cfd::ok;
    }
};

COFFERDAM_PROCESSOR(Telemetry)
