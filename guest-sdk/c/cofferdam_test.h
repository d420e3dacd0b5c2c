/* cofferdam_test.h: native tests for operators that are written with cofferdam.h.
 *
 * A host that groups by key and window, keeps states and timers, and refuses what the real host
 * refuses. No Wasm, no clock but the one that you move. Include it behind the operator's source:
 *
 *     #include "../src/operator.c"
 *     #include "cofferdam_test.h"
 *
 *     int main(void) {
 *         cfd_test_open("{\"contains\":\"x\"}");
 *         cfd_test_record("an x", "key", 0);
 *         cfd_test_record("none", "key", 1);
 *         cfd_test_run();
 *         CFD_EXPECT_VALUES(0, "an x");
 *         return cfd_test_end();
 *     }
 *
 * Where an expectation does not hold, its place and both sides are printed, and `cfd_test_end` is
 * not 0. What is not here (sliding windows, lateness) is in `cofferdam operator test`.
 */
#ifndef COFFERDAM_TEST_H
#define COFFERDAM_TEST_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cofferdam.h"

/* ---------------------------------------------------------------------- what is looked at */

/* A record that was emitted. The bytes are its own. */
typedef struct cfd_test_output {
    uint32_t port;
    cfd_bytes key, value;
    cfd_time time;
} cfd_test_output;

/* A record that was refused. */
typedef struct cfd_test_rejection {
    uint32_t index; /* Of those that the last `cfd_test_run` sent. */
    cfd_bytes reason;
} cfd_test_rejection;

/* A line of log. */
typedef struct cfd_test_line {
    cfd_level level;
    cfd_bytes text;
} cfd_test_line;

typedef struct cfd__test_metric {
    cfd_bytes name;
    double value; /* A gauge's last value, the sum of all else. */
    uint64_t count;
} cfd__test_metric;

typedef struct cfd__test_state {
    cfd_bytes key, state;
    bool windowed, due_once;
    int64_t start, end;
} cfd__test_state;

typedef struct cfd__test_timer {
    uint32_t owner; /* Which state. */
    uint8_t kind;
    int64_t at;
} cfd__test_timer;

enum { CFD__TEST_MOST = 4096 };

/* Everything of the test: there is one operator in a program. */
static struct cfd_test {
    cfd_test_output outputs[CFD__TEST_MOST]; /* Since the last `cfd_test_clear`, in order. */
    uint32_t outputs_len;
    cfd_test_rejection rejected[CFD__TEST_MOST];
    uint32_t rejected_len;
    cfd_test_line log[CFD__TEST_MOST];
    uint32_t log_len;
    cfd_bytes error; /* What the last call failed with; CFD_NONE if it did not. */
    int failures;
    /* Not for you. */
    cfd_bytes config;
    cfd__test_metric metrics[64];
    uint32_t metrics_len;
    cfd_bytes keys[CFD__TEST_MOST], values[CFD__TEST_MOST];
    cfd_time times[CFD__TEST_MOST];
    uint32_t records_len, input;
    cfd__test_state states[CFD__TEST_MOST];
    uint32_t states_len;
    cfd__test_timer timers[CFD__TEST_MOST];
    uint32_t timers_len;
    int64_t window, gap, watermark, processing;
    bool has_watermark;
} cfd_test;

static void cfd__test_check(bool ok, const char *what) {
    if (ok) return;
    fprintf(stderr, "the test harness: %s\n", what);
    abort();
}

/* Bytes that outlive the call. They are chained, so that they are no leak to those who look for one. */
static cfd_bytes cfd__test_own(cfd_bytes bytes) {
    static void **all;
    if (!bytes.data) return bytes;
    void **piece = (void **)malloc(sizeof(void *) + bytes.len + 1);
    cfd__test_check(piece != NULL, "out of memory");
    piece[0] = (void *)all, all = piece;
    memcpy(piece + 1, bytes.data, bytes.len);
    return cfd_bytes_of(piece + 1, bytes.len);
}

/* ------------------------------------------------------------------- what an operator asks */

