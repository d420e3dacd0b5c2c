// A guest for tests: counts by key in its own memory, and has no way to say what it
// knows. Answers each batch with one record: its keys and how often each has come.

const counts = new Map();
const history = [];

const text = (column, i) =>
  String.fromCharCode(...column.data.slice(column.offsets[i], column.offsets[i + 1]));

export const processor = {
  open(_context) {},

  process(_input, records) {
    const seen = [];
    for (let i = 0; i < records.len; i += 1) {
      const key = text(records.keys, i);
      const count = (counts.get(key) ?? 0) + 1;
      counts.set(key, count);
      seen.push(`${key}=${count}`);
    }
    // Objects that come and go, so that the collector has something to do.
    history.push(seen.join());
    if (history.length > 50) history.splice(0, 25);
    const said = `${counts.size} ${history.length} ${seen.join()}`;
    const data = Uint8Array.from(said, (c) => c.charCodeAt(0));
    return {
      emissions: [
        {
          port: 0,
          origin: { tag: "fresh" },
          keys: undefined,
          values: { data, offsets: Uint32Array.of(0, data.length) },
          timestamps: undefined,
        },
      ],
      rejected: [],
    };
  },

  finish() {
    return { emissions: [], rejected: [] };
  },
};
