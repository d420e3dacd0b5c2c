// cofferdam.hpp: stream operators for Cofferdam in C++20 or later.
//
//     #include "cofferdam.hpp"
//     namespace cfd = cofferdam;
//
//     struct KeepErrors {
//         cfd::Status process(cfd::Batch batch, cfd::Outcome &out) {
//             for (cfd::Record record : batch)
//                 if (cfd::contains(record.value(), "error")) out.keep(record);
//             return cfd::ok;
//         }
//     };
//
//     COFFERDAM_PROCESSOR(KeepErrors)
//
// An operator is a class whose functions are those of its kind: `open` (which may be left out),
// `process` and `finish`, or `fold` and `fire`, and so on. The one object of it is made when the operator
// is opened. Texts are `std::string_view`s into the call's memory: valid during the call, in `open` for
// good. Nothing is copied but what you copy.
//
// It is a coat over cofferdam.h, which has the contract, and whose functions may be used too. There are no
// exceptions in WebAssembly here: errors are returned, and `panic` ends it. What the standard library
// finds wrong (an index out of range, no memory) is logged as a panic is.
#ifndef COFFERDAM_HPP
#define COFFERDAM_HPP

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "cofferdam.h"

namespace cofferdam {

/// Text or bytes that are owned elsewhere.
using Text = std::string_view;

[[gnu::always_inline]] inline Text text_of(cfd_bytes bytes) { return {reinterpret_cast<const char *>(bytes.data), bytes.len}; }
[[gnu::always_inline]] inline cfd_bytes bytes_of(Text text) { return cfd_bytes_of(text.data() ? text.data() : "", text.size()); }

/// Whether something went well; if not, a message. `return cofferdam::fail("no such %s", name);`
class [[nodiscard]] Status {
  public:
    Status() : error_(cfd__ok()) {}
    Status(cfd_error error) : error_(error) {}
    /// Whether it went well.
    explicit operator bool() const { return !cfd_failed(error_); }
    /// Why not; empty if it did.
    Text message() const { return *this ? Text() : text_of(error_.message); }
    operator cfd_error() const { return error_; }