#ifdef __cplusplus
extern "C" {
#endif

void cfd__host_log(int32_t level, const uint8_t *message, size_t len) {
    cfd__test_check(cfd_test.log_len < CFD__TEST_MOST, "too many lines of log");
    cfd_test.log[cfd_test.log_len].level = (cfd_level)level;
    cfd_test.log[cfd_test.log_len++].text = cfd__test_own(cfd_bytes_of(message, len));
    if (level == CFD_ERROR) fprintf(stderr, "error: %.*s\n", (int)len, (const char *)message);
}

void cfd__host_config_all(cfd_bytes *json) { *json = cfd_test.config; }

void cfd__host_config_get(const uint8_t *key, size_t len, cfd__option_bytes *value) {
    cfd_bytes given = cfd_json_field(cfd_test.config, cfd_bytes_of(key, len)), text = cfd_json_text(given);
    value->is_some = given.data != NULL;
    value->value = text.data ? text : given;
}

static cfd__test_metric *cfd__test_metric_of(cfd_bytes name) {
    for (uint32_t i = 0; i < cfd_test.metrics_len; i++)
        if (cfd_equal(cfd_test.metrics[i].name, name)) return &cfd_test.metrics[i];
    cfd__test_check(cfd_test.metrics_len < 64, "too many metrics");
    cfd_test.metrics[cfd_test.metrics_len].name = cfd__test_own(name);
    return &cfd_test.metrics[cfd_test.metrics_len++];
}

void cfd__host_counter(const uint8_t *name, size_t len, uint64_t delta) {
    cfd__test_metric_of(cfd_bytes_of(name, len))->value += (double)delta;
}

void cfd__host_gauge(const uint8_t *name, size_t len, double value) {
    cfd__test_metric_of(cfd_bytes_of(name, len))->value = value;
}

void cfd__host_histogram(const uint8_t *name, size_t len, double value) {
    cfd__test_metric *metric = cfd__test_metric_of(cfd_bytes_of(name, len));
    metric->value += value, metric->count++;
}

#ifdef __cplusplus
}
#endif

/* What a counter or the observations of a histogram come to, or what a gauge is set to. */
CFD__INLINE double cfd_test_metric(const char *name) { return cfd__test_metric_of(cfd_text(name))->value; }

/* -------------------------------------------------------------------------------- answers */

/* Takes over whether a call failed. */
static bool cfd__test_failed(const cfd__answer *answer) {
    cfd_test.error = answer->is_error ? cfd__test_own(answer->as.error) : CFD_NONE;
    return answer->is_error;
}

static void cfd__test_column(const cfd_column *column, size_t len) {
    cfd__test_check(column->offsets_len == len + 1 && column->offsets[0] == 0, "a column has another length");
    for (size_t i = 0; i < len; i++)
        cfd__test_check(column->offsets[i] <= column->offsets[i + 1], "the offsets of a column go down");
    cfd__test_check(column->offsets[len] == column->data_len, "the offsets of a column do not end where its data does");
}

/* Where emitted records may stem from. */
typedef struct cfd__test_origins {
    uint32_t len;
    const cfd_bytes *keys, *values;
    const cfd_time *times;
} cfd__test_origins;

static void cfd__test_emission(const cfd__emission *e, const cfd__test_origins *from) {
    size_t len = e->origin == 1 ? from->len : e->origin == 2 ? e->keep.len
                 : e->values.is_some                        ? e->values.column.offsets_len - 1
                 : e->keys.is_some                          ? e->keys.column.offsets_len - 1
                                                            : e->times.len;
    if (e->keys.is_some) cfd__test_column(&e->keys.column, len);
    if (e->values.is_some) cfd__test_column(&e->values.column, len);
    cfd__test_check(!e->has_times || e->times.len == len, "a column of times has another length");
    for (size_t i = 0; i < len; i++) {
        size_t row = e->origin == 2 ? ((const uint32_t *)e->keep.data)[i] : i;
        bool stems = e->origin != 0;
        cfd__test_check(!stems || row < from->len, "a record stems from one that is not there");
        cfd__test_check(cfd_test.outputs_len < CFD__TEST_MOST, "too many records are emitted");
        cfd_test_output *to = &cfd_test.outputs[cfd_test.outputs_len++];
        to->port = e->port;
        to->key = cfd__test_own(e->keys.is_some ? cfd_entry(&e->keys.column, i) : stems ? from->keys[row] : CFD_TEXT(""));
        to->value = cfd__test_own(e->values.is_some ? cfd_entry(&e->values.column, i)
                                  : stems && from->values ? from->values[row] : CFD_TEXT(""));
        if (e->has_times) to->time = cfd_at(((const int64_t *)e->times.data)[i]);
        else if (stems) to->time = from->times[row];
        else to->time.some = false;
    }
}

