/* cofferdam.h: stream operators for Cofferdam in C (C11 or later; C++20 may include it too).
 *
 * One header, nothing to link. It is the contract of `wit/` by hand: the canonical ABI's layouts
 * are plain structs here, exports and imports are attributes. It needs no libc of its own, so it
 * builds with and without one.
 *
 *     #include "cofferdam.h"
 *
 *     static cfd_error keep_errors(const cfd_batch *batch, cfd_out *out) {
 *         for (uint32_t i = 0; i < batch->len; i++)
 *             if (cfd_contains(cfd_value(batch, i), CFD_TEXT("error"))) cfd_keep(out, i);
 *         return CFD_OK;
 *     }
 *
 *     CFD_PROCESSOR(.process = keep_errors)
 *
 * Memory: whatever these functions allocate lives until the call that the host made is over, and
 * is then forgotten as a whole; nothing is freed by hand. What `open` allocates stays for good.
 * Views (`cfd_bytes`) of a batch, a key or a state are valid during the call.
 *
 * What is here, in this order: bytes; memory; writing text; reading text; JSON; log, metrics,
 * panics; configuration; batches; what goes out; keyed state, timers and windows; the operator and
 * its exports. Names that begin with `cfd__` are not for you. Native tests: `cofferdam_test.h`.
 */
#ifndef COFFERDAM_H
#define COFFERDAM_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#ifndef __wasm__
#include <stdlib.h> /* Native tests only: malloc. */
#endif