  private:
    cfd_error error_;
};

/// It went well.
inline const Status ok{};

/// An error with this message. From `open` it stops the job; from elsewhere it fails the batch, and the
/// job under its restart strategy.
inline Status fail(Text message) { return cfd_error{cfd_copy(bytes_of(message))}; }

/// Gives up: logs the message at `error`, and traps. The host finds the record that was to blame, and
/// shows where in the source it was.
[[noreturn]] inline void panic(Text message) { cfd_panic("%.*s", CFD_ARG(bytes_of(message))); }

/// How much a line of log matters.
enum class Level { trace, debug, info, warn, error };

/// Logs one line.
inline void log(Level level, Text line) { cfd_log_text(static_cast<cfd_level>(level), bytes_of(line)); }

/// Metrics of your own. A call leaves the sandbox (some 200 ns): add up in the batch, report once.
namespace metrics {
/// Adds to a counter.
inline void counter(Text name, std::uint64_t delta) { cfd__host_counter(bytes_of(name).data, name.size(), delta); }
/// Sets a gauge.
inline void gauge(Text name, double value) { cfd__host_gauge(bytes_of(name).data, name.size(), value); }
/// Adds one observation to a histogram.
inline void histogram(Text name, double value) { cfd__host_histogram(bytes_of(name).data, name.size(), value); }
} // namespace metrics

/// Where `needle` begins in `text`; none if it is not there. Sixteen places are looked at at a time,
/// which `text.find` does not.
inline std::optional<std::size_t> find(Text text, Text needle) {
    std::size_t at = cfd_find(bytes_of(text), bytes_of(needle));
    return at != SIZE_MAX ? std::optional(at) : std::nullopt;
}

/// Whether `needle` is in `text`. The empty one always is.
inline bool contains(Text text, Text needle) { return cfd_contains(bytes_of(text), bytes_of(needle)); }

/// Whether text is UTF-8.
inline bool is_utf8(Text text) { return cfd_is_utf8(bytes_of(text)); }

/// A decimal integer, if all of the text is one.
inline std::optional<std::int64_t> parse_integer(Text text) {
    std::int64_t number;
    return cfd_parse_i64(bytes_of(text), &number) ? std::optional(number) : std::nullopt;
}

/// JSON, as far as it takes to read fields of an object; for more, vendor a parser.
namespace json {
/// A field of an object, as it is written there.
inline std::optional<Text> field(Text object, Text name) {
    cfd_bytes value = cfd_json_field(bytes_of(object), bytes_of(name));
    return value.data ? std::optional(text_of(value)) : std::nullopt;
}
/// The text of a JSON string.
inline std::optional<Text> text(Text json) {
    cfd_bytes value = cfd_json_text(bytes_of(json));
    return value.data ? std::optional(text_of(value)) : std::nullopt;
}
} // namespace json

/// The operator's `config`. Read it in `open`, then what it gives stays.
namespace config {
/// The value of a key: text as it is, anything else as JSON.
inline std::optional<Text> get(const char *key) {
    cfd_bytes value = cfd_config(key);
    return value.data ? std::optional(text_of(value)) : std::nullopt;
}
/// The whole of it, a JSON object.
inline Text json() { return text_of(cfd_config_json()); }
/// Reads an integer into `number`, which stays as it is if the key is not there.
inline Status read(const char *key, std::int64_t &number) { return cfd_config_i64(key, &number); }
/// Reads a number into `number`, which stays as it is if the key is not there.
inline Status read(const char *key, double &number) { return cfd_config_f64(key, &number); }
} // namespace config

/// What an operator is told about itself when it is opened.
struct Context {
    Text name;                 ///< The operator's name in the job.
    std::uint32_t subtask;     ///< Which of its parallel instances this is, from 0.
    std::uint32_t parallelism; ///< How many there are.
    std::uint32_t inputs;      ///< How many inputs are connected.
    std::uint32_t outputs;     ///< How many output ports the job has given names to.
};

inline std::optional<std::int64_t> time_of(cfd_time time) { return time.some ? std::optional(time.ms) : std::nullopt; }

/// A record of a batch: a view that copies nothing.
class Record {
  public:
    Record(const cfd_batch *batch, std::uint32_t index) : batch_(batch), index_(index) {}
    /// Its index in the batch.
    std::uint32_t index() const { return index_; }
    /// The key; empty where the stream has none.
    Text key() const { return text_of(cfd_key(batch_, index_)); }
    /// The value.
    Text value() const { return text_of(cfd_value(batch_, index_)); }
    /// Event time, milliseconds since 1970.
    std::optional<std::int64_t> timestamp() const { return time_of(cfd_time_of(batch_, index_)); }

  private:
    const cfd_batch *batch_;
    std::uint32_t index_;
};

/// Records in a row: of a batch, or of a group.
class Records {
  public:
    class iterator {
      public:
        using value_type = Record;
        using difference_type = std::ptrdiff_t;
        iterator() = default;
        iterator(const cfd_batch *batch, const std::uint32_t *rows, std::uint32_t at) : batch_(batch), rows_(rows), at_(at) {}
        Record operator*() const { return {batch_, rows_ ? rows_[at_] : at_}; }
        iterator &operator++() { return ++at_, *this; }
        iterator operator++(int) {
            iterator before = *this;
            return ++at_, before;
        }
        bool operator==(const iterator &other) const { return at_ == other.at_; }

      private:
        const cfd_batch *batch_ = nullptr;
        const std::uint32_t *rows_ = nullptr;
        std::uint32_t at_ = 0;
    };

    Records(const cfd_batch *batch, const std::uint32_t *rows, std::uint32_t len) : batch_(batch), rows_(rows), len_(len) {}
    iterator begin() const { return {batch_, rows_, 0}; }
    iterator end() const { return {batch_, rows_, len_}; }
    /// How many.
    std::uint32_t size() const { return len_; }
    bool empty() const { return len_ == 0; }
    /// One of them.
    Record operator[](std::uint32_t i) const { return {batch_, rows_ ? rows_[i] : i}; }
    /// The last one.
    Record back() const { return (*this)[len_ - 1]; }

  private:
    const cfd_batch *batch_;
    const std::uint32_t *rows_;
    std::uint32_t len_;
};

/// Records that came in by one input port.
class Batch : public Records {
  public:
    explicit Batch(const cfd_batch *batch) : Records(batch, nullptr, batch->len), input_(batch->input) {}
    /// The input port, from 0.
    std::uint32_t input() const { return input_; }

