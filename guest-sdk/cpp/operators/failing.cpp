// Fails when it is told to, in every way that there is.
#include "cofferdam.hpp"

namespace cfd = cofferdam;

struct Failing {
    cfd::Status process(cfd::Batch batch, cfd::Outcome &out) {
        for (cfd::Record record : batch) {
            if (record.value() == "panic") cfd::panic("boom: told to panic");
            if (record.value() == "error") return cfd::fail("told to fail");
            if (record.value() == "trap") __builtin_trap();
            out.keep(record);
        }
        return cfd::ok;
    }
};

COFFERDAM_PROCESSOR(Failing)