static void cfd__test_outcome(const cfd__outcome *outcome, const cfd__test_origins *from) {
    for (size_t i = 0; i < outcome->emissions.len; i++)
        cfd__test_emission((const cfd__emission *)outcome->emissions.data + i, from);
    for (size_t i = 0; i < outcome->rejected.len; i++) {
        const cfd__rejection *r = (const cfd__rejection *)outcome->rejected.data + i;
        cfd__test_check(r->index < from->len, "a record is refused that is not there");
        cfd__test_check(cfd_test.rejected_len < CFD__TEST_MOST, "too many records are refused");
        cfd_test.rejected[cfd_test.rejected_len].index = r->index;
        cfd_test.rejected[cfd_test.rejected_len++].reason = cfd__test_own(r->reason);
    }
}

/* A column of what the harness holds; in the memory of the call. */
static cfd_column cfd__test_column_of(const cfd_bytes *entries, uint32_t len) {
    cfd__built built = {{NULL, 0, 0}, NULL};
    built.starts = CFD_NEW(uint32_t, len + 1);
    for (uint32_t i = 0; i < len; i++) cfd_put(cfd__begin_entry(&built, i), entries[i]);
    return cfd__seal(&built, len);
}

/* ------------------------------------------------------------------------------ beginning */

/* Opens the operator with a configuration, a JSON object, and forgets all that was before. False if
 * it refuses; then `cfd_test.error` says why. Variables of the operator keep what they have. */
CFD__INLINE bool cfd_test_open(const char *config) {
    int failures = cfd_test.failures;
    memset(&cfd_test, 0, sizeof cfd_test);
    cfd_test.failures = failures;
    cfd_test.config = cfd__test_own(cfd_text(config));
    cfd_context context = {CFD_TEXT("test"), 0, 1, 1, 1};
    cfd__answer answer = cfd__call_open(&cfd__this, &context);
    bool failed = cfd__test_failed(&answer);
    cfd__keep_for_good();
    return !failed;
}

/* Has records fall into tumbling windows of so many milliseconds. */
CFD__INLINE void cfd_test_tumbling(int64_t size) { cfd_test.window = size; }

/* Has records fall into session windows that end when nothing came for so many milliseconds. */
CFD__INLINE void cfd_test_session(int64_t gap) { cfd_test.gap = gap; }

/* Forgets what was emitted, refused and logged so far. */
CFD__INLINE void cfd_test_clear(void) { cfd_test.outputs_len = cfd_test.rejected_len = cfd_test.log_len = 0; }

/* -------------------------------------------------------------------------------- sending */

/* A record for the next `cfd_test_run`, as bytes. */
CFD__INLINE void cfd_test_bytes(cfd_bytes value, cfd_bytes key, cfd_time time) {
    cfd__test_check(cfd_test.records_len < CFD__TEST_MOST, "too many records in a batch");
    uint32_t i = cfd_test.records_len++;
    cfd_test.values[i] = cfd__test_own(value), cfd_test.keys[i] = cfd__test_own(key), cfd_test.times[i] = time;
}

/* A record for the next `cfd_test_run`, as text, with an event time. */
CFD__INLINE void cfd_test_record(const char *value, const char *key, int64_t time) {
    cfd_test_bytes(cfd_text(value), cfd_text(key), cfd_at(time));
}