  private:
    std::uint32_t input_;
};

/// What is due. Records may stem from it: they have the group's key and its time.
class Firing {
  public:
    explicit Firing(cfd_firing firing) : firing_(firing) {}
    std::uint32_t index() const { return firing_.index; }
    /// Whether the window has ended.
    bool is_window() const { return firing_.kind == CFD_FIRED_WINDOW; }
    /// Whether it is a timer of event time.
    bool is_event_time() const { return firing_.kind == CFD_FIRED_EVENT; }
    /// Whether it is a timer of processing time.
    bool is_processing_time() const { return firing_.kind == CFD_FIRED_PROCESSING; }
    /// The timer's time; for a window its last millisecond.
    std::int64_t time() const { return firing_.time; }

  private:
    cfd_firing firing_;
};

/// The source of a record that stems from nothing, as in `finish`.
struct Nothing {
    std::uint32_t index() const { return CFD_FRESH; }
};

/// What a record may stem from.
template <typename T>
concept Source = requires(const T &source) {
    { source.index() } -> std::same_as<std::uint32_t>;
};

/// Bytes that are written: a value, a state. Each function appends.
class Writer {
  public:
    explicit Writer(cfd_writer *to) : to_(to) {}
    [[gnu::always_inline]] Writer &put(Text text) { return cfd_put(to_, bytes_of(text)), *this; }
    Writer &integer(std::integral auto n) {
        if constexpr (std::is_signed_v<decltype(n)>) cfd_put_i64(to_, n);
        else cfd_put_u64(to_, n);
        return *this;
    }
    /// Text, which must be UTF-8, as a JSON string, with its quotes.
    Writer &json(Text text) { return cfd_put_json(to_, bytes_of(text)), *this; }
    /// The bytes of something that can be copied as bytes.
    template <typename T>
        requires std::is_trivially_copyable_v<T>
    Writer &raw(const T &value) {
        return cfd_put(to_, cfd_bytes_of(&value, sizeof value)), *this;
    }
    /// Makes room for so many bytes more; they are yours to fill.
    std::span<char> extend(std::size_t n) { return {reinterpret_cast<char *>(cfd_extend(to_, n)), n}; }

  private:
    cfd_writer *to_;
};

/// What an emitted record sets afresh; the rest comes from the record that it stems from:
/// `out.emit(record, {.port = 1, .value = text})`.
struct New {
    std::uint32_t port = 0;
    std::optional<Text> key = std::nullopt;
    std::optional<Text> value = std::nullopt;
    std::optional<std::int64_t> timestamp = std::nullopt;
};

/// What a call is answered with: records for the output ports, and records that are refused.
class Outcome {
  public:
    explicit Outcome(cfd_out *out) : out_(out) {}
    /// Emits the record as it is to a port. It costs four bytes.
    [[gnu::always_inline]] void keep(const Source auto &source, std::uint32_t port = 0) { cfd_keep_to(out_, port, source.index()); }
    /// Emits the whole batch as it is to a port, at no cost a record.
    void keep_all(std::uint32_t port = 0) { cfd_keep_all(out_, port); }
    /// Emits a record that stems from `source`, with what is given set afresh.
    [[gnu::always_inline]] void emit(const Source auto &source, const New &set) { cfd__emit(out_, source.index(), of(set)); }
    /// Emits a record with this value.
    [[gnu::always_inline]] void value(const Source auto &source, Text value) { cfd_emit_value(out_, source.index(), bytes_of(value)); }
    /// The same, but the value is what is written to the writer that comes back, until the next record is
    /// emitted: it is written straight to where the host reads it.
    [[gnu::always_inline]] Writer write(const Source auto &source, const New &set = {}) {
        return Writer(cfd__emit_writer(out_, source.index(), of(set)));
    }
    /// Refuses a record: it goes, with the reason, to the dead letters, and the others go on.
    void reject(const Record &record, Text reason) { cfd_reject(out_, record.index(), cfd_copy(bytes_of(reason))); }

  private:
    [[gnu::always_inline]] static cfd_new of(const New &set) {
        cfd_new to = {};
        to.port = set.port;
        if (set.key) to.key = bytes_of(*set.key);
        if (set.value) to.value = bytes_of(*set.value);
        if (set.timestamp) to.time = cfd_at(*set.timestamp);
        return to;
    }

