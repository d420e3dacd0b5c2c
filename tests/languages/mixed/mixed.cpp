// Mixes everything that a record can be emitted as; the same as mixed.c and mixed.zig.
#include "cofferdam.hpp"

#include <string>
#include <vector>

namespace cfd = cofferdam;

// Made once, before `open`.
static std::vector<std::string> made{"new"};

struct Mixed {
    cfd::Status process(cfd::Batch batch, cfd::Outcome &out) {
        if (made.size() != 1) return cfd::fail("constructors ran again");
        for (cfd::Record record : batch) {
            switch (record.index() % 7) {
            case 0: out.keep(record); break;
            case 1: out.value(record, made.at(0)); break;
            case 2: out.emit(record, {.key = "other"}); break;
            case 3: out.emit(record, {.value = "", .timestamp = -1}); break;
            case 4: out.emit(record, {.port = 2, .key = "", .value = record.value(), .timestamp = 4}); break;
            case 5: out.keep(record, 2), out.keep(batch[0]); break;
            case 6: out.emit(cfd::Nothing{}, {.key = "fresh", .value = record.value()}); break;
            }
        }
        out.keep_all(1);
        out.emit(batch.back(), {.port = 1, .value = "after all"});
        return cfd::ok;
    }

    cfd::Status finish(cfd::Outcome &out) {
        out.emit(cfd::Nothing{}, {.value = "the end", .timestamp = 99});
        out.emit(cfd::Nothing{}, {.port = 1, .key = "only a key"});
        out.keep(cfd::Nothing{}, 2);
        return cfd::ok;
    }
};

COFFERDAM_PROCESSOR(Mixed)