static uint32_t cfd__test_state_of(cfd_bytes key, bool windowed, int64_t start, int64_t end) {
    for (uint32_t i = 0; i < cfd_test.states_len; i++) {
        const cfd__test_state *s = &cfd_test.states[i];
        if (s->key.data && s->windowed == windowed && s->start == start && s->end == end && cfd_equal(s->key, key)) return i;
    }
    cfd__test_check(cfd_test.states_len < CFD__TEST_MOST, "too many keys and windows");
    cfd__test_state fresh = {cfd__test_own(key), {(const uint8_t *)"", 0}, windowed, false, start, end};
    cfd_test.states[cfd_test.states_len] = fresh;
    return cfd_test.states_len++;
}

/* Makes one of the new session and those that it meets. */
static uint32_t cfd__test_join(uint32_t id) {
    for (uint32_t i = 0; i < cfd_test.states_len; i++) {
        cfd__test_state *a = &cfd_test.states[i], *b = &cfd_test.states[id];
        if (i == id || !a->key.data || !a->windowed || a->start > b->end || b->start > a->end || !cfd_equal(a->key, b->key))
            continue;
        cfd__test_state *early = a->start <= b->start ? a : b, *late = early == a ? b : a;
        if (early->state.len > 0 && late->state.len > 0) {
            cfd__test_check(cfd__this.merge != NULL, "session windows need `.merge`");
            cfd_writer merged = {NULL, 0, 0};
            cfd_error error = cfd__this.merge(a->key, early->state, late->state, &merged);
            cfd__test_check(!cfd_failed(error), "`.merge` failed");
            early->state = cfd__test_own(cfd_written(&merged));
        } else if (late->state.len > 0) {
            early->state = late->state;
        }
        if (late->end > early->end) early->end = late->end;
        uint32_t kept = (uint32_t)(early - cfd_test.states), gone = (uint32_t)(late - cfd_test.states);
        for (uint32_t t = 0; t < cfd_test.timers_len; t++)
            if (cfd_test.timers[t].owner == gone) cfd_test.timers[t].owner = kept;
        late->key = CFD_NONE;
        return cfd__test_join(kept);
    }
    return id;
}

static int64_t cfd__test_floor(int64_t time, int64_t size) {
    int64_t rest = time % size;
    return time - (rest < 0 ? rest + size : rest);
}

static uint32_t cfd__test_owner(uint32_t record) {
    cfd_bytes key = cfd_test.keys[record];
    int64_t time = cfd_test.times[record].ms;
    if (cfd_test.gap > 0) return cfd__test_join(cfd__test_state_of(key, true, time, time + cfd_test.gap));
    if (cfd_test.window == 0) return cfd__test_state_of(key, false, 0, 0);
    int64_t start = cfd__test_floor(time, cfd_test.window);
    return cfd__test_state_of(key, true, start, start + cfd_test.window);
}

static void cfd__test_take_timers(const cfd__list *list, const uint32_t *owners, bool set) {
    for (size_t i = 0; i < list->len; i++) {
        const cfd__timer *t = (const cfd__timer *)list->data + i;
        cfd__test_timer timer = {owners[t->group], t->kind, t->at};
        uint32_t at = 0;
        while (at < cfd_test.timers_len && (cfd_test.timers[at].owner != timer.owner || cfd_test.timers[at].kind != timer.kind ||
                                            cfd_test.timers[at].at != timer.at))
            at++;
        if (set && at == cfd_test.timers_len) {
            cfd__test_check(at < CFD__TEST_MOST, "too many timers");
            cfd_test.timers[cfd_test.timers_len++] = timer;
        } else if (!set && at < cfd_test.timers_len) {
            cfd_test.timers[at] = cfd_test.timers[--cfd_test.timers_len];
        }
    }
}

/* Takes over what a call changed. */
static void cfd__test_fold_outcome(const cfd__fold_outcome *fold, const uint32_t *owners, const cfd__test_origins *from) {
    cfd__test_column(&fold->states, fold->changed.len);
    for (size_t i = 0; i < fold->changed.len; i++)
        cfd_test.states[owners[((const uint32_t *)fold->changed.data)[i]]].state = cfd__test_own(cfd_entry(&fold->states, i));
    cfd__test_take_timers(&fold->delete_timers, owners, false);
    cfd__test_take_timers(&fold->set_timers, owners, true);
    cfd__test_outcome(&fold->outcome, from);
}