#ifdef __cplusplus
#define CFD__NORETURN [[noreturn]]
#define CFD__INIT(type) type
#define CFD__ZERO {}
#define CFD__ALIGNOF(type) alignof(type)
extern "C" {
#else
#define CFD__NORETURN _Noreturn
#define CFD__INIT(type) (type)
#define CFD__ZERO {0}
#define CFD__ALIGNOF(type) _Alignof(type)
#endif

#define CFD__INLINE static inline __attribute__((unused))
#define CFD__FAST static inline __attribute__((unused, always_inline))
#define CFD__SLOW static __attribute__((unused, noinline, cold))
#define CFD__LIKELY(x) __builtin_expect(!!(x), 1)
#define CFD__PRINTF(at, first) __attribute__((format(printf, at, first)))

/* ---------------------------------------------------------------------------------- bytes */

/* A view of bytes: it owns nothing. `data` is NULL where there is none, which is not the same as
 * an empty one. */
typedef struct cfd_bytes {
    const uint8_t *data;
    size_t len;
} cfd_bytes;

/* A string literal as bytes, without its end. */
#define CFD_TEXT(literal) (CFD__INIT(cfd_bytes){(const uint8_t *)("" literal), sizeof("" literal) - 1})
/* Bytes as the two arguments of `%.*s`. */
#define CFD_ARG(bytes) ((int)(bytes).len), ((const char *)(bytes).data)
/* No bytes at all. */
#define CFD_NONE (CFD__INIT(cfd_bytes){NULL, 0})

/* `len` bytes from `data`. */
CFD__FAST cfd_bytes cfd_bytes_of(const void *data, size_t len) {
    cfd_bytes bytes = {(const uint8_t *)data, len};
    return bytes;
}

/* A C string as bytes, without its end. */
CFD__INLINE cfd_bytes cfd_text(const char *text) {
    size_t len = 0;
    while (text[len] != 0) len++;
    return cfd_bytes_of(text, len);
}

/* Copies `len` bytes. A copy of unknown length is an instruction that leaves compiled code, some
 * 10 ns whatever the length: short ones are plain loads and stores, of a piece from the beginning
 * and one up to the end, which overlap in the middle. */
CFD__FAST void cfd__copy(uint8_t *to, const uint8_t *from, size_t len) {
    if (len < 4) {
        if (len == 0) return;
        uint8_t first = from[0], middle = from[len / 2], last = from[len - 1];
        to[0] = first, to[len / 2] = middle, to[len - 1] = last;
    } else if (len < 8) {
        uint32_t first, last;
        __builtin_memcpy(&first, from, 4), __builtin_memcpy(&last, from + len - 4, 4);
        __builtin_memcpy(to, &first, 4), __builtin_memcpy(to + len - 4, &last, 4);
    } else if (len <= 16) {
        uint64_t first, last;
        __builtin_memcpy(&first, from, 8), __builtin_memcpy(&last, from + len - 8, 8);
        __builtin_memcpy(to, &first, 8), __builtin_memcpy(to + len - 8, &last, 8);
    } else if (len < 256) {
        uint64_t last[2];
        __builtin_memcpy(last, from + len - 16, 16);
        for (size_t i = 0; i + 16 <= len; i += 16) {
            uint64_t block[2];
            __builtin_memcpy(block, from + i, 16), __builtin_memcpy(to + i, block, 16);
        }
        __builtin_memcpy(to + len - 16, last, 16);
    } else {
        __builtin_memcpy(to, from, len);
    }
}

CFD__FAST uint64_t cfd__load64(const uint8_t *from) {
    uint64_t word;
    __builtin_memcpy(&word, from, 8);
    return word;
}

/* Whether both are the same bytes. */
CFD__INLINE bool cfd_equal(cfd_bytes a, cfd_bytes b) {
    if (a.len != b.len) return false;
    size_t i = 0;
    for (; i + 8 <= a.len; i += 8)
        if (cfd__load64(a.data + i) != cfd__load64(b.data + i)) return false;
    for (; i < a.len; i++)
        if (a.data[i] != b.data[i]) return false;
    return true;
}

/* The bytes from `from` up to `to`, which must not lie beyond the end. */
CFD__FAST cfd_bytes cfd_slice(cfd_bytes bytes, size_t from, size_t to) {
    return cfd_bytes_of(bytes.data + from, to - from);
}

/* Whether `bytes` begins with `start`. */
CFD__INLINE bool cfd_starts_with(cfd_bytes bytes, cfd_bytes start) {
    return bytes.len >= start.len && cfd_equal(cfd_slice(bytes, 0, start.len), start);
}

#define CFD__EACH(byte) ((uint64_t)(byte) * 0x0101010101010101u)
/* The top bit of every byte that is 0, and perhaps of bytes above one that is. */
#define CFD__ZEROS(word) (((word) - CFD__EACH(0x01)) & ~(word) & CFD__EACH(0x80))

/* Which of the places from `at` on may be where a needle begins whose last byte is `tail` bytes behind
 * its first: a bit for each. Some places are looked at at a time; a bit may be set that should not be. */
#ifdef __wasm_simd128__
#define CFD__PLACES 16
#define CFD__BIT_OF(bits) ((size_t)__builtin_ctzll(bits))
CFD__FAST uint64_t cfd__places(const uint8_t *at, size_t tail, uint8_t first, uint8_t last) {
    typedef uint8_t block __attribute__((vector_size(16)));
    typedef signed char mask __attribute__((vector_size(16)));
    block begins, ends;
    __builtin_memcpy(&begins, at, 16), __builtin_memcpy(&ends, at + tail, 16);
    return (uint64_t)__builtin_wasm_bitmask_i8x16((mask)((begins == first) & (ends == last)));
}
#else
#define CFD__PLACES 8
#define CFD__BIT_OF(bits) ((size_t)__builtin_ctzll(bits) >> 3)
CFD__FAST uint64_t cfd__places(const uint8_t *at, size_t tail, uint8_t first, uint8_t last) {
    uint64_t wrong = (cfd__load64(at) ^ CFD__EACH(first)) | (cfd__load64(at + tail) ^ CFD__EACH(last));
    return CFD__ZEROS(wrong);
}
#endif

/* Where `needle` begins in `bytes`; SIZE_MAX if it is not there. Eight or sixteen places are looked at at
 * a time, for the needle's first and last byte. */
CFD__INLINE size_t cfd_find(cfd_bytes bytes, cfd_bytes needle) {
    if (needle.len == 0) return 0;
    if (needle.len > bytes.len) return SIZE_MAX;
    const size_t places = bytes.len - needle.len + 1, tail = needle.len - 1;
    const uint8_t first = needle.data[0], last = needle.data[tail];
    size_t i = 0;
    while (i + CFD__PLACES <= places) {
        uint64_t maybe = cfd__places(bytes.data + i, tail, first, last);
        for (; maybe != 0; maybe &= maybe - 1) {
            size_t at = i + CFD__BIT_OF(maybe);
            if (cfd_equal(cfd_slice(bytes, at, at + needle.len), needle)) return at;
        }
        i += CFD__PLACES;
        /* The last ones together with some of those before, if there are enough. */
        if (i < places && i + CFD__PLACES > places) i = places - CFD__PLACES;
    }
    for (; i < places; i++)
        if (bytes.data[i] == first && bytes.data[i + tail] == last &&
            cfd_equal(cfd_slice(bytes, i, i + needle.len), needle))
            return i;
    return SIZE_MAX;
}

/* Whether `needle` is in `bytes`. The empty needle always is. */
CFD__INLINE bool cfd_contains(cfd_bytes bytes, cfd_bytes needle) { return cfd_find(bytes, needle) != SIZE_MAX; }

/* Whether the bytes are UTF-8. */
CFD__INLINE bool cfd_is_utf8(cfd_bytes text) {
    const uint8_t *p = text.data, *end = p + text.len;
    while (p < end) {
        if (end - p >= 8 && (cfd__load64(p) & CFD__EACH(0x80)) == 0) {
            p += 8;
            continue;
        }
        uint8_t c = *p++;
        if (c < 0x80) continue;
        int more = c >= 0xc2 && c < 0xe0 ? 1 : c >= 0xe0 && c < 0xf0 ? 2 : c >= 0xf0 && c < 0xf5 ? 3 : 0;
        if (more == 0 || end - p < more) return false;
        /* Overlong forms, surrogates, and what lies beyond U+10FFFF. */
        if ((c == 0xe0 && p[0] < 0xa0) || (c == 0xed && p[0] > 0x9f) || (c == 0xf0 && p[0] < 0x90) ||
            (c == 0xf4 && p[0] > 0x8f))
            return false;
        for (; more > 0; more--)
            if ((*p++ & 0xc0) != 0x80) return false;
    }
    return true;
}

/* --------------------------------------------------------------------------------- memory */

/* A piece of memory; pieces are chained, and used again in the same order. */
typedef struct cfd__chunk {
    struct cfd__chunk *next;
    uint8_t *end;
} cfd__chunk;

typedef struct cfd__arena {
    uint8_t *at, *end;
    cfd__chunk *first, *now;
    /* Where a call begins: behind what `open` left. */
    uint8_t *mark;
    cfd__chunk *mark_chunk;
} cfd__arena;

/* The one arena of the operator; `CFD_PROCESSOR` and its like define it. */
extern cfd__arena cfd__memory;

CFD__NORETURN CFD__SLOW void cfd_panic(const char *format, ...) CFD__PRINTF(1, 2);

enum { CFD__PAGE = 64 * 1024, CFD__LEAST = 2 * CFD__PAGE };

/* At least `size` bytes from the system, and how many; NULL if there are none. */
CFD__SLOW uint8_t *cfd__more(size_t *size) {
    size_t least = *size < CFD__LEAST ? (size_t)CFD__LEAST : *size;
    size_t pages = (least + CFD__PAGE - 1) / CFD__PAGE;
    *size = pages * CFD__PAGE;
#ifdef __wasm__
    size_t before = __builtin_wasm_memory_grow(0, pages);
    return before == SIZE_MAX ? NULL : (uint8_t *)(before * CFD__PAGE);
#else
    return (uint8_t *)malloc(*size);
#endif
}

CFD__SLOW void *cfd__alloc_slow(size_t size, size_t align) {
    cfd__arena *a = &cfd__memory;
    const size_t needed = size + align + sizeof(cfd__chunk);
    if (size > SIZE_MAX / 2) cfd_panic("out of memory: %zu bytes are asked for", size);
    cfd__chunk *last = a->now;
    for (cfd__chunk *next = last ? last->next : a->first; next; last = next, next = next->next) {
        if ((size_t)(next->end - (uint8_t *)(next + 1)) < size + align) continue;
        a->now = next, a->at = (uint8_t *)(next + 1), a->end = next->end;
        goto found;
    }
    {
        size_t got = needed;
        uint8_t *fresh = cfd__more(&got);
        if (!fresh) cfd_panic("out of memory: no %zu bytes more", needed);
        if (last && last->end == fresh) {
            /* The usual case in Wasm: the memory grew where the last piece ended. */
            last->end = fresh + got;
            if (last != a->now) a->at = (uint8_t *)(last + 1);
        } else {
            cfd__chunk *chunk = (cfd__chunk *)(void *)fresh;
            chunk->next = NULL, chunk->end = fresh + got;
            if (last) last->next = chunk;
            else a->first = chunk;
            last = chunk, a->at = (uint8_t *)(chunk + 1);
        }
        a->now = last, a->end = last->end;
    }
found:;
    uintptr_t at = ((uintptr_t)a->at + align - 1) & ~(uintptr_t)(align - 1);
    a->at = (uint8_t *)at + size;
    return (void *)at;
}

/* `size` bytes, aligned to `align` (a power of two), until the end of the call; never NULL. What is
 * in them is not defined. There is nothing to free. */
CFD__FAST void *cfd_alloc(size_t size, size_t align) {
    cfd__arena *a = &cfd__memory;
    uintptr_t at = ((uintptr_t)a->at + align - 1) & ~(uintptr_t)(align - 1);
    if (CFD__LIKELY(a->at && at <= (uintptr_t)a->end && size <= (uintptr_t)a->end - at)) {
        a->at = (uint8_t *)at + size;
        return (void *)at;
    }
    return cfd__alloc_slow(size, align);
}

/* `count` values of a type, as `cfd_alloc`. */
#define CFD_NEW(type, count) ((type *)cfd_alloc(sizeof(type) * (count), CFD__ALIGNOF(type)))

/* Makes `old` bytes at `at` to `size`, where they lie if nothing was allocated since. */
CFD__SLOW void *cfd__resize(void *at, size_t old, size_t size, size_t align) {
    cfd__arena *a = &cfd__memory;
    if (at && (uint8_t *)at + old == a->at && size >= old && size - old <= (size_t)(a->end - a->at)) {
        a->at += size - old;
        return at;
    }
    void *fresh = cfd_alloc(size, align);
    if (old) __builtin_memcpy(fresh, at, old < size ? old : size);
    return fresh;
}

/* A copy of the bytes, until the end of the call. */
CFD__INLINE cfd_bytes cfd_copy(cfd_bytes bytes) {
    uint8_t *to = (uint8_t *)cfd_alloc(bytes.len ? bytes.len : 1, 1);
    cfd__copy(to, bytes.data, bytes.len);
    return cfd_bytes_of(to, bytes.len);
}

CFD__INLINE void cfd__forget(void) {
    cfd__arena *a = &cfd__memory;
    if (!a->mark) {
        a->now = NULL, a->at = a->end = NULL;
        return;
    }
    a->now = a->mark_chunk, a->at = a->mark, a->end = a->mark_chunk->end;
}

CFD__INLINE void cfd__keep_for_good(void) {
    cfd__memory.mark = cfd__memory.at, cfd__memory.mark_chunk = cfd__memory.now;
}

/* ---------------------------------------------------------------------------- writing text */

/* Bytes that grow. `cfd_writer w = {0};` is an empty one. */
typedef struct cfd_writer {
    uint8_t *data;
    size_t len, capacity;
} cfd_writer;

/* What was written so far. */
CFD__FAST cfd_bytes cfd_written(const cfd_writer *w) { return cfd_bytes_of(w->data ? (const void *)w->data : "", w->len); }

CFD__SLOW void cfd__grow(cfd_writer *w, size_t more) {
    size_t least = w->len + more, capacity = w->capacity * 2 < 64 ? 64 : w->capacity * 2;
    if (least < w->len) cfd_panic("out of memory: %zu bytes more", more);
    if (capacity < least) capacity = least;
    w->data = (uint8_t *)cfd__resize(w->data, w->capacity, capacity, 8);
    w->capacity = capacity;
}

/* Makes room for `len` bytes more and takes them as written; they are yours to fill. */
CFD__FAST uint8_t *cfd_extend(cfd_writer *w, size_t len) {
    if (!CFD__LIKELY(len <= w->capacity - w->len)) cfd__grow(w, len);
    uint8_t *at = w->data + w->len;
    w->len += len;
    return at;
}

/* Appends bytes. */
CFD__FAST void cfd_put(cfd_writer *w, cfd_bytes bytes) { cfd__copy(cfd_extend(w, bytes.len), bytes.data, bytes.len); }

/* Appends a byte. */
CFD__FAST void cfd_put_byte(cfd_writer *w, uint8_t byte) { *cfd_extend(w, 1) = byte; }

/* Appends a string literal. */
#define CFD_PUT(w, literal) cfd_put((w), CFD_TEXT(literal))

/* Appends a number in decimal. */
CFD__INLINE void cfd_put_u64(cfd_writer *w, uint64_t n) {
    uint8_t digits[20];
    size_t at = sizeof digits;
    while (n > UINT32_MAX) digits[--at] = (uint8_t)('0' + n % 10), n /= 10;
    uint32_t low = (uint32_t)n;
    do digits[--at] = (uint8_t)('0' + low % 10), low /= 10;
    while (low > 0);
    cfd_put(w, cfd_bytes_of(digits + at, sizeof digits - at));
}

/* Appends a number in decimal. */
CFD__INLINE void cfd_put_i64(cfd_writer *w, int64_t n) {
    if (n < 0) cfd_put_byte(w, '-');
    cfd_put_u64(w, n < 0 ? 0 - (uint64_t)n : (uint64_t)n);
}

/* Appends text, which must be UTF-8, as a JSON string, with its quotes. */
CFD__INLINE void cfd_put_json(cfd_writer *w, cfd_bytes text) {
    static const char hex[] = "0123456789abcdef";
    size_t clean = 0, i = 0;
    cfd_put_byte(w, '"');
    while (i < text.len) {
        if (text.len - i >= 8) {
            uint64_t word = cfd__load64(text.data + i);
            uint64_t special = CFD__ZEROS(word ^ CFD__EACH('"')) | CFD__ZEROS(word ^ CFD__EACH('\\')) |
                               CFD__ZEROS(word & CFD__EACH(0xe0));
            if (special == 0) {
                i += 8;
                continue;
            }
        }
        uint8_t c = text.data[i++];
        if (CFD__LIKELY(c >= 0x20 && c != '"' && c != '\\')) continue;
        cfd_put(w, cfd_slice(text, clean, i - 1));
        clean = i;
        uint8_t *to = cfd_extend(w, 2);
        to[0] = '\\';
        switch (c) {
        case '\b': to[1] = 'b'; break;
        case '\t': to[1] = 't'; break;
        case '\n': to[1] = 'n'; break;
        case '\f': to[1] = 'f'; break;
        case '\r': to[1] = 'r'; break;
        case '"':
        case '\\': to[1] = c; break;
        default:
            to[1] = 'u';
            CFD_PUT(w, "00");
            cfd_put_byte(w, (uint8_t)hex[c >> 4]), cfd_put_byte(w, (uint8_t)hex[c & 15]);
        }
    }
    cfd_put(w, cfd_slice(text, clean, text.len));
    cfd_put_byte(w, '"');
}

/* Appends as printf does: %s %.*s %c %d %i %u %x (with l, ll, z) and %%; no widths, no floats. */
CFD__SLOW void cfd_vputf(cfd_writer *w, const char *format, va_list arguments) {
    for (; *format; format++) {
        if (*format != '%') {
            cfd_put_byte(w, (uint8_t)*format);
            continue;
        }
        size_t most = SIZE_MAX;
        if (format[1] == '.' && format[2] == '*') most = (size_t)va_arg(arguments, int), format += 2;
        int longs = 0;
        for (format++; *format == 'l' || *format == 'z'; format++) longs += *format == 'z' ? 3 : 1;
        uint64_t n = 0;
        switch (*format) {
        case '%': cfd_put_byte(w, '%'); break;
        case 'c': cfd_put_byte(w, (uint8_t)va_arg(arguments, int)); break;
        case 's': {
            const char *text = va_arg(arguments, const char *);
            for (; most > 0 && (most < SIZE_MAX || *text); most -= most < SIZE_MAX, text++)
                cfd_put_byte(w, (uint8_t)*text);
            break;
        }
        case 'd':
        case 'i':
            cfd_put_i64(w, longs == 0   ? va_arg(arguments, int)
                           : longs == 1 ? va_arg(arguments, long)
                           : longs == 2 ? va_arg(arguments, long long)
                                        : (int64_t)va_arg(arguments, ptrdiff_t));
            break;
        case 'u':
        case 'x':
            n = longs == 0   ? va_arg(arguments, unsigned)
                : longs == 1 ? va_arg(arguments, unsigned long)
                : longs == 2 ? va_arg(arguments, unsigned long long)
                             : va_arg(arguments, size_t);
            if (*format == 'u') {
                cfd_put_u64(w, n);
            } else {
                int shift = 60;
                while (shift > 0 && n >> shift == 0) shift -= 4;
                for (; shift >= 0; shift -= 4) cfd_put_byte(w, (uint8_t)"0123456789abcdef"[(n >> shift) & 15]);
            }
            break;
        default: cfd_panic("cfd_putf does not know `%%%c`", *format);
        }
    }
}

CFD__PRINTF(2, 3) CFD__SLOW void cfd_putf(cfd_writer *w, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    cfd_vputf(w, format, arguments);
    va_end(arguments);
}

/* ---------------------------------------------------------------------------- reading text */

/* Reads a decimal integer, all of the text: an optional sign, then digits. False if it is none, or
 * does not fit. */
CFD__INLINE bool cfd_parse_i64(cfd_bytes text, int64_t *number) {
    size_t i = 0;
    bool negative = text.len > 0 && text.data[0] == '-';
    if (negative || (text.len > 0 && text.data[0] == '+')) i = 1;
    if (i == text.len) return false;
    uint64_t n = 0;
    const uint64_t most = (uint64_t)INT64_MAX + negative;
    for (; i < text.len; i++) {
        unsigned digit = (unsigned)text.data[i] - '0';
        if (digit > 9 || n > (most - digit) / 10) return false;
        n = n * 10 + digit;
    }
    *number = negative ? (int64_t)(0 - n) : (int64_t)n;
    return true;
}

/* Reads a decimal number, all of the text, such as `-1.5e3`. False if it is none. Exact up to 15
 * digits and powers of ten up to 22; beyond, the last bit may differ. */
CFD__INLINE bool cfd_parse_f64(cfd_bytes text, double *number) {
    size_t i = 0, digits = 0;
    bool negative = text.len > 0 && text.data[0] == '-', point = false;
    if (negative) i = 1;
    uint64_t mantissa = 0;
    int64_t power = 0;
    for (; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c == '.' && !point) {
            point = true;
            continue;
        }
        if (c < '0' || c > '9') break;
        digits++;
        if (mantissa <= (UINT64_MAX - 9) / 10) mantissa = mantissa * 10 + (c - '0'), power -= point;
        else power += !point;
    }
    if (digits == 0) return false;
    if (i < text.len) {
        int64_t given;
        if ((text.data[i] | 0x20) != 'e' || !cfd_parse_i64(cfd_slice(text, i + 1, text.len), &given)) return false;
        power += given > 9999 ? 9999 : given < -9999 ? -9999 : given;
    }
    double n = (double)mantissa, scale = 1, base = 10;
    uint64_t left = (uint64_t)(power < 0 ? -power : power);
    if (left > 340 && power < 0) n *= 1e-20, left -= 20; /* Into the subnormal numbers in two steps. */
    for (; left > 0; left >>= 1, base *= base)
        if (left & 1) scale *= base;
    n = power < 0 ? n / scale : mantissa == 0 ? 0 : n * scale;
    *number = negative ? -n : n;
    return true;
}

