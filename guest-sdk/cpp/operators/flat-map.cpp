// A record for each word of the value: key = the word in lower case, value = the word.
#include "cofferdam.hpp"

#include <algorithm>
#include <string>

namespace cfd = cofferdam;

struct FlatMap {
    std::string key;

    cfd::Status process(cfd::Batch batch, cfd::Outcome &out) {
        for (cfd::Record record : batch) {
            cfd::Text rest = record.value();
            while (!rest.empty()) {
                cfd::Text word = rest.substr(0, rest.find(' '));
                rest.remove_prefix(std::min(word.size() + 1, rest.size()));
                if (word.empty()) continue;
                key.assign(word);
                std::ranges::transform(key, key.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c | 0x20) : c; });
                out.emit(record, {.key = key, .value = word});
            }
        }
        return cfd::ok;
    }
};

COFFERDAM_PROCESSOR(FlatMap)