/* The groups of a call: `owner[i]` is whose row `i` is. */
static uint32_t cfd__test_groups(cfd__groups *groups, const uint32_t *owner, uint32_t rows, uint32_t *owners) {
    uint32_t count = 0, *order = CFD_NEW(uint32_t, rows), *offsets = CFD_NEW(uint32_t, rows + 1), len = 0;
    for (uint32_t i = 0; i < rows; i++) {
        uint32_t g = 0;
        while (g < count && owners[g] != owner[i]) g++;
        if (g == count) owners[count++] = owner[i];
    }
    cfd_bytes *keys = CFD_NEW(cfd_bytes, count), *states = CFD_NEW(cfd_bytes, count);
    int64_t *starts = CFD_NEW(int64_t, count), *ends = CFD_NEW(int64_t, count);
    for (uint32_t g = 0; g < count; g++) {
        const cfd__test_state *s = &cfd_test.states[owners[g]];
        keys[g] = s->key, states[g] = s->state, starts[g] = s->start, ends[g] = s->end, offsets[g] = len;
        for (uint32_t i = 0; i < rows; i++)
            if (owner[i] == owners[g]) order[len++] = i;
    }
    offsets[count] = len;
    bool windowed = cfd_test.window > 0 || cfd_test.gap > 0;
    groups->keys = cfd__test_column_of(keys, count), groups->states = cfd__test_column_of(states, count);
    groups->window_starts.data = starts, groups->window_ends.data = ends;
    groups->window_starts.len = groups->window_ends.len = windowed ? count : 0;
    groups->rows = cfd__list_of(order, len), groups->row_offsets = cfd__list_of(offsets, (size_t)count + 1);
    return count;
}

static cfd__wire_now cfd__test_now(void) {
    cfd__wire_now now = {cfd_test.has_watermark, cfd_test.watermark, cfd_test.processing};
    return now;
}

/* Sends the records as one batch. False if the operator fails it; then `cfd_test.error` says why. */
CFD__INLINE bool cfd_test_run(void) {
    const uint32_t len = cfd_test.records_len;
    int64_t *times = CFD_NEW(int64_t, len);
    bool timed = len > 0;
    for (uint32_t i = 0; i < len; i++) times[i] = cfd_test.times[i].ms, timed = timed && cfd_test.times[i].some;
    cfd__wire_batch batch = {len, cfd__test_column_of(cfd_test.keys, len), cfd__test_column_of(cfd_test.values, len),
                             {times, timed ? len : 0}};
    cfd__test_origins from = {len, cfd_test.keys, cfd_test.values, cfd_test.times};
    bool failed;
    if (cfd__this.fold) {
        uint32_t *owner = CFD_NEW(uint32_t, len), *owners = CFD_NEW(uint32_t, len);
        for (uint32_t i = 0; i < len; i++) cfd__test_owner(i);
        /* Again: sessions may have been joined since. */
        for (uint32_t i = 0; i < len; i++) owner[i] = cfd__test_owner(i);
        cfd__fold_call call = {cfd__test_now(), cfd_test.input, batch, {{NULL, 0, NULL, 0}, {NULL, 0, NULL, 0}, {NULL, 0}, {NULL, 0}, {NULL, 0}, {NULL, 0}}};
        cfd__test_groups(&call.groups, owner, len, owners);
        cfd__answer answer = cfd__call_fold(&cfd__this, &call);
        failed = cfd__test_failed(&answer);
        if (!failed) cfd__test_fold_outcome(&answer.as.fold, owners, &from);
    } else {
        cfd_batch given = {len, batch.keys, batch.values, batch.times, cfd_test.input};
        cfd__answer answer = cfd__call_process(&cfd__this, &given);
        failed = cfd__test_failed(&answer);
        if (!failed) cfd__test_outcome(&answer.as.outcome, &from);
    }
    cfd_test.records_len = 0;
    cfd__forget();
    return !failed;
}