/* ------------------------------------------------------------------------------------ JSON */

CFD__INLINE size_t cfd__json_blank(cfd_bytes j, size_t i) {
    while (i < j.len && (j.data[i] == ' ' || (j.data[i] >= '\t' && j.data[i] <= '\r'))) i++;
    return i;
}

/* The index behind the JSON value that begins at `i`; brackets are only counted. */
CFD__INLINE size_t cfd__json_skip(cfd_bytes j, size_t i) {
    for (size_t depth = 0; i < j.len; i++) {
        uint8_t c = j.data[i];
        if (c == '"') {
            for (i++; i < j.len && j.data[i] != '"'; i++) i += j.data[i] == '\\';
            if (i >= j.len) return j.len;
        } else if (c == '{' || c == '[') {
            depth++;
            continue;
        } else if (c == '}' || c == ']') {
            if (depth == 0) return i;
            depth--;
        } else if (depth == 0 && (c == ',' || c == ':' || c <= ' ')) {
            return i;
        } else {
            continue;
        }
        if (depth == 0) return i + 1;
    }
    return j.len;
}

/* The value of a field of a JSON object, as it is written there; CFD_NONE if there is no such
 * field. Only what it takes to find it is read, and field names are compared as they are written. */
CFD__INLINE cfd_bytes cfd_json_field(cfd_bytes object, cfd_bytes name) {
    size_t i = cfd__json_blank(object, 0);
    if (i >= object.len || object.data[i] != '{') return CFD_NONE;
    for (i++;;) {
        i = cfd__json_blank(object, i);
        if (i >= object.len || object.data[i] != '"') return CFD_NONE;
        size_t end = cfd__json_skip(object, i);
        bool found = end - i == name.len + 2 && cfd_equal(cfd_slice(object, i + 1, end - 1), name);
        i = cfd__json_blank(object, end);
        if (i >= object.len || object.data[i] != ':') return CFD_NONE;
        i = cfd__json_blank(object, i + 1);
        end = cfd__json_skip(object, i);
        if (found) return end > i ? cfd_slice(object, i, end) : CFD_NONE;
        i = cfd__json_blank(object, end);
        if (i >= object.len || object.data[i++] != ',') return CFD_NONE;
    }
}

CFD__INLINE uint32_t cfd__json_hex4(cfd_bytes json, size_t at) {
    uint32_t code = 0;
    if (at + 4 > json.len) return UINT32_MAX;
    for (size_t i = at; i < at + 4; i++) {
        uint32_t c = json.data[i], lower = c | 0x20;
        uint32_t digit = c - '0' < 10 ? c - '0' : lower - 'a' < 6 ? lower - 'a' + 10 : UINT32_MAX;
        if (digit == UINT32_MAX) return UINT32_MAX;
        code = code << 4 | digit;
    }
    return code;
}

CFD__INLINE void cfd__put_code_point(cfd_writer *w, uint32_t c) {
    if (c < 0x80) {
        cfd_put_byte(w, (uint8_t)c);
    } else if (c < 0x800) {
        uint8_t *to = cfd_extend(w, 2);
        to[0] = (uint8_t)(0xc0 | c >> 6), to[1] = (uint8_t)(0x80 | (c & 63));
    } else if (c < 0x10000) {
        uint8_t *to = cfd_extend(w, 3);
        to[0] = (uint8_t)(0xe0 | c >> 12), to[1] = (uint8_t)(0x80 | (c >> 6 & 63)), to[2] = (uint8_t)(0x80 | (c & 63));
    } else {
        uint8_t *to = cfd_extend(w, 4);
        to[0] = (uint8_t)(0xf0 | c >> 18), to[1] = (uint8_t)(0x80 | (c >> 12 & 63));
        to[2] = (uint8_t)(0x80 | (c >> 6 & 63)), to[3] = (uint8_t)(0x80 | (c & 63));
    }
}

/* The text of a JSON string, which may have been given by `cfd_json_field`: a view where nothing is
 * escaped, else a copy. CFD_NONE if it is no JSON string. */
CFD__INLINE cfd_bytes cfd_json_text(cfd_bytes json) {
    if (json.len < 2 || json.data[0] != '"' || json.data[json.len - 1] != '"') return CFD_NONE;
    cfd_bytes inner = cfd_slice(json, 1, json.len - 1);
    if (!cfd_contains(inner, CFD_TEXT("\\"))) return inner;
    cfd_writer w = CFD__ZERO;
    for (size_t i = 0; i < inner.len; i++) {
        uint8_t c = inner.data[i];
        if (c != '\\') {
            cfd_put_byte(&w, c);
            continue;
        }
        if (++i == inner.len) return CFD_NONE;
        switch (inner.data[i]) {
        case 'b': cfd_put_byte(&w, '\b'); break;
        case 'f': cfd_put_byte(&w, '\f'); break;
        case 'n': cfd_put_byte(&w, '\n'); break;
        case 'r': cfd_put_byte(&w, '\r'); break;
        case 't': cfd_put_byte(&w, '\t'); break;
        case 'u': {
            uint32_t code = cfd__json_hex4(inner, i + 1);
            if (code == UINT32_MAX) return CFD_NONE;
            i += 4;
            if (code >= 0xd800 && code < 0xdc00 && i + 2 < inner.len && inner.data[i + 1] == '\\' &&
                inner.data[i + 2] == 'u') {
                uint32_t low = cfd__json_hex4(inner, i + 3);
                if (low >= 0xdc00 && low < 0xe000) {
                    code = 0x10000 + ((code - 0xd800) << 10 | (low - 0xdc00));
                    i += 6;
                }
            }
            cfd__put_code_point(&w, code >= 0xd800 && code < 0xe000 ? 0xfffd : code);
            break;
        }
        default: cfd_put_byte(&w, inner.data[i]);
        }
    }
    return cfd_written(&w);
}

/* ----------------------------------------------------------------------- log, metrics, panics */

/* How much a line of log matters. */
typedef enum cfd_level { CFD_TRACE, CFD_DEBUG, CFD_INFO, CFD_WARN, CFD_ERROR } cfd_level;

