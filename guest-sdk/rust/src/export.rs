//! The one macro line of an operator. In native builds it only checks that the
//! type implements what the keyword asks for.

/// Makes a type the operator of this crate. One line, once a crate; the keyword
/// says which world of the contract it exports:
///
/// | line | the type implements | state |
/// | --- | --- | --- |
/// | `export!(processor: T);` | [`Processor`](crate::Processor) | none that matters |
/// | `export!(stateful: T);` | and [`Snapshot`](crate::Snapshot) | in its own memory |
/// | `export!(keyed: T);` | [`KeyedProcessor`](crate::KeyedProcessor) | by key, kept by the host |
/// | `export!(session: T);` | and [`Merge`](crate::Merge) | the same; for session windows too |
///
/// The crate needs `crate-type = ["cdylib", "rlib"]`: the first for Wasm, the
/// second for its tests.
#[macro_export]
macro_rules! export {
    (processor: $operator:ty) => {
        $crate::__export!(processor, export_processor, $operator, $crate::Processor);
    };
    (stateful: $operator:ty) => {
        $crate::__export!(stateful, export_stateful, $operator, $crate::Snapshot);
    };
    (keyed: $operator:ty) => {
        $crate::__export!(keyed, export_keyed, $operator, $crate::KeyedProcessor);
    };
    (session: $operator:ty) => {
        $crate::__export!(session, export_session, $operator, $crate::Merge);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($world:ident, $export:ident, $operator:ty, $bound:path) => {
        const _: () = {
            fn implements<T: $bound>() {}
            let _ = implements::<$operator>;
        };

        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, reason = "exports of the canonical ABI")]
        const _: () = {
            struct Component;
            type Exported = $crate::__component::Adapter<Component>;

            ::std::thread_local! {
                static OPERATOR: ::std::cell::RefCell<::core::option::Option<$operator>> =
                    const { ::std::cell::RefCell::new(::core::option::Option::None) };
            }

            impl $crate::__component::Instance for Component {
                type Operator = $operator;

                fn with<R>(f: impl FnOnce(&mut ::core::option::Option<$operator>) -> R) -> R {
                    OPERATOR.with_borrow_mut(f)
                }
            }

            $crate::__component::$world::$export!(
                Exported with_types_in $crate::__component::$world
            );
        };
    };
}