typedef struct cfd__test_due {
    int64_t time;
    uint32_t owner;
    uint8_t kind;
} cfd__test_due;

static int cfd__test_by_time(const void *a, const void *b) {
    const cfd__test_due *x = (const cfd__test_due *)a, *y = (const cfd__test_due *)b;
    if (x->time != y->time) return x->time < y->time ? -1 : 1;
    return (x->kind > y->kind) - (x->kind < y->kind);
}

static uint32_t cfd__test_take_due(cfd__test_due *due) {
    uint32_t len = 0;
    for (uint32_t i = 0; i < cfd_test.states_len; i++) {
        cfd__test_state *s = &cfd_test.states[i];
        if (!s->key.data || !s->windowed || s->due_once || !cfd_test.has_watermark || cfd_test.watermark < s->end - 1) continue;
        cfd__test_due window = {s->end - 1, i, CFD_FIRED_WINDOW};
        due[len++] = window, s->due_once = true;
    }
    for (uint32_t t = 0; t < cfd_test.timers_len;) {
        const cfd__test_timer timer = cfd_test.timers[t];
        bool event = timer.kind == CFD_EVENT_TIME;
        bool passed = event ? cfd_test.has_watermark && cfd_test.watermark >= timer.at : cfd_test.processing >= timer.at;
        if (!passed) {
            t++;
            continue;
        }
        cfd__test_due fired = {timer.at, timer.owner, (uint8_t)(event ? CFD_FIRED_EVENT : CFD_FIRED_PROCESSING)};
        due[len++] = fired, cfd_test.timers[t] = cfd_test.timers[--cfd_test.timers_len];
    }
    qsort(due, len, sizeof *due, cfd__test_by_time);
    return len;
}

/* Fires what is due, and what that makes due. */
static bool cfd__test_fire(void) {
    static cfd__test_due due[2 * CFD__TEST_MOST];
    for (uint32_t len; (len = cfd__test_take_due(due)) > 0;) {
        uint8_t *kinds = CFD_NEW(uint8_t, len);
        int64_t *times = CFD_NEW(int64_t, len);
        uint32_t *owner = CFD_NEW(uint32_t, len), *owners = CFD_NEW(uint32_t, len);
        cfd_bytes *keys = CFD_NEW(cfd_bytes, len);
        cfd_time *origin_times = CFD_NEW(cfd_time, len);
        for (uint32_t i = 0; i < len; i++) {
            kinds[i] = due[i].kind, times[i] = due[i].time, owner[i] = due[i].owner;
            keys[i] = cfd_test.states[due[i].owner].key, origin_times[i] = cfd_at(due[i].time);
        }
        cfd__fire_call call = {cfd__test_now(), {kinds, len}, {times, len}, {{NULL, 0, NULL, 0}, {NULL, 0, NULL, 0}, {NULL, 0}, {NULL, 0}, {NULL, 0}, {NULL, 0}}};
        cfd__test_groups(&call.groups, owner, len, owners);
        cfd__test_origins from = {len, keys, NULL, origin_times};
        cfd__answer answer = cfd__call_fire(&cfd__this, &call);
        bool failed = cfd__test_failed(&answer);
        if (!failed) cfd__test_fold_outcome(&answer.as.fold, owners, &from);
        cfd__forget();
        if (failed) return false;
    }
    /* Nothing comes for windows that have ended. */
    for (uint32_t i = 0; i < cfd_test.states_len; i++)
        if (cfd_test.states[i].due_once) cfd_test.states[i].key = CFD_NONE;
    return true;
}

/* Moves event time on: fires the windows and timers that are due by then, in order of time. */
CFD__INLINE bool cfd_test_watermark(int64_t to) {
    if (!cfd_test.has_watermark || to > cfd_test.watermark) cfd_test.watermark = to;
    cfd_test.has_watermark = true;
    return cfd__test_fire();
}

/* Moves the host's clock on: fires the timers of processing time that are due. */
CFD__INLINE bool cfd_test_clock(int64_t to) {
    if (to > cfd_test.processing) cfd_test.processing = to;
    return cfd__test_fire();
}