#ifdef __wasm__
#define CFD__IMPORT(interface, name) \
    __attribute__((import_module("cofferdam:operator/" interface "@0.1.0"), import_name(name)))
#else
#define CFD__IMPORT(interface, name) /* Given by cofferdam_test.h. */
#endif

typedef struct cfd__option_bytes {
    uint8_t is_some;
    cfd_bytes value;
} cfd__option_bytes;

CFD__IMPORT("log", "log") void cfd__host_log(int32_t level, const uint8_t *message, size_t len);
CFD__IMPORT("config", "get") void cfd__host_config_get(const uint8_t *key, size_t len, cfd__option_bytes *value);
CFD__IMPORT("config", "all") void cfd__host_config_all(cfd_bytes *json);
CFD__IMPORT("metrics", "counter-add") void cfd__host_counter(const uint8_t *name, size_t len, uint64_t delta);
CFD__IMPORT("metrics", "gauge-set") void cfd__host_gauge(const uint8_t *name, size_t len, double value);
CFD__IMPORT("metrics", "histogram-record") void cfd__host_histogram(const uint8_t *name, size_t len, double value);

/* Logs one line as it is; it must be UTF-8. */
CFD__INLINE void cfd_log_text(cfd_level level, cfd_bytes line) { cfd__host_log(level, line.data, line.len); }

/* Logs one line; for what may stand in the format see `cfd_vputf`. */
CFD__PRINTF(2, 3) CFD__SLOW void cfd_log(cfd_level level, const char *format, ...) {
    cfd_writer w = CFD__ZERO;
    va_list arguments;
    va_start(arguments, format);
    cfd_vputf(&w, format, arguments);
    va_end(arguments);
    cfd_log_text(level, cfd_written(&w));
}

#ifdef __wasm__
#define cfd__trap() __builtin_trap()
#else
#define cfd__trap() abort()
#endif

/* Gives up: logs the message at `error` and traps. The host finds the record that was to blame,
 * and shows where in the source it was. For mistakes of the operator; for a bad record there is
 * `cfd_reject`, for a bad batch an error. */
CFD__NORETURN CFD__SLOW void cfd_panic(const char *format, ...) {
    /* Not in the arena, which may be what is at its end. */
    static uint8_t room[1024];
    cfd_writer w = {room, 0, sizeof room};
    va_list arguments;
    va_start(arguments, format);
    static bool again;
    if (!again) {
        again = true;
        cfd_vputf(&w, format, arguments);
        cfd_log_text(CFD_ERROR, cfd_written(&w));
    }
    va_end(arguments);
    cfd__trap();
}

/* Adds to a counter. A call leaves the sandbox (some 200 ns): add up in the batch, report once. */
CFD__INLINE void cfd_counter(const char *name, uint64_t delta) {
    cfd_bytes n = cfd_text(name);
    cfd__host_counter(n.data, n.len, delta);
}

/* Sets a gauge. */
CFD__INLINE void cfd_gauge(const char *name, double value) {
    cfd_bytes n = cfd_text(name);
    cfd__host_gauge(n.data, n.len, value);
}

/* Adds one observation to a histogram. */
CFD__INLINE void cfd_histogram(const char *name, double value) {
    cfd_bytes n = cfd_text(name);
    cfd__host_histogram(n.data, n.len, value);
}

/* ----------------------------------------------------------------------------------- errors */

/* What a function of an operator comes to: nothing, or a message. */
typedef struct cfd_error {
    cfd_bytes message;
} cfd_error;

CFD__INLINE cfd_error cfd__ok(void) {
    cfd_error ok = {{NULL, 0}};
    return ok;
}

/* No error. */
#define CFD_OK cfd__ok()

/* Whether there is an error. */
CFD__FAST bool cfd_failed(cfd_error error) { return error.message.data != NULL; }

/* An error with this message; for what may stand in the format see `cfd_vputf`. From `open` it stops
 * the job; from elsewhere it fails the batch, and the job under its restart strategy. */
CFD__PRINTF(1, 2) CFD__SLOW cfd_error cfd_fail(const char *format, ...) {
    cfd_writer w = CFD__ZERO;
    va_list arguments;
    va_start(arguments, format);
    cfd_vputf(&w, format, arguments);
    va_end(arguments);
    cfd_error error = {cfd_written(&w)};
    return error;
}

/* ---------------------------------------------------------------------------- configuration */

/* What an operator is told about itself when it is opened. */
typedef struct cfd_context {
    cfd_bytes name;       /* The operator's name in the job. */
    uint32_t subtask;     /* Which of its parallel instances this is, from 0. */
    uint32_t parallelism; /* How many there are. */
    uint32_t inputs;      /* How many inputs are connected. */
    uint32_t outputs;     /* How many output ports the job has given names to. */
} cfd_context;

/* The value of a key of the operator's `config`: text as it is, anything else as JSON; CFD_NONE if
 * it is not there. Read it in `open`, then it stays. */
CFD__INLINE cfd_bytes cfd_config(const char *key) {
    cfd_bytes name = cfd_text(key);
    cfd__option_bytes value = {0, {NULL, 0}};
    cfd__host_config_get(name.data, name.len, &value);
    if (!value.is_some) return CFD_NONE;
    /* An empty list may come with any pointer. */
    return value.value.len ? value.value : CFD_TEXT("");
}

/* The whole configuration, a JSON object; see `cfd_json_field`. */
CFD__INLINE cfd_bytes cfd_config_json(void) {
    cfd_bytes json = {NULL, 0};
    cfd__host_config_all(&json);
    return json;
}

/* The text of a key, or `otherwise`. */
CFD__INLINE cfd_bytes cfd_config_text(const char *key, const char *otherwise) {
    cfd_bytes value = cfd_config(key);
    return value.data ? value : cfd_text(otherwise);
}

/* Reads an integer into `number`, which stays as it is if the key is not there. */
CFD__INLINE cfd_error cfd_config_i64(const char *key, int64_t *number) {
    cfd_bytes value = cfd_config(key);
    if (!value.data || cfd_parse_i64(value, number)) return CFD_OK;
    return cfd_fail("config: %s is no integer: %.*s", key, CFD_ARG(value));
}

/* Reads a number into `number`, which stays as it is if the key is not there. */
CFD__INLINE cfd_error cfd_config_f64(const char *key, double *number) {
    cfd_bytes value = cfd_config(key);
    if (!value.data || cfd_parse_f64(value, number)) return CFD_OK;
    return cfd_fail("config: %s is no number: %.*s", key, CFD_ARG(value));
}

/* --------------------------------------------------------------------------------- batches */

/* A column: entry `i` is `data[offsets[i] .. offsets[i + 1]]`. Without offsets it is absent: every
 * entry is empty. */
typedef struct cfd_column {
    const uint8_t *data;
    size_t data_len;
    const uint32_t *offsets;
    size_t offsets_len;
} cfd_column;

/* Entry `i`, which must be there. */
CFD__FAST cfd_bytes cfd_entry(const cfd_column *column, size_t i) {
    if (column->offsets_len == 0) return CFD_TEXT("");
    uint32_t start = column->offsets[i], end = column->offsets[i + 1];
    return cfd_bytes_of(column->data + start, end - start);
}

/* Event times, milliseconds since 1970; none if `len` is 0. */
typedef struct cfd_times {
    const int64_t *data;
    size_t len;
} cfd_times;

/* Records that came in by one input port. */
typedef struct cfd_batch {
    uint32_t len; /* How many. */
    cfd_column keys, values;
    cfd_times times;
    uint32_t input; /* The port, from 0. */
} cfd_batch;

/* An event time, or none. */
typedef struct cfd_time {
    int64_t ms; /* Milliseconds since 1970. */
    bool some;  /* Whether there is one. */
} cfd_time;

/* The event time `ms`. */
CFD__FAST cfd_time cfd_at(int64_t ms) {
    cfd_time time = {ms, true};
    return time;
}

CFD__NORETURN CFD__SLOW void cfd__no_such(const char *what, uint32_t i, uint32_t len) {
    cfd_panic("%s %u is asked for, and there are %u", what, i, len);
}

/* The key of record `i`; empty where the stream has none. */
CFD__FAST cfd_bytes cfd_key(const cfd_batch *batch, uint32_t i) {
    if (i >= batch->len) cfd__no_such("record", i, batch->len);
    return cfd_entry(&batch->keys, i);
}

/* The value of record `i`. */
CFD__FAST cfd_bytes cfd_value(const cfd_batch *batch, uint32_t i) {
    if (i >= batch->len) cfd__no_such("record", i, batch->len);
    return cfd_entry(&batch->values, i);
}

/* The event time of record `i`, if it has one. */
CFD__FAST cfd_time cfd_time_of(const cfd_batch *batch, uint32_t i) {
    cfd_time time = {0, i < batch->times.len};
    if (time.some) time.ms = batch->times.data[i];
    return time;
}

/* ------------------------------------------------------------------------------ what goes out */

/* For a record that stems from nothing, as in `finish`. */
#define CFD_FRESH UINT32_MAX

/* A column that is written: entry `i` begins at `starts[i]` and ends where the next one begins. */
typedef struct cfd__built {
    cfd_writer data;
    uint32_t *starts;
} cfd__built;

/* Records for one port that set the same columns afresh. Its parts are what the host is handed. */
typedef struct cfd__segment {
    struct cfd__segment *next;
    uint32_t port, len, capacity;
    bool stems, all, has_keys, has_values, has_times;
    uint32_t *rows;
    cfd__built keys, values;
    int64_t *times;
} cfd__segment;

typedef struct cfd__rejection {
    uint32_t index;
    cfd_bytes reason;
} cfd__rejection;

/* What a call is answered with: records for the output ports, and records that are refused. */
typedef struct cfd_out {
    const cfd_batch *batch; /* Where records stem from; NULL in `fire` and `finish`. */
    cfd_bytes fired_key;    /* In `fire`. */
    cfd_times fired_times;
    uint32_t rows;     /* How many there are to stem from. */
    size_t value_room; /* How many bytes of values to make room for. */
    cfd__segment *recent, *first, **end;
    uint32_t segments;
    cfd__rejection *rejected;
    uint32_t rejected_len, rejected_capacity;
} cfd_out;

