//! Cofferdam: a WebAssembly-sandboxed host for stream operators.
//!
//! # Reading guide
//!
//! A *job* is a graph of sources, operators and sinks, described by a job file
//! ([`config`]). The rooms below are listed from the bottom up; a room may use
//! those before it and never those after it.
//!
//! | room | what it knows |
//! | --- | --- |
//! | [`allocator`], [`ids`], [`clock`], [`threads`], [`failure`], [`metrics`], [`config`], [`restart`] | memory, names, time, the kernel's threads, ways to fail, numbers, job files, restart strategies |
//! | [`signature`] | keys, and signatures of artifacts |
//! | [`database`] | trusting sled with what must not be lost |
//! | [`hardening`] | giving up what the process does not need: files, system calls |
//! | [`memory`] | budgets of memory, and the meters of slots |
//! | [`trace`] | spans: what was done, in which trace; sampling |
//! | [`stream`] | batches, channels, barriers, watermarks, key groups |
//! | [`state`] | the keyed state, windows and timers of one subtask; no I/O |
//! | [`checkpoint`] | the format of a checkpoint and the sled store |
//! | [`registry`] | the records of a service: artifacts, jobs, tokens |
//! | [`connectors`] | sources and sinks, one file each |
//! | [`sandbox`] | everything wasmtime: nobody else names it |
//! | [`catalog`] | artifacts: found, validated, compiled, cached |
//! | [`tenancy`] | tenants: quotas, grants, usage records |
//! | [`task_manager`] | slots and the subtasks that run in them |
//! | [`capsule`] | crash capsules and recordings: their format, replaying and comparing them |
//! | [`trial`] | an operator fed some records in a throw-away slot, and what it made of them |
//! | [`job_manager`] | a job's life: plan, checkpoints, failover |
//! | [`authoring`] | what an author does before anybody else sees it: make, build, try and measure an operator |
//! | [`remote`] | how another process asks something of a job that runs |
//! | [`service`] | the Dispatcher: many tenants' jobs in one process, who may do what |
//! | [`http`] | the REST API: auth at the door, problem details |
//! | [`client`] | asking a server that runs elsewhere: profiles, TLS, what is tried again |
//! | [`otlp`] | sending spans to a collector |
//! | [`cli`] | arguments, progress, exit codes |

pub mod allocator;
pub mod authoring;
pub mod capsule;
pub mod catalog;
pub mod checkpoint;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod connectors;
pub mod database;
pub mod failure;
pub mod hardening;
pub mod http;
mod human;
pub mod ids;
pub mod intake;
pub mod job_manager;
pub mod memory;
pub mod metrics;
pub mod otlp;
pub mod registry;
pub mod remote;
pub mod restart;
pub mod sandbox;
pub mod service;
pub mod signature;
pub mod state;
pub mod stream;
pub mod task_manager;
pub mod tenancy;
pub mod threads;
pub mod trace;
pub mod trial;
pub mod watching;