/* Ends the input: event time passes everything, and a processor is told. */
CFD__INLINE bool cfd_test_close(void) {
    if (cfd__this.fold) return cfd_test_watermark(INT64_MAX);
    cfd__test_origins from = {0, NULL, NULL, NULL};
    cfd__answer answer = cfd__call_finish(&cfd__this);
    bool failed = cfd__test_failed(&answer);
    if (!failed) cfd__test_outcome(&answer.as.outcome, &from);
    cfd__forget();
    return !failed;
}

/* What `.snapshot` writes; yours to keep. */
CFD__INLINE cfd_bytes cfd_test_snapshot(void) {
    cfd__answer answer = cfd__call_snapshot(&cfd__this);
    cfd_bytes state = cfd__test_failed(&answer) ? CFD_NONE : cfd__test_own(answer.as.bytes);
    cfd__forget();
    return state;
}

/* Gives the operator what `.snapshot` wrote. */
CFD__INLINE bool cfd_test_restore(cfd_bytes state) {
    cfd__answer answer = cfd__call_restore(&cfd__this, state);
    return !cfd__test_failed(&answer);
}

/* The state of a key outside of windows; of length 0 where there is none. */
CFD__INLINE cfd_bytes cfd_test_state(const char *key) {
    return cfd_test.states[cfd__test_state_of(cfd_text(key), false, 0, 0)].state;
}

/* How many states there are. */
CFD__INLINE uint32_t cfd_test_states(void) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < cfd_test.states_len; i++) count += cfd_test.states[i].key.data && cfd_test.states[i].state.len > 0;
    return count;
}

/* How many timers are set. */
CFD__INLINE uint32_t cfd_test_timers(void) { return cfd_test.timers_len; }

/* ---------------------------------------------------------------------------- expectations */

static void cfd__test_say(const char *file, int line, const char *what) {
    cfd_test.failures++;
    fprintf(stderr, "%s:%d: %s\n", file, line, what);
}

/* That something is so. */
#define CFD_EXPECT(condition) ((condition) ? (void)0 : cfd__test_say(__FILE__, __LINE__, "this does not hold: " #condition))

CFD__INLINE void cfd__test_expect_text(const char *file, int line, cfd_bytes got, const char *wanted) {
    if (got.data && cfd_equal(got, cfd_text(wanted))) return;
    cfd__test_say(file, line, "these differ:");
    if (!got.data) got = CFD_TEXT("(nothing)");
    fprintf(stderr, "    expected %s\n    but got  %.*s\n", wanted, CFD_ARG(got));
}

/* That bytes are this text. */
#define CFD_EXPECT_TEXT(bytes, wanted) cfd__test_expect_text(__FILE__, __LINE__, (bytes), (wanted))

CFD__INLINE void cfd__test_expect_values(const char *file, int line, uint32_t port, const char *const *wanted, size_t len) {
    size_t at = 0;
    for (uint32_t i = 0; i < cfd_test.outputs_len; i++) {
        if (cfd_test.outputs[i].port != port) continue;
        cfd__test_expect_text(file, line, cfd_test.outputs[i].value, at < len ? wanted[at] : "(no more records)");
        at++;
    }
    for (; at < len; at++) cfd__test_expect_text(file, line, CFD_NONE, wanted[at]);
}

/* That these, and no others, are the values that were emitted to a port, in order. */
#define CFD_EXPECT_VALUES(port, ...)                                                            \
    do {                                                                                        \
        const char *const cfd__wanted[] = {__VA_ARGS__};                                        \
        cfd__test_expect_values(__FILE__, __LINE__, (port), cfd__wanted, sizeof cfd__wanted / sizeof *cfd__wanted); \
    } while (0)

/* That nothing was emitted to a port. */
#define CFD_EXPECT_NO_VALUES(port) cfd__test_expect_values(__FILE__, __LINE__, (port), NULL, 0)

/* Says how it went; what `main` should return. */
CFD__INLINE int cfd_test_end(void) {
    if (cfd_test.failures == 0) puts("ok");
    else fprintf(stderr, "%d expectations do not hold\n", cfd_test.failures);
    return cfd_test.failures != 0;
}

#endif