/* What a record that is emitted sets afresh; the rest comes from the record that it stems from. */
typedef struct cfd_new {
    uint32_t port;   /* The output port, from 0. */
    cfd_bytes key;   /* CFD_NONE: that of the origin. */
    cfd_bytes value; /* CFD_NONE: that of the origin. */
    cfd_time time;   /* `cfd_at(…)`; none: that of the origin. */
} cfd_new;

CFD__INLINE cfd_bytes cfd__origin_key(const cfd_out *out, uint32_t row) {
    if (row == CFD_FRESH) return CFD_TEXT("");
    return out->batch ? cfd_key(out->batch, row) : out->fired_key;
}

CFD__INLINE cfd_bytes cfd__origin_value(const cfd_out *out, uint32_t row) {
    return row != CFD_FRESH && out->batch ? cfd_value(out->batch, row) : CFD_TEXT("");
}

CFD__INLINE cfd_time cfd__origin_time(const cfd_out *out, uint32_t row) {
    const cfd_times *times = out->batch ? &out->batch->times : &out->fired_times;
    cfd_time time = {0, row != CFD_FRESH && row < times->len};
    if (time.some) time.ms = times->data[row];
    return time;
}

/* Makes an array of `*capacity` entries larger. */
CFD__SLOW void *cfd__grow_array(void *array, size_t size, uint32_t old, uint32_t capacity) {
    return cfd__resize(array, old * size, capacity * size, 8);
}

CFD__SLOW void cfd__grow_segment(cfd__segment *s) {
    uint32_t old = s->capacity, capacity = old < 8 ? 16 : old * 2;
    if (capacity <= old) cfd_panic("more records are emitted than there can be");
    if (s->stems) s->rows = (uint32_t *)cfd__grow_array(s->rows, 4, old, capacity);
    /* A column has one offset more than entries. */
    if (s->has_keys) s->keys.starts = (uint32_t *)cfd__grow_array(s->keys.starts, 4, old + 1, capacity + 1);
    if (s->has_values) s->values.starts = (uint32_t *)cfd__grow_array(s->values.starts, 4, old + 1, capacity + 1);
    if (s->has_times) s->times = (int64_t *)cfd__grow_array(s->times, 8, old, capacity);
    s->capacity = capacity;
}

CFD__SLOW cfd__segment *cfd__begin_segment(cfd_out *out, uint32_t port, bool stems, bool key, bool value, bool time) {
    cfd__segment *s = CFD_NEW(cfd__segment, 1);
    *s = CFD__INIT(cfd__segment) CFD__ZERO;
    s->port = port, s->stems = stems, s->has_keys = key, s->has_values = value, s->has_times = time;
    s->capacity = out->rows ? out->rows : 4;
    if (stems) s->rows = CFD_NEW(uint32_t, s->capacity);
    if (key) s->keys.starts = CFD_NEW(uint32_t, s->capacity + 1);
    if (value) {
        s->values.starts = CFD_NEW(uint32_t, s->capacity + 1);
        s->values.data.capacity = out->value_room;
        s->values.data.data = CFD_NEW(uint8_t, out->value_room);
    }
    if (time) s->times = CFD_NEW(int64_t, s->capacity);
    *out->end = s, out->end = &s->next, out->segments++;
    return s;
}

/* The last segment of a port that is not the one that was written to last. */
CFD__SLOW cfd__segment *cfd__last_of(const cfd_out *out, uint32_t port) {
    cfd__segment *last = NULL;
    for (cfd__segment *s = out->first; s; s = s->next)
        if (s->port == port) last = s;
    return last;
}

/* The segment that a record goes to. It joins the port's last one if that sets at least the columns
 * that the record sets: columns beyond are copied, which is cheaper than another segment. */
CFD__FAST cfd__segment *cfd__segment_for(cfd_out *out, uint32_t row, uint32_t port, bool key, bool value, bool time) {
    cfd__segment *s = out->recent;
    const bool stems = row != CFD_FRESH;
    if (!s || s->port != port) s = cfd__last_of(out, port);
    if (!s || s->stems != stems || s->all || (key && !s->has_keys) || (value && !s->has_values) ||
        (time && !s->has_times) || (!time && s->has_times && !cfd__origin_time(out, row).some))
        s = cfd__begin_segment(out, port, stems, key, value || (!stems && !key && !time), time);
    out->recent = s;
    if (s->len == s->capacity) cfd__grow_segment(s);
    return s;
}

/* Begins entry `i`, and appends to it. */
CFD__FAST cfd_writer *cfd__begin_entry(cfd__built *column, uint32_t i) {
    if (column->data.len > UINT32_MAX) cfd_panic("a column holds less than 4 GiB");
    column->starts[i] = (uint32_t)column->data.len;
    return &column->data;
}

/* Everything of a record but its value. */
CFD__FAST uint32_t cfd__begin_record(cfd_out *out, cfd__segment *s, uint32_t row, cfd_bytes key, cfd_time time) {
    uint32_t i = s->len++;
    if (s->stems) s->rows[i] = row;
    if (s->has_keys) cfd_put(cfd__begin_entry(&s->keys, i), key.data ? key : cfd__origin_key(out, row));
    if (s->has_times) s->times[i] = time.some ? time.ms : cfd__origin_time(out, row).ms;
    return i;
}

CFD__FAST void cfd__emit(cfd_out *out, uint32_t row, cfd_new set) {
    cfd__segment *s = cfd__segment_for(out, row, set.port, set.key.data, set.value.data, set.time.some);
    uint32_t i = cfd__begin_record(out, s, row, set.key, set.time);
    if (s->has_values)
        cfd_put(cfd__begin_entry(&s->values, i), set.value.data ? set.value : cfd__origin_value(out, row));
}

CFD__FAST cfd_writer *cfd__emit_writer(cfd_out *out, uint32_t row, cfd_new set) {
    cfd__segment *s = cfd__segment_for(out, row, set.port, set.key.data, true, set.time.some);
    return cfd__begin_entry(&s->values, cfd__begin_record(out, s, row, set.key, set.time));
}

/* Emits record `row` as it is to port 0. It costs four bytes. In `fire`, `row` is the firing's index:
 * such a record has the group's key, no value, and the firing's time. */
CFD__FAST void cfd_keep(cfd_out *out, uint32_t row) { cfd__emit(out, row, CFD__INIT(cfd_new) CFD__ZERO); }

/* Emits record `row` as it is to a port. */
CFD__FAST void cfd_keep_to(cfd_out *out, uint32_t port, uint32_t row) {
    cfd_new set = CFD__ZERO;
    set.port = port;
    cfd__emit(out, row, set);
}

/* Emits the whole batch as it is to a port, at no cost a record. */
CFD__INLINE void cfd_keep_all(cfd_out *out, uint32_t port) {
    if (out->rows > 0) cfd__begin_segment(out, port, false, false, false, false)->all = true;
}

/* Emits record `row` with this value. */
CFD__FAST void cfd_emit_value(cfd_out *out, uint32_t row, cfd_bytes value) {
    cfd_new set = CFD__ZERO;
    set.value = value;
    cfd__emit(out, row, set);
}

#ifndef __cplusplus
/* Emits a record that stems from `row` (or CFD_FRESH), with what is given set afresh:
 * `cfd_emit(out, i, .port = 1, .key = key, .value = value, .time = cfd_at(ms));` */
#define cfd_emit(out, row, ...) cfd__emit((out), (row), (cfd_new){__VA_ARGS__})

/* The same, but the value is what is appended to the writer that comes back, until the next record
 * is emitted: it is written straight to where the host reads it.
 * `cfd_writer *value = cfd_emit_writer(out, i, .port = 0);` */
#define cfd_emit_writer(out, row, ...) cfd__emit_writer((out), (row), (cfd_new){__VA_ARGS__})
#endif

/* Refuses record `row`: it goes, with the reason, to the dead letters, and the others go on. */
CFD__INLINE void cfd_reject(cfd_out *out, uint32_t row, cfd_bytes reason) {
    if (out->rejected_len == out->rejected_capacity) {
        uint32_t old = out->rejected_capacity;
        out->rejected_capacity = old ? old * 2 : 16;
        out->rejected = (cfd__rejection *)cfd__grow_array(out->rejected, sizeof *out->rejected, old, out->rejected_capacity);
    }
    out->rejected[out->rejected_len].index = row;
    out->rejected[out->rejected_len++].reason = reason;
}

/* ------------------------------------------------------------- keyed state, timers and windows */

/* What time it is. Use these and no clock of your own, so that a replay does the same again. */
typedef struct cfd_now {
    cfd_time watermark; /* No record older than this is expected any more. */
    int64_t processing; /* The host's clock, milliseconds since 1970. */
} cfd_now;

/* Which time a timer waits for. */
typedef enum cfd_timer_kind {
    CFD_EVENT_TIME,      /* Fires when the watermark has passed it. */
    CFD_PROCESSING_TIME, /* Fires when the host's clock has passed it. */
} cfd_timer_kind;

/* Why a group is fired. */
typedef enum cfd_firing_kind {
    CFD_FIRED_WINDOW,     /* The watermark passed the window's end, or a late record changed it. */
    CFD_FIRED_EVENT,      /* A timer of event time. */
    CFD_FIRED_PROCESSING, /* A timer of processing time. */
} cfd_firing_kind;

/* What is due. */
typedef struct cfd_firing {
    uint32_t index;       /* What emitted records may stem from. */
    cfd_firing_kind kind; /* Why. */
    int64_t time;         /* The timer's time; for a window its last millisecond. */
} cfd_firing;

typedef struct cfd__timer {
    uint32_t group;
    uint8_t kind;
    int64_t at;
} cfd__timer;

typedef struct cfd__timers {
    cfd__timer *list;
    uint32_t len, capacity;
} cfd__timers;

/* What the groups of a call change beside what they emit. */
typedef struct cfd__effects {
    uint32_t *changed, changed_len;
    cfd__built states;
    cfd__timers set, deleted;
    cfd_error error;
} cfd__effects;

