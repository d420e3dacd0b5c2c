//! The half of `cofferdam-sdk`'s generated bindings that cannot stand in that
//! crate: wit-bindgen names its macros after interfaces, so a crate can export
//! each interface in one world only. Here are the worlds that export the
//! optional interfaces too. Not for direct use.

#![cfg(target_arch = "wasm32")]
#![allow(unsafe_code, reason = "the canonical ABI's generated glue is unsafe by nature")]
#![allow(missing_docs, unreachable_pub, unused_qualifications, reason = "generated; see wit/")]
#![allow(clippy::all, clippy::allow_attributes_without_reason, reason = "generated")]

pub mod stateful {
    wit_bindgen::generate!({
        path: "wit",
        world: "stateful-operator",
        pub_export_macro: true,
        export_macro_name: "export_stateful",
    });
}

pub mod session {
    wit_bindgen::generate!({
        path: "wit",
        world: "checked-session-operator",
        pub_export_macro: true,
        export_macro_name: "export_session",
        with: {
            "cofferdam:operator/log@0.1.0": super::stateful::cofferdam::operator::log,
            "cofferdam:operator/config@0.1.0": super::stateful::cofferdam::operator::config,
            "cofferdam:operator/metrics@0.1.0": super::stateful::cofferdam::operator::metrics,
            "cofferdam:operator/types@0.1.0": super::stateful::cofferdam::operator::types,
        },
    });
}