    cfd_out *out_;
};

/// A window of event time, milliseconds since 1970.
struct Window {
    std::int64_t start; ///< The first millisecond.
    std::int64_t end;   ///< The first millisecond behind it.
};

/// Which time a timer waits for.
enum class TimerKind { event, processing };

/// One key of a call, or one pair of key and window: its records, its state, its timers.
class Group {
  public:
    explicit Group(cfd_group *group) : group_(group) {}
    Text key() const { return text_of(group_->key); }
    /// The group's records, in order of arrival; none in `fire`.
    Records records() const { return {group_->batch, group_->rows, group_->len}; }
    /// The window, if the job gives the operator windows.
    std::optional<Window> window() const {
        return group_->windowed ? std::optional(Window{group_->window_start, group_->window_end}) : std::nullopt;
    }
    /// No record older than this is expected any more.
    std::optional<std::int64_t> watermark() const { return time_of(group_->now.watermark); }
    /// The host's clock, milliseconds since 1970. Use it and no other.
    std::int64_t processing_time() const { return group_->now.processing; }

    /// The state as bytes; empty where there is none.
    Text state() const { return text_of(cfd_state(group_)); }
    /// Sets the state as bytes. An empty one is none.
    void set_state(Text state) { cfd_set_state(group_, bytes_of(state)); }
    /// Deletes the state.
    void delete_state() { cfd_delete_state(group_); }
    /// The state as a struct of yours that is stored byte by byte; none where there is none. The state of
    /// a struct of another size fails the batch, whatever you go on to do.
    template <typename T>
        requires std::is_trivially_copyable_v<T>
    std::optional<T> load() const {
        T state;
        return cfd__load(group_, &state, sizeof state) ? std::optional(state) : std::nullopt;
    }
    /// Stores a struct of yours byte by byte.
    template <typename T>
        requires std::has_unique_object_representations_v<T>
    void store(const T &state) {
        cfd_set_state(group_, cfd_bytes_of(&state, sizeof state));
    }

    /// Has `fire` called when the time has passed `at`, milliseconds since 1970.
    void set_timer(TimerKind kind, std::int64_t at) { cfd_set_timer(group_, static_cast<cfd_timer_kind>(kind), at); }
    /// Deletes a timer. Of setting and deleting the same one, the last counts.
    void delete_timer(TimerKind kind, std::int64_t at) { cfd_delete_timer(group_, static_cast<cfd_timer_kind>(kind), at); }

  private:
    cfd_group *group_;
};

/// A state or snapshot that was stored byte by byte (`Writer::raw`); none if it has another size.
template <typename T>
    requires std::is_trivially_copyable_v<T>
std::optional<T> state_of(Text bytes) {
    if (bytes.size() != sizeof(T)) return std::nullopt;
    T state;
    std::memcpy(&state, bytes.data(), sizeof state);
    return state;
}

/// Between the contract's functions and those of a class. The object lives from `open` on, in memory of
/// its own: a program without its end has no use for a destructor.
template <typename Op> struct Adapter {
    static Op &self() { return *reinterpret_cast<Op *>(place); }

    static cfd_error open(const cfd_context *c) {
        Op *op = ::new (static_cast<void *>(place)) Op();
        if constexpr (requires(Context context) { op->open(context); })
            return op->open(Context{text_of(c->name), c->subtask, c->parallelism, c->inputs, c->outputs});
        else return ok;
    }
    static cfd_error process(const cfd_batch *batch, cfd_out *out) {
        Outcome outcome(out);
        return self().process(Batch(batch), outcome);
    }
    static cfd_error finish(cfd_out *out) {
        Outcome outcome(out);
        if constexpr (requires { self().finish(outcome); }) return self().finish(outcome);
        else return ok;
    }
    static cfd_error snapshot(cfd_writer *state) { return self().snapshot(Writer(state)); }
    static cfd_error restore(cfd_bytes state) { return self().restore(text_of(state)); }
    static cfd_error fold(cfd_group *g, cfd_out *out) {
        Group group(g);
        Outcome outcome(out);
        return self().fold(group, outcome);
    }
    static cfd_error fire(cfd_group *g, cfd_firing firing, cfd_out *out) {
        Group group(g);
        Outcome outcome(out);
        if constexpr (requires { self().fire(group, Firing(firing), outcome); })
            return self().fire(group, Firing(firing), outcome);
        else return ok;
    }
    static cfd_error merge(cfd_bytes key, cfd_bytes earlier, cfd_bytes later, cfd_writer *merged) {
        return self().merge(text_of(key), text_of(earlier), text_of(later), Writer(merged));
    }
    static cfd_error check(cfd_bytes key, cfd_bytes state) { return self().check(text_of(key), text_of(state)); }

  private:
    alignas(Op) static inline unsigned char place[sizeof(Op)];
};

} // namespace cofferdam