/* One key of a call, or one pair of key and window: its records, its state, its timers. */
typedef struct cfd_group {
    cfd_bytes key;
    const cfd_batch *batch; /* Where the records are; NULL in `fire`. */
    const uint32_t *rows;   /* Which records of the batch are the group's, in order of arrival… */
    uint32_t len;           /* … and how many. */
    bool windowed;          /* Whether the job gives the operator windows. */
    int64_t window_start;   /* The window's first millisecond. */
    int64_t window_end;     /* The first millisecond behind it. */
    cfd_now now;
    uint32_t cfd__index;
    bool cfd__touched;
    cfd_bytes cfd__before, cfd__state;
    cfd__effects *cfd__effects;
} cfd_group;

/* The state; of length 0 where there is none. */
CFD__FAST cfd_bytes cfd_state(const cfd_group *group) { return group->cfd__state; }

/* Sets the state. An empty one is none. */
CFD__FAST void cfd_set_state(cfd_group *group, cfd_bytes state) {
    cfd__built *states = &group->cfd__effects->states;
    size_t start = states->starts[group->cfd__effects->changed_len];
    states->data.len = start;
    cfd_put(&states->data, state);
    group->cfd__touched = true;
    group->cfd__state = cfd_bytes_of(states->data.data + start, state.len);
}

/* Deletes the state. */
CFD__INLINE void cfd_delete_state(cfd_group *group) { cfd_set_state(group, CFD_TEXT("")); }

CFD__FAST bool cfd__load(cfd_group *group, void *state, size_t size) {
    cfd_bytes bytes = group->cfd__state;
    if (CFD__LIKELY(bytes.len == size)) {
        __builtin_memcpy(state, bytes.data, size);
        return true;
    }
    __builtin_memset(state, 0, size);
    if (bytes.len != 0 && !cfd_failed(group->cfd__effects->error))
        group->cfd__effects->error =
            cfd_fail("key `%.*s`: its state has %zu bytes, not %zu; was it written by a version of this operator with "
                     "another state?",
                     CFD_ARG(group->key), bytes.len, size);
    return false;
}

/* Reads the state into a struct of yours, byte by byte; false, and the struct is all zero, where there
 * is none. The state of a struct of another size fails the batch, whatever you go on to do. */
#define cfd_load(group, state) cfd__load((group), (state), sizeof *(state))

/* Writes a struct of yours as the state, byte by byte. */
#define cfd_store(group, state) cfd_set_state((group), cfd_bytes_of((state), sizeof *(state)))

/* Takes a timer of the group, whose timers are the last ones, off a list. */
CFD__INLINE void cfd__forget_timer(cfd__timers *timers, cfd__timer timer) {
    for (uint32_t i = timers->len; i > 0 && timers->list[i - 1].group == timer.group; i--) {
        if (timers->list[i - 1].kind != timer.kind || timers->list[i - 1].at != timer.at) continue;
        for (uint32_t j = i; j < timers->len; j++) timers->list[j - 1] = timers->list[j];
        timers->len--;
    }
}

CFD__INLINE void cfd__note_timer(cfd__timers *timers, cfd__timer timer) {
    if (timers->len > 0) {
        cfd__timer last = timers->list[timers->len - 1];
        if (last.group == timer.group && last.kind == timer.kind && last.at == timer.at) return;
    }
    if (timers->len == timers->capacity) {
        uint32_t old = timers->capacity;
        timers->capacity = old ? old * 2 : 16;
        timers->list = (cfd__timer *)cfd__grow_array(timers->list, sizeof timer, old, timers->capacity);
    }
    timers->list[timers->len++] = timer;
}

/* Has `fire` called when the time has passed `at`, milliseconds since 1970. Setting a timer twice is
 * setting it once. */
CFD__INLINE void cfd_set_timer(cfd_group *group, cfd_timer_kind kind, int64_t at) {
    cfd__timer timer = {group->cfd__index, (uint8_t)kind, at};
    cfd__forget_timer(&group->cfd__effects->deleted, timer);
    cfd__note_timer(&group->cfd__effects->set, timer);
}

/* Deletes a timer; nothing happens if there is none. Of setting and deleting the same timer, the
 * last counts. */
CFD__INLINE void cfd_delete_timer(cfd_group *group, cfd_timer_kind kind, int64_t at) {
    cfd__timer timer = {group->cfd__index, (uint8_t)kind, at};
    cfd__forget_timer(&group->cfd__effects->set, timer);
    cfd__note_timer(&group->cfd__effects->deleted, timer);
}

/* ------------------------------------------------------------------ the operator and its exports */

/* An operator: the functions that it has. Each may be left out that its kind can do without. */
typedef struct cfd_operator {
    /* Called once, first. Read and check the configuration here. */
    cfd_error (*open)(const cfd_context *context);
    /* Processors: processes a batch. */
    cfd_error (*process)(const cfd_batch *batch, cfd_out *out);
    /* Processors: the last chance to emit, with CFD_FRESH, after the last batch of a bounded input. */
    cfd_error (*finish)(cfd_out *out);
    /* Stateful processors: writes everything that a fresh instance needs to go on from here. */
    cfd_error (*snapshot)(cfd_writer *state);
    /* Stateful processors: takes over what `snapshot` wrote; called after `open`. */
    cfd_error (*restore)(cfd_bytes state);
    /* Keyed: folds a group's records into its state. */
    cfd_error (*fold)(cfd_group *group, cfd_out *out);
    /* Keyed: a timer of the group is due, or its window has ended. */
    cfd_error (*fire)(cfd_group *group, cfd_firing firing, cfd_out *out);
    /* Session: writes the state of the session made of two; neither state is empty. */
    cfd_error (*merge)(cfd_bytes key, cfd_bytes earlier, cfd_bytes later, cfd_writer *merged);
    /* Checked: says whether a state that another version left can be read. */
    cfd_error (*check)(cfd_bytes key, cfd_bytes state);
} cfd_operator;

/* What follows are the canonical ABI's layouts, of the records in `wit/`. */

typedef struct cfd__list {
    const void *data;
    size_t len;
} cfd__list;

typedef struct cfd__option_column {
    uint8_t is_some;
    cfd_column column;
} cfd__option_column;

typedef struct cfd__emission {
    uint32_t port;
    uint8_t origin; /* 0 fresh, 1 same, 2 keep */
    cfd__list keep;
    cfd__option_column keys, values;
    uint8_t has_times;
    cfd__list times;
} cfd__emission;

typedef struct cfd__outcome {
    cfd__list emissions, rejected;
} cfd__outcome;

typedef struct cfd__fold_outcome {
    cfd__outcome outcome;
    cfd__list changed;
    cfd_column states;
    cfd__list set_timers, delete_timers;
} cfd__fold_outcome;

/* Every answer is a result whose error is a text. */
typedef struct cfd__answer {
    uint8_t is_error;
    union {
        cfd_bytes error;
        cfd_bytes bytes;
        cfd_column column;
        cfd__outcome outcome;
        cfd__fold_outcome fold;
    } as;
} cfd__answer;

typedef struct cfd__wire_batch {
    uint32_t len;
    cfd_column keys, values;
    cfd_times times;
} cfd__wire_batch;

typedef struct cfd__wire_now {
    uint8_t has_watermark;
    int64_t watermark, processing;
} cfd__wire_now;

typedef struct cfd__groups {
    cfd_column keys, states;
    cfd_times window_starts, window_ends;
    cfd__list rows, row_offsets;
} cfd__groups;

typedef struct cfd__fold_call {
    cfd__wire_now now;
    uint32_t input;
    cfd__wire_batch records;
    cfd__groups groups;
} cfd__fold_call;

typedef struct cfd__fire_call {
    cfd__wire_now now;
    cfd__list kinds;
    cfd_times times;
    cfd__groups groups;
} cfd__fire_call;

#ifdef __wasm__
#ifdef __cplusplus
#define CFD__ASSERT static_assert
#else
#define CFD__ASSERT _Static_assert
#endif
CFD__ASSERT(sizeof(cfd__emission) == 68 && offsetof(cfd__emission, times) == 60, "emission");
CFD__ASSERT(sizeof(cfd__rejection) == 12 && sizeof(cfd__timer) == 16, "rejection, timer");
CFD__ASSERT(sizeof(cfd__fold_outcome) == 56 && offsetof(cfd__answer, as) == 4, "outcomes");
CFD__ASSERT(offsetof(cfd__fold_call, records) == 28 && offsetof(cfd__fold_call, groups) == 72, "fold");
CFD__ASSERT(offsetof(cfd__fire_call, kinds) == 24 && offsetof(cfd__fire_call, groups) == 40, "fire");
#undef CFD__ASSERT
#endif

/* An empty list points to it: its pointer must be aligned all the same. */
static const uint64_t cfd__nothing[1] __attribute__((unused)) = CFD__ZERO;

/* Empty lists come with any pointer; here none is NULL, which means that there is nothing. */
CFD__INLINE cfd_bytes cfd__bytes_in(cfd_bytes bytes) { return bytes.len ? bytes : CFD_TEXT(""); }

CFD__INLINE cfd_column cfd__column_in(cfd_column column) {
    if (column.data_len == 0) column.data = (const uint8_t *)"";
    return column;
}

CFD__INLINE cfd__list cfd__list_of(const void *data, size_t len) {
    cfd__list list = {len ? data : cfd__nothing, len};
    return list;
}

CFD__INLINE cfd_column cfd__seal(cfd__built *built, uint32_t len) {
    if (built->data.len > UINT32_MAX) cfd_panic("a column holds less than 4 GiB");
    built->starts[len] = (uint32_t)built->data.len;
    cfd_column column = {built->data.data ? built->data.data : (const uint8_t *)"", built->data.len, built->starts,
                         (size_t)len + 1};
    return column;
}

CFD__INLINE cfd__answer cfd__answer_error(cfd_error error) {
    cfd__answer answer = CFD__ZERO;
    answer.is_error = 1;
    answer.as.error = error.message;
    return answer;
}

