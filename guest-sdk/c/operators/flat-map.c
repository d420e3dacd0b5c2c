/* A record for each word of the value: key = the word in lower case, value = the word. */
#include "cofferdam.h"

static void emit_words(cfd_bytes line, uint32_t row, cfd_out *out) {
    for (size_t start = 0, i = 0; i <= line.len; i++) {
        if (i < line.len && line.data[i] != ' ') continue;
        if (i > start) {
            cfd_bytes word = cfd_slice(line, start, i);
            uint8_t *lower = CFD_NEW(uint8_t, word.len);
            for (size_t b = 0; b < word.len; b++)
                lower[b] = word.data[b] >= 'A' && word.data[b] <= 'Z' ? word.data[b] | 0x20 : word.data[b];
            cfd_emit(out, row, .key = cfd_bytes_of(lower, word.len), .value = word);
        }
        start = i + 1;
    }
}

static cfd_error flat_map_process(const cfd_batch *batch, cfd_out *out) {
    for (uint32_t i = 0; i < batch->len; i++) emit_words(cfd_value(batch, i), i, out);
    return CFD_OK;
}

CFD_PROCESSOR(.process = flat_map_process)
