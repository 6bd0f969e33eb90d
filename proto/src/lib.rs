//! Rainstorm's messages on the wire: generated code, no logic.
//!
//! - [`client`]: what people's programs ask of the master
//! - [`master`]: what workers tell the master
//! - [`worker`]: what the master tells workers, and rows between workers
//! - [`graph`]: a job graph
//! - [`files`][]: SDFS, the distributed file system

macro_rules! generated {
    ($($(#[$doc:meta])* $name:ident = $package:literal;)*) => {$(
        $(#[$doc])*
        pub mod $name {
            // Generated code names other packages by their full path, version included.
            #[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
            pub mod v1 {
                tonic::include_proto!($package);
            }
            pub use v1::*;
        }
    )*};
}

generated! {
    /// SQL and jobs, for clients.
    client = "rainstorm.client.v1";
    /// Files of SDFS.
    files = "rainstorm.files.v1";
    /// Job graphs.
    graph = "rainstorm.graph.v1";
    /// The master, for workers.
    master = "rainstorm.master.v1";
    /// Workers, for the master and for each other.
    worker = "rainstorm.worker.v1";
}