CFD__INLINE cfd_out cfd__begin_out(const cfd_batch *batch, uint32_t rows, size_t value_room) {
    cfd_out out = CFD__ZERO;
    out.batch = batch, out.rows = rows;
    /* As many bytes as came in are the best guess; but not too much of a small memory at once. */
    out.value_room = value_room < 64 ? 64 : value_room > 128 * 1024 ? 128 * 1024 : value_room;
    return out;
}

CFD__INLINE bool cfd__all_rows(const cfd__segment *s, uint32_t rows) {
    if (s->len != rows) return false;
    for (uint32_t i = 0; i < rows; i++)
        if (s->rows[i] != i) return false;
    return true;
}

CFD__INLINE cfd__outcome cfd__end_out(cfd_out *out) {
    cfd__emission *emissions = CFD_NEW(cfd__emission, out->segments), *e = emissions;
    for (cfd__segment *s = out->first; s; s = s->next, e++) {
        *e = CFD__INIT(cfd__emission) CFD__ZERO;
        e->port = s->port;
        if (s->all || (s->stems && cfd__all_rows(s, out->rows))) e->origin = 1;
        else if (s->stems) e->origin = 2, e->keep = cfd__list_of(s->rows, s->len);
        if (s->has_keys) e->keys.is_some = 1, e->keys.column = cfd__seal(&s->keys, s->len);
        if (s->has_values) e->values.is_some = 1, e->values.column = cfd__seal(&s->values, s->len);
        if (s->has_times) e->has_times = 1, e->times = cfd__list_of(s->times, s->len);
    }
    cfd__outcome outcome = {cfd__list_of(emissions, out->segments), cfd__list_of(out->rejected, out->rejected_len)};
    return outcome;
}

CFD__INLINE cfd__answer cfd__call_open(const cfd_operator *op, const cfd_context *context) {
    cfd__answer answer = CFD__ZERO;
    cfd_error error = op->open ? op->open(context) : CFD_OK;
    return cfd_failed(error) ? cfd__answer_error(error) : answer;
}

CFD__FAST cfd__answer cfd__call_process(const cfd_operator *op, const cfd_batch *batch) {
    cfd__answer answer = CFD__ZERO;
    cfd_out out = cfd__begin_out(batch, batch->len, batch->values.data_len);
    out.end = &out.first;
    cfd_error error = op->process(batch, &out);
    if (cfd_failed(error)) return cfd__answer_error(error);
    answer.as.outcome = cfd__end_out(&out);
    return answer;
}

CFD__INLINE cfd__answer cfd__call_finish(const cfd_operator *op) {
    cfd__answer answer = CFD__ZERO;
    cfd_out out = cfd__begin_out(NULL, 0, 0);
    out.end = &out.first;
    cfd_error error = op->finish ? op->finish(&out) : CFD_OK;
    if (cfd_failed(error)) return cfd__answer_error(error);
    answer.as.outcome = cfd__end_out(&out);
    return answer;
}

CFD__INLINE cfd__answer cfd__call_snapshot(const cfd_operator *op) {
    cfd__answer answer = CFD__ZERO;
    cfd_writer state = CFD__ZERO;
    cfd_error error = op->snapshot(&state);
    if (cfd_failed(error)) return cfd__answer_error(error);
    answer.as.bytes = cfd_written(&state);
    return answer;
}

CFD__INLINE cfd__answer cfd__call_restore(const cfd_operator *op, cfd_bytes state) {
    cfd__answer answer = CFD__ZERO;
    cfd_error error = op->restore(cfd__bytes_in(state));
    return cfd_failed(error) ? cfd__answer_error(error) : answer;
}

CFD__INLINE cfd_now cfd__now_in(const cfd__wire_now *now) {
    cfd_now n = {{now->has_watermark ? now->watermark : 0, now->has_watermark != 0}, now->processing};
    return n;
}

/* How many groups there are, and room for what they change. */
CFD__INLINE uint32_t cfd__begin_groups(cfd__effects *effects, const cfd__groups *groups) {
    uint32_t count = groups->row_offsets.len ? (uint32_t)groups->row_offsets.len - 1 : 0;
    effects->changed = CFD_NEW(uint32_t, count);
    effects->states.starts = CFD_NEW(uint32_t, count + 1);
    effects->states.starts[0] = 0;
    effects->states.data.capacity = groups->states.data_len + 16 * (size_t)count + 16;
    effects->states.data.data = CFD_NEW(uint8_t, effects->states.data.capacity);
    return count;
}

CFD__FAST cfd_group cfd__begin_group(cfd__effects *effects, const cfd__groups *groups, uint32_t g, cfd_now now) {
    const uint32_t *offsets = (const uint32_t *)groups->row_offsets.data;
    cfd_group group = CFD__ZERO;
    group.key = cfd_entry(&groups->keys, g);
    group.rows = (const uint32_t *)groups->rows.data + offsets[g];
    group.len = offsets[g + 1] - offsets[g];
    group.windowed = groups->window_starts.len > 0;
    if (group.windowed)
        group.window_start = groups->window_starts.data[g], group.window_end = groups->window_ends.data[g];
    group.now = now;
    group.cfd__index = g;
    group.cfd__before = group.cfd__state = cfd_entry(&groups->states, g);
    group.cfd__effects = effects;
    return group;
}

/* Takes over what a group has become. A state that was set but is the same as before is not
 * reported, which spares the next checkpoint. */
CFD__FAST void cfd__end_group(cfd__effects *effects, const cfd_group *group) {
    if (!group->cfd__touched) return;
    cfd_writer *data = &effects->states.data;
    size_t start = effects->states.starts[effects->changed_len];
    if (cfd_equal(cfd_slice(cfd_written(data), start, data->len), group->cfd__before)) {
        data->len = start;
        return;
    }
    if (data->len > UINT32_MAX) cfd_panic("a column holds less than 4 GiB");
    effects->changed[effects->changed_len++] = group->cfd__index;
    effects->states.starts[effects->changed_len] = (uint32_t)data->len;
}

CFD__INLINE cfd__answer cfd__end_groups(cfd__effects *effects, cfd_out *out) {
    cfd__answer answer = CFD__ZERO;
    if (cfd_failed(effects->error)) return cfd__answer_error(effects->error);
    answer.as.fold.outcome = cfd__end_out(out);
    answer.as.fold.changed = cfd__list_of(effects->changed, effects->changed_len);
    answer.as.fold.states = cfd__seal(&effects->states, effects->changed_len);
    answer.as.fold.set_timers = cfd__list_of(effects->set.list, effects->set.len);
    answer.as.fold.delete_timers = cfd__list_of(effects->deleted.list, effects->deleted.len);
    return answer;
}

CFD__FAST cfd__answer cfd__call_fold(const cfd_operator *op, cfd__fold_call *call) {
    cfd_batch batch = {call->records.len, cfd__column_in(call->records.keys), cfd__column_in(call->records.values),
                       call->records.times, call->input};
    cfd_out out = cfd__begin_out(&batch, batch.len, batch.values.data_len);
    out.end = &out.first;
    call->groups.keys = cfd__column_in(call->groups.keys), call->groups.states = cfd__column_in(call->groups.states);
    cfd__effects effects = CFD__ZERO;
    const uint32_t count = cfd__begin_groups(&effects, &call->groups);
    const cfd_now now = cfd__now_in(&call->now);
    for (uint32_t g = 0; g < count; g++) {
        cfd_group group = cfd__begin_group(&effects, &call->groups, g, now);
        group.batch = &batch;
        cfd_error error = op->fold(&group, &out);
        if (cfd_failed(error)) return cfd__answer_error(error);
        cfd__end_group(&effects, &group);
    }
    return cfd__end_groups(&effects, &out);
}

CFD__INLINE cfd__answer cfd__call_fire(const cfd_operator *op, cfd__fire_call *call) {
    const uint32_t due = (uint32_t)call->times.len;
    cfd_out out = cfd__begin_out(NULL, due, 32 * (size_t)due);
    out.end = &out.first;
    out.fired_times = call->times;
    call->groups.keys = cfd__column_in(call->groups.keys), call->groups.states = cfd__column_in(call->groups.states);
    cfd__effects effects = CFD__ZERO;
    const uint32_t count = cfd__begin_groups(&effects, &call->groups);
    const cfd_now now = cfd__now_in(&call->now);
    for (uint32_t g = 0; g < count; g++) {
        cfd_group group = cfd__begin_group(&effects, &call->groups, g, now);
        const uint32_t *firings = group.rows, len = group.len;
        group.rows = NULL, group.len = 0, out.fired_key = group.key;
        for (uint32_t i = 0; i < len && op->fire; i++) {
            uint32_t f = firings[i];
            if (f >= due) cfd__no_such("firing", f, due);
            cfd_firing firing = {f, (cfd_firing_kind)((const uint8_t *)call->kinds.data)[f], call->times.data[f]};
            cfd_error error = op->fire(&group, firing, &out);
            if (cfd_failed(error)) return cfd__answer_error(error);
        }
        cfd__end_group(&effects, &group);
    }
    return cfd__end_groups(&effects, &out);
}

CFD__INLINE uint32_t cfd__entries(const cfd_column *column) {
    return column->offsets_len ? (uint32_t)column->offsets_len - 1 : 0;
}

CFD__INLINE cfd__answer cfd__call_merge(const cfd_operator *op, cfd_column keys, cfd_column left, cfd_column right) {
    cfd__answer answer = CFD__ZERO;
    const uint32_t count = cfd__entries(&keys);
    keys = cfd__column_in(keys), left = cfd__column_in(left), right = cfd__column_in(right);
    cfd__built merged = CFD__ZERO;
    merged.starts = CFD_NEW(uint32_t, count + 1);
    for (uint32_t i = 0; i < count; i++) {
        cfd_bytes earlier = cfd_entry(&left, i), later = cfd_entry(&right, i);
        cfd_writer *to = cfd__begin_entry(&merged, i);
        if (earlier.len == 0 || later.len == 0) {
            cfd_put(to, earlier.len ? earlier : later);
            continue;
        }
        cfd_error error = op->merge(cfd_entry(&keys, i), earlier, later, to);
        if (cfd_failed(error)) return cfd__answer_error(error);
    }
    answer.as.column = cfd__seal(&merged, count);
    return answer;
}