#if defined(__wasm__) && defined(_LIBCPP_VERSION)
namespace cofferdam {
/// Logs what libc++ has found wrong, as a panic is. (Its own way would need files to write to.)
[[noreturn]] inline void library_panic(const char *format, va_list arguments) {
    cfd_writer message = {};
    cfd_vputf(&message, format, arguments);
    cfd_panic("%.*s", CFD_ARG(cfd_written(&message)));
}
} // namespace cofferdam

#define COFFERDAM__LIBRARY_PANIC(name, no_throw)                \
    [[noreturn]] void name(const char *format, ...) no_throw {  \
        va_list arguments;                                      \
        va_start(arguments, format);                            \
        cofferdam::library_panic(format, arguments);            \
    }
// libc++'s, and that of libc++abi below it.
#define COFFERDAM_LIBRARY_PANIC                                      \
    COFFERDAM__LIBRARY_PANIC(std::__libcpp_verbose_abort, noexcept)  \
    extern "C" __attribute__((weak)) COFFERDAM__LIBRARY_PANIC(__abort_message, )
#else
#define COFFERDAM_LIBRARY_PANIC
#endif

// One of these lines, once, in one file, makes a class the operator of the program. Which one is which world of
// `wit/world.wit`:

/// `processor-operator`: `process`; perhaps `open`, `finish`.
#define COFFERDAM_PROCESSOR(Op) \
    COFFERDAM_LIBRARY_PANIC CFD_PROCESSOR(.open = cofferdam::Adapter<Op>::open, .process = cofferdam::Adapter<Op>::process, \
                  .finish = cofferdam::Adapter<Op>::finish)
/// `stateful-operator`: and `snapshot`, `restore`.
#define COFFERDAM_STATEFUL(Op)                                                                      \
    COFFERDAM_LIBRARY_PANIC CFD_STATEFUL(.open = cofferdam::Adapter<Op>::open, .process = cofferdam::Adapter<Op>::process,  \
                 .finish = cofferdam::Adapter<Op>::finish, .snapshot = cofferdam::Adapter<Op>::snapshot, \
                 .restore = cofferdam::Adapter<Op>::restore)
/// `keyed-operator`: `fold`; perhaps `open`, `fire`.
#define COFFERDAM_KEYED(Op)                                                                 \
    COFFERDAM_LIBRARY_PANIC CFD_KEYED(.open = cofferdam::Adapter<Op>::open, .fold = cofferdam::Adapter<Op>::fold,   \
              .fire = cofferdam::Adapter<Op>::fire)
/// `session-operator`: and `merge`.
#define COFFERDAM_SESSION(Op)                                                               \
    COFFERDAM_LIBRARY_PANIC CFD_SESSION(.open = cofferdam::Adapter<Op>::open, .fold = cofferdam::Adapter<Op>::fold, \
                .fire = cofferdam::Adapter<Op>::fire, .merge = cofferdam::Adapter<Op>::merge)
/// `checked-keyed-operator`: as COFFERDAM_KEYED, and `check`.
#define COFFERDAM_CHECKED_KEYED(Op)                                                               \
    COFFERDAM_LIBRARY_PANIC CFD_CHECKED_KEYED(.open = cofferdam::Adapter<Op>::open, .fold = cofferdam::Adapter<Op>::fold, \
                      .fire = cofferdam::Adapter<Op>::fire, .check = cofferdam::Adapter<Op>::check)
/// `checked-session-operator`: as COFFERDAM_SESSION, and `check`.
#define COFFERDAM_CHECKED_SESSION(Op)                                                               \
    COFFERDAM_LIBRARY_PANIC CFD_CHECKED_SESSION(.open = cofferdam::Adapter<Op>::open, .fold = cofferdam::Adapter<Op>::fold, \
                        .fire = cofferdam::Adapter<Op>::fire, .merge = cofferdam::Adapter<Op>::merge, \
                        .check = cofferdam::Adapter<Op>::check)

#endif
