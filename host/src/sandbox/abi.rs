//! The contract's types as they cross the wall, in the Canonical ABI. They
//! mirror `wit/`; wasmtime compares them with every component that is loaded.

use wasmtime::component::{ComponentType, Lift, Lower};

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(super) struct ColumnIn<'a> {
    pub(super) data: &'a [u8],
    pub(super) offsets: &'a [u32],
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct ColumnOut {
    pub(super) data: Vec<u8>,
    pub(super) offsets: Vec<u32>,
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(super) struct BatchIn<'a> {
    pub(super) len: u32,
    pub(super) keys: ColumnIn<'a>,
    pub(super) values: ColumnIn<'a>,
    pub(super) timestamps: &'a [i64],
}

#[derive(ComponentType, Lift)]
#[component(variant)]
pub(super) enum Origin {
    #[component(name = "fresh")]
    Fresh,
    #[component(name = "same")]
    Same,
    #[component(name = "keep")]
    Keep(Vec<u32>),
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct Emission {
    pub(super) port: u32,
    pub(super) origin: Origin,
    pub(super) keys: Option<ColumnOut>,
    pub(super) values: Option<ColumnOut>,
    pub(super) timestamps: Option<Vec<i64>>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct Rejection {
    pub(super) index: u32,
    pub(super) reason: String,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct OutcomeOut {
    pub(super) emissions: Vec<Emission>,
    pub(super) rejected: Vec<Rejection>,
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(super) struct Context<'a> {
    pub(super) operator: &'a str,
    pub(super) subtask: u32,
    pub(super) parallelism: u32,
    pub(super) inputs: u32,
    pub(super) outputs: u32,
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(super) struct GroupsIn<'a> {
    pub(super) keys: ColumnIn<'a>,
    pub(super) states: ColumnIn<'a>,
    #[component(name = "window-starts")]
    pub(super) window_starts: &'a [i64],
    #[component(name = "window-ends")]
    pub(super) window_ends: &'a [i64],
    pub(super) rows: &'a [u32],
    #[component(name = "row-offsets")]
    pub(super) row_offsets: &'a [u32],
}

#[derive(ComponentType, Lift, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "guests make them: `Lift` reads the discriminant")]
pub(super) enum TimerKind {
    #[component(name = "event")]
    Event,
    #[component(name = "processing")]
    Processing,
}

#[derive(ComponentType, Lift, Clone, Copy)]
#[component(record)]
pub(super) struct Timer {
    pub(super) group: u32,
    pub(super) kind: TimerKind,
    pub(super) at: i64,
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
pub(super) enum FiringKind {
    #[component(name = "window")]
    Window,
    #[component(name = "event")]
    Event,
    #[component(name = "processing")]
    Processing,
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(super) struct FiringsIn<'a> {
    pub(super) kinds: &'a [FiringKind],
    pub(super) times: &'a [i64],
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(super) struct Time {
    pub(super) watermark: Option<i64>,
    pub(super) processing: i64,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct FoldOutcomeOut {
    pub(super) outcome: OutcomeOut,
    pub(super) changed: Vec<u32>,
    pub(super) states: ColumnOut,
    #[component(name = "set-timers")]
    pub(super) set_timers: Vec<Timer>,
    #[component(name = "delete-timers")]
    pub(super) delete_timers: Vec<Timer>,
}

#[derive(ComponentType, Lift, Clone, Copy, Debug)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "guests make them: `Lift` reads the discriminant")]
pub(super) enum Level {
    #[component(name = "trace")]
    Trace,
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
}

impl Level {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}