CFD__INLINE cfd__answer cfd__call_check(const cfd_operator *op, cfd_column keys, cfd_column states) {
    cfd__answer answer = CFD__ZERO;
    keys = cfd__column_in(keys), states = cfd__column_in(states);
    for (uint32_t i = 0; i < cfd__entries(&keys); i++) {
        cfd_bytes key = cfd_entry(&keys, i);
        cfd_error error = op->check(key, cfd_entry(&states, i));
        if (cfd_failed(error)) return cfd__answer_error(cfd_fail("key `%.*s`: %.*s", CFD_ARG(key), CFD_ARG(error.message)));
    }
    return answer;
}

#ifdef __wasm__

/* Constructors: `open` calls them, unless a C library has done it when the module was loaded. */
extern void __wasm_call_ctors(void);

/* The host's answer is read before the call's memory is forgotten. */
#define CFD__EXPORT(interface, name) \
    __attribute__((export_name("cofferdam:operator/" interface "@0.1.0#" name)))
#define CFD__POST(interface, name, function, after)                                                  \
    __attribute__((export_name("cabi_post_cofferdam:operator/" interface "@0.1.0#" name))) void function( \
        cfd__answer *answer) {                                                                        \
        (void)answer;                                                                                 \
        after();                                                                                      \
    }

#define CFD__OPEN(interface)                                                                          \
    CFD__POST(interface, "open", cfd__post_open, cfd__keep_for_good)                                  \
    CFD__EXPORT(interface, "open")                                                                    \
    cfd__answer *cfd__open(const uint8_t *name, size_t len, uint32_t subtask, uint32_t parallelism, uint32_t inputs, \
                           uint32_t outputs) {                                                        \
        cfd_context context = {cfd_bytes_of(name, len), subtask, parallelism, inputs, outputs};       \
        if (!cfd__constructed) __wasm_call_ctors();                                                   \
        cfd__result = cfd__call_open(&cfd__this, &context);                                           \
        return &cfd__result;                                                                          \
    }

#define CFD__COMMON(interface)                                                                        \
    static cfd__answer cfd__result;                                                                   \
    static volatile bool cfd__constructed;                                                            \
    __attribute__((constructor)) static void cfd__construct(void) { cfd__constructed = true; }        \
    cfd__arena cfd__memory;                                                                           \
    __attribute__((export_name("cabi_realloc"))) void *cfd__realloc(void *at, size_t old, size_t align, size_t size) { \
        if (old) return cfd__resize(at, old, size, align);                                            \
        return cfd_alloc(size, align);                                                                \
    }                                                                                                 \
    CFD__OPEN(interface)

#define CFD__PROCESSOR_EXPORTS                                                                        \
    CFD__COMMON("processor")                                                                          \
    CFD__POST("processor", "process", cfd__post_process, cfd__forget)                                 \
    CFD__EXPORT("processor", "process")                                                               \
    cfd__answer *cfd__process(uint32_t input, uint32_t len, const uint8_t *keys, size_t keys_len,     \
                              const uint32_t *key_offsets, size_t key_offsets_len, const uint8_t *values, \
                              size_t values_len, const uint32_t *value_offsets, size_t value_offsets_len, \
                              const int64_t *times, size_t times_len) {                               \
        cfd_column k = {keys, keys_len, key_offsets, key_offsets_len};                                \
        cfd_column v = {values, values_len, value_offsets, value_offsets_len};                        \
        cfd_batch batch = {len, cfd__column_in(k), cfd__column_in(v), {times, times_len}, input};     \
        cfd__result = cfd__call_process(&cfd__this, &batch);                                          \
        return &cfd__result;                                                                          \
    }                                                                                                 \
    CFD__POST("processor", "finish", cfd__post_finish, cfd__forget)                                   \
    CFD__EXPORT("processor", "finish") cfd__answer *cfd__finish(void) {                               \
        cfd__result = cfd__call_finish(&cfd__this);                                                   \
        return &cfd__result;                                                                          \
    }

#define CFD__SNAPSHOT_EXPORTS                                                                         \
    CFD__POST("snapshot", "snapshot", cfd__post_snapshot, cfd__forget)                                \
    CFD__EXPORT("snapshot", "snapshot") cfd__answer *cfd__snapshot(void) {                            \
        cfd__result = cfd__call_snapshot(&cfd__this);                                                 \
        return &cfd__result;                                                                          \
    }                                                                                                 \
    CFD__POST("snapshot", "restore", cfd__post_restore, cfd__forget)                                  \
    CFD__EXPORT("snapshot", "restore") cfd__answer *cfd__restore(const uint8_t *state, size_t len) {  \
        cfd__result = cfd__call_restore(&cfd__this, cfd_bytes_of(state, len));                        \
        return &cfd__result;                                                                          \
    }

#define CFD__KEYED_EXPORTS                                                                            \
    CFD__COMMON("keyed-processor")                                                                    \
    CFD__POST("keyed-processor", "fold", cfd__post_fold, cfd__forget)                                 \
    CFD__EXPORT("keyed-processor", "fold") cfd__answer *cfd__fold(cfd__fold_call *call) {             \
        cfd__result = cfd__call_fold(&cfd__this, call);                                               \
        return &cfd__result;                                                                          \
    }                                                                                                 \
    CFD__POST("keyed-processor", "fire", cfd__post_fire, cfd__forget)                                 \
    CFD__EXPORT("keyed-processor", "fire") cfd__answer *cfd__fire(cfd__fire_call *call) {             \
        cfd__result = cfd__call_fire(&cfd__this, call);                                               \
        return &cfd__result;                                                                          \
    }

#define CFD__COLUMN_PARAMETERS(name) \
    const uint8_t *name, size_t name##_len, const uint32_t *name##_offsets, size_t name##_offsets_len
#define CFD__COLUMN_OF(name) (CFD__INIT(cfd_column){name, name##_len, name##_offsets, name##_offsets_len})

#define CFD__MERGE_EXPORTS                                                                            \
    CFD__POST("session-merge", "merge", cfd__post_merge, cfd__forget)                                 \
    CFD__EXPORT("session-merge", "merge")                                                             \
    cfd__answer *cfd__merge(CFD__COLUMN_PARAMETERS(keys), CFD__COLUMN_PARAMETERS(left), CFD__COLUMN_PARAMETERS(right)) { \
        cfd__result = cfd__call_merge(&cfd__this, CFD__COLUMN_OF(keys), CFD__COLUMN_OF(left), CFD__COLUMN_OF(right)); \
        return &cfd__result;                                                                          \
    }

#define CFD__CHECK_EXPORTS                                                                            \
    CFD__POST("state-check", "check", cfd__post_check, cfd__forget)                                   \
    CFD__EXPORT("state-check", "check")                                                               \
    cfd__answer *cfd__check(CFD__COLUMN_PARAMETERS(keys), CFD__COLUMN_PARAMETERS(states)) {           \
        cfd__result = cfd__call_check(&cfd__this, CFD__COLUMN_OF(keys), CFD__COLUMN_OF(states));      \
        return &cfd__result;                                                                          \
    }

#define CFD__OPERATOR(...) static const cfd_operator cfd__this = {__VA_ARGS__};

#else /* Native tests: cofferdam_test.h calls the functions. */

extern const cfd_operator cfd__this;
#define CFD__OPERATOR(...)  \
    cfd__arena cfd__memory; \
    const cfd_operator cfd__this = {__VA_ARGS__};
#define CFD__PROCESSOR_EXPORTS
#define CFD__SNAPSHOT_EXPORTS
#define CFD__KEYED_EXPORTS
#define CFD__MERGE_EXPORTS
#define CFD__CHECK_EXPORTS

#endif

#ifdef __cplusplus
}
/* What an operator does without is left out of the list of its functions. */
#define CFD__EXTERN_C(...)                                              \
    _Pragma("GCC diagnostic push")                                      \
    _Pragma("GCC diagnostic ignored \"-Wmissing-field-initializers\"")  \
    extern "C" { __VA_ARGS__ }                                          \
    _Pragma("GCC diagnostic pop")
#else
#define CFD__EXTERN_C(...) __VA_ARGS__
#endif

/* One of these lines, once, in one file, makes the functions the operator of the program. Which one
 * is which world of `wit/world.wit`: */

/* `processor-operator`: .process; perhaps .open, .finish. */
#define CFD_PROCESSOR(...) CFD__EXTERN_C(CFD__OPERATOR(__VA_ARGS__) CFD__PROCESSOR_EXPORTS)
/* `stateful-operator`: .process, .snapshot, .restore; perhaps .open, .finish. */
#define CFD_STATEFUL(...) CFD__EXTERN_C(CFD__OPERATOR(__VA_ARGS__) CFD__PROCESSOR_EXPORTS CFD__SNAPSHOT_EXPORTS)
/* `keyed-operator`: .fold; perhaps .open, .fire. */
#define CFD_KEYED(...) CFD__EXTERN_C(CFD__OPERATOR(__VA_ARGS__) CFD__KEYED_EXPORTS)
/* `session-operator`: .fold, .merge; perhaps .open, .fire. */
#define CFD_SESSION(...) CFD__EXTERN_C(CFD__OPERATOR(__VA_ARGS__) CFD__KEYED_EXPORTS CFD__MERGE_EXPORTS)
/* `checked-keyed-operator`: as CFD_KEYED, and .check. */
#define CFD_CHECKED_KEYED(...) CFD__EXTERN_C(CFD__OPERATOR(__VA_ARGS__) CFD__KEYED_EXPORTS CFD__CHECK_EXPORTS)
/* `checked-session-operator`: as CFD_SESSION, and .check. */
#define CFD_CHECKED_SESSION(...) \
    CFD__EXTERN_C(CFD__OPERATOR(__VA_ARGS__) CFD__KEYED_EXPORTS CFD__MERGE_EXPORTS CFD__CHECK_EXPORTS)

#endif
