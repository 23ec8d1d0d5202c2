//! The macro that makes a component of a strategy.

/// Exports a [`Strategy`](crate::Strategy) as a component, under the name and version of the
/// calling crate.
///
/// The words after the type name the further traits that the component exports:
///
/// - `export!(Fixed);`: none. It decides off the request path.
/// - `export!(Spill, request);`: a [`RequestStrategy`](crate::RequestStrategy), for each request.
/// - `export!(Spill, learning);`: a [`Learning`](crate::Learning), which is told how attempts
///   went.
/// - `export!(Spill, request, learning);`: both.
///
/// `export!(Spill, request; schema = "parameters.json");` takes the schema from a file of the
/// package. Without it, the component makes the schema from the type when asked, with code that is
/// a third of the component. The macro adds a test that the file has the schema of the type.
/// `WRITE_SCHEMA=1 cargo test` writes the file, which may be empty at first.
///
/// In a native build (`cargo test`) the macro only checks that the type has the traits.
#[macro_export]
macro_rules! export {
    ($strategy:ty $(, $more:ident)* $(,)?) => {
        $crate::__native!($strategy $(, $more)*);
        #[cfg(target_arch = "wasm32")]
        $crate::__component!($crate::component::made_schema::<$strategy>(), $strategy $(, $more)*);
    };
    ($strategy:ty $(, $more:ident)*; schema = $file:literal $(,)?) => {
        $crate::__native!($strategy $(, $more)*);
        #[cfg(all(test, not(target_arch = "wasm32")))]
        #[test]
        fn the_schema_file_is_current() {
            $crate::testing::check_schema::<$strategy>(concat!(env!("CARGO_MANIFEST_DIR"), "/", $file));
        }
        #[cfg(target_arch = "wasm32")]
        $crate::__component!(
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $file)).to_owned(),
            $strategy $(, $more)*
        );
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __native {
    ($strategy:ty $(, $more:ident)*) => {
        const _: () = {
            fn is_strategy<S: $crate::Strategy>() {}
            let _ = is_strategy::<$strategy>;
            $( $crate::__native_more!($strategy, $more); )*
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __native_more {
    ($strategy:ty, request) => {
        fn is_request_strategy<S: $crate::RequestStrategy>() {}
        let _ = is_request_strategy::<$strategy>;
    };
    ($strategy:ty, learning) => {
        fn is_learning<S: $crate::Learning>() {}
        let _ = is_learning::<$strategy>;
    };
    ($strategy:ty, $other:ident) => {
        compile_error!("after the strategy comes `request`, `learning`, or both in this order");
    };
}

#[doc(hidden)]
#[macro_export]
#[cfg(target_arch = "wasm32")]
macro_rules! __component {
    ($schema:expr, $strategy:ty $(, $more:ident)*) => {
        #[allow(unsafe_code, missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
        const _: () = {
            use $crate::component::{learning, policy, request_policy};
            use policy::exports::hybrid::routing::policy as exported;

            ::std::thread_local! {
                static STATE: ::std::cell::RefCell<::std::option::Option<$strategy>> =
                    const { ::std::cell::RefCell::new(::std::option::Option::None) };
            }

            struct Component;

            impl exported::Guest for Component {
                fn describe() -> exported::Description {
                    $crate::component::describe::<$strategy>(
                        env!("CARGO_PKG_NAME"),
                        env!("CARGO_PKG_VERSION"),
                        $schema,
                    )
                }

                fn configure(
                    parameters: ::std::string::String,
                    models: ::std::vec::Vec<::std::string::String>,
                    places: ::std::vec::Vec<exported::Place>,
                ) -> ::std::result::Result<(), ::std::string::String> {
                    $crate::component::configure::<$strategy>(&STATE, &parameters, &models, places)
                }

                fn assign(
                    local: ::std::vec::Vec<$crate::Deployment>,
                    remote: ::std::vec::Vec<$crate::Deployment>,
                ) -> $crate::Weights {
                    $crate::component::assign::<$strategy>(&STATE, &local, &remote)
                }
            }

            policy::export!(Component with_types_in policy);
            $( $crate::__component_more!($strategy, $more); )*
        };
    };
}

#[doc(hidden)]
#[macro_export]
#[cfg(target_arch = "wasm32")]
macro_rules! __component_more {
    ($strategy:ty, request) => {
        const _: () = {
            use request_policy::exports::hybrid::routing::request_policy as exported;

            impl exported::Guest for Component {
                fn assign_request(
                    request: exported::Request,
                    local: ::std::vec::Vec<$crate::Deployment>,
                    remote: ::std::vec::Vec<$crate::Deployment>,
                ) -> exported::Verdict {
                    $crate::component::assign_request::<$strategy>(&STATE, request, &local, &remote)
                }
            }

    request_policy::export!(Component with_types_in request_policy);
        };
    };
    ($strategy:ty, learning) => {
        const _: () = {
            use learning::exports::hybrid::routing::learning as exported;

            impl exported::Guest for Component {
                fn outcome(attempts: ::std::vec::Vec<exported::Attempt>) {
                    $crate::component::outcome::<$strategy>(&STATE, attempts);
                }
            }

    learning::export!(Component with_types_in learning);
        };
    };
}
