//! A probe: code of our own that takes memory in a sandbox of its own, writes all of
//! it, and reads it back. What a slot that is suspect has to bear before an operator
//! gets it again.

use wasmtime::{Instance, Module, Store};

use super::{Metering, Sandbox};

/// The probe as text, which the test `the_bytes_are_those_of_the_text` holds to the bytes.
#[cfg(test)]
const TEXT: &str = r#"(module
    (memory (export "memory") 1)
    ;; Grows its memory to 1 MiB, fills it with numbers that depend on the seed, and
    ;; returns how many of them are not there afterwards; -1 if there is no memory.
    (func (export "probe") (param $seed i32) (result i32)
        (local $at i32) (local $wrong i32)
        (if (i32.lt_s (memory.grow (i32.const 15)) (i32.const 0))
            (then (return (i32.const -1))))
        (loop $fill
            (i32.store (local.get $at) (i32.xor (local.get $at) (local.get $seed)))
            (local.set $at (i32.add (local.get $at) (i32.const 4)))
            (br_if $fill (i32.lt_u (local.get $at) (i32.const 1048576))))
        (local.set $at (i32.const 0))
        (loop $read
            (local.set $wrong (i32.add (local.get $wrong)
                (i32.ne (i32.load (local.get $at)) (i32.xor (local.get $at) (local.get $seed)))))
            (local.set $at (i32.add (local.get $at) (i32.const 4)))
            (br_if $read (i32.lt_u (local.get $at) (i32.const 1048576))))
        (local.get $wrong)))"#;

const BYTES: &[u8] = include_bytes!("probe.wasm");

/// How long it may take, in ticks of the epoch: a second.
const TICKS: u64 = 200;

impl Sandbox {
    /// Runs the probe.
    ///
    /// # Errors
    /// In words, if it did not come through.
    pub async fn probe(&self, seed: i32) -> Result<(), String> {
        let said = |error: wasmtime::Error| format!("the probe failed: {error:#}");
        let module = Module::new(&self.engine, BYTES).map_err(said)?;
        let mut store = Store::new(&self.engine, ());
        store.set_epoch_deadline(TICKS);
        if self.metering == Metering::Fuel {
            store.set_fuel(u64::MAX).map_err(said)?;
        }
        let instance = Instance::new_async(&mut store, &module, &[]).await.map_err(said)?;
        let probe = instance.get_typed_func::<i32, i32>(&mut store, "probe").map_err(said)?;
        match probe.call_async(&mut store, seed).await.map_err(said)? {
            0 => Ok(()),
            -1 => Err("the probe failed: there is no memory for it".to_owned()),
            wrong => Err(format!("the probe failed: {wrong} words of its memory are wrong")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::SandboxConfig;

    #[test]
    fn the_bytes_are_those_of_the_text() {
        assert_eq!(wat::parse_str(TEXT).unwrap(), BYTES);
    }

    #[tokio::test]
    async fn a_sound_sandbox_passes_with_either_metering() {
        for metering in [Metering::Time, Metering::Fuel] {
            let config = SandboxConfig { metering, ..SandboxConfig::uncached(2) };
            let sandbox = Sandbox::new(&config).unwrap();
            for seed in [0, 77, -1] {
                assert_eq!(sandbox.probe(seed).await, Ok(()));
            }
        }
    }
}
