//! One call of `keyed-processor` as calls of an author's [`KeyedProcessor`],
//! group by group: states through the codec, changes and timers collected. The
//! component and the test harness both come this way.

use crate::{
    Batch, Column, Error, Group, KeyedProcessor, Merge, Outcome, codec,
    contract::{Firings, FoldOutcome, Groups, Now},
    keyed::{Firing, Timers, Window},
};

/// Folds a batch.
pub(crate) fn fold<K: KeyedProcessor>(
    operator: &mut K,
    now: Now,
    batch: &Batch,
    groups: &Groups,
) -> Result<FoldOutcome, Error> {
    let mut out = Outcome::new(batch);
    let effects = each_group::<K>(now, batch, groups, |group, rows| {
        group.rows = rows;
        operator.fold(group, &mut out)
    })?;
    Ok(effects.into_outcome(out))
}

/// Fires what is due.
pub(crate) fn fire<K: KeyedProcessor>(
    operator: &mut K,
    now: Now,
    due: &Firings,
    groups: &Groups,
) -> Result<FoldOutcome, Error> {
    let len = u32::try_from(due.times.len()).map_err(|_| Error::from("too many firings"))?;
    let mut out = Outcome::for_rows(len, 32 * due.times.len());
    let nothing = Batch::default();
    let effects = each_group::<K>(now, &nothing, groups, |group, rows| {
        for &index in rows {
            let (kind, time) = (due.kinds[index as usize], due.times[index as usize]);
            operator.fire(group, &Firing { index, key: group.key, kind, time }, &mut out)?;
        }
        Ok(())
    })?;
    Ok(effects.into_outcome(out))
}

/// Checks that states are of the operator's type, to the last byte.
#[cfg(target_arch = "wasm32")]
pub(crate) fn check<K: KeyedProcessor>(keys: &Column, states: &Column) -> Result<(), Error> {
    for (key, state) in keys.iter().zip(states.iter()) {
        codec::check::<K::State>(state).map_err(|error| {
            Error::new(format!("key `{}`: {error}", String::from_utf8_lossy(key)))
        })?;
    }
    Ok(())
}

/// Merges states pairwise.
pub(crate) fn merge<K: Merge>(
    operator: &mut K,
    keys: &Column,
    left: &Column,
    right: &Column,
) -> Result<Column, Error> {
    let mut merged = Column::with_capacity(keys.len(), left.data.len());
    for (i, key) in keys.iter().enumerate() {
        let state = match (codec::decode(left.get(i))?, codec::decode(right.get(i))?) {
            (Some(earlier), Some(later)) => Some(operator.merge(key, earlier, later)?),
            (one, other) => one.or(other),
        };
        if let Some(state) = state {
            codec::encode::<K::State>(&state, &mut merged.data)?;
        }
        merged.close_entry();
    }
    Ok(merged)
}

/// What the groups of a call changed beside their emissions.
#[derive(Default)]
struct Effects {
    changed: Vec<u32>,
    states: Column,
    timers: Timers,
}

impl Effects {
    fn into_outcome(self, out: Outcome) -> FoldOutcome {
        let (emissions, rejected) = out.into_parts();
        FoldOutcome {
            emissions,
            rejected,
            changed: self.changed,
            states: self.states,
            set_timers: self.timers.set,
            delete_timers: self.timers.delete,
        }
    }

    /// Takes over what a group has become. A state that was touched but reads
    /// the same as before is not reported, which spares the next checkpoint.
    fn commit<K: KeyedProcessor>(
        &mut self,
        group: Group<'_, K::State>,
        before: &[u8],
    ) -> Result<(), Error> {
        self.timers = group.timers;
        if !group.touched {
            return Ok(());
        }
        let start = self.states.data.len();
        if let Some(state) = &group.state {
            codec::encode(state, &mut self.states.data)?;
        }
        if self.states.data[start..] == *before {
            self.states.data.truncate(start);
            return Ok(());
        }
        self.changed.push(group.index);
        self.states.close_entry();
        Ok(())
    }
}

fn each_group<'a, K: KeyedProcessor>(
    now: Now,
    batch: &'a Batch,
    groups: &'a Groups,
    mut call: impl FnMut(&mut Group<'a, K::State>, &'a [u32]) -> Result<(), Error>,
) -> Result<Effects, Error> {
    let count = groups.row_offsets.len().saturating_sub(1);
    let mut effects = Effects {
        changed: Vec::with_capacity(count),
        states: Column::with_capacity(count, groups.states.data.len() + count),
        timers: Timers::default(),
    };
    for (index, bounds) in (0..).zip(groups.row_offsets.windows(2)) {
        let g = index as usize;
        let (key, before) = (groups.keys.get(g), groups.states.get(g));
        let starts = groups.window_starts.get(g).zip(groups.window_ends.get(g));
        let mut group = Group {
            index,
            key,
            window: starts.map(|(&start, &end)| Window { start, end }),
            batch,
            rows: &[],
            now,
            state: codec::decode(before)
                .map_err(|e| e.while_doing(format_args!("key `{}`", key.escape_ascii())))?,
            touched: false,
            timers: std::mem::take(&mut effects.timers),
        };
        call(&mut group, &groups.rows[bounds[0] as usize..bounds[1] as usize])?;
        effects.commit::<K>(group, before)?;
    }
    Ok(effects)
}
